"""The objectives of pre-training: SimCLR is invariant to a view's geometry, the others equivariant.

See `nt_xent` and `equivariance` for the papers and the mathematics. Objectives with a file of their own, which imports
this one, can be imported from here all the same.
"""

import math
from abc import ABC, abstractmethod
from importlib import import_module
from typing import Any, Literal

import torch
from torch import Tensor, nn

from peclr.geometry.affine import apply_affine, at_least_float32, invert, rotation_angle
from peclr.geometry.joints import NUM_JOINTS
from peclr.losses.equivariance import undo_translation_rotation
from peclr.losses.nt_xent import check_temperature, contrast, l2_normalize

_FILES = {
    "GeometryHead": "geometry_head",
    "SiMHand": "simhand",
    "SoftPeCLR": "soft_peclr",
    "SplitObjective": "split",
    "VICReg": "vicreg",
}


def __getattr__(name: str) -> Any:
    """Import an objective with a file of its own when it is asked for."""
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"peclr.losses.{_FILES[name]}"), name)


Known = Literal["features", "joints_2d", "hand"]


class Objective(nn.Module, ABC):
    """The aim of pre-training: a loss of the projections of two views per sample and of these views' geometry."""

    # what else `forward` is given: features (B, 2, F) of the encoder, joints_2d (B, 2, 21, 2) in pixels of the views,
    # NaN where unknown, or hand (B,), the id of the hand that a sample shows
    needs: frozenset[Known] = frozenset()

    @abstractmethod
    def forward(self, projections: Tensor, view_from_crop: Tensor, **known: Tensor) -> Tensor:
        """Compute the loss, the same on all processes.

        Args:
            projections: (B, 2, D), two views per sample, not normalized.
            view_from_crop: (B, 2, 3, 3), normalized coordinates: what augmentation did to each view.
            known: What the class `needs`.
        """

    def undo(self, projections: Tensor, view_from_crop: Tensor) -> Tensor:
        """Bring projections to the frame of the crop, by default by the published inversion, at least float32."""
        return undo_views(l2_normalize(projections), view_from_crop)

    def build(self, feature_dim: int) -> None:
        """Make the layers that read the encoder's features; by default, those of the parts."""
        for part in self.children():
            if isinstance(part, Objective):
                part.build(feature_dim)


class SimCLR(Objective):
    """NT-Xent of the projections as they are: the encoder shall forget what a view did to the image.

    Args:
        temperature: Divides similarities before the softmax: the smaller, the more the nearest negatives count.
    """

    def __init__(self, temperature: float = 0.5) -> None:
        super().__init__()
        self.temperature = check_temperature(temperature)

    def forward(self, projections: Tensor, view_from_crop: Tensor, **known: Tensor) -> Tensor:
        """Compute the loss; the geometry is not used."""
        check_shapes(projections, view_from_crop)
        return contrast(projections, self.temperature)


class PeCLR(Objective):
    """NT-Xent of the projections after each view's translation and rotation, or one of them, are undone on them.

    Args:
        temperature: Divides similarities before the softmax: the smaller, the more the nearest negatives count.
        translation: Whether what shifted a view is undone on its projection.
        rotation: Whether what turned it is.
    """

    def __init__(self, temperature: float = 0.5, *, translation: bool = True, rotation: bool = True) -> None:
        super().__init__()
        self.temperature = check_temperature(temperature)
        self.translation = translation
        self.rotation = rotation

    def forward(self, projections: Tensor, view_from_crop: Tensor, **known: Tensor) -> Tensor:
        """Compute the loss; D is even."""
        return contrast(self.undo(projections, view_from_crop), self.temperature)

    def undo(self, projections: Tensor, view_from_crop: Tensor) -> Tensor:
        """Undo what was asked for."""
        z = l2_normalize(projections)
        return undo_views(z, view_from_crop, translation=self.translation, rotation=self.rotation)


class AffinePeCLR(Objective):
    """NT-Xent of the projections after each view's whole affine map, scale included, is undone on them.

    Unlike the published inversion, this one is exact: projections, not normalized, are read as points in normalized
    coordinates of the view. The head has to learn this unit, which `PeCLR` takes from the points themselves.

    Args:
        temperature: Divides similarities before the softmax: the smaller, the more the nearest negatives count.
    """

    def __init__(self, temperature: float = 0.5) -> None:
        super().__init__()
        self.temperature = check_temperature(temperature)

    def forward(self, projections: Tensor, view_from_crop: Tensor, **known: Tensor) -> Tensor:
        """Compute the loss; D is even."""
        return contrast(self.undo(projections, view_from_crop), self.temperature)

    def undo(self, projections: Tensor, view_from_crop: Tensor) -> Tensor:
        """Undo all of the map."""
        check_shapes(projections, view_from_crop)
        return apply_affine(invert(view_from_crop), as_points(projections)).reshape(projections.shape)


def undo_views(
    projections: Tensor, view_from_crop: Tensor, *, translation: bool = True, rotation: bool = True
) -> Tensor:
    """Undo what moved and turned each view (B, 2, 3, 3) on its projection, of any length: (B, 2, D even)."""
    check_shapes(projections, view_from_crop)
    matrices = at_least_float32(view_from_crop).flatten(0, 1)
    # a view is 2 wide in normalized coordinates
    offset, angle = matrices[:, :2, 2] / 2, rotation_angle(matrices)
    if not translation:
        offset = torch.zeros_like(offset)
    if not rotation:
        angle = torch.zeros_like(angle)
    return undo_translation_rotation(as_points(projections).flatten(0, 1), offset, angle).reshape(projections.shape)


def as_points(projections: Tensor) -> Tensor:
    """Read projections (…, D) as points (…, D / 2, 2) in the plane; ValueError if D is odd."""
    if projections.shape[-1] % 2:
        raise ValueError(f"PeCLR reads projections as 2-D points, got odd D = {projections.shape[-1]}")
    return projections.reshape(*projections.shape[:-1], -1, 2)


def check_weights(**weights: float) -> None:
    """Refuse weights of a loss's terms that are negative or not finite."""
    for name, weight in weights.items():
        if not 0 <= weight < math.inf:
            raise ValueError(f"{name} weighs a term of the loss: expected a number from 0, got {weight}")


def check_shapes(projections: Tensor, view_from_crop: Tensor) -> None:
    """Refuse what is not (B, 2, D) and (B, 2, 3, 3)."""
    pairs = projections.shape[:2]
    if projections.ndim != 3 or pairs[1] != 2 or view_from_crop.shape != (*pairs, 3, 3):
        found = f"{tuple(projections.shape)} and {tuple(view_from_crop.shape)}"
        raise ValueError(f"expected projections (B, 2, D) and view_from_crop (B, 2, 3, 3), got {found}")


def check_joints(projections: Tensor, joints_2d: Tensor | None) -> Tensor:
    """The joints of views in at least float32, without gradient; refused if missing or not (B, 2, 21, 2)."""
    if joints_2d is None:
        raise ValueError("this objective weighs pairs by their joints_2d (B, 2, 21, 2), and none were given")
    if joints_2d.shape != (*projections.shape[:2], NUM_JOINTS, 2):
        shapes = f"projections {tuple(projections.shape)}, got {tuple(joints_2d.shape)}"
        raise ValueError(f"expected joints_2d (B, 2, {NUM_JOINTS}, 2) for {shapes}")
    return at_least_float32(joints_2d.detach())

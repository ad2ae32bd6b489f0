"""The objectives of pre-training: SimCLR is invariant to a view's geometry, the others equivariant.

All take the projections of two views per sample, the geometry of those views and, if they are known, their 2-D
joints, so that a training module need not know which one it has. Contrast is over the batches of all processes.
See `nt_xent`, `equivariance` and `contrast` for the papers and the mathematics.
"""

import torch
from torch import Tensor, nn

from peclr.geometry.affine import apply_affine, at_least_float32, invert_unchecked, rotation_angle
from peclr.losses.contrast import contrast, unit
from peclr.losses.equivariance import undo_translation_rotation


class SimCLR(nn.Module):
    """NT-Xent of the projections as they are: whatever a view did to the picture is to be forgotten."""

    def __init__(self, temperature: float = 0.5) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, projections: Tensor, view_from_crop: Tensor, joints_2d: Tensor | None = None) -> Tensor:
        """Compute the loss.

        Args:
            projections: (B, 2, D), two views per sample, not normalised.
            view_from_crop: (B, 2, 3, 3), normalised coordinates; not used.
            joints_2d: (B, 2, 21, 2), pixels of the views; not used.

        Returns:
            Scalar, the same on all processes.
        """
        check_shapes(projections, view_from_crop)
        return contrast(projections, self.temperature)


class PeCLR(nn.Module):
    """NT-Xent of the projections after each view's translation and rotation are undone on them.

    Args:
        temperature: Of NT-Xent.
        translation: Whether to undo translation.
        rotation: Whether to undo rotation. With neither, this is SimCLR.
    """

    def __init__(self, temperature: float = 0.5, translation: bool = True, rotation: bool = True) -> None:
        super().__init__()
        self.temperature = temperature
        self.translation = translation
        self.rotation = rotation

    def forward(self, projections: Tensor, view_from_crop: Tensor, joints_2d: Tensor | None = None) -> Tensor:
        """Compute the loss.

        Args:
            projections: (B, 2, D), two views per sample, not normalised; D is even.
            view_from_crop: (B, 2, 3, 3), normalised coordinates: what augmentation did to each view.
            joints_2d: (B, 2, 21, 2), pixels of the views; not used.

        Returns:
            Scalar, the same on all processes.
        """
        return contrast(self.undo(projections, view_from_crop), self.temperature)

    def undo(self, projections: Tensor, view_from_crop: Tensor) -> Tensor:
        """Bring the projections of `forward` to the frame of the crop: (B, 2, D), at least float32."""
        check_shapes(projections, view_from_crop)
        matrices = at_least_float32(view_from_crop).flatten(0, 1)
        # a view is 2 wide in normalised coordinates
        translation, angle = matrices[:, :2, 2] / 2, rotation_angle(matrices)
        if not self.translation:
            translation = torch.zeros_like(translation)
        if not self.rotation:
            angle = torch.zeros_like(angle)
        points = as_points(unit(projections)).flatten(0, 1)
        return undo_translation_rotation(points, translation, angle).reshape(projections.shape)


class AffinePeCLR(nn.Module):
    """NT-Xent of the projections after each view's whole affine map, scale included, is undone on them.

    Unlike the published inversion, this one is exact: projections are read as points in normalised coordinates
    of the view, in its unit, so they are not normalised before, and the map's inverse is applied to them. If they
    are points that move with the picture, those of two views agree with a cosine of 1. The head has to learn the
    unit in return, which `PeCLR` takes from the points themselves.
    """

    def __init__(self, temperature: float = 0.5) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, projections: Tensor, view_from_crop: Tensor, joints_2d: Tensor | None = None) -> Tensor:
        """Compute the loss; see `PeCLR`."""
        return contrast(self.undo(projections, view_from_crop), self.temperature)

    def undo(self, projections: Tensor, view_from_crop: Tensor) -> Tensor:
        """Bring the projections of `forward` to the frame of the crop: (B, 2, D), at least float32."""
        check_shapes(projections, view_from_crop)
        # without looking at values: views can be inverted, and a training step does not wait for the device
        crop_from_view = invert_unchecked(view_from_crop)
        return apply_affine(crop_from_view, as_points(projections)).reshape(projections.shape)


def as_points(projections: Tensor) -> Tensor:
    """Read projections (…, D) as points (…, D / 2, 2) in the plane.

    Raises:
        ValueError: If D is odd.
    """
    if projections.shape[-1] % 2:
        raise ValueError(f"PeCLR reads projections as 2-D points, got odd D = {projections.shape[-1]}")
    return projections.reshape(*projections.shape[:-1], -1, 2)


def check_shapes(projections: Tensor, view_from_crop: Tensor) -> None:
    """Refuse what is not (B, 2, D) and (B, 2, 3, 3)."""
    pairs = projections.shape[:2]
    if projections.ndim != 3 or pairs[1] != 2 or view_from_crop.shape != (*pairs, 3, 3):
        raise ValueError(
            "expected projections (B, 2, D) and view_from_crop (B, 2, 3, 3), "
            f"got {tuple(projections.shape)} and {tuple(view_from_crop.shape)}"
        )

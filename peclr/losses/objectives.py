"""The objectives of pre-training: SimCLR is invariant to a view's geometry, PeCLR equivariant.

Both take the projections of two views per sample and the geometry of those views, so that a training module
need not know which one it has. See `nt_xent` and `equivariance` for the papers.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from peclr.geometry.affine import at_least_float32, rotation_angle
from peclr.losses.equivariance import undo_translation_rotation
from peclr.losses.nt_xent import nt_xent_loss

# Shorter projections have no direction. Above the least float16, unlike torch's 1e-12.
_MIN_NORM = 1e-6


class SimCLR(nn.Module):
    """NT-Xent of the projections as they are: whatever a view did to the picture is to be forgotten."""

    def __init__(self, temperature: float = 0.5) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, projections: Tensor, view_from_crop: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            projections: (B, 2, D), two views per sample, not normalised.
            view_from_crop: (B, 2, 3, 3), normalised coordinates; not used.

        Returns:
            Scalar.
        """
        _check_shapes(projections, view_from_crop)
        return _contrast(projections, self.temperature)


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

    def forward(self, projections: Tensor, view_from_crop: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            projections: (B, 2, D), two views per sample, not normalised; D is even.
            view_from_crop: (B, 2, 3, 3), normalised coordinates: what augmentation did to each view.

        Returns:
            Scalar.
        """
        return _contrast(self.undo(projections, view_from_crop), self.temperature)

    def undo(self, projections: Tensor, view_from_crop: Tensor) -> Tensor:
        """Bring the projections of `forward` to the frame of the crop: (B, 2, D), at least float32."""
        _check_shapes(projections, view_from_crop)
        if projections.shape[-1] % 2:
            raise ValueError(f"PeCLR reads projections as 2-D points, got odd D = {projections.shape[-1]}")
        matrices = at_least_float32(view_from_crop).flatten(0, 1)
        # a view is 2 wide in normalised coordinates
        translation, angle = matrices[:, :2, 2] / 2, rotation_angle(matrices)
        if not self.translation:
            translation = torch.zeros_like(translation)
        if not self.rotation:
            angle = torch.zeros_like(angle)
        flat = _unit(projections).flatten(0, 1)
        points = flat.reshape(flat.shape[0], -1, 2)
        return undo_translation_rotation(points, translation, angle).reshape(projections.shape)


def _contrast(projections: Tensor, temperature: float) -> Tensor:
    """NT-Xent between the two views in (B, 2, D), which are in one frame by now."""
    first, second = _unit(projections).unbind(dim=1)
    return nt_xent_loss(first, second, temperature)


def _unit(projections: Tensor) -> Tensor:
    """Projections (…, D) of length one, at least float32."""
    return normalize(at_least_float32(projections), dim=-1, eps=_MIN_NORM)


def _check_shapes(projections: Tensor, view_from_crop: Tensor) -> None:
    pairs = projections.shape[:2]
    if projections.ndim != 3 or pairs[1] != 2 or view_from_crop.shape != (*pairs, 3, 3):
        raise ValueError(
            "expected projections (B, 2, D) and view_from_crop (B, 2, 3, 3), "
            f"got {tuple(projections.shape)} and {tuple(view_from_crop.shape)}"
        )

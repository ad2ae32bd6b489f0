"""Prediction of what lies between two views, so that features keep what a contrast alone might drop.

Dangovski et al., "Equivariant Contrastive Learning", ICLR 2022 (arXiv 2111.00899), predict an image's rotation beside
an invariant contrast. Here, the map from one view to the other is predicted from both views' features.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from peclr.collectives import pairs_per_process, sum_over_processes
from peclr.geometry.affine import at_least_float32, compose, invert, rotation_angle
from peclr.losses.objectives import Objective, PeCLR, check_weights


class GeometryHead(Objective):
    """A contrast, plus the error of a small network that predicts the map between the two views from their features.

    For views of one image or of one hand, between which there is a map. Pairs without one, as of two cameras, come with
    the identity for both views, and teach the network nothing.

    Args:
        contrast: By default `PeCLR`.
        weight: Of the prediction's error in the sum.
        hidden: Width of the network's hidden layer.
    """

    def __init__(self, contrast: Objective | None = None, weight: float = 1.0, hidden: int = 256) -> None:
        check_weights(weight=weight)
        if hidden < 1:
            raise ValueError(f"hidden is the width of a layer, expected at least 1, got {hidden}")
        super().__init__()
        self.contrast = contrast or PeCLR()
        self.weight = weight
        self.hidden = hidden
        self.needs = self.contrast.needs | {"features"}
        self.layers = nn.Sequential()

    def build(self, feature_dim: int) -> None:
        """Make the network."""
        super().build(feature_dim)
        self.layers = nn.Sequential(nn.Linear(2 * feature_dim, self.hidden), nn.ReLU(), nn.Linear(self.hidden, 5))

    def forward(
        self, projections: Tensor, view_from_crop: Tensor, features: Tensor | None = None, **known: Tensor
    ) -> Tensor:
        """Compute the loss."""
        if features is None or features.shape[:-1] != projections.shape[:2]:
            found = None if features is None else tuple(features.shape)
            raise ValueError(f"GeometryHead reads features (B, 2, F) of the same views as projections, got {found}")
        if not self.layers:
            raise ValueError(f"GeometryHead has no layers yet: call build({features.shape[-1]})")
        contrast: Tensor = self.contrast(projections, view_from_crop, features=features, **known)
        # the square error of `relative_geometry`, mean over both directions of all pairs
        features, counts = at_least_float32(features), pairs_per_process(len(features))
        there_and_back = torch.cat((features, features.flip(1)))
        predicted = at_least_float32(self.layers(there_and_back.flatten(1)))
        between = relative_geometry(torch.cat((view_from_crop, view_from_crop.flip(1)))).to(predicted.dtype)
        identity = torch.eye(3, device=view_from_crop.device, dtype=view_from_crop.dtype)
        has_map = (view_from_crop != identity).flatten(1).any(dim=1).repeat(2)[:, None]
        error = mse_loss(predicted * has_map, between * has_map, reduction="sum")
        return contrast + self.weight * sum_over_processes(error / (2 * sum(counts)))

    def undo(self, projections: Tensor, view_from_crop: Tensor) -> Tensor:
        """Undo what the contrast undoes."""
        return self.contrast.undo(projections, view_from_crop)


def relative_geometry(view_from_crop: Tensor) -> Tensor:
    """Cosine and sine of the angle, shift, and logarithm of the scale of the map from first to second views: (B, 5).

    The angle has OpenCV's sign, the shift is the view's center's in normalized coordinates.
    """
    first, second = view_from_crop.unbind(dim=1)
    second_from_first = compose(second, invert(first))
    angle, linear = rotation_angle(second_from_first), second_from_first[:, :2, :2]
    area = linear[:, 0, 0] * linear[:, 1, 1] - linear[:, 0, 1] * linear[:, 1, 0]
    return torch.stack((angle.cos(), angle.sin(), *second_from_first[:, :2, 2].unbind(-1), area.abs().log() / 2), -1)

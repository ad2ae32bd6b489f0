"""A projection in two parts, one that forgets what a view did to the image and one that follows it.

The idea of SIE: Garrido et al., "Self-supervised learning of Split Invariant Equivariant representations", ICML 2023
(arXiv 2302.10283). Instead of its learned predictor, PeCLR's inversion aligns the equivariant part.
"""

import torch
from torch import Tensor

from peclr.losses.objectives import Objective, PeCLR, SimCLR, check_shapes, check_weights


class SplitObjective(Objective):
    """The sum of an invariant objective of the first part of the projections and an equivariant one of the rest.

    Args:
        invariant: Of the first part; by default `SimCLR`.
        equivariant: Of the rest, an even number of features; by default `PeCLR`.
        share: Of the features that the invariant part gets, between 0 and 1.
        weight: Of the equivariant objective in the sum.
    """

    def __init__(
        self,
        invariant: Objective | None = None,
        equivariant: Objective | None = None,
        share: float = 0.5,
        weight: float = 1.0,
    ) -> None:
        if not 0 < share < 1:
            raise ValueError(f"the invariant part's share of the features is between 0 and 1, got {share}")
        check_weights(weight=weight)
        super().__init__()
        self.invariant = invariant or SimCLR()
        self.equivariant = equivariant or PeCLR()
        self.share = share
        self.weight = weight
        self.needs = self.invariant.needs | self.equivariant.needs

    def forward(self, projections: Tensor, view_from_crop: Tensor, **known: Tensor) -> Tensor:
        """Compute the loss."""
        first, rest = self._split(projections, view_from_crop)
        invariant: Tensor = self.invariant(first, view_from_crop, **known)
        equivariant: Tensor = self.equivariant(rest, view_from_crop, **known)
        return invariant + self.weight * equivariant

    def undo(self, projections: Tensor, view_from_crop: Tensor) -> Tensor:
        """Bring the equivariant part to the frame of the crop; the other is the same in every frame."""
        first, rest = self._split(projections, view_from_crop)
        undone = self.equivariant.undo(rest, view_from_crop)
        return torch.cat((first.to(undone.dtype), undone), dim=-1)

    def _split(self, projections: Tensor, view_from_crop: Tensor) -> tuple[Tensor, Tensor]:
        check_shapes(projections, view_from_crop)
        features = projections.shape[-1]
        rest = 2 * round((1 - self.share) * features / 2)
        if not 0 < rest < features:
            raise ValueError(f"cannot split {features} features of a projection with a share of {self.share}")
        return projections[..., :-rest], projections[..., -rest:]

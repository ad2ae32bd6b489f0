"""VICReg: no negatives, so that small batches do; what keeps projections apart is their variance and covariance.

Bardes et al., "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning", ICLR 2022
(arXiv 2105.04906), §4.1.
"""

import torch
from torch import Tensor
from torch.nn.functional import mse_loss, relu

from peclr.collectives import pairs_per_process
from peclr.geometry.affine import at_least_float32
from peclr.losses.nt_xent import full_precision_matmul, gather_views
from peclr.losses.objectives import Objective, check_weights, undo_views


class VICReg(Objective):
    """VICReg of the projections after each view's translation and rotation are undone on them, not normalized.

    Variance and covariance are over the batches of all processes. With nothing undone, this is VICReg as published.

    Args:
        invariance: Weight of the two views' mean square difference.
        variance: Weight of the hinge that keeps each feature's deviation above 1.
        covariance: Weight of the squared covariances between features.
        translation: Whether what shifted a view is undone on its projection.
        rotation: Whether what turned it is.
    """

    def __init__(
        self,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
        *,
        translation: bool = True,
        rotation: bool = True,
    ) -> None:
        check_weights(invariance=invariance, variance=variance, covariance=covariance)
        super().__init__()
        self.invariance = invariance
        self.variance = variance
        self.covariance = covariance
        self.translation = translation
        self.rotation = rotation

    def forward(self, projections: Tensor, view_from_crop: Tensor, **known: Tensor) -> Tensor:
        """Compute the loss; D is even."""
        undone = self.undo(projections, view_from_crop)
        # all processes compute all of it: `gather` adds up their gradients, which DistributedDataParallel averages
        first, second = gather_views(undone, pairs_per_process(len(undone)))[0].chunk(2)
        return vicreg_loss(first, second, self.invariance, self.variance, self.covariance)

    def undo(self, projections: Tensor, view_from_crop: Tensor) -> Tensor:
        """Undo what was asked for."""
        return undo_views(projections, view_from_crop, translation=self.translation, rotation=self.rotation)


def vicreg_loss(
    z1: Tensor, z2: Tensor, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0
) -> Tensor:
    """VICReg between the views (N, D) of this process alone, in float32 or better even under autocast.

    ValueError if shapes differ, or there is no variance (N < 2).
    """
    if z1.ndim != 2 or z1.shape != z2.shape:
        raise ValueError(f"expected two (N, D) embeddings, got {tuple(z1.shape)} and {tuple(z2.shape)}")
    if len(z1) < 2:
        raise ValueError(f"variance needs at least 2 samples in a batch, got {len(z1)}")
    z1, z2 = at_least_float32(z1), at_least_float32(z2)
    loss = invariance * mse_loss(z1, z2)
    with torch.autocast(z1.device.type, enabled=False), full_precision_matmul():
        for z in (z1, z2):
            centered = z - z.mean(dim=0)
            covariances = centered.mT @ centered / (len(z) - 1)
            variances = covariances.diagonal()
            hinge = relu(1 - (variances + 1e-4).sqrt()).mean()
            apart = (covariances.square().sum() - variances.square().sum()) / z.shape[1]
            loss = loss + variance * hinge / 2 + covariance * apart
    return loss

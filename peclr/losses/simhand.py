"""SiMHand's objective: PeCLR whose pairs weigh according to how alike the hands are.

Lin et al., "SiMHand: Mining Similar Hands for Large-Scale 3D Hand Pose Pre-training", ICLR 2025 (arXiv
2502.15251), §3.3, with linear weights. Weights multiply cosines: those of hands in unlike poses count less, in
attraction as in repulsion. Meant for positives from different images, mined for their similarity.
"""

import torch
from torch import Tensor

from peclr.collectives import max_over_processes, pairs_per_process, sum_over_processes
from peclr.losses.nt_xent import gather_views, l2_normalize, nt_xent_of_anchors
from peclr.losses.objectives import Known, PeCLR, check_joints


class SiMHand(PeCLR):
    """NT-Xent with adaptive weights, after PeCLR's inversion.

    A weight falls linearly with the mean distance of two views' known joints, from 1 for the closest pair of all
    processes' batches to 0 for the farthest; it is 1 where no joint is known of both. As published, `positive` weights
    apply in the softmax's numerator alone, where closest and farthest are among the positive pairs, and `negative`
    weights to all of its denominator, where they are among all pairs of views.

    Args:
        temperature: Divides similarities before the softmax: the smaller, the more the nearest negatives count.
        translation: Whether what shifted a view is undone on its projection.
        rotation: Whether what turned it is.
        positive: Whether the numerator is weighted.
        negative: Whether the denominator is.
    """

    needs: frozenset[Known] = frozenset({"joints_2d"})

    def __init__(
        self,
        temperature: float = 0.5,
        *,
        translation: bool = True,
        rotation: bool = True,
        positive: bool = True,
        negative: bool = True,
    ) -> None:
        super().__init__(temperature, translation=translation, rotation=rotation)
        self.positive = positive
        self.negative = negative

    def forward(
        self, projections: Tensor, view_from_crop: Tensor, joints_2d: Tensor | None = None, **known: Tensor
    ) -> Tensor:
        """Compute the loss; D is even."""
        joints_2d = check_joints(projections, joints_2d)
        counts = pairs_per_process(len(projections))
        views, own = gather_views(l2_normalize(self.undo(projections, view_from_crop)), counts)
        joints = gather_views(joints_2d, counts)[0]
        weights = negative_weights(joints, own) if self.negative else None
        pull = positive_weights(joints)[own % (len(joints) // 2)] if self.positive else None
        return sum_over_processes(nt_xent_of_anchors(views, own, self.temperature, weights, pull))


def positive_weights(joints: Tensor) -> Tensor:
    """Weights (N,) of positive pairs, in [0, 1], of joints (2N, 21, 2): all first views, then all second views."""
    first, second = joints.chunk(2)
    distances = torch.linalg.vector_norm(first - second, dim=-1).nanmean(dim=-1)
    nearest, farthest = distances.nan_to_num(nan=torch.inf).amin(), distances.nan_to_num(nan=-torch.inf).amax()
    return _linear(distances, nearest, farthest)


def negative_weights(joints: Tensor, own: Tensor) -> Tensor:
    """Weights (A, 2N), in [0, 1], of all views, joints (2N, 21, 2), in the denominators of anchors `own` (A,).

    Each view is as close as can be to itself, so the closest distance is 0.
    """
    known = joints.isfinite().all(dim=-1)
    distances = torch.zeros(len(own), len(joints), device=joints.device, dtype=joints.dtype)
    in_both = torch.zeros_like(distances)
    for joint, is_known in zip(joints.nan_to_num().unbind(dim=1), known.unbind(dim=1), strict=True):
        # all at once take 21 times the memory; scalar products cancel for close joints
        apart = torch.cdist(joint[own], joint, compute_mode="donot_use_mm_for_euclid_dist")
        both = is_known[own, None] & is_known
        distances += apart * both
        in_both += both
    distances /= in_both  # NaN if there is none
    farthest = max_over_processes(distances.nan_to_num(nan=-torch.inf).amax())
    return _linear(distances, torch.zeros_like(farthest), farthest)


def _linear(distances: Tensor, nearest: Tensor, farthest: Tensor) -> Tensor:
    """1 at the nearest, 0 at the farthest, 1 for what is not known or if all are equally far."""
    return (1 - (distances - nearest) / (farthest - nearest)).nan_to_num(nan=1.0)

"""PeCLR that does not push hands in like poses apart.

Huynh et al., "Boosting Contrastive Self-Supervised Learning with False Negative Cancellation", WACV 2022 (arXiv
2011.11765), §3.2, take false negatives out of the softmax. Here they are known by their joints instead of guessed,
and go gradually.
"""

import math

import torch
from torch import Tensor

from peclr.collectives import pairs_per_process, sum_over_processes
from peclr.geometry.affine import exact_matmul, invert
from peclr.losses.nt_xent import gather_views, l2_normalize, nt_xent_of_anchors
from peclr.losses.objectives import Known, PeCLR, check_joints


class SoftPeCLR(PeCLR):
    """PeCLR in which other hands count the less as negatives, the more their pose is the anchor's.

    Poses are the joints of the views after their rotation is undone, whatever their place and size. A hand in the very
    pose of the anchor is no negative at all, one that is `radius` away or of which a joint is not known is a full one.

    Args:
        temperature: Divides similarities before the softmax: the smaller, the more the nearest negatives count.
        translation: Whether what shifted a view is undone on its projection.
        rotation: Whether what turned it is.
        radius: Root mean square over joints, in units of a hand's own spread about its mean. Of the rendered hands, 1 %
            of all pairs are within 0.4.
    """

    needs: frozenset[Known] = frozenset({"joints_2d"})

    def __init__(
        self, temperature: float = 0.5, *, translation: bool = True, rotation: bool = True, radius: float = 0.4
    ) -> None:
        if not 0 < radius < math.inf:
            raise ValueError(f"radius must be above 0, got {radius}")
        super().__init__(temperature, translation=translation, rotation=rotation)
        self.radius = radius

    def forward(
        self, projections: Tensor, view_from_crop: Tensor, joints_2d: Tensor | None = None, **known: Tensor
    ) -> Tensor:
        """Compute the loss; D is even."""
        joints_2d = check_joints(projections, joints_2d)
        counts = pairs_per_process(len(projections))
        views, own = gather_views(l2_normalize(self.undo(projections, view_from_crop)), counts)
        poses = gather_views(poses_of(joints_2d, view_from_crop), counts)[0]
        shares = negative_shares(poses, own, self.radius)
        return sum_over_processes(nt_xent_of_anchors(views, own, self.temperature, shares=shares))


def poses_of(joints: Tensor, view_from_crop: Tensor) -> Tensor:
    """Joints (B, 2, 21, 2) of views, in the orientation of the crop, about their mean, with a spread of 1.

    NaN where a joint is not known.
    """
    turned = exact_matmul(joints, invert(view_from_crop)[..., :2, :2].mT)
    centered = turned - turned.mean(dim=-2, keepdim=True)
    return centered / centered.square().sum(dim=-1, keepdim=True).mean(dim=-2, keepdim=True).sqrt()


def negative_shares(poses: Tensor, own: Tensor, radius: float) -> Tensor:
    """Shares (A, 2N) of all views, poses (2N, 21, 2), in the denominators of anchors `own` (A,).

    0 for like poses, 1 from `radius` on and for an anchor's other view, which stands in its numerator.
    """
    flat = poses.flatten(1)
    # not by scalar products, which cancel for close poses
    distances = torch.cdist(flat[own], flat, compute_mode="donot_use_mm_for_euclid_dist") / poses.shape[1] ** 0.5
    shares: Tensor = (distances / radius).clamp_max(1).nan_to_num(nan=1.0)
    partners = (own + len(poses) // 2) % len(poses)
    return shares.scatter(1, partners[:, None], 1.0)

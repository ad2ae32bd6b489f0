"""The loss of fine-tuning: L1 on 2.5-D pose and on the depth of the root.

PeCLR's fine-tuning code was not published. The terms and weights are those of its authors' earlier pose
estimation code (dahiyaaneesh/Handposeestimation): L1(u, v) + 5 · L1(relative depth) + L1(root depth).
"""

from typing import Final, NamedTuple, Self

import torch
from torch import Tensor, nn

from peclr.geometry.affine import at_least_float32

# px, of the crops that the published weights are for; the same hand is off by fewer pixels of a smaller one
PUBLISHED_VIEW_SIZE: Final = 224


class PoseLossTerms(NamedTuple):
    """Values of `PoseLoss`: the weighted sum, and its terms, mean absolute errors, before weighting; scalars."""

    total: Tensor
    keypoints_2d: Tensor  # per coordinate, px of the crop
    depth: Tensor  # relative to the root, bone lengths
    root: Tensor  # bone lengths


class KnownLabels(NamedTuple):
    """What is known of the labels of B hands."""

    joints: Tensor  # (B, 21), bool, whether a joint's pixels are known, and where `depth`, its relative depth
    depth: Tensor  # (B,), bool, whether a hand's depths are known

    def counts(self) -> Tensor:
        """(3,): the numbers of joints, of relative depths and of root depths, over which terms are means."""
        depths = self.joints & self.depth[:, None]
        return torch.stack((self.joints.sum(), depths.sum(), self.depth.sum())).float()


class PoseLoss(nn.Module):
    """Weighted L1 on pixels, relative depth and root depth, in float32 or better: means over what is known.

    L1 throughout: a root depth far off, as the closed form gives for a foreshortened bone, pulls no harder than one
    that is nearly right.

    Args:
        keypoints_2d_weight: Of the error in px of the view; by default pixels count as if views were 224 px, for which
            the weights are published (1 for 48 px cost 3 to 4 mm of root-relative EPE:
            experiments/results/finetune_recipe.json).
        depth_weight: Of the error in relative depth.
        root_weight: Of the error in root depth; 0 leaves the root to its closed form.
    """

    def __init__(
        self, keypoints_2d_weight: float | None = None, depth_weight: float = 5.0, root_weight: float = 1.0
    ) -> None:
        super().__init__()
        self._relative_to_size = keypoints_2d_weight is None
        self.keypoints_2d_weight = 1.0 if keypoints_2d_weight is None else keypoints_2d_weight
        self.depth_weight = depth_weight
        self.root_weight = root_weight
        weights = (self.keypoints_2d_weight, depth_weight, root_weight)
        if min(weights) < 0:
            raise ValueError(f"weights of the pose loss must not be negative, got {weights}")

    def for_view_size(self, view_size: int) -> Self:
        """Choose the weight of pixels for views of that side in px, unless it was given; returns this loss."""
        if view_size < 1:
            raise ValueError(f"a view has at least one pixel, got view size {view_size}")
        if self._relative_to_size:
            self.keypoints_2d_weight = PUBLISHED_VIEW_SIZE / view_size
        return self

    def forward(
        self,
        keypoints_2d: Tensor,
        depth_rel: Tensor,
        root_depth: Tensor,
        target_25d: Tensor,
        target_root_depth: Tensor,
        known: KnownLabels | None = None,
        counts: Tensor | None = None,
    ) -> PoseLossTerms:
        """Compare predictions (B, 21, 2), px of the crop, (B, 21) and (B,), bone lengths, with (B, 21, 3) and (B,).

        Args:
            known: Which labels are; all by default. The others, which must be finite, have no gradient.
            counts: What sums over the known ones are divided by, as `KnownLabels.counts`. Of several processes, each
                with a share of a batch, it is the mean of theirs: the mean of their losses is then that of the batch.
        """
        # torch would broadcast most mistakes here
        shapes = [tuple(tensor.shape) for tensor in (keypoints_2d, depth_rel, root_depth, target_25d)]
        batch = target_25d.shape[:-1]
        expected = [(*batch, 2), (*batch,), (*batch[:-1],), (*batch, 3)]
        if shapes != expected or target_root_depth.shape != root_depth.shape:
            raise ValueError(f"expected predictions and labels of one batch, got {shapes}")
        if known is None:
            joints_known = torch.ones(batch, dtype=torch.bool, device=target_25d.device)
            known = KnownLabels(joints_known, joints_known[..., 0])
        joints, depths, roots = known.counts() if counts is None else counts
        target_25d = at_least_float32(target_25d)
        uv = _mean(keypoints_2d, target_25d[..., :2], known.joints[..., None], 2 * joints)
        depth = _mean(depth_rel, target_25d[..., 2], known.joints & known.depth[..., None], depths)
        root = _mean(root_depth, target_root_depth, known.depth, roots)
        return PoseLossTerms(self.total(uv, depth, root), uv, depth, root)

    def total(self, keypoints_2d: Tensor, depth: Tensor, root: Tensor) -> Tensor:
        """Weigh the terms."""
        return self.keypoints_2d_weight * keypoints_2d + self.depth_weight * depth + self.root_weight * root


def _mean(prediction: Tensor, target: Tensor, known: Tensor, count: Tensor) -> Tensor:
    """Add the absolute errors that are known, and divide by their number; 0 where there are none."""
    errors = (at_least_float32(prediction) - at_least_float32(target)).abs()
    return torch.where(known, errors, 0).sum() / torch.where(count > 0, count, 1)

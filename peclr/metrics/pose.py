"""Scores during training, as torchmetrics: sums over hands and joints, whatever the batches and processes."""

import math

import torch
from torch import Tensor
from torchmetrics import MeanMetric, Metric, MetricCollection

from peclr.geometry.joints import NUM_JOINTS, WRIST
from peclr.geometry.procrustes import similarity_align

_MM_PER_M = 1000.0
# Metres: 0 to 50 mm in 100 steps, as the official FreiHAND scores.
_AUC_RANGE_M = 0.05
_AUC_STEPS = 100


def aligned_errors(joints_3d: Tensor, target_3d: Tensor, *, allow_reflection: bool = False) -> tuple[Tensor, Tensor]:
    """Align hands to their labels, each by a similarity transform, and measure what is left: the mean is PA-EPE.

    Args:
        joints_3d: (B, 21, 3), predicted, metres, as the labels.
        allow_reflection: let a left hand pass for a right one, as the official FreiHAND scores do.

    Returns:
        The aligned joints (B, 21, 3), metres, and their distances from the labels (B, 21), float64, millimetres.
    """
    aligned = similarity_align(joints_3d, target_3d, allow_reflection=allow_reflection)
    return aligned, _MM_PER_M * _distances(aligned, target_3d)


class MeanJointDistance(Metric):
    """Mean distance of 21 joints over all hands seen; what a distance is, subclasses say."""

    full_state_update = False
    higher_is_better = False
    is_differentiable = False
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        # float64: a sum over 10⁶ joints must not swallow its last addends
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def _add(self, errors: Tensor) -> None:
        self.total += errors.sum()
        self.count += errors.numel()

    def compute(self) -> Tensor:
        """Mean over joints and hands."""
        return (self.total / self.count).float()


class Error2D(MeanJointDistance):
    """Pixels between 2-D joints."""

    def update(self, keypoints_2d: Tensor, target_2d: Tensor) -> None:
        """Add a batch: (B, 21, 2), predicted and true, pixels of a view."""
        self._add(_distances(keypoints_2d, target_2d))


class EPE(MeanJointDistance):
    """Millimetres between 3-D joints in the camera frame."""

    def update(self, joints_3d: Tensor, target_3d: Tensor) -> None:
        """Add a batch: (B, 21, 3), predicted and true, metres, camera frame."""
        self._add(_MM_PER_M * _distances(joints_3d, target_3d))


class RootRelativeEPE(MeanJointDistance):
    """Millimetres between 3-D joints after both wrists have been moved to the origin."""

    def update(self, joints_3d: Tensor, target_3d: Tensor) -> None:
        """Add a batch: (B, 21, 3), predicted and true, metres, order freihand."""
        root = slice(WRIST, WRIST + 1)
        self._add(_MM_PER_M * _distances(joints_3d - joints_3d[:, root], target_3d - target_3d[:, root]))


class PAEPE(MeanJointDistance):
    """Millimetres between 3-D joints after similarity alignment of each prediction.

    Args:
        allow_reflection: let a left hand pass for a right one, as the official FreiHAND scores do.
    """

    def __init__(self, *, allow_reflection: bool = False) -> None:
        super().__init__()
        self.allow_reflection = allow_reflection

    def update(self, joints_3d: Tensor, target_3d: Tensor) -> None:
        """Add a batch: (B, 21, 3), predicted and true, metres."""
        self._add(aligned_errors(joints_3d, target_3d, allow_reflection=self.allow_reflection)[1])


class AUC(Metric):
    """Area under the share of joints at most 0…50 mm away (PCK), 0…1: the official FreiHAND AUC.

    Args:
        aligned: after similarity alignment of each prediction.
        allow_reflection: let a left hand pass for a right one when aligning, as the official scores do.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    hits: Tensor
    count: Tensor

    def __init__(self, *, aligned: bool = False, allow_reflection: bool = False) -> None:
        super().__init__()
        self.aligned = aligned
        self.allow_reflection = allow_reflection
        hits = torch.zeros(_AUC_STEPS, dtype=torch.float64)
        self.add_state("hits", hits, dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, joints_3d: Tensor, target_3d: Tensor) -> None:
        """Add a batch: (B, 21, 3), predicted and true, metres, camera frame."""
        if self.aligned:
            joints_3d = similarity_align(joints_3d, target_3d, allow_reflection=self.allow_reflection)
        errors = _distances(joints_3d, target_3d)
        self.hits += (errors[..., None] <= self._thresholds()).sum(dim=(0, 1))
        self.count += errors.numel()

    def compute(self) -> Tensor:
        """Trapezoids under the PCK, divided by their base."""
        return (torch.trapezoid(self.hits / self.count, self._thresholds()) / _AUC_RANGE_M).float()

    def _thresholds(self) -> Tensor:
        return torch.linspace(0, _AUC_RANGE_M, _AUC_STEPS, dtype=torch.float64, device=self.hits.device)


class PoseMetrics(MetricCollection):
    """All of them, under the names of the logs: the prefix "val/" gives `val/pa_epe_mm`."""

    def __init__(self, prefix: str | None = None) -> None:
        metrics: dict[str, Metric | MetricCollection] = {
            "error_2d_px": Error2D(),
            "epe_mm": EPE(),
            "root_relative_epe_mm": RootRelativeEPE(),
            "pa_epe_mm": PAEPE(),
            "auc": AUC(),
            "pa_auc": AUC(aligned=True),
        }
        # groups are formed by comparing states, and two kinds of error are equal while they are zero
        super().__init__(metrics, prefix=prefix, compute_groups=False)

    def update(  # type: ignore[override]  # a collection forwards anything, its members do not take it
        self, joints_3d: Tensor, target_3d: Tensor, keypoints_2d: Tensor, target_2d: Tensor
    ) -> None:
        """Add a batch: (B, 21, 3), metres, camera frame, order freihand; (B, 21, 2), pixels of the view."""
        super().update(joints_3d=joints_3d, target_3d=target_3d, keypoints_2d=keypoints_2d, target_2d=target_2d)


def mean_loss() -> MeanMetric:
    """The mean of a loss over hands: Lightning's own mean counts hands per process in integers, rounded down."""
    # torchmetrics 1.9 ignores weights where its look for NaN is disabled, and drops NaN by default
    return MeanMetric(nan_strategy=math.nan)


def _distances(pred: Tensor, target: Tensor) -> Tensor:
    """Euclidean, float64: (B, 21, D), (B, 21, D) → (B, 21)."""
    if pred.shape != target.shape or pred.ndim != 3 or pred.shape[1] != NUM_JOINTS:
        shapes = f"{tuple(pred.shape)} and {tuple(target.shape)}"
        raise ValueError(f"expected predictions and labels (B, {NUM_JOINTS}, D) of one shape, got {shapes}")
    distances: Tensor = torch.linalg.vector_norm(pred.double() - target.double(), dim=-1)
    return distances

"""Scores of 3-D joints, in training, tests and evaluations: sums over hands, whatever the batches and processes."""

import math
from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import Tensor
from torchmetrics import MeanMetric, Metric, MetricCollection

from peclr.geometry.joints import NUM_JOINTS, WRIST
from peclr.geometry.procrustes import similarity_align

_MM_PER_M = 1000.0
# 0 to 50 mm in 100 steps, as the official FreiHAND scores
_AUC_RANGE_MM, _AUC_STEPS = 50.0, 100


def aligned_errors(pred: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """Joints (B, 21, 3), metres, each hand aligned by a similarity transform, and their `epe_mm` (B, 21)."""
    aligned = similarity_align(pred, true)
    return aligned, epe_mm(aligned, true)


def pa_epe_mm(pred: Tensor, true: Tensor) -> Tensor:
    """Millimetres between joints (B, 21, 3), metres, after similarity alignment of each prediction: (B, 21)."""
    return aligned_errors(pred, true)[1]


def epe_mm(pred: Tensor, true: Tensor) -> Tensor:
    """Millimetres, float64, between joints (B, 21, 3), metres, camera frame: (B, 21)."""
    return _MM_PER_M * distances(pred, true)


def root_relative_epe_mm(pred: Tensor, true: Tensor) -> Tensor:
    """Millimetres between joints (B, 21, 3), metres, order freihand, after both wrists are at the origin: (B, 21)."""
    return epe_mm(pred - pred[:, [WRIST]], true - true[:, [WRIST]])


def distances(pred: Tensor, target: Tensor) -> Tensor:
    """Euclidean, float64: (B, 21, D), (B, 21, D) → (B, 21)."""
    if pred.shape != target.shape or pred.ndim != 3 or pred.shape[1] != NUM_JOINTS:
        shapes = f"{tuple(pred.shape)} and {tuple(target.shape)}"
        raise ValueError(f"expected predictions and labels (B, {NUM_JOINTS}, D) of one shape, got {shapes}")
    distances: Tensor = torch.linalg.vector_norm(pred.double() - target.double(), dim=-1)
    return distances


class MeanDistance(Metric):
    """Mean over the joints of all hands seen of a measure: predicted and true joints (B, 21, D) → (B, 21)."""

    full_state_update = False
    higher_is_better = False
    is_differentiable = False
    total: Tensor
    count: Tensor

    def __init__(self, measure: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.measure = measure
        # float64: a sum over 10⁶ joints must not swallow its last addends
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, pred: Tensor, true: Tensor, known: Tensor | None = None) -> None:
        """Add a batch, or of it the joints that are `known` (B, 21), bool; relative errors need a hand's wrist."""
        if known is None:
            known = torch.ones(pred.shape[:2], dtype=torch.bool, device=pred.device)
        # at the middle of the others in both hands, an unknown joint moves no alignment
        values = self.of_joints(_centered(pred, known), _centered(true, known))
        self.total += torch.where(known, values, 0).sum()
        self.count += known.sum()

    def compute(self) -> Tensor:
        """Mean over joints and hands; NaN where none was known."""
        return (self.total / self.count).float()

    def of_joints(self, pred: Tensor, true: Tensor) -> Tensor:
        """What is averaged, (B, 21)."""
        return self.measure(pred, true)


def _centered(joints: Tensor, known: Tensor) -> Tensor:
    """Put unknown joints of (B, 21, D) at the mean of a hand's known ones; at 0, if it has none."""
    known = known[..., None]
    middle = torch.where(known, joints, 0).sum(dim=1, keepdim=True) / known.sum(dim=1, keepdim=True).clamp_min(1)
    return torch.where(known, joints, middle)


class AUC(MeanDistance):
    """Area under the share of joints at most 0…50 mm away (PCK), 0…1, of a measure in mm: the official FreiHAND AUC."""

    higher_is_better = True

    def of_joints(self, pred: Tensor, true: Tensor) -> Tensor:
        """The area (B, 21) under each joint's own PCK, by trapezoids: their mean is that under the mean PCK."""
        errors = self.measure(pred, true)
        thresholds = torch.linspace(0, _AUC_RANGE_MM, _AUC_STEPS, dtype=torch.float64, device=errors.device)
        return torch.trapezoid((errors[..., None] <= thresholds).double(), thresholds) / _AUC_RANGE_MM


# Errors of 3-D joints by name, the same in logs, in scores.json and in reports: EPE alone is in the camera frame, PA is
# after an alignment that does not mirror. The leaderboard's may (`peclr.metrics.freihand`).
ERRORS_MM: Final[Mapping[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "epe_mm": epe_mm,
    "root_relative_epe_mm": root_relative_epe_mm,
    "pa_epe_mm": pa_epe_mm,
}


def joint_metrics() -> dict[str, MeanDistance]:
    """The metrics of 3-D joints, by the names of the logs."""
    means = {name: MeanDistance(measure) for name, measure in ERRORS_MM.items()}
    return {**means, "auc": AUC(epe_mm), "pa_auc": AUC(pa_epe_mm)}


def joint_scores(joints_3d: Tensor, target_3d: Tensor) -> dict[str, float]:
    """Score all hands of a set at once: (N, 21, 3), metres, camera frame, order freihand; names as of the logs."""
    metrics = joint_metrics()
    for metric in metrics.values():
        metric.update(joints_3d, target_3d)
    return {name: float(metric.compute()) for name, metric in metrics.items()}


class PoseMetrics(MetricCollection):
    """All of them, under the names of the logs: the prefix "val/" gives `val/pa_epe_mm`."""

    def __init__(self, prefix: str | None = None) -> None:
        metrics: dict[str, Metric | MetricCollection] = {"error_2d_px": MeanDistance(distances), **joint_metrics()}
        # groups are formed by comparing states, and two kinds of error are equal while they are zero
        super().__init__(metrics, prefix=prefix, compute_groups=False)

    def update(  # type: ignore[override]  # a collection forwards anything
        self,
        joints_3d: Tensor,
        target_3d: Tensor,
        keypoints_2d: Tensor,
        target_2d: Tensor,
        joint_valid: Tensor | None = None,
        has_3d: Tensor | None = None,
    ) -> None:
        """Add a batch: (B, 21, 3), metres, camera frame, order freihand; (B, 21, 2), pixels of the view.

        What is known of it are joints (B, 21), bool, and in 3-D hands (B,), bool; by default all.
        """
        valid_3d = joint_valid if joint_valid is None or has_3d is None else joint_valid & has_3d[:, None]
        for name, metric in self.items(keep_base=True, copy_state=False):
            if name == "error_2d_px":
                metric.update(keypoints_2d, target_2d, joint_valid)
            else:
                metric.update(joints_3d, target_3d, valid_3d)

    def compute(self) -> dict[str, Tensor]:
        """Means by their names in the logs, over all processes; what no joint was known for is left out."""
        found = {}
        for name, metric in self.items(keep_base=False, copy_state=False):
            assert isinstance(metric, MeanDistance)
            with metric.sync_context():
                if metric.count > 0:
                    found[name] = (metric.total / metric.count).float()
        return found


class TermMeans(Metric):
    """Means of the terms of a loss, each over what was known of it."""

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, terms: int) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(terms, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(terms, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, means: Tensor, counts: Tensor) -> None:
        """Add a batch: its means, and over how many values they are (terms,)."""
        self.total += means * counts
        self.count += counts

    def compute(self) -> tuple[Tensor, Tensor]:
        """Means, 0 where nothing was known, and over how many values they are (terms,)."""
        return (self.total / self.count.clamp_min(1)).float(), self.count


def mean_loss() -> MeanMetric:
    """The mean of a loss over hands: Lightning's own mean counts hands per process in integers, rounded down."""
    # torchmetrics 1.9 ignores weights where its look for NaN is disabled, and drops NaN by default
    return MeanMetric(nan_strategy=math.nan)

"""What the scores of several sets share, in NumPy: alignment, distances summed up, F-scores, checks of input.

The F-score is Knapitsch et al., "Tanks and Temples", 2017. When comparing, know that the alignment may mirror a
hand, and that a distance equal to its threshold counts for a PCK (≤), not for an F-score (<).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from peclr.geometry.procrustes import similarity_align

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

MM_PER_M, CM_PER_M = 1000.0, 100.0
# Metres: 0 to 5 cm in 100 steps.
PCK_THRESHOLDS: Array = np.linspace(0.0, 0.05, 100)
# Metres, with what scores.txt calls them.
F_SCORE_THRESHOLDS = {"5": 0.005, "15": 0.015}


@dataclass(frozen=True)
class ErrorSummary:
    """Distances between predicted and true points, summed up."""

    mean_m: float  # metres
    auc: float  # area under `pck` over `PCK_THRESHOLDS`, 0…1
    pck: Array  # (100,), share of points at most each threshold away


def summarize_errors(pred: Array, true: Array) -> ErrorSummary:
    """Mean and PCK curve of the distances between (N, P, 3) points, metres."""
    errors = np.linalg.norm(pred - true, axis=-1)
    # a bin per threshold: errors up to and including it, and one for those beyond the last
    bins = np.searchsorted(PCK_THRESHOLDS, errors.ravel(), side="left")
    pck = np.bincount(bins, minlength=len(PCK_THRESHOLDS) + 1)[:-1].cumsum() / errors.size
    return ErrorSummary(
        mean_m=float(errors.mean()),
        # every point counts once per sample, so that the mean of their areas is the area under their mean
        auc=float(np.trapezoid(pck, PCK_THRESHOLDS) / np.ptp(PCK_THRESHOLDS)),
        pck=pck,
    )


def align(pred: Array, true: Array) -> Array:
    """Predictions (N, P, 3) by a similarity transform each onto its label, mirroring allowed, as officially."""
    return similarity_align(torch.tensor(pred), torch.tensor(true), allow_reflection=True).numpy()


def f_scores(pred: Array, true: Array) -> dict[str, float]:
    """Mean over samples (N, P, 3), metres, of the harmonic mean of precision and recall, by name of the threshold."""
    limits = np.array(list(F_SCORE_THRESHOLDS.values()))[:, None]
    scores = []
    for predicted, label in zip(pred, true, strict=True):
        # nothing within reach comes back as infinity
        to_pred = cKDTree(predicted).query(label, distance_upper_bound=limits.max())[0]
        to_true = cKDTree(label).query(predicted, distance_upper_bound=limits.max())[0]
        precision, recall = (to_pred < limits).mean(axis=1), (to_true < limits).mean(axis=1)
        scores.append(2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny))
    return dict(zip(F_SCORE_THRESHOLDS, np.mean(scores, axis=0).tolist(), strict=True))


def mean_over_joints(values: ArrayLike, known: Mask) -> float:
    """Mean over joints of each joint's mean over the samples that know it, (N, P); NaN if none is ever known."""
    counts = known.sum(axis=0)
    means = np.sum(values, axis=0, where=known)[counts > 0] / counts[counts > 0]
    return float(means.mean()) if means.size else float("nan")


def checked_pair(
    points: int | None = None, dims: int = 3, known: Mask | None = None, **arrays: ArrayLike
) -> tuple[Array, Array]:
    """Predictions and labels (N, P, dims) as float64 arrays of one shape, every number finite, or ValueError.

    Args:
        points: P; None takes any number.
        known: (N, P), which points count; the others come back as 0, whatever they were.
        **arrays: two, by the names that messages use: predictions, then labels.
    """
    (pred_name, pred_values), (name, values) = arrays.items()
    pred, true = _array(pred_name, pred_values, points, dims), _array(name, values, points, dims)
    if pred.shape != true.shape:
        raise ValueError(f"{pred_name} has shape {pred.shape}, {name} has {true.shape}; expected the same")
    if known is not None:
        if known.shape != true.shape[:2]:
            raise ValueError(f"{name} has shape {true.shape}, what marks its known points {known.shape}")
        pred, true = np.where(known[..., None], pred, 0.0), np.where(known[..., None], true, 0.0)
    return _finite(pred_name, pred), _finite(name, true)


def _array(name: str, values: Any, points: int | None, dims: int) -> Array:  # nested lists, as in pred.json
    try:
        array = np.asarray(values, dtype=np.float64)
    except ValueError:
        raise ValueError(f"{name}: expected numbers (N, P, {dims}), got samples of different shapes") from None
    if array.ndim != 3 or array.shape[2] != dims or array.shape[1] != (points or array.shape[1]) or array.size == 0:
        raise ValueError(f"{name}: expected shape (N, {points or 'P'}, {dims}), got {array.shape}")
    return array


def _finite(name: str, array: Array) -> Array:
    if (bad := np.flatnonzero(~np.isfinite(array).all(axis=(1, 2)))).size:
        raise ValueError(f"{name}: sample {bad[0]} has a number that is not finite ({len(bad)} such samples)")
    return array

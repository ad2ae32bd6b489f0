"""The official FreiHAND scores, in NumPy.

Zimmermann et al., "FreiHAND: A Dataset for Markerless Capture of Hand Pose and Shape from Single RGB Images",
ICCV 2019, as its evaluation code (lmb-freiburg/freihand) computes them. The F-score is Knapitsch et al.,
"Tanks and Temples", 2017. When comparing, know that the alignment may mirror a hand, and that a distance
equal to its threshold counts for a PCK (≤), not for an F-score (<).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

Array = NDArray[np.float64]

# Metres: 0 to 5 cm in 100 steps.
PCK_THRESHOLDS: Array = np.linspace(0.0, 0.05, 100)
# Metres, with what scores.txt calls them.
F_SCORE_THRESHOLDS = {"5": 0.005, "15": 0.015}
_NORM_EPS = 1e-8
_CM_PER_M = 100.0


@dataclass(frozen=True)
class ErrorSummary:
    """Distances between predicted and true points, summed up.

    Attributes:
        mean_m: mean over samples, then over points, metres.
        median_m: median over samples, then mean over points, metres.
        auc: area under `pck` over `PCK_THRESHOLDS`, 0…1.
        pck: (100,), share of points at most each threshold away.
    """

    mean_m: float
    median_m: float
    auc: float
    pck: Array


def freihand_scores(
    pred_xyz: ArrayLike,
    xyz: ArrayLike,
    pred_verts: ArrayLike | None = None,
    verts: ArrayLike | None = None,
) -> dict[str, float]:
    """Score predictions as the leaderboard does.

    Args:
        pred_xyz: (N, 21, 3), metres, camera frame, order freihand.
        xyz: (N, 21, 3), the labels.
        pred_verts: (N, 778, 3), metres, camera frame, order of MANO's mesh.
        verts: (N, 778, 3), the labels.

    Returns:
        Keys, order and units of the official scores.txt: means in cm, AUC and F-scores 0…1. Keys that begin
        with `mesh_` and `f_` only with vertices.

    Raises:
        ValueError: shapes do not agree, a number is not finite, or one of two sets of vertices is missing.
    """
    if (pred_verts is None) != (verts is None):
        missing = "pred_verts" if pred_verts is None else "verts"
        raise ValueError(f"mesh scores compare pred_verts with verts, but {missing} is missing")
    pred, true = _checked_pair("xyz", pred_xyz, xyz, points=21)
    scores = _point_scores("xyz", pred, true, align(pred, true))
    if pred_verts is not None and verts is not None:
        pred, true = _checked_pair("verts", pred_verts, verts)
        aligned = align(pred, true)
        scores |= _point_scores("mesh", pred, true, aligned)
        raw_f, aligned_f = f_scores(pred, true), f_scores(aligned, true)
        for name in F_SCORE_THRESHOLDS:
            scores[f"f_score_{name}"] = raw_f[name]
            scores[f"f_al_score_{name}"] = aligned_f[name]
    return scores


def summarise_errors(pred: Array, true: Array) -> ErrorSummary:
    """Mean, median and PCK curve of the distances between (N, P, 3) points, metres."""
    errors = np.linalg.norm(pred - true, axis=-1)
    # a bin per threshold: errors up to and including it, and one for those beyond the last
    bins = np.searchsorted(PCK_THRESHOLDS, errors.ravel(), side="left")
    pck = np.bincount(bins, minlength=len(PCK_THRESHOLDS) + 1)[:-1].cumsum() / errors.size
    return ErrorSummary(
        mean_m=float(errors.mean()),
        median_m=float(np.median(errors, axis=0).mean()),
        # every point counts once per sample, so that the mean of their areas is the area under their mean
        auc=float(np.trapezoid(pck, PCK_THRESHOLDS) / np.ptp(PCK_THRESHOLDS)),
        pck=pck,
    )


def align(pred: Array, true: Array) -> Array:
    """Similarity transform of each prediction (N, P, 3) onto its label, mirroring allowed.

    Orthogonal Procrustes (Schönemann, 1966) of centred points of unit norm, in float64 like the official one,
    and without torch, so that scoring a file of predictions does not load it.
    """
    true_centre = true.mean(axis=1, keepdims=True)
    true_unit, true_norm = _unit(true - true_centre)
    pred_unit, _ = _unit(pred - pred.mean(axis=1, keepdims=True))
    U, S, Vh = np.linalg.svd(pred_unit.mT @ true_unit)
    aligned: Array = (pred_unit @ (U @ Vh)) * S.sum(axis=-1)[:, None, None] * true_norm + true_centre
    return aligned


def f_scores(pred: Array, true: Array) -> dict[str, float]:
    """Mean over samples of the harmonic mean of precision and recall, at each of `F_SCORE_THRESHOLDS`.

    Args:
        pred: (N, P, 3), metres.
        true: (N, P, 3), metres.

    Returns:
        0…1 by name of the threshold.
    """
    reach = max(F_SCORE_THRESHOLDS.values())
    scores = np.zeros((len(pred), len(F_SCORE_THRESHOLDS)))
    limits = np.array(list(F_SCORE_THRESHOLDS.values()))[:, None]
    for row, predicted, label in zip(scores, pred, true, strict=True):
        # nothing within reach comes back as infinity
        to_pred = cKDTree(predicted).query(label, distance_upper_bound=reach)[0]
        to_true = cKDTree(label).query(predicted, distance_upper_bound=reach)[0]
        precision, recall = (to_pred < limits).mean(axis=1), (to_true < limits).mean(axis=1)
        row[:] = 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
    return dict(zip(F_SCORE_THRESHOLDS, scores.mean(axis=0).tolist(), strict=True))


def _point_scores(name: str, pred: Array, true: Array, aligned: Array) -> dict[str, float]:
    raw, after = summarise_errors(pred, true), summarise_errors(aligned, true)
    return {
        f"{name}_mean3d": raw.mean_m * _CM_PER_M,
        f"{name}_auc3d": raw.auc,
        f"{name}_al_mean3d": after.mean_m * _CM_PER_M,
        f"{name}_al_auc3d": after.auc,
    }


def _unit(centred: Array) -> tuple[Array, Array]:
    """Points (N, P, 3) divided by their Frobenius norm, and that norm (N, 1, 1)."""
    norm = np.linalg.norm(centred, axis=(1, 2), keepdims=True) + _NORM_EPS
    return centred / norm, norm


def _checked_pair(name: str, pred: ArrayLike, true: ArrayLike, points: int | None = None) -> tuple[Array, Array]:
    pred, true = _checked(f"pred_{name}", pred, points), _checked(name, true, points)
    if pred.shape != true.shape:
        raise ValueError(f"pred_{name} has shape {pred.shape}, {name} has {true.shape}; expected the same")
    return pred, true


def _checked(name: str, values: Any, points: int | None) -> Array:  # nested lists, as in pred.json
    try:
        array = np.asarray(values, dtype=np.float64)
    except ValueError:
        raise ValueError(f"{name}: expected numbers (N, P, 3), got samples of different shapes") from None
    if array.ndim != 3 or array.shape[2] != 3 or array.shape[1] != (points or array.shape[1]) or array.size == 0:
        raise ValueError(f"{name}: expected shape (N, {points or 'P'}, 3), got {array.shape}")
    finite = np.isfinite(array).all(axis=(1, 2))
    if not finite.all():
        bad = np.flatnonzero(~finite)
        raise ValueError(f"{name}: sample {bad[0]} has a number that is not finite ({len(bad)} such samples)")
    return array

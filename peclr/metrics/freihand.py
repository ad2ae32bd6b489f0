"""The official FreiHAND scores, in NumPy.

Zimmermann et al., "FreiHAND: A Dataset for Markerless Capture of Hand Pose and Shape from Single RGB Images",
ICCV 2019, as its evaluation code (lmb-freiburg/freihand) computes them.
"""

from numpy.typing import ArrayLike

from peclr.geometry.joints import NUM_JOINTS
from peclr.metrics.points import CM_PER_M, F_SCORE_THRESHOLDS, Array, align, checked_pair, f_scores, summarize_errors


def freihand_scores(
    pred_xyz: ArrayLike, xyz: ArrayLike, pred_verts: ArrayLike | None = None, verts: ArrayLike | None = None
) -> dict[str, float]:
    """Score predictions as the leaderboard does, with the keys, order and units of the official scores.txt.

    Means are in cm, AUC and F-scores 0…1; keys that begin with `mesh_` and `f_` only with vertices.

    Args:
        pred_xyz: (N, 21, 3), metres, camera frame, order freihand, as the labels.
        pred_verts: (N, 778, 3), metres, camera frame, order of MANO's mesh, as the labels.
    """
    if (pred_verts is None) != (verts is None):
        missing = "pred_verts" if pred_verts is None else "verts"
        raise ValueError(f"mesh scores compare pred_verts with verts, but {missing} is missing")
    pred, true = checked_pair(NUM_JOINTS, pred_xyz=pred_xyz, xyz=xyz)
    scores = _point_scores("xyz", pred, true, align(pred, true))
    if pred_verts is not None and verts is not None:
        pred, true = checked_pair(pred_verts=pred_verts, verts=verts)
        aligned = align(pred, true)
        scores |= _point_scores("mesh", pred, true, aligned)
        raw_f, aligned_f = f_scores(pred, true), f_scores(aligned, true)
        for name in F_SCORE_THRESHOLDS:
            scores[f"f_score_{name}"] = raw_f[name]
            scores[f"f_al_score_{name}"] = aligned_f[name]
    return scores


def _point_scores(name: str, pred: Array, true: Array, aligned: Array) -> dict[str, float]:
    raw, after = summarize_errors(pred, true), summarize_errors(aligned, true)
    return {
        f"{name}_mean3d": raw.mean_m * CM_PER_M,
        f"{name}_auc3d": raw.auc,
        f"{name}_al_mean3d": after.mean_m * CM_PER_M,
        f"{name}_al_auc3d": after.auc,
    }

"""The official HO-3D scores, in NumPy: FreiHAND's, and a third alignment.

Hampali et al., "HOnnotate: A method for 3D Annotation of Hand and Object Poses", CVPR 2020, as its evaluation code
(shreyashampali/ho3d) computes them.
"""

import numpy as np
from numpy.typing import ArrayLike

from peclr.geometry.joints import joint_index
from peclr.metrics.freihand import freihand_scores
from peclr.metrics.points import CM_PER_M, Array, summarize_errors

_WRIST, _MIDDLE_MCP = joint_index("wrist", "mano"), joint_index("middle_mcp", "mano")


def ho3d_scores(
    pred_xyz: ArrayLike, xyz: ArrayLike, pred_verts: ArrayLike | None = None, verts: ArrayLike | None = None
) -> dict[str, float]:
    """Score predictions as the leaderboard does; labels, keys and errors as of `freihand_scores`.

    One prediction whose wrist and middle MCP coincide has no scale, and makes `xyz_scale_trans_al_mean3d` NaN, as it
    does officially.

    Args:
        pred_xyz: (N, 21, 3), metres, HO-3D's order (mano) and OpenGL's axes, as in pred.json.
        pred_verts: (N, 778, 3), metres, OpenGL's axes, order of MANO's mesh.
    """
    scores = freihand_scores(pred_xyz, xyz, pred_verts, verts)
    pred, true = np.asarray(pred_xyz, np.float64), np.asarray(xyz, np.float64)
    aligned = summarize_errors(align_scale_translation(pred, true), true)
    return {
        "xyz_mean3d": scores.pop("xyz_mean3d"),
        "xyz_auc3d": scores.pop("xyz_auc3d"),
        "xyz_procrustes_al_mean3d": scores.pop("xyz_al_mean3d"),
        "xyz_procrustes_al_auc3d": scores.pop("xyz_al_auc3d"),
        "xyz_scale_trans_al_mean3d": CM_PER_M * aligned.mean_m,
        "xyz_scale_trans_al_auc3d": aligned.auc,
        **scores,
    }


def align_scale_translation(pred: Array, true: Array) -> Array:
    """Each prediction (N, 21, 3), order mano, with its wrist and its length from there to the middle MCP the label's.

    A prediction without that length comes back as NaN.
    """
    pred, wrist = pred - pred[:, [_WRIST]], true[:, [_WRIST]]
    length = np.linalg.norm(pred[:, _MIDDLE_MCP], axis=-1)[:, None, None]
    true_length = np.linalg.norm(true[:, _MIDDLE_MCP] - true[:, _WRIST], axis=-1)[:, None, None]
    aligned: Array = pred * true_length / np.where(length > 0, length, np.nan) + wrist
    return aligned

"""The published scores of RHD, in NumPy.

Zimmermann & Brox, "Learning to Estimate 3D Hand Pose from Single RGB Images", ICCV 2017, as its evaluation code
(lmb-freiburg/hand3d) computes them: relative to the palm, which takes the wrist's place, of visible joints alone.
"""

import numpy as np
from numpy.typing import ArrayLike

from peclr.geometry.joints import MIDDLE_MCP, NUM_JOINTS, WRIST
from peclr.metrics.points import MM_PER_M, Array, Mask, checked_pair, mean_over_joints

_THRESHOLDS: Array = np.linspace(0.0, 0.05, 20)  # metres
_FROM_20_MM = 8  # the first of them that counts for the area from 20 to 50 mm


def rhd_scores(pred: ArrayLike, joints_3d: ArrayLike, visible: ArrayLike) -> dict[str, float]:
    """Score predictions: `mean` and `median` in mm, `auc_0_50` and `auc_20_50`, 0…1, means over joints of each joint's.

    Args:
        pred: (N, 21, 3), metres, camera frame or relative to anything, order freihand.
        joints_3d: (N, 21, 3), the labels.
        visible: (N, 21), true or 1 for joints that count; the palm's is the wrist's or the middle MCP's.
    """
    predicted, true = checked_pair(NUM_JOINTS, pred=pred, joints_3d=joints_3d)
    known: Mask = np.array(visible).astype(bool)
    if known.shape != true.shape[:2] or not known.any():
        raise ValueError(f"visible: {known.sum()} of shape {known.shape}; expected some of {true.shape[:2]}")
    known[:, WRIST] |= known[:, MIDDLE_MCP]
    errors = np.linalg.norm(_relative(predicted) - _relative(true), axis=-1)
    shares = np.array([mean_over_joints(errors <= threshold, known) for threshold in _THRESHOLDS])
    medians = [float(np.median(errors[known[:, joint], joint])) for joint in np.flatnonzero(known.any(axis=0))]
    return {
        "mean": MM_PER_M * mean_over_joints(errors, known),
        "median": MM_PER_M * float(np.mean(medians)),
        "auc_0_50": _area(shares, _THRESHOLDS),
        "auc_20_50": _area(shares[_FROM_20_MM:], _THRESHOLDS[_FROM_20_MM:]),
    }


def _relative(joints: Array) -> Array:
    palm = (joints[:, [WRIST]] + joints[:, [MIDDLE_MCP]]) / 2
    relative = joints - palm
    relative[:, WRIST] = 0
    return relative


def _area(shares: Array, thresholds: Array) -> float:
    return float(np.trapezoid(shares, thresholds) / np.ptp(thresholds))

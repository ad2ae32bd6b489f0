"""The official InterHand2.6M scores of 3-D joints, in NumPy.

Moon et al., "InterHand2.6M: A Dataset and Baseline for 3D Interacting Hand Pose Estimation from a Single RGB Image",
ECCV 2020, as its evaluation code (facebookresearch/InterHand2.6M) computes them: the mean over joints of each
joint's mean over frames, in which the wrists' own errors, zero, count.
"""

import numpy as np
from numpy.typing import ArrayLike

from peclr.geometry.joints import NUM_JOINTS, joint_index
from peclr.metrics.points import checked_pair, mean_over_joints

_HAND_TYPES = ("right", "left", "interacting")
_WRIST = joint_index("wrist", "interhand")


def interhand_scores(pred: ArrayLike, joints: ArrayLike, valid: ArrayLike, hand_type: ArrayLike) -> dict[str, float]:
    """Score frames of one or two hands as the benchmark does, each hand relative to its own wrist.

    In mm: `mpjpe_all`, `mpjpe_single` and `mpjpe_interacting`, frames of either kind, and `mrrpe`, the error of the
    left wrist relative to the right one where hands interact. NaN where nothing of a kind has a label.

    Args:
        pred: (N, 42, 3), mm, camera frame; the right hand, then the left one, each in order interhand.
        joints: (N, 42, 3), the labels.
        valid: (N, 42), true or 1 for joints with a label. A hand whose wrist has none does not count.
        hand_type: (N,), "right", "left" or "interacting".
    """
    kinds, labeled = np.asarray(hand_type), np.asarray(valid).astype(bool)
    if unknown := set(kinds.ravel().tolist()) - set(_HAND_TYPES):
        raise ValueError(f"hand_type: {sorted(unknown, key=str)[0]!r} is unknown; expected {', '.join(_HAND_TYPES)}")
    if labeled.shape[1:] != (2 * NUM_JOINTS,) or kinds.shape != labeled.shape[:1]:
        shapes = f"valid has shape {labeled.shape}, hand_type {kinds.shape}"
        raise ValueError(f"{shapes}; expected (N, {2 * NUM_JOINTS}) and (N,)")
    per_hand = labeled.reshape(-1, 2, NUM_JOINTS)
    per_hand = per_hand & per_hand[..., [_WRIST]]
    known = per_hand.reshape(labeled.shape)
    pairs = checked_pair(2 * NUM_JOINTS, known=known, pred=pred, joints=joints)
    hands, true = (points.reshape(-1, 2, NUM_JOINTS, 3) for points in pairs)
    wrists, true_wrists = hands[:, :, _WRIST], true[:, :, _WRIST]
    relative = (hands - wrists[:, :, None]) - (true - true_wrists[:, :, None])
    errors = np.linalg.norm(relative, axis=-1).reshape(known.shape)

    interacting = kinds == "interacting"
    both = interacting & per_hand[..., _WRIST].all(axis=1)
    between = np.linalg.norm((wrists[:, 1] - wrists[:, 0]) - (true_wrists[:, 1] - true_wrists[:, 0]), axis=-1)
    return {
        "mpjpe_all": mean_over_joints(errors, known),
        "mpjpe_single": mean_over_joints(errors, known & ~interacting[:, None]),
        "mpjpe_interacting": mean_over_joints(errors, known & interacting[:, None]),
        "mrrpe": mean_over_joints(between[:, None], both[:, None]),
    }

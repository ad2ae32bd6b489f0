"""The official DexYCB scores, in NumPy.

Chao et al., "DexYCB: A Benchmark for Capturing Hand Grasping of Objects", CVPR 2021, as its evaluation code
(NVlabs/dex-ycb-toolkit) computes them. The areas and the alignment, which may mirror a hand, are FreiHAND's.
"""

from numpy.typing import ArrayLike

from peclr.geometry.joints import NUM_JOINTS, WRIST
from peclr.metrics.points import MM_PER_M, align, checked_pair, summarize_errors

_NO_HAND = -1  # every coordinate of a frame's label


def dexycb_scores(pred: ArrayLike, joints_3d: ArrayLike) -> dict[str, float]:
    """Score predictions as the benchmark does: `absolute_`, `root_relative_` and `procrustes_`, each `mpjpe` and `auc`.

    Means are in mm, areas are of 0 to 50 mm, 0…1.

    Args:
        pred: (N, 21, 3), metres, camera frame, order freihand.
        joints_3d: (N, 21, 3), the labels. Frames of −1 hold no hand and do not count.
    """
    predicted, true = checked_pair(NUM_JOINTS, pred=pred, joints_3d=joints_3d)
    has_hand = (true != _NO_HAND).any(axis=(1, 2))
    if not has_hand.any():
        raise ValueError(f"joints_3d: all {len(true)} frames are −1, without a hand; expected one to score")
    predicted, true = predicted[has_hand], true[has_hand]
    alignments = {
        "absolute": (predicted, true),
        "root_relative": (predicted - predicted[:, [WRIST]], true - true[:, [WRIST]]),
        "procrustes": (align(predicted, true), true),
    }
    scores: dict[str, float] = {}
    for name, (points, label) in alignments.items():
        summary = summarize_errors(points, label)
        scores |= {f"{name}_mpjpe": MM_PER_M * summary.mean_m, f"{name}_auc": summary.auc}
    return scores

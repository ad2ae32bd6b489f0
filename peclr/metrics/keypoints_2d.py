"""Scores of 2-D keypoints, in NumPy: PCK, its AUC, and the mean distance.

PCK is Yang & Ramanan, "Articulated Human Detection with Flexible Mixtures of Parts", 2013. HaMeR's scores of HInt
are PCK at 0.05, 0.1 and 0.15 of the box, a distance equal to the threshold counting; mmpose's are `strict`: PCK at
0.2 of the box, and the AUC.
"""

import numpy as np
from numpy.typing import ArrayLike

from peclr.metrics.points import Array, Mask, checked_pair, mean_over_joints

_VISIBLE = 0.5  # HInt's limit on a confidence; flags 0/1 and COCO's 0, 1, 2 pass it as they should
_AUC_STEPS = 20  # mmpose's


def pck(
    pred: ArrayLike,
    keypoints: ArrayLike,
    visible: ArrayLike,
    box_size: ArrayLike,
    threshold: float,
    *,
    strict: bool = False,
) -> float:
    """Share of keypoints within `threshold` boxes of their labels: the mean over joints of each joint's share.

    Args:
        pred: (N, P, 2), pixels.
        keypoints: (N, P, 2), pixels, the labels; whatever where they are not visible.
        visible: (N, P), flags or confidences: what is above 0.5 counts. A joint never visible is left out.
        box_size: (N,), or one for all, pixels, above 0: what the distances are divided by.
        threshold: in boxes.
        strict: whether a distance equal to the threshold does not count.
    """
    distances, known = _distances(pred, keypoints, visible)
    size = np.asarray(box_size, np.float64)
    if size.shape not in ((), distances.shape[:1]):
        raise ValueError(f"box_size: expected one size for each of {len(distances)} samples, got shape {size.shape}")
    size = np.broadcast_to(size, len(distances))
    if (bad := np.flatnonzero(~(np.isfinite(size) & (size > 0)))).size:
        raise ValueError(f"box_size: sample {bad[0]} has {size[bad[0]]:g} px; expected more than 0 ({len(bad)} such)")
    relative = distances / size[:, None]
    hits = relative < threshold if strict else relative <= threshold
    return mean_over_joints(hits, known)


def auc(pred: ArrayLike, keypoints: ArrayLike, visible: ArrayLike, max_px: float = 30.0) -> float:
    """Mean of the strict PCK at 0/20 … 19/20 of `max_px`, as mmpose's; arguments as of `pck`."""
    steps = np.arange(_AUC_STEPS) / _AUC_STEPS
    return float(np.mean([pck(pred, keypoints, visible, max_px, step, strict=True) for step in steps]))


def epe(pred: ArrayLike, keypoints: ArrayLike, visible: ArrayLike) -> float:
    """Mean distance of all visible keypoints, pixels; arguments as of `pck`."""
    distances, known = _distances(pred, keypoints, visible)
    return float(distances[known].mean())


def _distances(pred: ArrayLike, keypoints: ArrayLike, visible: ArrayLike) -> tuple[Array, Mask]:
    """Pixels between keypoints (N, P), and which of them count."""
    known: Mask = np.asarray(visible) > _VISIBLE
    pair = checked_pair(dims=2, known=known, pred=pred, keypoints=keypoints)
    if not known.any():
        raise ValueError(f"visible: none of {known.size} keypoints is; expected one to score")
    return np.linalg.norm(pair[0] - pair[1], axis=-1), known

"""Descriptors of poses: 2-D joints without their place and size, and the first principal components of those."""

import numpy as np
from numpy.typing import NDArray


def normalize_joints(joints: NDArray[np.floating]) -> NDArray[np.float32]:
    """Move poses (N, 21, 2), px, to the origin, scale their root mean square distance from it to 1: (N, 2 · known).

    Joints that no hand knows may be NaN; ValueError if some do, or a hand is a point. Rotation stays: PeCLR's inversion
    expects pairs that differ by no more than their augmentation.
    """
    unknown = np.isnan(joints).any(axis=(0, 2))
    known = joints[:, ~unknown].astype(np.float64)
    if known.shape[1] < 3 or not np.isfinite(known).all():
        raise ValueError(f"of 21 joints, all hands know {known.shape[1]}; expected at least 3, finite")
    centered = known - known.mean(axis=1, keepdims=True)
    size = np.sqrt((centered**2).sum(axis=(1, 2)) / known.shape[1])
    if not (size > 0).all():
        raise ValueError(f"hand {int(np.argmin(size))} has all of its joints at one place")
    return (centered / size[:, None, None]).reshape(len(joints), -1).astype(np.float32)  # type: ignore[no-any-return]


def principal_components(poses: NDArray[np.float32], count: int) -> tuple[NDArray[np.float32], float]:
    """Project poses (N, D) onto the first principal components; also the share of the variance that they explain."""
    centered = poses - poses.mean(axis=0)
    variance, axes = np.linalg.eigh(centered.T.astype(np.float64) @ centered / len(poses))  # ascending
    first = axes[:, ::-1][:, :count]
    share = float(variance[::-1][:count].sum() / variance.sum()) if variance.sum() > 0 else 1.0
    return np.ascontiguousarray(centered @ first, np.float32), share

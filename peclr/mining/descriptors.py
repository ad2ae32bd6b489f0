"""Descriptors of poses: 2-D joints without their place and size, and the first principal components of those."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from peclr.options import array_on_disk

_BLOCK: Final = 2**18  # poses that are described at a time: 90 MB

Poses = NDArray[np.float32]  # (N, 2 · known joints)


class Axes(NamedTuple):
    """The first principal axes of poses."""

    mean: NDArray[np.float32]  # (D,)
    first: NDArray[np.float64]  # (D, count), in columns
    share: float  # of the variance that they explain

    def project(self, poses: Poses) -> NDArray[np.float32]:
        """(N, count), the components of poses (N, D)."""
        return np.ascontiguousarray((poses - self.mean) @ self.first, np.float32)


def describe(
    joints: NDArray[np.floating], components: int, path: Path | None = None
) -> tuple[NDArray[np.float32], float]:
    """Describe hands by joints (N, 21, 2), px, perhaps memory-mapped, by so many components, and say how well.

    (N, components), in a new .npy file at `path`, memory-mapped, or else in memory; and the share of the variance that
    they explain. ValueError as `normalize_joints`.
    """

    def blocks() -> Iterator[Poses]:
        for start in range(0, len(joints), _BLOCK):
            yield normalize_joints(joints[start : start + _BLOCK], unknown, first=start)

    unknown = np.zeros(joints.shape[1], np.bool_)
    for start in range(0, len(joints), _BLOCK):
        unknown |= np.isnan(joints[start : start + _BLOCK]).any(axis=(0, 2))
    axes = principal_axes(blocks, components)
    shape = len(joints), axes.first.shape[1]
    described = np.empty(shape, np.float32) if path is None else array_on_disk(path, np.float32, shape)
    for start, poses in zip(range(0, len(joints), _BLOCK), blocks(), strict=True):
        described[start : start + _BLOCK] = axes.project(poses)
    return described, axes.share


def normalize_joints(
    joints: NDArray[np.floating], unknown: NDArray[np.bool_] | None = None, *, first: int = 0
) -> Poses:
    """Move poses (N, 21, 2), px, to the origin, scale their root mean square distance from it to 1: (N, 2 · known).

    Joints that are `unknown` (21,), by default those that some hand does not know, are left out. ValueError if they are
    too many, or if a hand, numbered from `first` on, is a point. Rotation stays: PeCLR's inversion expects pairs that
    differ by no more than their augmentation.
    """
    unknown = np.isnan(joints).any(axis=(0, 2)) if unknown is None else unknown
    known = joints[:, ~unknown].astype(np.float64)
    if known.shape[1] < 3 or not np.isfinite(known).all():
        raise ValueError(f"of 21 joints, all hands know {known.shape[1]}; expected at least 3, finite")
    centered = known - known.mean(axis=1, keepdims=True)
    size = np.sqrt((centered**2).sum(axis=(1, 2)) / known.shape[1])
    if not (size > 0).all():
        raise ValueError(f"hand {first + int(np.argmin(size))} has all of its joints at one place")
    return (centered / size[:, None, None]).reshape(len(joints), -1).astype(np.float32)  # type: ignore[no-any-return]


def principal_axes(blocks: Callable[[], Iterable[Poses]], count: int) -> Axes:
    """The first principal axes of the poses in all blocks, which are gone through twice."""
    total, mean, squares = 0, np.zeros(1), np.zeros((1, 1))
    for poses in blocks():
        total, mean = total + len(poses), mean + len(poses) * poses.mean(axis=0).astype(np.float64)
    middle = (mean / total).astype(np.float32)
    for poses in blocks():
        centered = poses - middle
        squares = squares + centered.T.astype(np.float64) @ centered
    variance, axes = np.linalg.eigh(squares / total)  # ascending
    share = float(variance[::-1][:count].sum() / variance.sum()) if variance.sum() > 0 else 1.0
    return Axes(middle, axes[:, ::-1][:, :count], share)

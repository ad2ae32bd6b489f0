"""From 2-D joints to nearest neighbors: descriptors of poses, and FAISS's search among them."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from peclr.data.loading.pairs_file import NOBODY

# An exact search takes time with the square of the number of hands: minutes for 100,000 of them.
EXACT_UP_TO: Final = 20_000
_LISTS_PER_ROOT: Final = 4  # of an inverted file: lists over the square root of the number of hands, as FAISS advises
_PROBED: Final = 32  # lists that a query looks at
_BLOCK: Final = 4096  # queries at a time; FAISS is no faster with more
_ANSWERS: Final = 2**22  # numbers and distances at a time: 50 MB


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


def nearest(
    descriptors: NDArray[np.float32], count: int, groups: NDArray[np.integer] | None = None, *, progress: bool = False
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The nearest other hands of each hand, by descriptors (N, D), not of its group (N,), a video for example.

    (N, count) numbers, NOBODY where there are not so many; (N, count) Euclidean distances, NaN there.
    """
    total = len(descriptors)
    group = np.arange(total) if groups is None else np.asarray(groups)
    index = _index(descriptors)
    neighbors = np.full((total, count), NOBODY, np.int32)
    distances = np.full((total, count), np.nan, np.float32)
    open_queries, wanted = np.arange(total), min(count + 1, total)  # a hand finds itself, too
    with tqdm(total=total, desc="neighbors", unit=" hands", mininterval=0.5, disable=not progress) as bar:
        while len(open_queries):
            unfinished = []
            block = max(1, min(_BLOCK, _ANSWERS // wanted))
            for start in range(0, len(open_queries), block):
                queries = open_queries[start : start + block]
                squared, found = index.search(descriptors[queries], wanted)
                allowed = (found >= 0) & (group[found] != group[queries, None])
                best = np.argsort(~allowed, axis=1, kind="stable")[:, :count]
                kept = np.take_along_axis(allowed, best, axis=1)
                columns = best.shape[1]
                neighbors[queries, :columns] = np.where(kept, np.take_along_axis(found, best, axis=1), NOBODY)
                distance = np.sqrt(np.maximum(np.take_along_axis(squared, best, axis=1), 0))
                distances[queries, :columns] = np.where(kept, distance, np.nan)
                finished = kept.sum(axis=1) == count if wanted < total else np.ones(len(queries), np.bool_)
                unfinished.append(queries[~finished])
                bar.update(int(finished.sum()))
            # in a video, the nearest hands are those of the next frames: look further, at last at all hands
            open_queries, wanted = np.concatenate(unfinished), min(4 * wanted, total)
            if hasattr(index, "nprobe"):
                index.nprobe = index.nlist if wanted == total else min(4 * index.nprobe, index.nlist)
    return neighbors, distances


def _index(descriptors: NDArray[np.float32]) -> Any:
    """FAISS's index of descriptors: exact while that takes seconds."""
    try:
        import faiss
    except ImportError as error:
        raise ValueError("mining needs FAISS: pip install 'peclr[mine]'") from error
    total, width = descriptors.shape
    lists = f"IVF{int(_LISTS_PER_ROOT * total**0.5)},Flat"
    index: Any = faiss.index_factory(width, "Flat" if total <= EXACT_UP_TO else lists)
    index.train(descriptors)
    index.add(descriptors)
    if total > EXACT_UP_TO:
        index.nprobe = _PROBED
    return index

"""Nearest neighbors among descriptors of poses, by FAISS, never of a hand's own track or video.

Few hands are all compared with one another. More are divided into lists by k-means, of which a query looks at the
nearest. Where lists of whole descriptors need more memory than there is to be, lists of codes take their place, a byte
for two numbers (product quantization: Jégou, Douze and Schmid, TPAMI 2011), and several times as many candidates are
found as are wanted, of which the descriptors themselves, which may stay on disk, say which are nearest.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from peclr.data.loading.pairs_file import NOBODY
from peclr.options import array_on_disk

# An exact search takes time with the square of the number of hands: minutes for 100,000 of them.
EXACT_UP_TO: Final = 20_000
_LISTS_PER_ROOT: Final = 4  # of an inverted file: lists over the square root of the number of hands, as FAISS advises
_PROBED: Final = 32  # lists that a query looks at
_BLOCK: Final = 4096  # queries at a time; FAISS is no faster with more
_ANSWERS: Final = 2**22  # numbers and distances at a time: 50 MB
_WIDEST: Final = 256  # answers among which to look for those of other groups
_SHARD: Final = 2**18  # hands that are read from disk at a time
_PER_CENTER: Final = 64  # descriptors to train each center of lists and codes on; FAISS takes 39 to 256
_SUBSPACE: Final = 2  # numbers of a descriptor that a byte of a code stands for
_CANDIDATES: Final = 4  # by codes, for each that is wanted
_CENTERS: Final = 256  # that a byte of a code can name
_NUMBER: Final = 8  # bytes, of a hand in a list
_ROOM: Final = 1.5  # of lists, over what is in them: they grow by doubling


class Neighbors(NamedTuple):
    """The nearest other hands of each hand."""

    numbers: NDArray[np.int32]  # (N, count); NOBODY where there are not so many
    distances: NDArray[np.float32]  # (N, count), Euclidean; NaN there


def nearest(
    descriptors: NDArray[np.float32],
    count: int,
    groups: NDArray[np.integer] | None = None,
    *,
    memory_gb: float = math.inf,
    folder: Path | None = None,
    progress: bool = False,
) -> Neighbors:
    """Find the nearest other hands of each hand, which may be fewer than `count` only where there are not more.

    Args:
        descriptors: (N, D), perhaps memory-mapped.
        count: How many are wanted.
        groups: (N,), such as videos: hands of one are not each other's neighbors.
        memory_gb: For the lists; ValueError if those of codes are larger, too.
        folder: Where to put the result, memory-mapped; None keeps it in memory.
        progress: Whether to show a bar.
    """
    total = len(descriptors)
    index = _Index(descriptors, memory_gb)
    groups = None if groups is None else np.asarray(groups)
    result = Neighbors(
        _filled((total, count), NOBODY, np.int32, folder and folder / "neighbors.npy"),
        _filled((total, count), np.nan, np.float32, folder and folder / "distances.npy"),
    )
    waiting, wanted = np.arange(total), min(count + 1, total)  # a hand finds itself, too
    with tqdm(total=total, desc="neighbors", unit=" hands", mininterval=0.5, disable=not progress) as bar:
        while len(waiting) and wanted <= max(_WIDEST, count + 1):
            unfinished = []
            for queries in _blocks(waiting, wanted):
                squared, found = index.search(queries, wanted)
                others = found != queries[:, None] if groups is None else groups[found] != groups[queries, None]
                kept = _keep(result, queries, squared, found, (found >= 0) & others)
                finished = kept == count if wanted < total else np.ones(len(queries), np.bool_)
                unfinished.append(queries[~finished])
                bar.update(int(finished.sum()))
            # in a video, the nearest hands are those of the next frames: look further
            waiting, wanted = np.concatenate(unfinished), min(4 * wanted, total)
            index.widen(to_all=wanted == total)
        # and where they are very many, among the others alone
        for queries, own in _by_group(waiting, groups):
            probed = index.probed
            while len(queries):
                squared, found = index.search(queries, count, apart_from=own, probed=probed)
                kept = _keep(result, queries, squared, found, found >= 0)
                finished = kept == min(count, total - len(own)) if probed < index.lists else np.ones(len(queries), bool)
                bar.update(int(finished.sum()))
                queries, probed = queries[~finished], min(4 * probed, index.lists)
    return result


def _blocks(queries: NDArray[np.int64], wanted: int) -> Iterator[NDArray[np.int64]]:
    size = max(1, min(_BLOCK, _ANSWERS // wanted))
    return (queries[start : start + size] for start in range(0, len(queries), size))


def _keep(
    result: Neighbors,
    queries: NDArray[np.int64],
    squared: NDArray[np.float32],
    found: NDArray[np.int64],
    allowed: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Write the first of what was found (Q, wanted), nearest first, and is allowed; (Q,), how many."""
    best = np.argsort(~allowed, axis=1, kind="stable")[:, : result.numbers.shape[1]]
    kept = np.take_along_axis(allowed, best, axis=1)
    columns = best.shape[1]
    result.numbers[queries, :columns] = np.where(kept, np.take_along_axis(found, best, axis=1), NOBODY)
    distance = np.sqrt(np.maximum(np.take_along_axis(squared, best, axis=1), 0))
    result.distances[queries, :columns] = np.where(kept, distance, np.nan)
    counted: NDArray[np.int64] = kept.sum(axis=1)
    return counted


def _by_group(
    queries: NDArray[np.int64], groups: NDArray[np.integer] | None
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Some queries of each group, and all hands of that group; each hand is its own where there are none."""
    if groups is None:
        yield from ((queries[n : n + 1], queries[n : n + 1]) for n in range(len(queries)))
    elif len(queries):
        order = np.argsort(groups, kind="stable")
        sorted_queries = queries[np.argsort(groups[queries], kind="stable")]
        numbers, starts = np.unique(groups[sorted_queries], return_index=True)
        for number, members in zip(numbers, np.split(sorted_queries, starts[1:]), strict=True):
            first, last = (np.searchsorted(groups, number, side=side, sorter=order) for side in ("left", "right"))
            yield from ((some, order[first:last]) for some in _blocks(members, 1))


class _Index:
    """FAISS's index of descriptors (N, D), which it numbers as they are.

    Attributes:
        lists: how many there are; 1 where the search is exact.
        probed: lists that a query looks at.
    """

    def __init__(self, descriptors: NDArray[np.float32], memory_gb: float) -> None:
        try:
            import faiss
        except ImportError as error:
            raise ValueError("mining needs FAISS: pip install 'peclr[mine]'") from error
        self._faiss, self._descriptors = faiss, descriptors
        total, width = descriptors.shape
        self._width = width
        self.lists = self.probed = 1
        self._coded = False
        if total <= EXACT_UP_TO:
            self._index: Any = faiss.IndexFlatL2(width)
        else:
            self.lists = int(_LISTS_PER_ROOT * total**0.5)
            self.probed = min(_PROBED, self.lists)
            self._coded = bytes_of_lists(total, width) > memory_gb * 1e9
            if self._coded and (least := bytes_of_lists(total, width, coded=True)) > memory_gb * 1e9:
                raise ValueError(
                    f"--memory-gb {memory_gb:g}: lists of {total:,} hands take at least {least / 1e9:.1g} GB"
                )
            if self._coded:
                self._width += -width % _SUBSPACE
            kind = f"PQ{self._width // _SUBSPACE}" if self._coded else "Flat"
            self._index = faiss.index_factory(self._width, f"IVF{self.lists},{kind}")
            self._train()
        for start in range(0, total, _SHARD):
            self._index.add(self._rows(slice(start, start + _SHARD)))
        self._bits = np.zeros(-(-total // 8), np.uint8)

    def search(
        self,
        queries: NDArray[np.int64],
        wanted: int,
        apart_from: NDArray[np.int64] | None = None,
        probed: int | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """(Q, wanted) squared distances of the hands nearest to hands (Q,), and their numbers; −1 behind the last."""
        faiss, bits = self._faiss, self._bits
        options: dict[str, Any] = {} if self.lists == 1 else {"nprobe": probed or self.probed}
        if apart_from is not None:
            np.bitwise_or.at(bits, apart_from >> 3, (1 << (apart_from & 7)).astype(np.uint8))
            own = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
            options["sel"] = faiss.IDSelectorNot(own)
        parameters = (faiss.SearchParameters if self.lists == 1 else faiss.SearchParametersIVF)(**options)
        candidates = min(wanted * _CANDIDATES, len(self._descriptors)) if self._coded else wanted
        squared, found = self._index.search(self._rows(queries), candidates, params=parameters)
        if apart_from is not None:
            bits[apart_from >> 3] = 0
        return self._compared(queries, found, wanted) if self._coded else (squared, found)

    def widen(self, *, to_all: bool) -> None:
        """Look at more lists from here on."""
        self.probed = self.lists if to_all else min(4 * self.probed, self.lists)

    def _train(self) -> None:
        descriptors: NDArray[np.float32] = self._descriptors
        if self._coded:
            # in order, as they may be on disk
            count = min(len(descriptors), _PER_CENTER * self.lists)
            chosen = np.sort(np.random.default_rng(0).choice(len(descriptors), count, replace=False))
            self._index.pq.cp.max_points_per_centroid = _PER_CENTER
            self._index.do_polysemous_training = False  # orders codes for a search that is not made here, in 10 s
            self._index.train(self._rows(chosen))
        else:
            self._index.train(self._rows(slice(None)))

    def _rows(self, which: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """Some descriptors, with zeros behind them where codes need an even width."""
        rows = self._descriptors[which]
        if self._width > rows.shape[1]:
            rows = np.pad(rows, ((0, 0), (0, self._width - rows.shape[1])))
        return np.ascontiguousarray(rows)

    def _compared(
        self, queries: NDArray[np.int64], found: NDArray[np.int64], wanted: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The nearest of some candidates (Q, C), by their descriptors, as `search` gives them."""
        difference = self._descriptors[found] - self._descriptors[queries][:, None]
        squared = np.where(found >= 0, np.einsum("qcd,qcd->qc", difference, difference), np.inf)
        best = np.argsort(squared, axis=1, kind="stable")[:, :wanted]
        return np.take_along_axis(squared, best, axis=1), np.take_along_axis(found, best, axis=1)


def bytes_of_lists(hands: int, width: int, *, coded: bool = False) -> int:
    """Memory that the lists of so many descriptors take, with the room that is left for more, and their centers."""
    code = -(-width // _SUBSPACE)
    lists, tables = _LISTS_PER_ROOT * hands**0.5, 4 * _CENTERS * code if coded else 0
    return int(_ROOM * hands * ((code if coded else 4 * width) + _NUMBER) + lists * (4 * width + tables))


def _filled(shape: tuple[int, ...], value: float, kind: type[np.generic], path: Path | None) -> NDArray[Any]:
    array = np.empty(shape, kind) if path is None else array_on_disk(path, kind, shape)
    array[:] = value
    return array

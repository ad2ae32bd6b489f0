"""An order that goes from shard to shard, so that few are needed at a time: those of a set that is fetched from afar.

The shards of a source stand in a circle, in a new order in each pass. Each is divided at random into as many parts as
shards are read at once. Round r of a pass takes the first part of shard r of the circle, the second part of the one
before it, and so on, all items in random order: every round needs one more shard, and one no more.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from peclr.data.loading.permutation import Permutation, mixed, unit
from peclr.data.rng import KeyedRng

_FEW: Final = 2**16  # shards; their numbers sort faster


class ByShard:
    """The items of a source by the shards that they are in.

    Attributes:
        shards: (N,), of each item.
        items: (N,), those of each shard after those of the one before.
        starts: (shards + 1,), where those of each shard begin, and N.
    """

    def __init__(self, shards: NDArray[np.integer]) -> None:
        """Sort items by the numbers of their shards (N,)."""
        if shards.max() < _FEW:
            shards = shards.astype(np.uint16)
        self.shards, self.starts = shards, np.concatenate([[0], np.cumsum(np.bincount(shards))])
        kind = np.uint32 if len(shards) < 2**32 else np.int64
        if (shards[1:] >= shards[:-1]).all():  # as a whole set is: sorting takes several times the memory
            self.items = np.arange(len(shards), dtype=kind)
        else:
            self.items = np.argsort(shards, kind="stable").astype(kind)

    def __len__(self) -> int:
        return len(self.items)

    def in_place_of(self, item: int) -> Iterator[int]:
        """The item, and those that may stand for it: one of its shard, and as all of that may be broken, of others."""
        yield item
        shard, count = int(self.shards[item]), len(self.starts) - 1
        for number in range(shard, shard + count):
            start, end = self.starts[number % count : number % count + 2].tolist()
            if end > start:
                yield int(self.items[start + item % (end - start)])


class ShardOrder:
    """One pass through the items of a source, each once: a function of the seed, the source's number and the pass."""

    def __init__(self, by_shard: ByShard, at_once: int, seed: int, number: int = 0, through: int = 0) -> None:
        """Plan the pass number `through` of source `number`, with so many shards at once."""
        self._by_shard, self._rng, self._at = by_shard, KeyedRng("shards", seed), (number, through)
        sizes = np.diff(by_shard.starts)
        self._circle = np.flatnonzero(sizes)
        self._circle = self._circle[self._draw(0).permutation(len(self._circle))]
        # (rounds, parts), the shard of each part of a round, and where it begins and ends in its shard
        if at_once < len(self._circle):
            parts = np.arange(at_once)
            self._shard = self._circle[np.arange(len(self._circle))[:, None] - parts]
            self._begin, end = (sizes[self._shard] * part // at_once for part in (parts, parts + 1))
        else:  # all in one round, whole
            self._shard = self._circle[None]
            self._begin, end = np.zeros_like(self._shard), sizes[self._shard]
        self._inside = np.cumsum(end - self._begin, axis=1)  # the round's items up to each part's end
        self._ends = np.cumsum(self._inside[:, -1])
        self._permutation = lru_cache(4 * at_once)(self._permuted)

    def _draw(self, what: int) -> np.random.Generator:
        number, through = self._at
        return self._rng.at(through, number << 32 | what)

    def _permuted(self, n: int, what: int) -> Permutation:
        return Permutation(n, 0, 0, rng=self._draw(what))

    def __len__(self) -> int:
        return len(self._by_shard)

    def __getitem__(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The items at some positions (N,) of the pass."""
        rounds, items = self.rounds(positions), np.empty(len(positions), np.int64)
        for number in np.unique(rounds).tolist():
            chosen = rounds == number
            size = int(self._inside[number, -1])
            place = positions[chosen] - (int(self._ends[number]) - size)
            items[chosen] = self._items(number, self._permutation(size, 2 * number + 1)[place])
        return items

    def _items(self, number: int, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The items at some places of a round, whose parts come one after the other."""
        by_shard, items = self._by_shard, np.empty(len(places), np.int64)
        parts = np.searchsorted(self._inside[number], places, side="right")
        for part in np.unique(parts).tolist():
            chosen, shard = parts == part, int(self._shard[number, part])
            start, end = by_shard.starts[shard : shard + 2].tolist()
            inside = self._begin[number, part] + places[chosen] - (self._inside[number, part - 1] if part else 0)
            items[chosen] = by_shard.items[start + self._permutation(end - start, 2 * shard + 2)[inside]]
        return items

    def rounds(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rounds of some positions (N,)."""
        return np.searchsorted(self._ends, positions, side="right")

    def drawn(self, positions: NDArray[np.int64], shares: NDArray[np.float64]) -> NDArray[np.int64]:
        """An item of each position's round, by a number in [0, 1): with replacement, all items as often."""
        rounds = self.rounds(positions)
        size = self._inside[rounds, -1]
        return self[self._ends[rounds] - size + np.minimum((shares * size).astype(np.int64), size - 1)]

    def needed(self, position: int, number: int = 0) -> list[int]:
        """The shards of a position's round, then the one that the next round needs, too; of source `number`."""
        at = int(self.rounds(np.array([position]))[0])
        following = self._circle[(at + 1) % len(self._circle)]
        return list(dict.fromkeys([*self._shard[at].tolist(), int(following)]))


class InShards(NamedTuple):
    """What an order needs to know to go from shard to shard.

    Attributes:
        sources: the items of each by shard, or their number where any may come at any time.
        at_once: shards of a source to read from at a time.
        fetch_ahead: called with the number of a source and the shards that it will be read from.
    """

    sources: Sequence[ByShard | int]
    at_once: int
    fetch_ahead: Callable[[int, list[int]], None]

    def ask_for(self, order: "ShardOrder | ShardDraws", position: int) -> None:
        """Have fetched what a position of an epoch needs."""
        for number, source in enumerate(self.sources):
            if isinstance(source, ByShard):
                self.fetch_ahead(number, order.needed(position, number))


class ShardDraws:
    """Items drawn with replacement from the concatenation of sources, each of which is gone through at its own pace.

    Where a source is in shards, an item is drawn from the round that its pass is at; passes do not end with epochs.
    """

    def __init__(
        self,
        sources: Sequence[ByShard | int],
        length: int,
        weights: Sequence[float] | None,
        seed: int,
        epoch: int,
        at_once: int,
    ) -> None:
        """Take the items of each source by shard, or their number where any may be drawn at any time."""
        self._sources, self._length, self._epoch, self._planned = sources, length, epoch, (seed, at_once)
        sizes = [source if isinstance(source, int) else len(source) for source in sources]
        self._sizes, self._start = sizes, [0, *np.cumsum(sizes[:-1]).tolist()]
        mass = np.cumsum(np.ones(len(sizes)) if weights is None else weights)
        self._ends = mass / mass[-1]
        self._keys = KeyedRng("order", seed).at(epoch, 2).integers(2**64, size=2, dtype=np.uint64)
        self._pass = lru_cache(2 * len(sizes))(self._plan)

    def __len__(self) -> int:
        return self._length

    def _plan(self, number: int, through: int) -> ShardOrder:
        seed, at_once = self._planned
        source = self._sources[number]
        assert not isinstance(source, int)
        return ShardOrder(source, at_once, seed, number, through)

    def __getitem__(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The items at some positions (N,) of the epoch."""
        numbers = mixed(positions.astype(np.uint64) ^ self._keys[0])
        source = np.searchsorted(self._ends[:-1], unit(numbers), side="right")
        shares, items = unit(mixed(numbers + self._keys[1])), np.empty(len(positions), np.int64)
        for number in np.unique(source).tolist():
            chosen = source == number
            items[chosen] = self._start[number] + self._within(number, positions[chosen], shares[chosen])
        return items

    def _within(self, number: int, positions: NDArray[np.int64], shares: NDArray[np.float64]) -> NDArray[np.int64]:
        if isinstance(self._sources[number], int):
            return np.minimum((shares * self._sizes[number]).astype(np.int64), self._sizes[number] - 1)
        through, place = self._reached(number, positions)
        items = np.empty(len(positions), np.int64)
        for one in np.unique(through).tolist():
            chosen = through == one
            items[chosen] = self._pass(number, one).drawn(place[chosen], shares[chosen])
        return items

    def _reached(self, number: int, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The pass through a source, and the position in it, that are expected to be reached by then."""
        share = self._ends[number] - (self._ends[number - 1] if number else 0)
        drawn = ((self._epoch * self._length + positions) * share).astype(np.int64)
        return drawn // self._sizes[number], drawn % self._sizes[number]

    def needed(self, position: int, number: int) -> list[int]:
        """See `ShardOrder`, of one source."""
        ((through,), (place,)) = self._reached(number, np.array([position]))
        return self._pass(number, int(through)).needed(int(place))

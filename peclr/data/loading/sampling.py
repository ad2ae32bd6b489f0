"""The order of an epoch, a pure function of (seed, epoch, position), whatever the number of workers and processes.

Loaders are given keys (epoch, index), not indices: so persistent workers learn the epoch. The order of a large epoch is
computed position by position, and starts at once; a small one is in memory, as it always was, so that every run ever
begun goes on with its own.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DistributedSampler, SequentialSampler

from peclr.data.loading.permutation import Draws, Order, Permutation, Straight
from peclr.data.loading.shard_order import ByShard, InShards, ShardDraws, ShardOrder
from peclr.data.rng import KeyedRng

LARGE: Final = 2**20  # items; the order of more is computed
_BLOCK: Final = 4096  # items that are computed at once
_WINDOW: Final = 2**17  # items among which those of one hand are kept apart in a large epoch, about: whole batches
_BATCHES: Final = 16  # at least as many are needed to keep them apart
_TRIES: Final = 64  # of changing an item's place with one of another batch
_GIVE_UP: Final = 64  # items: most hands come more often than there are batches

HandsOf = Callable[[NDArray[np.int64]], NDArray[np.int64]]  # the hands that items (N,) show


def epoch_order(
    sizes: Sequence[int], seed: int, epoch: int, length: int | None = None, weights: Sequence[float] | None = None
) -> NDArray[np.int64]:
    """Draw indices into the concatenation of sources with so many items, in the order of an epoch.

    One source is permuted: each item comes once. Several, or one of which a `length` is drawn, are drawn from with
    replacement and, unless weights are given, equal mass, however large each is, as in the published pre-training on
    FreiHAND and YouTube3DHands.
    """
    rng = KeyedRng("order", seed).at(epoch)
    if len(sizes) == 1 and length is None:
        return rng.permutation(sizes[0])
    count = sum(sizes) if length is None else length
    size, start = np.asarray(sizes), np.cumsum([0, *sizes[:-1]])
    if weights is None:
        source = rng.integers(len(sizes), size=count)
    else:
        mass = np.cumsum(weights)
        source = np.searchsorted(mass, mass[-1] * rng.random(count), side="right")
    return start[source] + rng.integers(size[source])


def check_weights(weights: Sequence[float], num_sources: int) -> None:
    """Refuse weights that are not one positive number for each source."""
    if len(weights) != num_sources:
        raise ValueError(f"weights {list(weights)} are {len(weights)} numbers; expected one for each of {num_sources}")
    if not all(math.isfinite(weight) and weight > 0 for weight in weights):
        raise ValueError(f"weights {list(weights)} must be positive; leave out sources that are not to be used")


def without_repeats(
    order: NDArray[np.int64], hands: NDArray[np.int64], batch: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Move the items of `order` (N,) so that each `batch` shows every hand at most once, where that is possible.

    `hands` (items,) are what items show. An item whose hand its batch shows already goes to the next one. What is left
    over at the end changes places with an item of another batch.
    """
    room = [min(batch, len(order) - start) for start in range(0, len(order), batch)] + [len(order) + 1]
    batches: list[list[int]] = [[] for _ in room]  # the last is for what fits into no other
    first, after = 0, dict[int, int]()  # the first batch with room, and the one after a hand's last
    for item, hand in zip(order.tolist(), hands[order].tolist(), strict=True):
        while len(batches[first]) == room[first]:
            first += 1
        number = max(first, after.get(hand, 0))
        while len(batches[number]) == room[number]:
            number += 1
        batches[number].append(item)
        after[hand] = min(number + 1, len(room) - 1)
    failed = 0
    for item in batches.pop():
        own = next(items for items, size in zip(batches, room, strict=False) if len(items) < size)
        own.append(item)
        if failed <= _GIVE_UP:
            failed += not _swap(batches, own, hands, rng)
    return np.array([item for items in batches for item in items], np.int64)


def _swap(batches: list[list[int]], own: list[int], hands: NDArray[np.int64], rng: np.random.Generator) -> bool:
    """Exchange a batch's last item for one of another, if a few tries find one that leaves no repeat in either."""
    *others, item = own
    shown = hands[others]
    if hands[item] not in shown:
        return True
    for _ in range(_TRIES):
        other = batches[int(rng.integers(len(batches)))]
        taken = int(rng.integers(len(other))) if other else 0
        if other and other is not own and hands[item] not in hands[other] and hands[other[taken]] not in shown:
            own[-1], other[taken] = other[taken], item
            return True
    return False


class _WithoutRepeats:
    """An order in which every batch shows each hand at most once, where possible: one window of it at a time."""

    def __init__(self, order: Order, hands_of: HandsOf, batch: int, seed: int, epoch: int, window: int) -> None:
        self._order, self._hands_of, self._batch, self._at = order, hands_of, batch, (seed, epoch)
        self._window = batch * max(1, window // batch)
        self._current: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        windows = positions // self._window
        items = np.empty_like(positions)
        for window in np.unique(windows).tolist():
            chosen = windows == window
            items[chosen] = self._arranged(window)[positions[chosen] - window * self._window]
        return items

    def _arranged(self, window: int) -> NDArray[np.int64]:
        if window != self._current[0]:
            first = window * self._window
            order = self._order[np.arange(first, min(first + self._window, len(self._order)))]
            seed, epoch = self._at
            rng = KeyedRng("order", seed).at(epoch, 3 + window)
            places, hands = np.arange(len(order)), self._hands_of(order)
            self._current = window, order[without_repeats(places, hands, self._batch, rng)]
        return self._current[1]


class EpochSampler(DistributedSampler[Any], SequentialSampler):
    """Gives keys (epoch, index), each to exactly one of the processes.

    A DistributedSampler, as Lightning would wrap any other and divide the epoch twice; a SequentialSampler, as it
    replaces any other when a few batches are to be overfitted. The next iteration goes through `epoch` from `position`
    on, the number of items that all processes together have had.

    Attributes:
        computes: whether the order is computed, as of large epochs; those of runs begun before 0.3 are in memory.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        seed: int = 0,
        *,
        shuffle: bool = True,
        length: int | None = None,
        process: tuple[int, int] = (0, 1),
        drop_last: bool = False,
        weights: Sequence[float] | None = None,
        unique: tuple[NDArray[np.int64] | HandsOf, int] | None = None,
        in_shards: InShards | None = None,
    ) -> None:
        """Plan epochs by `epoch_order`, or without `shuffle` in order, always as epoch 0: for validation.

        Args:
            process: Rank of this process, and number of processes.
            drop_last: Leave out the few items that would give some processes one more than others.
            unique: The hand that each item shows (items,), or what gives those of some, and the size of batches that
                shall show none twice.
            in_shards: For an order in which few shards are read at once, see `ShardOrder`.
        """
        if weights is not None:
            check_weights(weights, len(sizes))
        self.sizes, self.length, self.weights, self._unique = tuple(sizes), length, weights, None
        if unique is not None:
            hands, batch = unique
            self._unique = (hands if callable(hands) else hands.__getitem__), batch
        self._count, self.position = length if shuffle and length is not None else sum(sizes), 0
        self._in_shards = in_shards if shuffle else None
        self.computes = self._count > LARGE and self._in_shards is None
        rank, world_size = process
        # of a Dataset, DistributedSampler only takes the length
        super().__init__(range(self._count), world_size, rank, shuffle, seed, drop_last)  # type: ignore[arg-type]
        self.total = self._count - self._count % world_size if drop_last else self._count

    def __len__(self) -> int:
        """Number of items of a whole epoch for this process; a trainer that resumes in the middle counts the rest."""
        return len(range(self.rank, self.total, self.num_replicas))

    def __iter__(self) -> Iterator[tuple[int, int]]:  # type: ignore[override]  # keys, not indices
        """Give this process' share of the epoch, from the position on."""
        epoch = self.epoch if self.shuffle else 0
        by_shard = self._shard_order(epoch)
        order = self._order(epoch) if by_shard is None else self._unrepeated(by_shard, epoch)
        share = range(self.position + self.rank, self.total, self.num_replicas)
        # half a round, as the next round's shard is asked for with each block
        size = _BLOCK if by_shard is None else min(_BLOCK, max(1, self._round() // (2 * self.num_replicas)))
        blocks = (share[start : start + size] for start in range(0, len(share), size))
        return ((epoch, index) for block in blocks for index in order[self._asked_for(by_shard, block)].tolist())

    def _asked_for(self, order: ShardOrder | ShardDraws | None, block: range) -> NDArray[np.int64]:
        """The positions of a block; the shards that its first one needs are on their way."""
        if order is not None and self._in_shards is not None:
            self._in_shards.ask_for(order, block[0])
        return np.array(block, np.int64)

    @property
    def shards_at_once(self) -> int:
        """0 for all of them; part of what an order is a function of."""
        return 0 if self._in_shards is None else self._in_shards.at_once

    def _shard_order(self, epoch: int) -> ShardOrder | ShardDraws | None:
        if self._in_shards is None:
            return None
        sources, at_once, _ = self._in_shards
        if self.length is None and len(sources) == 1 and isinstance(only := sources[0], ByShard):
            return ShardOrder(only, at_once, self.seed, through=epoch)
        return ShardDraws(sources, self._count, self.weights, self.seed, epoch, at_once)

    def _round(self) -> int:
        """Items of a round of a `ShardOrder`, about."""
        assert self._in_shards is not None
        rounds = sum(1 if isinstance(source, int) else len(source.starts) - 1 for source in self._in_shards.sources)
        return self._count // rounds

    def _unrepeated(self, order: Order, epoch: int) -> Order:
        if self._unique is None:
            return order
        hands_of, batch = self._unique
        # from shard to shard, items stay near their rounds
        window = _WINDOW if self._in_shards is None else min(_WINDOW, max(self._round(), _BATCHES * batch))
        return _WithoutRepeats(order, hands_of, batch, self.seed, epoch, window)

    def _order(self, epoch: int) -> Order:
        if self.computes:
            order: Order
            if not self.shuffle:
                order = Straight(self._count)
            elif len(self.sizes) == 1 and self.length is None:
                order = Permutation(self._count, self.seed, epoch)
            else:
                order = Draws(self.sizes, self._count, self.weights, self.seed, epoch)
            return self._unrepeated(order, epoch)
        whole = np.arange(self._count)
        if self.shuffle:
            whole = epoch_order(self.sizes, self.seed, epoch, self.length, self.weights)
        if self._unique is not None:
            # index 1: the order itself was drawn from index 0
            hands_of, batch = self._unique
            rng = KeyedRng("order", self.seed).at(epoch, 1)
            whole = whole[without_repeats(np.arange(len(whole)), hands_of(whole), batch, rng)]
        return whole

    def set_epoch(self, epoch: int) -> None:
        """Go to the beginning of an epoch, or stay where it is in the current one."""
        if epoch != self.epoch:
            self.epoch, self.position = epoch, 0

    def seek(self, epoch: int, position: int) -> None:
        """Go to a place that a run of any number of processes had reached; a whole epoch means the next one."""
        if position >= self.total:
            epoch, position = epoch + 1, 0
        self.epoch, self.position = epoch, position

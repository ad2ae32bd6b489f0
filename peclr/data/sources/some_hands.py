"""Some of very many hands: which are held out, and what number each has among the others, without a list of them.

Single hands are drawn by a computed permutation. Of whole groups, it is one bit a hand what is held out, 12 MB for a
hundred million, which are counted where they are needed (Jacobson, FOCS 1989: rank and select).
"""

from collections.abc import Iterator
from typing import Final, overload

import numpy as np
from numpy.typing import NDArray

from peclr.data.loading.permutation import Permutation, mixed

MANY: Final = 2**20  # hands, of which a choice is computed; of fewer it is an array, as it always was
_CHUNK: Final = 512  # bits between which they are counted
_WORDS: Final = _CHUNK // 64
_AT_ONCE: Final = 4096  # numbers that are looked up at a time
_BLOCK: Final = 2**18  # hands whose groups are read at a time: a multiple of the chunk


class SomeHands:
    """The hands at the positions from `start` to `stop` of an order, indexed as an array (N,) of them would be."""

    def __init__(self, numbering: "Permutation | Shuffled", start: int, stop: int) -> None:
        self._numbering, self._start, self._stop = numbering, start, stop

    def __len__(self) -> int:
        return self._stop - self._start

    @overload
    def __getitem__(self, place: int) -> int: ...
    @overload
    def __getitem__(self, place: slice) -> "SomeHands": ...
    @overload
    def __getitem__(self, place: NDArray[np.int64]) -> NDArray[np.int64]: ...
    def __getitem__(self, place: int | slice | NDArray[np.int64]) -> "int | SomeHands | NDArray[np.int64]":
        if isinstance(place, slice):
            start, stop, step = place.indices(len(self))
            if step != 1:
                raise IndexError(f"step {step}: expected hands one after the other")
            return SomeHands(self._numbering, self._start + start, self._start + max(start, stop))
        if isinstance(place, np.ndarray):
            return self._numbering[self._start + place]
        if not 0 <= place < len(self):
            raise IndexError(f"hand {place} of {len(self)}")
        return self._numbering.item(self._start + int(place))

    def __iter__(self) -> Iterator[int]:
        for start in range(0, len(self), _AT_ONCE):
            yield from self[np.arange(start, min(start + _AT_ONCE, len(self)))].tolist()

    def place_of(self, hand: int) -> int:
        """The place of one hand among these; −1 if it is not."""
        position = self._numbering.position_of(hand)
        return position - self._start if self._start <= position < self._stop else -1

    def places_of(self, hands: NDArray[np.int64]) -> NDArray[np.int64]:
        """The places of hands among these; −1 for those that are not."""
        positions = self._numbering.positions_of(hands)
        return np.where((positions >= self._start) & (positions < self._stop), positions - self._start, -1)


def listed(hands: NDArray[np.int64] | SomeHands) -> NDArray[np.int64]:
    """(N,), hands as an array: of `SomeHands`, the memory that they are to save."""
    return hands[np.arange(len(hands))] if isinstance(hands, SomeHands) else hands


class Marked:
    """The numbers of the bits of a map that are set, or of those that are not, in ascending order."""

    def __init__(self, bits: NDArray[np.uint8], total: int, *, ones: bool = True) -> None:
        """Count the bits, of which those behind `total`, to the end of the last chunk, are not set."""
        self._chunks, self._total, self._flip = bits.reshape(-1, _CHUNK // 8), total, np.uint8(0 if ones else 255)
        counts = np.bitwise_count(bits.view(np.uint64)).reshape(-1, _WORDS).sum(axis=1, dtype=np.int32)
        counts = counts if ones else _CHUNK - counts
        self._ends = np.cumsum(counts, dtype=np.int64)
        self._count = int(self._ends[-1]) - (0 if ones else len(self._chunks) * _CHUNK - total)

    def __len__(self) -> int:
        return self._count

    def item(self, position: int) -> int:
        """The number at one position."""
        chunk = int(self._ends.searchsorted(position, side="right"))
        before = int(self._ends[chunk - 1]) if chunk else 0
        bits = np.unpackbits(self._chunks[chunk] ^ self._flip, bitorder="little")
        return chunk * _CHUNK + int(bits.nonzero()[0][position - before])

    def position_of(self, item: int) -> int:
        """The position of one number; −1 if it is not among them."""
        chunk, place = divmod(item, _CHUNK)
        bits = int.from_bytes((self._chunks[chunk] ^ self._flip).tobytes(), "little")
        if not bits >> place & 1:
            return -1
        return (int(self._ends[chunk - 1]) if chunk else 0) + (bits & ((1 << place) - 1)).bit_count()

    def __getitem__(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The numbers at positions (N,)."""
        if len(positions) > self._count // 2:  # who wants most of them has the memory for all
            return np.flatnonzero(np.unpackbits(self._chunks ^ self._flip, bitorder="little"))[positions]
        found = np.empty(positions.shape, np.int64)
        for start in range(0, len(positions), _AT_ONCE):
            some = positions[start : start + _AT_ONCE]
            chunk = np.searchsorted(self._ends, some, side="right")
            rank = some - np.where(chunk > 0, self._ends[chunk - 1], 0)
            ranks = np.cumsum(self._unpacked(chunk), axis=1, dtype=np.int16)
            found[start : start + _AT_ONCE] = chunk * _CHUNK + (ranks > rank[:, None]).argmax(axis=1)
        return found

    def positions_of(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        """The positions of numbers (N,); −1 for those that are not among them."""
        found = np.empty(items.shape, np.int64)
        for start in range(0, len(items), _AT_ONCE):
            some = items[start : start + _AT_ONCE]
            chunk, place = np.divmod(some, _CHUNK)
            bits = self._unpacked(chunk)
            before = np.where(chunk > 0, self._ends[chunk - 1], 0)
            rank = before + (bits * (np.arange(_CHUNK) < place[:, None])).sum(axis=1)
            found[start : start + _AT_ONCE] = np.where(bits[np.arange(len(some)), place], rank, -1)
        return found

    def _unpacked(self, chunks: NDArray[np.int64]) -> NDArray[np.uint8]:
        return np.unpackbits(self._chunks[chunks] ^ self._flip, axis=1, bitorder="little")


class Shuffled:
    """The numbers of another numbering in a random order, so that the first ones are as good a choice as any."""

    def __init__(self, numbers: Marked, seed: int) -> None:
        self._numbers, self._order = numbers, Permutation(len(numbers), seed, 0, "split")

    def __len__(self) -> int:
        return len(self._numbers)

    def item(self, position: int) -> int:
        """The number at one position."""
        return self._numbers.item(self._order.item(position))

    def position_of(self, item: int) -> int:
        """The position of one number; −1 if it is not among them."""
        inside = self._numbers.position_of(item)
        return inside if inside < 0 else self._order.position_of(inside)

    def __getitem__(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The numbers at positions (N,)."""
        return self._numbers[self._order[positions]]

    def positions_of(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        """The positions of numbers (N,); −1 for those that are not among them."""
        inside = self._numbers.positions_of(items)
        return np.where(inside < 0, -1, self._order.positions_of(np.maximum(inside, 0)))


def split_many(num_hands: int, count: int, seed: int) -> tuple[SomeHands, SomeHands]:
    """Divide hands into those to train on and `count` held out, in an order that depends on the seed alone."""
    order = Permutation(num_hands, seed, 0, "split")
    return SomeHands(order, count, num_hands), SomeHands(order, 0, count)


def split_groups_of_many(numbers: NDArray[np.integer], count: int, seed: int) -> tuple[SomeHands, SomeHands] | None:
    """Hold out whole groups, at most `count` hands; None if none is so small.

    Args:
        numbers: (N,), the group of each hand, −1 for one of its own; perhaps memory-mapped. Memory is that of a number
            for each group, and a bit for each hand.
        count: Hands to hold out at most.
        seed: Of the choice.
    """
    sizes, alone = _sizes(numbers)
    # those that are alone have their share of what is held out
    single = round(count * alone / len(numbers))
    held = _chosen(sizes, count - single, seed)
    bits = np.zeros(-(-len(numbers) // _CHUNK) * _CHUNK // 8, np.uint8)
    keep = np.uint64(min(single / max(alone, 1) * 2.0**64, 2**64 - 1))
    key = mixed(np.array([seed], np.uint64))
    for start, block in _blocks(numbers):
        chosen = held[block]
        if alone:  # which of them depends on their own numbers
            own = np.flatnonzero(block < 0)
            drawn = own[mixed((start + own).astype(np.uint64) ^ key) < keep][:single]
            chosen[own], chosen[drawn] = False, True
            single -= len(drawn)
        packed = np.packbits(chosen, bitorder="little")
        bits[start // 8 : start // 8 + len(packed)] = packed
    held_out = Marked(bits, len(numbers))
    if not len(held_out):
        return None
    training = Marked(bits, len(numbers), ones=False)
    return tuple(SomeHands(Shuffled(part, seed), 0, len(part)) for part in (training, held_out))  # type: ignore[return-value]


def _blocks(numbers: NDArray[np.integer]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    for start in range(0, len(numbers), _BLOCK):
        yield start, np.asarray(numbers[start : start + _BLOCK], np.int64)


def _sizes(numbers: NDArray[np.integer]) -> tuple[NDArray[np.int32], int]:
    """How many hands each group has, by its number, and how many have none."""
    sizes, alone = np.zeros(1, np.int32), 0
    for _, block in _blocks(numbers):
        if (most := int(block.max())) >= 2 * len(numbers):
            raise ValueError(f"group {most} of {len(numbers):,} hands: expected groups without large gaps")
        counted = np.bincount(block + 1)
        alone += int(counted[0])
        if len(counted) - 1 > len(sizes):
            sizes = np.pad(sizes, (0, len(counted) - 1 - len(sizes)))
        sizes[: len(counted) - 1] += counted[1:].astype(np.int32)
    return sizes, alone


def _chosen(sizes: NDArray[np.int32], left: int, seed: int) -> NDArray[np.bool_]:
    """(groups + 1,), which are held out, as long as there is room; the last is for hands without one."""
    held = np.zeros(len(sizes) + 1, np.bool_)
    order = Permutation(len(sizes), seed, 1, "split")
    for start in range(0, len(sizes), _BLOCK):
        groups = order[np.arange(start, min(start + _BLOCK, len(sizes)))]
        while left > 0:
            size = sizes[groups]
            fits = (size > 0) & (size <= left)
            groups = groups[fits]
            if not len(groups):
                break
            first = int(np.searchsorted(np.cumsum(size[fits]), left, side="right"))
            held[groups[:first]] = True
            left -= int(size[fits][:first].sum())
            groups = groups[first + 1 :]
    return held

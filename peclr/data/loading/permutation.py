"""An order that is computed where it is needed: a keyed permutation of [0, n), and draws, of which nothing is stored.

A Feistel network permutes the numbers of b bits, 2^b < 2n, whatever its round function is (Luby and Rackoff, SIAM J.
Comput. 1988); what falls outside [0, n) is permuted again until it falls inside ("cycle walking", Black and Rogaway,
CT-RSA 2002), which is a permutation of [0, n) and takes less than two goes on average.
"""

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from peclr.data.rng import KeyedRng, Purpose

_ROUNDS: Final = 10  # four look random on long numbers; a few more mix short ones
_64_BITS: Final = 2**64 - 1
_LEAST_BITS: Final = 4  # shorter halves have too few round functions


class Order(Protocol):
    """Items by their positions in an epoch."""

    def __getitem__(self, positions: NDArray[np.int64], /) -> NDArray[np.int64]:
        """The items at some positions (N,)."""

    def __len__(self) -> int:
        """Number of positions."""


class Straight:
    """All positions as they are."""

    def __init__(self, n: int) -> None:
        self._n = n

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The items at some positions (N,)."""
        return positions


class Permutation:
    """A permutation of range(n): a function of the seed and the epoch, of constant size."""

    def __init__(
        self, n: int, seed: int, epoch: int, purpose: Purpose = "order", rng: np.random.Generator | None = None
    ) -> None:
        """Draw the keys of an epoch's order, or others from an `rng`."""
        if not 0 < n < 2**62:
            raise ValueError(f"expected 1 to 2^62 items to permute, got {n}")
        self.n = n
        bits = max((n - 1).bit_length(), _LEAST_BITS)
        self._right_bits = np.uint64(bits // 2)
        self._masks = tuple(np.uint64((1 << half) - 1) for half in (bits - bits // 2, bits // 2))
        # index 2: `epoch_order` draws from 0, `without_repeats` from 1
        rng = rng or KeyedRng(purpose, seed).at(epoch, 2)
        self._keys = rng.integers(2**64, size=_ROUNDS, dtype=np.uint64)
        # of one position, for which arrays take longer
        self._plain = bits // 2, [int(mask) for mask in self._masks], self._keys.tolist()

    def __len__(self) -> int:
        return self.n

    def item(self, position: int) -> int:
        """The item at one position."""
        return self._walked_one(position, range(_ROUNDS))

    def position_of(self, item: int) -> int:
        """The position of one item."""
        return self._walked_one(item, range(_ROUNDS)[::-1])

    def _walked_one(self, number: int, rounds: range) -> int:
        if not 0 <= number < self.n:
            raise IndexError(f"position {number} of {self.n} items")
        right_bits, masks, keys = self._plain
        while True:
            halves = [number >> right_bits, number & masks[1]]
            for turn in rounds:  # each is its own inverse
                changed = turn % 2
                halves[changed] ^= _mixed_one(halves[1 - changed] + keys[turn]) & masks[changed]
            number = (halves[0] << right_bits) | halves[1]
            if number < self.n:
                return number

    def positions_of(self, items: ArrayLike) -> NDArray[np.int64]:
        """The positions of items, of any shape; IndexError beyond n."""
        return self._walked(items, reverse=True)

    def __getitem__(self, positions: ArrayLike) -> NDArray[np.int64]:
        """The items at positions of any shape; IndexError beyond n."""
        return self._walked(positions)

    def _walked(self, numbers: ArrayLike, *, reverse: bool = False) -> NDArray[np.int64]:
        given = np.asarray(numbers, np.int64)
        if given.size and not 0 <= given.min() <= given.max() < self.n:
            raise IndexError(f"positions {given.min()} to {given.max()} of {self.n} items")
        found = self._permuted(given.reshape(-1).astype(np.uint64), reverse=reverse)
        while (outside := np.flatnonzero(found >= self.n)).size:
            found[outside] = self._permuted(found[outside], reverse=reverse)
        return found.astype(np.int64).reshape(given.shape)

    def _permuted(self, numbers: NDArray[np.uint64], *, reverse: bool) -> NDArray[np.uint64]:
        halves = [numbers >> self._right_bits, numbers & self._masks[1]]
        # each round is its own inverse
        for number in reversed(range(_ROUNDS)) if reverse else range(_ROUNDS):
            changed = number % 2
            halves[changed] = halves[changed] ^ (mixed(halves[1 - changed] + self._keys[number]) & self._masks[changed])
        return (halves[0] << self._right_bits) | halves[1]


class Draws:
    """Items drawn with replacement from the concatenation of sources: a function of seed, epoch and position."""

    def __init__(
        self, sizes: Sequence[int], length: int, weights: Sequence[float] | None, seed: int, epoch: int
    ) -> None:
        self._sizes, self._length = np.asarray(sizes, np.int64), length
        self._start = np.cumsum([0, *sizes[:-1]])
        mass = np.cumsum(np.ones(len(sizes)) if weights is None else weights)
        self._ends = mass / mass[-1]
        self._keys = KeyedRng("order", seed).at(epoch, 2).integers(2**64, size=2, dtype=np.uint64)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The items at some positions (N,)."""
        numbers = mixed(positions.astype(np.uint64) ^ self._keys[0])
        source = np.searchsorted(self._ends[:-1], unit(numbers), side="right")
        size = self._sizes[source]
        within = (unit(mixed(numbers + self._keys[1])) * size).astype(np.int64)
        return self._start[source] + np.minimum(within, size - 1)


def mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hash 64-bit numbers, one to one: the finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    numbers = numbers + np.uint64(0x9E3779B97F4A7C15)
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def _mixed_one(number: int) -> int:
    """The same of one number, which may be larger."""
    number = (number + 0x9E3779B97F4A7C15) & _64_BITS
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & _64_BITS
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & _64_BITS
    return number ^ (number >> 31)


def unit(numbers: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Numbers in [0, 1) of 64 random bits."""
    return (numbers >> np.uint64(11)).astype(np.float64) * 2.0**-53

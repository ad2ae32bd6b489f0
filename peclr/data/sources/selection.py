"""Which hands: splits that keep a hand's versions together, and a source cut down to some hands."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from peclr.data.rng import KeyedRng
from peclr.data.samples import HandSample, HandSource, require_masks


def hand_count(amount: float, num_hands: int, what: str) -> int:
    """Number of hands that an amount means: an int is a number, a float a fraction in (0, 1] and at least one hand."""
    is_number = isinstance(amount, int)
    if not 0 < amount <= (num_hands if is_number else 1):
        bounds = f"1 … {num_hands}, the number of hands" if is_number else "(0, 1]"
        raise ValueError(f"{what} {amount} is outside {bounds}")
    return int(amount) if is_number else max(1, round(amount * num_hands))


def split_hands(num_hands: int, val: float, seed: int) -> tuple[list[int], list[int]]:
    """Divide hands into those to train on and those held out, a fraction (float) or number (int); 0 holds out none.

    Both lists come in a random order that depends on the seed alone: the first 10 % to train on are part of the first
    20 %.
    """
    count = hand_count(val, num_hands, "val_fraction") if val else 0
    if count >= num_hands:
        raise ValueError(f"val_fraction {val} holds out all {num_hands} hands; none is left to train on")
    order = KeyedRng("split", seed).at().permutation(num_hands).tolist()
    return order[count:], order[:count]


class SelectedHands(HandSource):
    """Some hands of a source, at least one, renumbered in the order given, each with all of its versions."""

    def __init__(self, source: HandSource, hands: Sequence[int]) -> None:
        if not len(hands):
            raise ValueError(f"no hands were selected of the {source.num_hands} in {source.name}")
        self.source, self.name, self.num_hands = source, source.name, len(hands)
        self.hands = np.asarray(hands, np.int64)  # (num_hands,), their numbers in `source`
        versions = [np.asarray(source.versions_of(hand), np.int64) for hand in hands]
        self._images, self._start = np.concatenate(versions), np.cumsum([0, *map(len, versions)])

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> HandSample:
        return self.source[int(self._images[index])]

    def read(self, index: int, min_side: float) -> HandSample:
        """Read one image for a view."""
        return self.source.read(int(self._images[index]), min_side)

    def hand_of(self, index: int) -> int:
        """The hand that image `index` shows."""
        return int(np.searchsorted(self._start, index, side="right")) - 1

    def versions_of(self, hand: int) -> Sequence[int]:
        """The images that show `hand`."""
        return range(int(self._start[hand]), int(self._start[hand + 1]))

    def check_images(self) -> None:
        """Those of the whole source."""
        self.source.check_images()

    def check_masks(self) -> None:
        """Those of the whole source, which may have none."""
        require_masks(self.source).check_masks()

    def read_mask(self, hand: int) -> NDArray[np.uint8]:
        """Read the mask of one hand."""
        return require_masks(self.source).read_mask(int(self.hands[hand]))

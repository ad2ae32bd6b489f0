"""Sources made of others: some hands of one, and several as one."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from peclr.data.samples import HandSample, HandSource, hash_of, images_in_a_row, require_masks
from peclr.data.sources.some_hands import SomeHands, listed

Hands = NDArray[np.int64] | SomeHands  # numbers of hands


class SelectedHands(HandSource):
    """Some hands of a source, at least one, renumbered in the order given, each with all of its versions."""

    def __init__(self, source: HandSource, hands: Sequence[int] | Hands) -> None:
        if not len(hands):
            raise ValueError(f"no hands were selected of the {source.num_hands} in {source.name}")
        self.source, self.name, self.num_hands = source, source.name, len(hands)
        # (num_hands,), their numbers in `source`
        self.hands: Hands = hands if isinstance(hands, SomeHands) else np.asarray(hands, np.int64)
        self.images: Hands = self.hands  # (images,), their indices in `source`
        self._places: NDArray[np.int64] | None = None  # by number in `source`, once asked for
        self._start: NDArray[np.int64] | None = None  # where each hand has one image
        if not source.is_one_image_each():
            self.images, versions = source.images_of_hands(listed(self.hands))
            if not (versions == 1).all():
                self._start = np.concatenate([[0], np.cumsum(versions)])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> HandSample:
        return self.source[int(self.images[index])]

    def read(self, index: int, min_side: float) -> HandSample:
        """Read one image for a view."""
        return self.source.read(int(self.images[index]), min_side)

    def hand_of(self, index: int) -> int:
        """The hand that image `index` shows."""
        return index if self._start is None else int(np.searchsorted(self._start, index, side="right")) - 1

    def versions_of(self, hand: int) -> Sequence[int]:
        """The images that show `hand`."""
        return range(hand, hand + 1) if self._start is None else range(*self._start[hand : hand + 2].tolist())

    def is_one_image_each(self) -> bool:
        """See `HandSource`."""
        return self._start is None

    def place_of(self, hand: int) -> int:
        """The number here of one hand of `source`; −1 if it is not selected."""
        if isinstance(self.hands, SomeHands):
            return self.hands.place_of(hand)
        return int(self.places_of(np.array([hand]))[0])

    def places_of(self, hands: NDArray[np.int64]) -> NDArray[np.int64]:
        """The numbers here of hands (N,) of `source`; −1 for those that are not selected."""
        if isinstance(self.hands, SomeHands):
            return self.hands.places_of(hands)
        if self._places is None:
            self._places = np.full(self.source.num_hands, -1)
            self._places[self.hands] = np.arange(self.num_hands)
        return self._places[hands]

    def images_of_hands(self, hands: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """See `HandSource`."""
        return super().images_of_hands(hands) if self._start is None else images_in_a_row(self._start, hands)

    def check_images(self) -> None:
        """Those of the whole source."""
        self.source.check_images()

    def check_masks(self) -> None:
        """Those of the whole source, which may have none."""
        require_masks(self.source).check_masks()

    def read_mask(self, hand: int) -> NDArray[np.uint8]:
        """Read the mask of one hand."""
        return require_masks(self.source).read_mask(int(self.hands[hand]))


class JoinedHands(HandSource):
    """Several sources, one after the other, as one."""

    def __init__(self, sources: Sequence[HandSource]) -> None:
        self.sources, self.name = tuple(sources), " + ".join(source.name for source in sources)
        self._first_image = [0, *accumulate(len(source) for source in sources)]
        self._first_hand = [0, *accumulate(source.num_hands for source in sources)]
        self.num_hands = self._first_hand[-1]

    def __len__(self) -> int:
        return self._first_image[-1]

    def __getitem__(self, index: int) -> HandSample:
        source, first, _ = self._at(self._first_image, index)
        return source[index - first]

    def read(self, index: int, min_side: float) -> HandSample:
        """Read one image for a view."""
        source, first, _ = self._at(self._first_image, index)
        return source.read(index - first, min_side)

    def hand_of(self, index: int) -> int:
        """The hand that image `index` shows."""
        source, first, number = self._at(self._first_image, index)
        return self._first_hand[number] + source.hand_of(index - first)

    def versions_of(self, hand: int) -> Sequence[int]:
        """The images that show `hand`."""
        source, first, number = self._at(self._first_hand, hand)
        return [self._first_image[number] + image for image in source.versions_of(hand - first)]

    def is_one_image_each(self) -> bool:
        """See `HandSource`."""
        return all(source.is_one_image_each() for source in self.sources)

    def check_images(self) -> None:
        """Those of all."""
        for source in self.sources:
            source.check_images()

    def images_of_hands(self, hands: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """See `HandSource`."""
        number, versions = np.searchsorted(self._first_hand, hands, side="right") - 1, np.empty(len(hands), np.int64)
        found = []
        for one, source in enumerate(self.sources):
            if not len(places := np.flatnonzero(number == one)):
                continue
            images, versions[places] = source.images_of_hands(hands[places] - self._first_hand[one])
            found.append((places, images + self._first_image[one]))
        start = np.concatenate([[0], np.cumsum(versions)])
        joined = np.empty(start[-1], np.int64)
        for places, images in found:
            joined[images_in_a_row(start, places)[0]] = images
        return joined, versions

    def source_of_hands(self) -> NDArray[np.int64]:
        """(num_hands,), the number of the source that each hand is from."""
        return np.repeat(np.arange(len(self.sources)), np.diff(self._first_hand))

    def identity(self) -> str:
        """See `HandSource`: of all of theirs, in this order."""
        return hash_of(" ".join(source.identity() for source in self.sources))

    def _at(self, first: Sequence[int], number: int) -> tuple[HandSource, int, int]:
        """The source that an image or hand is from, the number of its first one, and the source's own."""
        found = bisect_right(first, number, hi=len(self.sources)) - 1
        return self.sources[found], first[found], found

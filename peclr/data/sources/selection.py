"""Which hands: splits that keep a hand's versions together, a source cut down to some hands, several sources as one."""

import logging
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from peclr.data.rng import KeyedRng
from peclr.data.samples import HandSample, HandSource, HasCameras, HasGroups, HasTracks, hash_of, require_masks
from peclr.data.sources.layouts import teacher_of

_log = logging.getLogger(__name__)


def hand_count(amount: float, num_hands: int, what: str) -> int:
    """Number of hands that an amount means: an int is a number, a float a fraction in (0, 1] and at least one hand."""
    is_number = isinstance(amount, int)
    if not 0 < amount <= (num_hands if is_number else 1):
        bounds = f"1 … {num_hands}, the number of hands" if is_number else "(0, 1]"
        raise ValueError(f"{what} {amount} is outside {bounds}")
    return int(amount) if is_number else max(1, round(amount * num_hands))


def split_hands(num_hands: int, val: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide hands into those to train on and those held out, a fraction (float) or number (int); 0 holds out none.

    Both come in a random order that depends on the seed alone: the first 10 % to train on are part of the first
    20 %.
    """
    count = hand_count(val, num_hands, "val_fraction") if val else 0
    if count >= num_hands:
        raise ValueError(f"val_fraction {val} holds out all {num_hands} hands; none is left to train on")
    order = KeyedRng("split", seed).at().permutation(num_hands)
    return order[count:], order[:count]


def split_source(source: HandSource, val: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide the hands of a source as `split_hands`, and never those of one group, or at least of one track.

    Whole groups are held out as long as there is room for them in `val`, so that a little less may be held out. Where
    all groups are larger, as of a single video, tracks are, by all cameras that saw them, or single hands.
    """
    training, held_out = split_hands(source.num_hands, val, seed)
    budget, order = len(held_out), np.concatenate([held_out, training])
    kinds = {"group": groups_of(source), "track": same_hand(source)}
    for kind, numbers in kinds.items():
        if not budget or numbers is None:
            continue
        of_hand = np.unique(numbers, return_inverse=True)[1]
        sizes, left = np.bincount(of_hand), budget
        held = np.zeros(len(sizes), np.bool_)
        in_order, first = np.unique(of_hand[order], return_index=True)
        for number in in_order[np.argsort(first)].tolist():
            held[number] = sizes[number] <= left
            if held[number]:
                left -= sizes[number]
        if held.any():
            chosen = held[of_hand[order]]
            return order[~chosen], order[chosen]
        _log.warning("%s: each %s has more than the %d hands to hold out; it is divided", source.name, kind, budget)
    return training, held_out


class Tracks(NamedTuple):
    """What is known of hands that were followed through videos."""

    track: NDArray[np.int64]  # (num_hands,), −1 for none
    time: NDArray[np.float64]  # (num_hands,), seconds


class Cameras(NamedTuple):
    """What is known of hands that several cameras saw at the same moment."""

    frame: NDArray[np.int64]  # (num_hands,), −1 for none
    camera: NDArray[np.int64]  # (num_hands,)


def tracks_of(source: HandSource) -> Tracks | None:
    """Return the tracks of a source, or of some hands of one; None where it has none."""
    if isinstance(source, SelectedHands):
        whole = tracks_of(source.source)
        return whole and Tracks(whole.track[source.hands], whole.time[source.hands])
    if isinstance(source, JoinedHands):
        known = [(part.num_hands, tracks_of(part)) for part in source.sources]
        if not any(tracks for _, tracks in known):
            return None
        tracks = [tracks or Tracks(np.full(hands, -1), np.full(hands, np.nan)) for hands, tracks in known]
        return Tracks(_joined([part.track for part in tracks]), np.concatenate([part.time for part in tracks]))
    if not isinstance(source, HasTracks):
        return None
    track = source.track_of_hands()
    return Tracks(track, source.time_of_hands()) if (track >= 0).any() else None


def cameras_of(source: HandSource) -> Cameras | None:
    """Return the cameras of a source, or of some hands of one; None where it has none."""
    if isinstance(source, SelectedHands):
        whole = cameras_of(source.source)
        return whole and Cameras(whole.frame[source.hands], whole.camera[source.hands])
    if isinstance(source, JoinedHands):
        known = [(part.num_hands, cameras_of(part)) for part in source.sources]
        if not any(cameras for _, cameras in known):
            return None
        cameras = [cameras or Cameras(np.full(hands, -1), np.full(hands, -1)) for hands, cameras in known]
        return Cameras(_joined([part.frame for part in cameras]), np.concatenate([part.camera for part in cameras]))
    return Cameras(source.frame_of_hands(), source.camera_of_hands()) if isinstance(source, HasCameras) else None


def same_hand(source: HandSource) -> NDArray[np.int64] | None:
    """(num_hands,), the lowest number of those that are one hand: of its track, and seen by other cameras.

    Its own number where it is alone. None where a source has neither tracks nor cameras.
    """
    tracks, cameras = tracks_of(source), cameras_of(source)
    if tracks is None and cameras is None:
        return None
    shared = [*(() if tracks is None else (tracks.track,)), *(() if cameras is None else (cameras.frame,))]
    places = [np.unique(numbers, return_inverse=True)[1] for numbers in shared]
    lowest, before = np.arange(source.num_hands), np.empty(0, np.int64)
    while not np.array_equal(lowest, before):  # a track leads to other cameras, and those to their tracks
        before = lowest
        for numbers, place in zip(shared, places, strict=True):
            least = np.full(len(numbers), len(numbers))
            np.minimum.at(least, place, lowest)
            lowest = np.where(numbers < 0, lowest, least[place])
    return lowest


def groups_of(source: HandSource) -> NDArray[np.int64] | None:
    """(num_hands,), the groups of a source, or of some hands of one; None where it has none."""
    if isinstance(source, SelectedHands):
        whole = groups_of(source.source)
        return None if whole is None else whole[source.hands]
    if isinstance(source, JoinedHands):
        parts = [groups_of(part) for part in source.sources]
        own = (np.arange(part.num_hands) for part in source.sources)
        joined = _joined([alone if part is None else part for part, alone in zip(parts, own, strict=True)])
        return None if all(part is None for part in parts) else joined
    return source.group_of_hands() if isinstance(source, HasGroups) else None


def pseudo_labels_of(source: HandSource) -> str | None:
    """Who made the pseudo-labels of some of a source's hands; None where labels were measured, as far as is known."""
    if isinstance(source, SelectedHands):
        return pseudo_labels_of(source.source)
    if isinstance(source, JoinedHands):
        return next(filter(None, map(pseudo_labels_of, source.sources)), None)
    teacher = teacher_of(Path(getattr(source, "root", "")))
    return teacher or ("a teacher" if getattr(source, "labels", None) == "pseudo" else None)  # of shards


def _joined(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """(num_hands,), the numbers that sources gave their hands, −1 for none, so that no two sources share one."""
    joined, first = [], 0
    for part in parts:
        joined.append(np.where(part < 0, -1, part + first))
        first = max(first, int(joined[-1].max()) + 1)
    return np.concatenate(joined)


class SelectedHands(HandSource):
    """Some hands of a source, at least one, renumbered in the order given, each with all of its versions."""

    def __init__(self, source: HandSource, hands: Sequence[int] | NDArray[np.int64]) -> None:
        if not len(hands):
            raise ValueError(f"no hands were selected of the {source.num_hands} in {source.name}")
        self.source, self.name, self.num_hands = source, source.name, len(hands)
        self.hands = np.asarray(hands, np.int64)  # (num_hands,), their numbers in `source`
        self._images, versions = source.images_of_hands(self.hands)
        # None where each hand has one image
        self._start = None if (versions == 1).all() else np.concatenate([[0], np.cumsum(versions)])

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> HandSample:
        return self.source[int(self._images[index])]

    def read(self, index: int, min_side: float) -> HandSample:
        """Read one image for a view."""
        return self.source.read(int(self._images[index]), min_side)

    def hand_of(self, index: int) -> int:
        """The hand that image `index` shows."""
        return index if self._start is None else int(np.searchsorted(self._start, index, side="right")) - 1

    def versions_of(self, hand: int) -> Sequence[int]:
        """The images that show `hand`."""
        return range(hand, hand + 1) if self._start is None else range(*self._start[hand : hand + 2].tolist())

    def hand_of_images(self) -> NDArray[np.int64]:
        """(images,), the hand that each image shows."""
        hands = np.arange(self.num_hands)
        return hands if self._start is None else np.repeat(hands, np.diff(self._start))

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

    def check_images(self) -> None:
        """Those of all."""
        for source in self.sources:
            source.check_images()

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

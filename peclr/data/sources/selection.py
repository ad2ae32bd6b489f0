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
from peclr.data.sources.some_hands import MANY, SomeHands, listed, split_groups_of_many, split_many

_log = logging.getLogger(__name__)

Hands = NDArray[np.int64] | SomeHands  # numbers of hands
Split = tuple[Hands, Hands]  # hands to train on, and held out


def hand_count(amount: float, num_hands: int, what: str) -> int:
    """Number of hands that an amount means: an int is a number, a float a fraction in (0, 1] and at least one hand."""
    is_number = isinstance(amount, int)
    if not 0 < amount <= (num_hands if is_number else 1):
        bounds = f"1 … {num_hands}, the number of hands" if is_number else "(0, 1]"
        raise ValueError(f"{what} {amount} is outside {bounds}")
    return int(amount) if is_number else max(1, round(amount * num_hands))


def split_hands(num_hands: int, val: float, seed: int) -> Split:
    """Divide hands into those to train on and those held out, a fraction (float) or number (int); 0 holds out none.

    Both come in a random order that depends on the seed alone: the first 10 % to train on are part of the first
    20 %. Of more than a million hands, it is computed.
    """
    count = hand_count(val, num_hands, "val_fraction") if val else 0
    if count >= num_hands:
        raise ValueError(f"val_fraction {val} holds out all {num_hands} hands; none is left to train on")
    if num_hands > MANY:
        return split_many(num_hands, count, seed)
    order = KeyedRng("split", seed).at().permutation(num_hands)
    return order[count:], order[:count]


def split_source(source: HandSource, val: float, seed: int) -> Split:
    """Divide the hands of a source as `split_hands`, and never those of one group, or at least of one track.

    Whole groups are held out as long as there is room for them in `val`, so that a little less may be held out. Where
    all groups are larger, as of a single video, tracks are, by all cameras that saw them, or single hands.
    """
    training, held_out = split_hands(source.num_hands, val, seed)
    budget = len(held_out)
    for kind, numbers_of in {"group": groups_of, "track": _one_hand}.items():
        if not budget or (numbers := numbers_of(source)) is None:
            continue
        whole: Split | None
        if isinstance(held_out, SomeHands):
            whole = split_groups_of_many(numbers, budget, seed)
        else:
            whole = _split_groups(numbers, np.concatenate([held_out, listed(training)]), budget)
        if whole is not None:
            return whole
        _log.warning("%s: each %s has more than the %d hands to hold out; it is divided", source.name, kind, budget)
    return training, held_out


def _split_groups(numbers: NDArray[np.int64], order: NDArray[np.int64], left: int) -> Split | None:
    """Hold out the first groups, in the order of their first hands, for which there is room; None without any."""
    of_hand = np.unique(numbers, return_inverse=True)[1]
    sizes = np.bincount(of_hand)
    held = np.zeros(len(sizes), np.bool_)
    in_order, first = np.unique(of_hand[order], return_index=True)
    for number in in_order[np.argsort(first)].tolist():
        held[number] = sizes[number] <= left
        if held[number]:
            left -= sizes[number]
    chosen = held[of_hand[order]]
    return (order[~chosen], order[chosen]) if held.any() else None


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
        if whole is None:
            return None
        hands = listed(source.hands)
        return Tracks(whole.track[hands], whole.time[hands])
    if isinstance(source, JoinedHands):
        known = [(part.num_hands, tracks_of(part)) for part in source.sources]
        if not any(tracks for _, tracks in known):
            return None
        tracks = [tracks or Tracks(np.full(hands, -1), np.full(hands, np.nan)) for hands, tracks in known]
        return Tracks(_joined([part.track for part in tracks]), np.concatenate([part.time for part in tracks]))
    if not isinstance(source, HasTracks):
        return None
    track = source.track_of_hands()
    followed = any((track[start : start + MANY] >= 0).any() for start in range(0, len(track), MANY))
    return Tracks(track, source.time_of_hands()) if followed else None


def cameras_of(source: HandSource) -> Cameras | None:
    """Return the cameras of a source, or of some hands of one; None where it has none."""
    if isinstance(source, SelectedHands):
        whole = cameras_of(source.source)
        if whole is None:
            return None
        hands = listed(source.hands)
        return Cameras(whole.frame[hands], whole.camera[hands])
    if isinstance(source, JoinedHands):
        known = [(part.num_hands, cameras_of(part)) for part in source.sources]
        if not any(cameras for _, cameras in known):
            return None
        cameras = [cameras or Cameras(np.full(hands, -1), np.full(hands, -1)) for hands, cameras in known]
        return Cameras(_joined([part.frame for part in cameras]), np.concatenate([part.camera for part in cameras]))
    if not isinstance(source, HasCameras) or (frame := source.frame_of_hands()) is None:
        return None
    return Cameras(frame, source.camera_of_hands())


class ByTrack:
    """For very many hands, what `same_hand` lists for fewer: a number that the hands of a track share.

    Attributes:
        count: the numbers are below it.
    """

    def __init__(self, source: HandSource, track: NDArray[np.int64]) -> None:
        """Take the tracks of the hands of `source`, or of the source that they are selected from."""
        self._track, self._alone = track, source.num_hands
        self._selected = source.hands if isinstance(source, SelectedHands) else None
        self.count = source.num_hands + int(track.max()) + 1

    def __getitem__(self, hands: int | NDArray[np.int64]) -> NDArray[np.int64]:
        track = self._track[hands if self._selected is None else self._selected[hands]]
        return np.where(track < 0, hands, self._alone + track)


def same_hand(source: HandSource) -> NDArray[np.int64] | ByTrack | None:
    """(num_hands,), the lowest number of those that are one hand: of its track, and seen by other cameras.

    Its own number where it is alone. None where a source has neither tracks nor cameras. Numbers of very many hands
    are computed, and not the lowest.
    """
    if source.num_hands > MANY and cameras_of(source) is None:
        whole = tracks_of(source.source if isinstance(source, SelectedHands) else source)
        return whole and ByTrack(source, whole.track)
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


def count_hands(source: HandSource, enough: int) -> int:
    """Number of hands that are not the same, counted no further than is enough."""
    same, seen = same_hand(source), np.empty(0, np.int64)
    if same is None:
        return source.num_hands
    for start in range(0, source.num_hands, MANY):
        hands = np.arange(start, min(start + MANY, source.num_hands))
        seen = np.union1d(seen, same[hands])
        if len(seen) >= enough:
            break
    return len(seen)


def _one_hand(source: HandSource) -> NDArray[np.int64] | None:
    """(num_hands,), numbers that those share that are one hand; of very many, −1 for none."""
    same = same_hand(source)
    if not isinstance(same, ByTrack):
        return same
    tracks = tracks_of(source)
    return tracks and tracks.track


def groups_of(source: HandSource) -> NDArray[np.int64] | None:
    """(num_hands,), the groups of a source, or of some hands of one; None where it has none."""
    if isinstance(source, SelectedHands):
        whole = groups_of(source.source)
        return None if whole is None else whole[listed(source.hands)]
    if isinstance(source, JoinedHands):
        parts = [groups_of(part) for part in source.sources]
        if all(part is None for part in parts):
            return None
        own = (np.arange(part.num_hands) for part in source.sources)
        return _joined([alone if part is None else part for part, alone in zip(parts, own, strict=True)])
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

    def places_of(self, hands: NDArray[np.int64]) -> NDArray[np.int64]:
        """The numbers here of hands (N,) of `source`; −1 for those that are not selected."""
        if isinstance(self.hands, SomeHands):
            return self.hands.places_of(hands)
        if self._places is None:
            self._places = np.full(self.source.num_hands, -1)
            self._places[self.hands] = np.arange(self.num_hands)
        return self._places[hands]

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

    def is_one_image_each(self) -> bool:
        """See `HandSource`."""
        return all(source.is_one_image_each() for source in self.sources)

    def check_images(self) -> None:
        """Those of all."""
        for source in self.sources:
            source.check_images()

    def hand_of_images(self) -> NDArray[np.int64]:
        """(images,), the hand that each image shows."""
        first = self._first_hand
        return np.concatenate([first[one] + source.hand_of_images() for one, source in enumerate(self.sources)])

    def images_of_hands(self, hands: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """See `HandSource`."""
        number, versions = np.searchsorted(self._first_hand, hands, side="right") - 1, np.empty(len(hands), np.int64)
        found = []
        for one, source in enumerate(self.sources):
            if not len(places := np.flatnonzero(number == one)):
                continue
            images, versions[places] = source.images_of_hands(hands[places] - self._first_hand[one])
            found.append((places, images + self._first_image[one]))
        first = np.cumsum(versions) - versions
        joined = np.empty(versions.sum(), np.int64)
        for places, images in found:
            of_hand = np.repeat(np.arange(len(places)), versions[places])
            within = np.arange(len(images)) - (np.cumsum(versions[places]) - versions[places])[of_hand]
            joined[first[places][of_hand] + within] = images
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

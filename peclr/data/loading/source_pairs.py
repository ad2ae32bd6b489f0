"""The items of a source under each way of pairing, and which two images the views of an item are of.

Of very many hands nothing is listed: partners are looked up where they are needed.
"""

import logging
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from peclr.data.loading.pairs_file import NOBODY
from peclr.data.samples import HandSource, HasVideos
from peclr.data.sources.composed import SelectedHands
from peclr.data.sources.mapped import SharesFiles
from peclr.data.sources.selection import ByTrack, Cameras, Tracks, same_hand
from peclr.data.sources.some_hands import MANY

_LOOKED_AT: Final = 10_000  # of very many hands, to say how many have no similar one
_ROUNDING: Final = 1e-6  # s, of frames that are exactly as far apart as asked for
_NEAR: Final = 64  # hands before and behind one, among which frames of its track are looked for at first
_BLOCK: Final = 2**20  # hands that are checked at a time

_log = logging.getLogger(__name__)


class SourcePairs(SharesFiles):
    """The pairs of one source: every image is an item, and both views are of it."""

    def __init__(self, source: HandSource) -> None:
        self._source = source
        self._same_hand = same_hand(source)

    def __len__(self) -> int:
        return len(self._source)

    def draw(self, item: int, rng: np.random.Generator) -> tuple[int, int]:
        """Draw the images of an item's two views, which may be one and the same: indices into the source."""
        return item, item

    def first_images(self) -> NDArray[np.int64]:
        """(items,), an image that each item's views may be of: indices into the source."""
        return np.arange(len(self))

    def has_map(self, images: tuple[int, int]) -> bool:
        """Whether what moves and turns one image's hand in the plane can be undone to compare it with the other's."""
        return True

    def hand_shown(self, image: int) -> int:
        """The hand that an image shows, the first of its track and all cameras: others of it are no negatives."""
        hand = self._source.hand_of(image)
        return hand if self._same_hand is None else int(self._same_hand[hand])

    @property
    def hand_numbers(self) -> int:
        """Numbers of hands that are shown are below this."""
        return self._same_hand.count if isinstance(self._same_hand, ByTrack) else self._source.num_hands

    def hands_of(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        """(N,), the hands that the first views of some items (N,) show."""
        hands = items if self._source.is_one_image_each() else self._hand_of_images[items]
        return hands if self._same_hand is None else self._same_hand[hands]

    @cached_property
    def _hand_of_images(self) -> NDArray[np.int64]:
        return self._source.hand_of_images()


class HandPairs(SourcePairs):
    """Pairs of versions of a hand, or of two hands where `_partner` finds another."""

    def __len__(self) -> int:
        return self._source.num_hands

    def first_images(self) -> NDArray[np.int64]:
        """See `SourcePairs`."""
        images, versions = self._source.images_of_hands(np.arange(len(self)))
        first: NDArray[np.int64] = images[np.cumsum(versions) - versions]
        return first

    def draw(self, item: int, rng: np.random.Generator) -> tuple[int, int]:
        """Draw a version of the hand, and of its partner or another of its own, see `SourcePairs`."""
        versions, partner = self._source.versions_of(item), self._partner(item, rng)
        if partner != NOBODY:
            others = self._source.versions_of(partner)
            return versions[int(rng.integers(len(versions)))], others[int(rng.integers(len(others)))]
        if len(versions) == 1:
            return versions[0], versions[0]
        first = int(rng.integers(len(versions)))
        second = (first + 1 + int(rng.integers(len(versions) - 1))) % len(versions)  # any but the first
        return versions[first], versions[second]

    def _partner(self, item: int, rng: np.random.Generator) -> int:
        """Draw the hand of the second view; NOBODY for its own."""
        return NOBODY

    def hands_of(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        """See `SourcePairs`."""
        return items if self._same_hand is None else self._same_hand[items]


class SimilarPairs(HandPairs):
    """Pairs of similar hands, of which each has a row of `neighbors` (all hands, K) in the source that was mined."""

    def __init__(self, source: HandSource, neighbors: NDArray[np.integer], nearest: int) -> None:
        super().__init__(source)
        self._neighbors, self._nearest = neighbors, nearest
        is_listed = source.num_hands <= MANY  # of more, partners are looked up where they are needed
        looked_at = np.arange(0, source.num_hands, 1 if is_listed else max(1, source.num_hands // _LOOKED_AT))
        partners = self._partners_of(looked_at)
        self._partners = partners if is_listed else None
        if alone := int((partners[:, 0] == NOBODY).sum()):
            found = f"{alone} of {len(looked_at)} hands have no similar one here"
            _log.info("%s: %s; they are paired across versions", source.name, found)

    def _partners_of(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        """(N, nearest), the hands that items (N,) may be paired with; NOBODY behind the last."""
        source = self._source
        if isinstance(source, SelectedHands):
            found = np.asarray(self._neighbors[source.hands[items]], np.int64)
            there = found != NOBODY
            partners = np.full(found.shape, NOBODY, np.int64)
            partners[there] = source.places_of(found[there])
        else:
            partners = np.array(self._neighbors[items], np.int64)
        if self._same_hand is not None:
            same = self._same_hand[np.maximum(partners, 0).ravel()].reshape(partners.shape)
            partners[same == self._same_hand[items][:, None]] = NOBODY
        nearest_first = np.argsort(partners == NOBODY, axis=1, kind="stable")[:, : self._nearest]
        return np.take_along_axis(partners, nearest_first, axis=1)

    def _partner(self, item: int, rng: np.random.Generator) -> int:
        if self._partners is None:
            found = self._look_up(item)
            return found[rng.integers(len(found))] if found else NOBODY
        partners = self._partners[item]
        count = int((partners != NOBODY).sum())
        return int(partners[rng.integers(count)]) if count else NOBODY

    def _look_up(self, item: int) -> list[int]:
        """The same of one item, in a tenth of the time that arrays would take."""
        source, same = self._source, self._same_hand
        place_of = source.place_of if isinstance(source, SelectedHands) else int
        hand = int(source.hands[item]) if isinstance(source, SelectedHands) else item
        found = list[int]()
        own = None if same is None else same[item]
        for neighbor in self._neighbors[hand].tolist():
            other = neighbor if neighbor == NOBODY else place_of(neighbor)
            if other != NOBODY and (same is None or same[other] != own):
                found.append(other)
                if len(found) == self._nearest:
                    break
        return found


class FramePairs(HandPairs):
    """Pairs of frames of a track that are at most `seconds` apart."""

    def __init__(self, source: HandSource, tracks: Tracks, seconds: float) -> None:
        super().__init__(source)
        self._seconds = seconds + _ROUNDING
        in_time = np.lexsort((tracks.time, tracks.track))  # hands, track by track
        self._hand, self._place = in_time, np.empty_like(in_time)
        self._place[in_time] = np.arange(len(in_time))
        self._time, self._track = tracks.time[in_time], tracks.track[in_time]
        near = (np.diff(self._time) <= self._seconds) & (np.diff(self._track) == 0) & (self._track[1:] >= 0)
        self._has_partner = np.concatenate((near, [False])) | np.concatenate(([False], near))
        if alone := int((~self._has_partner).sum()):
            found = f"{alone} of {source.num_hands} hands have no other frame of their track within {seconds} s"
            _log.info("%s: %s; they are paired across versions", source.name, found)

    def _partner(self, item: int, rng: np.random.Generator) -> int:
        place = int(self._place[item])
        if not self._has_partner[place]:
            return NOBODY
        begin, end = np.searchsorted(self._track, self._track[place] + np.array([0, 1]))
        time = self._time[place] + np.array([-self._seconds, self._seconds])
        first, last = begin + np.searchsorted(self._time[begin:end], time)
        drawn = int(rng.integers(first, last - 1))
        return int(self._hand[drawn + (drawn >= place)])  # any but itself


class LookedUpFramePairs(HandPairs):
    """The same of very many hands, whose videos come one after the other, and frames in order, as `are_in_order` says.

    Tracks are those of the hands that `source` is selected from, perhaps memory-mapped.
    """

    def __init__(self, source: HandSource, tracks: Tracks, seconds: float) -> None:
        super().__init__(source)
        self._track, self._time, self._seconds = tracks.track, tracks.time, seconds + _ROUNDING

    def _partner(self, item: int, rng: np.random.Generator) -> int:
        source, tracks, times = self._source, self._track, self._time
        hand = int(source.hands[item]) if isinstance(source, SelectedHands) else item
        track, time = tracks[hand], times[hand]
        if track < 0:
            return NOBODY
        reach = _NEAR
        while True:
            start, stop = max(0, hand - reach), min(len(tracks), hand + reach + 1)
            near = np.abs(times[start:stop] - time) <= self._seconds
            if not ((start and near[0]) or (stop < len(tracks) and near[-1])):
                break
            reach *= 4
        others = start + np.flatnonzero(near & (tracks[start:stop] == track))
        for other in rng.permutation(others[others != hand]).tolist():
            place = source.place_of(other) if isinstance(source, SelectedHands) else other
            if place >= 0:  # most are: tracks are not divided, where that can be
                return place
        return NOBODY


def are_in_order(source: HandSource, time: NDArray[np.float64]) -> bool:
    """Whether the hands of a video come one after the other, and their times (num_hands,) never go back."""
    try:
        video = source.video_of_hands() if isinstance(source, HasVideos) else None
    except ValueError:  # which video a hand is from is not known
        return False
    if video is None:
        return False
    for start in range(0, len(video), _BLOCK):
        videos, times = np.asarray(video[start : start + _BLOCK + 1]), time[start : start + _BLOCK + 1]
        same = np.diff(videos) == 0
        if (np.diff(videos) < 0).any() or not (times[1:][same] >= times[:-1][same]).all():
            return False
    return True


class CameraPairs(HandPairs):
    """Pairs of cameras' images of one moment."""

    def __init__(self, source: HandSource, cameras: Cameras, pairable: NDArray[np.bool_], share: float) -> None:
        super().__init__(source)
        self._share, self._pairable = share, pairable
        self._hand = np.argsort(cameras.frame, kind="stable")  # moment by moment
        self._frame, self._camera = cameras.frame[self._hand], cameras.camera[self._hand]
        self._place = np.empty_like(self._hand)
        self._place[self._hand] = np.arange(len(self._hand))
        self._has_partner = np.zeros(len(self._hand), np.bool_)
        for step in range(1, len(self._hand)):
            first, second = self._camera[:-step], self._camera[step:]
            same = (self._frame[step:] == self._frame[:-step]) & (self._frame[step:] >= 0)
            if not same.any():
                break
            self._has_partner[:-step] |= same & pairable[first, second]
            self._has_partner[step:] |= same & pairable[second, first]
        paired = f"{int(self._has_partner.sum()):,} of {source.num_hands:,} hands are paired with another camera's"
        _log.info("%s: %s, where there is nothing to undo: objectives get the identity", source.name, paired)

    def has_map(self, images: tuple[int, int]) -> bool:
        """See `SourcePairs`: not between cameras."""
        return self._source.hand_of(images[0]) == self._source.hand_of(images[1])

    def _partner(self, item: int, rng: np.random.Generator) -> int:
        place = int(self._place[item])
        if not self._has_partner[place] or (self._share < 1 and rng.random() >= self._share):
            return NOBODY
        begin, end = np.searchsorted(self._frame, self._frame[place] + np.array([0, 1])).tolist()
        others = begin + np.flatnonzero(self._pairable[self._camera[place], self._camera[begin:end]])
        return int(self._hand[others[rng.integers(len(others))]])

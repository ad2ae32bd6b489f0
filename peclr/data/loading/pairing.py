"""Which two images of a source the views of a pair are of.

One image, as published, has a background that can identify it. Versions of a hand share the hand only; nearby frames
(TempCLR, Ziani et al., 3DV 2022) the hand and nearly the pose; similar hands (SiMHand, Lin et al., ICLR 2025) the pose;
two cameras (HanCo, Zimmermann et al., GCPR 2021) the hand and the pose, but neither its place nor how it is turned.
"""

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from peclr.data.loading.pairs_file import NOBODY, MinedPairs, read_pairs
from peclr.data.samples import HandSource
from peclr.data.sources.composed import SelectedHands
from peclr.data.sources.selection import ByTrack, Cameras, Tracks, cameras_of, same_hand, tracks_of
from peclr.data.sources.some_hands import MANY

# By name, where there is nothing to set.
PairingName = Literal["same_image", "across_versions", "across_cameras"]

_LOOKED_AT: Final = 10_000  # of very many hands, to say how many have no similar one
_ROUNDING: Final = 1e-6  # s, of frames that are exactly as far apart as asked for

_log = logging.getLogger(__name__)


class SourcePairs:
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


class Pairing(ABC):
    """A way to choose pairs. A base class rather than a protocol, so that configs can name its kinds."""

    @abstractmethod
    def within(self, source: HandSource) -> SourcePairs:
        """Pair a source; ValueError if it cannot be paired so."""


class SameImage(Pairing):
    """Every image is an item, and both views are of it, as published."""

    def within(self, source: HandSource) -> SourcePairs:
        """Pair every image with itself."""
        return SourcePairs(source)


class AcrossVersions(Pairing):
    """Every hand is an item; the views are of two of its versions, drawn anew each epoch, or of the only one."""

    def within(self, source: HandSource) -> SourcePairs:
        """Pair the versions of each hand."""
        return _HandPairs(source)


class NearbyFrames(Pairing):
    """Every hand is an item; the second view is of another frame of its track, not far from the first in time.

    A hand without such a frame is paired across its own versions, which may be a single image.
    """

    def __init__(self, seconds: float = 0.5) -> None:
        """Set how far apart the frames may be.

        Args:
            seconds: The most time between the two frames, which are drawn anew each epoch.
        """
        if not 0 < seconds < math.inf:
            raise ValueError(f"seconds {seconds}: expected a time between the frames of a pair, above 0")
        self.seconds = float(seconds)

    def within(self, source: HandSource) -> SourcePairs:
        """Pair the frames of a source that knows tracks."""
        tracks = tracks_of(source)
        if tracks is None:
            raise ValueError(
                f"pairing NearbyFrames: {source.name} does not know which hands are of one track; "
                "collect hands from videos with `peclr collect`"
            )
        return _FramePairs(source, tracks, self.seconds)


class AcrossCameras(Pairing):
    """Every hand is an item; the second view is of another camera's image of the same moment, both of any version.

    A hand that no other camera saw is paired across its own versions. Nothing in the plane takes one camera's image to
    another's, so that there is nothing to undo: of these pairs `view_from_crop` is the identity. `SimCLR` does not
    look at it. `PeCLR` and its kin compare them as SimCLR does, and are SimCLR where all pairs are such: a `share`
    below 1 leaves others, of one camera, to learn equivariance from. To `GeometryHead` they teach nothing.
    """

    def __init__(self, neighbors: Mapping[int, Sequence[int]] | None = None, share: float = 1.0) -> None:
        """Set which cameras are paired.

        Args:
            neighbors: The cameras that each one's images are paired with, such as those beside it; by default all.
            share: Of the pairs that are across cameras, drawn anew each epoch; the others are across versions.
        """
        if not 0 < share <= 1:
            raise ValueError(f"share {share}: expected how many of the pairs are across cameras, above 0 and at most 1")
        self.neighbors, self.share = neighbors, share

    def within(self, source: HandSource) -> SourcePairs:
        """Pair the images of a source that knows cameras."""
        cameras = cameras_of(source)
        if cameras is None:
            raise ValueError(f"pairing across_cameras: {source.name} does not know which images are of one moment")
        return _CameraPairs(source, cameras, self._pairable(cameras.camera, source.name), self.share)

    def _pairable(self, camera: NDArray[np.int64], name: str) -> NDArray[np.bool_]:
        """Which pairs (C, C) of cameras are neighbors, C more than the highest number; −1, unknown, is the last."""
        count = int(camera.max()) + 2
        if self.neighbors is None:
            return ~np.eye(count, dtype=np.bool_)
        pairable = np.zeros((count, count), np.bool_)
        there = set(np.unique(camera[camera >= 0]).tolist())
        for number, others in self.neighbors.items():
            if unknown := {number, *others} - there:
                listed = ", ".join(map(str, sorted(there)))
                raise ValueError(f"neighbors: {name} has no camera {min(unknown)}; it has {listed}")
            pairable[number, [other for other in others if other != number]] = True
        if alone := there - self.neighbors.keys():
            raise ValueError(f"neighbors: there are none of camera {min(alone)} of {name}; expected some of each")
        return pairable


class Similar(Pairing):
    """Every hand is an item; the first view is of one of its versions, the second one of a similar hand's.

    Hands of its own track are no similar ones: NearbyFrames pairs those. A hand whose similar ones are all held out is
    paired across its own versions. Two pairs of a batch are false negatives where the second view of one shows a hand
    of the other: neither `unique_hands_in_batch` prevents nor `train/false_negatives` counts that.
    """

    def __init__(self, pairs: str | Path, nearest: int = 1) -> None:
        """Read the pairs.

        Args:
            pairs: A file of `peclr mine`.
            nearest: The second hand is drawn from so many most similar ones, anew each epoch; SiMHand takes 1.
        """
        if nearest < 1:
            raise ValueError(f"nearest {nearest}: expected at least 1 similar hand")
        self.path, self.nearest = Path(pairs), nearest
        self._mined, _ = read_pairs(self.path)
        fewest = min((pairs.neighbors.shape[1] for pairs in self._mined), default=0)
        if nearest > fewest:
            raise ValueError(f"nearest {nearest}: {self.path} lists {fewest} similar hands; mine with --neighbors")

    def within(self, source: HandSource) -> SourcePairs:
        """Pair the hands of a source, which may be some of the one that was mined."""
        whole = source.source if isinstance(source, SelectedHands) else source
        return _SimilarPairs(source, self._of(whole).neighbors, self.nearest)

    def _of(self, source: HandSource) -> MinedPairs:
        identity = source.identity()
        for pairs in self._mined:
            if pairs.identity == identity:
                return pairs
        listed = ", ".join(f"{len(pairs.neighbors)} hands of {pairs.source}" for pairs in self._mined)
        raise ValueError(
            f"{self.path} lists similar hands of others than these {source.num_hands} hands of {source.name}: "
            f"{listed or 'none'}; mine this source as it is now, with `peclr mine`"
        )


def pairings_of(choice: Pairing | PairingName | Sequence[Pairing | PairingName], sources: int) -> list[Pairing]:
    """Make the pairing of each source, by name or as given: one for all of them, or a list."""
    if isinstance(choice, str | Pairing):
        return [_pairing_of(choice)] * sources
    if len(choice) != sources:
        raise ValueError(f"pairing lists {len(choice)}; expected one for all sources, or one for each of {sources}")
    return [_pairing_of(one) for one in choice]


def _pairing_of(choice: Pairing | PairingName) -> Pairing:
    if isinstance(choice, Pairing):
        return choice
    if choice not in get_args(PairingName):
        raise ValueError(
            f"pairing {choice!r} does not exist; expected one of {get_args(PairingName)}, NearbyFrames or Similar"
        )
    kinds = {"same_image": SameImage, "across_versions": AcrossVersions, "across_cameras": AcrossCameras}
    return kinds[choice]()


class _HandPairs(SourcePairs):
    """Pairs of versions of a hand, or of two hands where `_partner` finds another."""

    def __len__(self) -> int:
        return self._source.num_hands

    def first_images(self) -> NDArray[np.int64]:
        images, versions = self._source.images_of_hands(np.arange(len(self)))
        first: NDArray[np.int64] = images[np.cumsum(versions) - versions]
        return first

    def draw(self, item: int, rng: np.random.Generator) -> tuple[int, int]:
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
        return items if self._same_hand is None else self._same_hand[items]


class _SimilarPairs(_HandPairs):
    """Pairs of similar hands, of which each has a row of `neighbors` (all hands, K) in the source that was mined."""

    def __init__(self, source: HandSource, neighbors: NDArray[np.integer], nearest: int) -> None:
        super().__init__(source)
        self._neighbors, self._nearest = neighbors, nearest
        is_listed = source.num_hands <= MANY  # of more, partners are looked up where they are needed
        looked_at = np.arange(0, source.num_hands, 1 if is_listed else source.num_hands // _LOOKED_AT)
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
        partners = self._partners_of(np.array([item]))[0] if self._partners is None else self._partners[item]
        count = int((partners != NOBODY).sum())
        return int(partners[rng.integers(count)]) if count else NOBODY


class _FramePairs(_HandPairs):
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


class _CameraPairs(_HandPairs):
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
        return self._source.hand_of(images[0]) == self._source.hand_of(images[1])

    def _partner(self, item: int, rng: np.random.Generator) -> int:
        place = int(self._place[item])
        if not self._has_partner[place] or (self._share < 1 and rng.random() >= self._share):
            return NOBODY
        begin, end = np.searchsorted(self._frame, self._frame[place] + np.array([0, 1])).tolist()
        others = begin + np.flatnonzero(self._pairable[self._camera[place], self._camera[begin:end]])
        return int(self._hand[others[rng.integers(len(others))]])

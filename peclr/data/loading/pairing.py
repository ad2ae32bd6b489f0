"""Which two images of a source the views of a pair are of.

One image, as published, has a background that can identify it. Versions of a hand share the hand only; nearby frames
(TempCLR, Ziani et al., 3DV 2022) the hand and nearly the pose; similar hands (SiMHand, Lin et al., ICLR 2025) the pose;
two cameras (HanCo, Zimmermann et al., GCPR 2021) the hand and the pose, but neither its place nor how it is turned.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from peclr.data.loading.pairs_file import MinedPairs, read_pairs
from peclr.data.loading.source_pairs import (
    CameraPairs,
    FramePairs,
    HandPairs,
    LookedUpFramePairs,
    SimilarPairs,
    SourcePairs,
    are_in_order,
)
from peclr.data.samples import HandSource
from peclr.data.sources.composed import SelectedHands
from peclr.data.sources.selection import cameras_of, tracks_of
from peclr.data.sources.some_hands import MANY

# By name, where there is nothing to set.
PairingName = Literal["same_image", "across_versions", "across_cameras"]


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
        return HandPairs(source)


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
        whole = source.source if isinstance(source, SelectedHands) else source
        of_whole = tracks_of(whole)
        if of_whole is not None and source.num_hands > MANY and are_in_order(whole, of_whole.time):
            return LookedUpFramePairs(source, of_whole, self.seconds)
        tracks = tracks_of(source)
        if tracks is None:
            raise ValueError(
                f"pairing NearbyFrames: {source.name} does not know which hands are of one track; "
                "collect hands from videos with `peclr collect`"
            )
        return FramePairs(source, tracks, self.seconds)


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
        return CameraPairs(source, cameras, self._pairable(cameras.camera, source.name), self.share)

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
        return SimilarPairs(source, self._of(whole).neighbors, self.nearest)

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

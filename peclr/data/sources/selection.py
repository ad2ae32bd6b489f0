"""Which hands belong together, by group, track or moment, and splits that keep them so."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from peclr.data.rng import KeyedRng
from peclr.data.samples import HandSource, HasCameras, HasGroups, HasTracks
from peclr.data.sources.composed import Hands, JoinedHands, SelectedHands
from peclr.data.sources.layouts import teacher_of
from peclr.data.sources.mapped import SharesFiles
from peclr.data.sources.some_hands import MANY, SomeHands, listed, split_groups_of_many, split_many

_log = logging.getLogger(__name__)

Split = tuple[Hands, Hands]  # hands to train on, and held out
Pair = tuple[NDArray[np.int64], NDArray[Any]]  # a number of each hand, and what goes with it


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
    """Return the tracks of a source, or of those that it is made of; None where it has none."""
    known = _of_parts(source, _own_tracks, np.nan)
    return known and Tracks(*known)


def _own_tracks(source: HandSource) -> Pair | None:
    if not isinstance(source, HasTracks):
        return None
    track = source.track_of_hands()
    followed = any((track[start : start + MANY] >= 0).any() for start in range(0, len(track), MANY))
    return (track, source.time_of_hands()) if followed else None


def cameras_of(source: HandSource) -> Cameras | None:
    """Return the cameras of a source, or of those that it is made of; None where it has none."""
    known = _of_parts(source, _own_cameras, -1)
    return known and Cameras(*known)


def _own_cameras(source: HandSource) -> Pair | None:
    if not isinstance(source, HasCameras) or (frame := source.frame_of_hands()) is None:
        return None
    return frame, source.camera_of_hands()


def _of_parts(source: HandSource, own: Callable[[HandSource], Pair | None], unknown: float) -> Pair | None:
    """Return a number of each hand, −1 for none, and what goes with it; `own` knows them of a source by itself."""
    if isinstance(source, SelectedHands):
        if (whole := _of_parts(source.source, own, unknown)) is None:
            return None
        hands = listed(source.hands)
        return whole[0][hands], whole[1][hands]
    if isinstance(source, JoinedHands):
        known = [_of_parts(part, own, unknown) for part in source.sources]
        if not any(known):
            return None
        counts = [part.num_hands for part in source.sources]
        pairs = [pair or (np.full(n, -1), np.full(n, unknown)) for pair, n in zip(known, counts, strict=True)]
        return _joined([numbers for numbers, _ in pairs]), np.concatenate([values for _, values in pairs])
    return own(source)


class ByTrack(SharesFiles):
    """For very many hands, what `same_hand` lists for fewer: a number that the hands of a track share.

    Attributes:
        count: the numbers are below it.
    """

    def __init__(self, source: HandSource, track: NDArray[np.int64]) -> None:
        """Take the tracks of the hands of `source`, or of the source that they are selected from."""
        self._track, self._alone = track, source.num_hands
        self._selected = source.hands if isinstance(source, SelectedHands) else None
        self.count = source.num_hands + int(track.max()) + 1

    @overload
    def __getitem__(self, hands: int) -> int: ...
    @overload
    def __getitem__(self, hands: NDArray[np.int64]) -> NDArray[np.int64]: ...
    def __getitem__(self, hands: int | NDArray[np.int64]) -> int | NDArray[np.int64]:
        track = self._track[hands if self._selected is None else self._selected[hands]]
        if isinstance(hands, int):
            return hands if track < 0 else self._alone + int(track)
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

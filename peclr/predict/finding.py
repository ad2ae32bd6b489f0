"""Where hands are if nobody says it: a detector finds them, in videos by tracks, or a search has one in each image."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from threading import Lock
from typing import Final, Literal, get_args

import numpy as np

from peclr.data.sources.inputs import Frame
from peclr.detection import DetectedHand, MediaPipeHands, find_task_file, known_task_file
from peclr.detection.tracking import HandTracker, TrackedHand
from peclr.inference.crop_search import Finding
from peclr.inference.hands import HandQuery, Scene
from peclr.predict.annotations import Annotations

Find = Literal["auto", "detector", "search", "published"]
FoundBy = Literal["given", "detector", "search", "published"]

_SAID: Final = {
    "search": "looked for in four central squares (--find search)",
    "published": "looked for at the center, as published (--find published)",
}


@dataclass(frozen=True)
class _FollowedFrame(Frame):
    """A frame of a video with the hands that were followed to it."""

    hands: tuple[TrackedHand, ...] = ()


class HandFinder:
    """Puts the hands that a detector finds into scenes, in place of hands whose boxes are not known."""

    def __init__(self, detector: MediaPipeHands) -> None:
        self._detector = detector
        self._alone = Lock()  # scenes are read in several threads, and a network has one input

    def follow(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Pass frames on, in order; those of videos and cameras with the hands that are followed from each to the next.

        Still images are looked at when they are read.
        """
        for found, group in groupby(frames, key=lambda frame: frame.input):
            if found.kind == "image":
                yield from group
            else:
                yield from self._follow_one(group)

    def _follow_one(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        tracker = HandTracker(self._detector)
        for frame in frames:
            try:
                image = frame.load()
                with self._alone:
                    hands = tuple(tracker(image))
            except ValueError:
                yield frame  # whoever reads it learns why
                continue
            yield _FollowedFrame(frame.input, frame.load, frame.number, frame.time_s, hands)

    def read(self, frame: Frame, known: Annotations) -> Scene:
        """Read an image, with what is known about it, and its hands."""
        scene = known.read(frame)
        if all(query.box is not None for query in scene.hands):
            return scene
        found: list[tuple[DetectedHand, int | None]]
        if isinstance(frame, _FollowedFrame):
            found = [(one.hand, one.track) for one in frame.hands]
        else:
            try:
                with self._alone:
                    found = [(hand, None) for hand in self._detector(scene.image)]
            except ValueError as error:
                raise ValueError(f"{frame.input.source}: {error}") from error
        (asked,) = scene.hands
        return replace(scene, hands=tuple(_query(asked, hand, track) for hand, track in found))


def _query(asked: HandQuery, hand: DetectedHand, track: int | None) -> HandQuery:
    """What to look at for a hand that was found; a side that is known stays."""
    found = replace(asked, box=np.asarray(hand.box, np.float64), detected=hand, track=track)
    return found if asked.side_origin == "given" else replace(found, side=hand.side, side_origin="detector")


def choose_finder(find: Find, task_file: Path | str | None = None) -> tuple[HandFinder | None, Finding, str]:
    """Choose how hands without a box are found: the detector or None, how to search without it, and a line on which.

    Args:
        find: "auto" takes the detector where the extra `hands` and its task file are there, and searches elsewhere.
        task_file: of the detector; None for that of `peclr.detection.known_task_file`.

    Raises:
        FileNotFoundError, ValueError: the detector was asked for, by its name or a task file, and is not there; or
            there is no such way.
    """
    if find not in get_args(Find):
        raise ValueError(f"find {find!r}: expected one of {', '.join(get_args(Find))}")
    if find in ("search", "published"):
        if task_file is not None:
            raise ValueError(f"find {find!r} needs no task file; got {task_file}")
        return None, find, f"hands: one in each image, {_SAID[find]}"
    if find == "auto" and task_file is None:
        task_file, extra = known_task_file(), find_spec("ai_edge_litert")
        if task_file is None or extra is None:
            missing = [] if extra else ["`pip install peclr[hands]`"]
            missing += [] if task_file else ["`peclr weights get hand-landmarker --accept`"]
            advice = f"{' and '.join(missing)} let a detector find all of them, with their sides"
            return None, "search", f"hands: one in each image, {_SAID['search']}; {advice}"
    finder = HandFinder(MediaPipeHands(find_task_file(task_file), tiles=True))
    return finder, "search", "hands: all that the detector finds, with their sides (--find detector)"

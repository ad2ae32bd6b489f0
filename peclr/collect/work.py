"""The work of collecting, in tasks: some images, or one video; each leaves shards of its hands and an account."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

import cv2

from peclr.collect.cameras import camera_of
from peclr.collect.frames import Every
from peclr.collect.groups import Group
from peclr.collect.hands import LeftOut, Thresholds, labeled
from peclr.data.prepare.cutting import Cutting
from peclr.data.prepare.shard_writer import ShardWriter
from peclr.data.sources.inputs import Frame, Input, count_frames, frame_rate, frames_of
from peclr.data.sources.shard_format import About
from peclr.detection import DetectedHand, MediaPipeHands
from peclr.detection.detector import Image
from peclr.detection.tracking import HandTracker
from peclr.geometry.planar import Matrix
from peclr.parallel import Advance

# of the account, beside the reasons why hands were left out
IMAGES: Final = "images"
EMPTY: Final = "images without hands"
HANDS: Final = "hands"
LEFT_OUT: Final = "left out: "
CAMERA: Final = "camera: "
CORRECTED: Final = "corrected: "

_IMAGES: Final = 64  # of a task, at least: some ten seconds
_MOST_TASKS: Final = 400  # of images; each makes a shard
_USUAL_RATE: Final = 30.0  # frames per second
_SEEK_EVERY: Final = 1 / 3  # s, after which palms are sought in a video even where all hands are followed
_MOST_HANDS: Final = 16  # of an image


class Task(NamedTuple):
    """Images, or one video."""

    first: int  # the number of the first of them among all inputs
    inputs: Sequence[Input]
    groups: Sequence[Group]
    images: int  # that will be looked at, as far as headers say


@dataclass
class Collector:
    """Does tasks; pickled, it is as new.

    Attributes:
        tasks: what there is to do.
        folder: of the shards.
        task_file: of the detector.
        tiles: whether small hands are sought in parts of the images.
        cameras: that are given, as by `read_cameras`.
        thresholds: for hands.
        every: frames of videos.
        cutting: of the crops.
    """

    tasks: Sequence[Task]
    folder: Path
    task_file: Path
    tiles: bool
    cameras: Mapping[str, Matrix]
    thresholds: Thresholds
    every: Every
    cutting: Cutting

    @cached_property
    def _detector(self) -> MediaPipeHands:
        cv2.setNumThreads(1)
        score = min(self.thresholds.score, Thresholds.score)  # so that it is known how many are below
        return MediaPipeHands(self.task_file, min_score=score, max_hands=_MOST_HANDS, tiles=self.tiles)

    def __call__(self, task: int, advance: Advance) -> None:
        """Do a task."""
        first, inputs, groups, _ = self.tasks[task]
        with ShardWriter(self.folder, task) as out:
            for video, (found, group) in enumerate(zip(inputs, groups, strict=True), first):
                about = About(file=found.file, video=video, group=group.name, class_name=group.class_name)
                for frame, image, hands in self._look(found):
                    if isinstance(image, str):
                        out.problems.append(image)
                        advance()
                        continue
                    before = out.counts[HANDS]
                    self._keep(image, hands, frame, about, out)
                    advance(1, hands=out.counts[HANDS] - before)

    def _look(self, found: Input) -> Iterator[tuple[Frame, Image | str, list[tuple[int, DetectedHand]]]]:
        """Each frame of an input, its image or why there is none, and its hands with their tracks, −1 for none."""
        tracker = None if found.kind == "image" else self._tracker(found)
        for frame in frames_of([found], chosen=None if tracker is None else self.every.chooser()):
            try:
                image = frame.load()
            except ValueError as error:
                yield frame, str(error), []
                continue
            try:
                if tracker is None:
                    hands = [(-1, hand) for hand in self._detector(image)]
                else:
                    hands = [(one.track, one.hand) for one in tracker(image)]
            except ValueError as error:
                yield frame, f"{found.source}: {error}", []
                continue
            yield frame, image, hands

    def _tracker(self, video: Input) -> HandTracker:
        gap = self.every.gap(frame_rate(video) or _USUAL_RATE)
        return HandTracker(self._detector, every=min(max(round(_SEEK_EVERY / gap), 1), 10))

    def _keep(
        self, image: Image, hands: Sequence[tuple[int, DetectedHand]], frame: Frame, about: About, out: ShardWriter
    ) -> None:
        """Write the hands of an image, or count the reasons why not."""
        out.counts[IMAGES] += 1
        out.counts[EMPTY] += not hands
        camera = camera_of(frame.input, image.shape[1], image.shape[0], self.cameras) if hands else None
        name = about.file
        if frame.number is not None and frame.time_s is not None:
            about, name = replace(about, frame=frame.number, time=frame.time_s), f"{name}#{frame.number}"
        for track, hand in hands:
            assert camera is not None
            try:
                self.thresholds.check(hand, image)
                sample = labeled(image, hand, camera.K, name)
            except LeftOut as reason:
                out.counts[f"{LEFT_OUT}{reason}"] += 1
                continue
            out.add(self.cutting(sample), replace(about, track=track, score=hand.score))
            out.counts[HANDS] += 1
            out.counts[f"{CAMERA}{camera.origin}"] += 1


def with_unique_files(inputs: Sequence[Input]) -> list[Input]:
    """Inputs whose relative paths tell them apart: those of equal ones, in several folders, become whole paths."""
    count = Counter(one.file for one in inputs)
    return [one if count[one.file] == 1 else replace(one, file=one.source) for one in inputs]


def tasks_of(inputs: Sequence[Input], groups: Sequence[Group], every: Every) -> list[Task]:
    """Divide inputs, in order: images some at a time, so that shards are some hundreds at most; each video alone."""
    tasks, start = list[Task](), 0
    together = max(_IMAGES, math.ceil(len(inputs) / _MOST_TASKS))
    while start < len(inputs):
        stop = start + 1
        if inputs[start].kind == "image":
            while stop < min(start + together, len(inputs)) and inputs[stop].kind == "image":
                stop += 1
        # other machines have other current folders
        part = [replace(one, source=str(Path(one.source).absolute())) for one in inputs[start:stop]]
        images = len(part) if part[0].kind == "image" else _frames_of(part[0], every)
        tasks.append(Task(start, part, groups[start:stop], images))
        start = stop
    return tasks


def _frames_of(video: Input, every: Every) -> int:
    """How many frames will be looked at, as far as its header says."""
    rate = frame_rate(video) or _USUAL_RATE
    return max(1, round((count_frames([video]) or 0) / rate / every.gap(rate)))

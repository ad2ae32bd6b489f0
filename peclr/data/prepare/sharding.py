"""Cuts the hands of any source into shards, in tasks of so many images each."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from peclr.data.prepare.cutting import Crop, Cutting
from peclr.data.prepare.merging import is_done, is_merged, merge
from peclr.data.prepare.shard_writer import ShardWriter
from peclr.data.samples import HandSource, HasNames, HasVideos
from peclr.data.sources.selection import cameras_of, groups_of, pseudo_labels_of, tracks_of
from peclr.data.sources.shard_format import About, Facts, Labels
from peclr.data.sources.shards import Shards
from peclr.parallel import Advance, Job, Part, claim, run

# Two million crops of 256 px are 245 shards of 0.2 GB; small sets are still work for 64 processes
_MOST_OF_TASK: Final = 8192
_LEAST_OF_TASK: Final = 64
_TASKS: Final = 64


def task_ranges(items: int, per_task: int | None = None) -> list[range]:
    """Divide items into tasks, by their number alone: as many processes as there may be make the same shards."""
    size = per_task or min(max(math.ceil(items / _TASKS), _LEAST_OF_TASK), _MOST_OF_TASK)
    return [range(start, min(start + size, items)) for start in range(0, items, size)]


def shard_source(
    source: HandSource,
    folder: Path,
    cutting: Cutting = Cutting(),  # noqa: B008 (a tuple)
    *,
    per_task: int | None = None,
    workers: int = 0,
    part: Part | None = None,
    scheduler: str | None = None,
    progress: bool = False,
) -> Facts | None:
    """Cut out the hands of a source into shards, which `Shards` reads; goes on where it was stopped.

    Args:
        source: Any reader, which can be pickled.
        folder: A new one, or one that this was begun in.
        cutting: How to cut. Crops of `Shards` are copied as they are.
        per_task: Images of a task; None depends on their number.
        workers: Number of processes; 0 is this one.
        part: Do only this part, and merge nothing; then the result is None.
        scheduler: Address of a Dask cluster's, whose workers do the work.
        progress: Whether to show a bar.

    Images that cannot be read are listed in the manifest. ValueError if a task failed, or none can be read.
    """
    cutting.check()
    ranges = task_ranges(len(source), per_task)
    settings = source.facts.settings if isinstance(source, Shards) else dict(cutting._asdict())
    plan = {"source": source.name, "identity": source.identity(), "images": len(source), "per_task": len(ranges[0])}
    claim(folder, {"command": "prepare", **plan, **settings})
    if not is_merged(folder):
        sizes = list(map(len, ranges))
        job = Job(_work(source, folder, cutting, ranges), sizes, lambda task: is_done(folder, task), "images")
        if problems := run(job, workers=workers, part=part, scheduler=scheduler, progress=progress):
            task, reason = next(iter(problems.items()))
            raise ValueError(f"{folder}: {len(problems)} of {len(ranges)} tasks failed, task {task} for one: {reason}")
        if part is not None:
            return None
        name = source.name if isinstance(source, Shards) else f"crops of {source.name}"
        merge(folder, len(ranges), name=name, labels=_labels_of(source), settings=settings, progress=progress)
    return Shards(folder).facts


@dataclass(frozen=True)
class _Cut:
    """The work: task i cuts out the images of a range.

    Of every hand of the source, `numbers` are those of `About`, `groups` and `classes` names, where they are known.
    """

    source: HandSource
    folder: Path
    cutting: Cutting
    ranges: Sequence[range]
    numbers: Mapping[str, NDArray[np.generic]]
    groups: Sequence[str] | None = None
    classes: Sequence[str] | None = None

    def __call__(self, task: int, advance: Advance, /) -> None:
        with ShardWriter(self.folder, task, tracks_through=True) as writer:
            for index in self.ranges[task]:
                try:
                    writer.add(*self._crop(index))
                except ValueError as error:
                    writer.problems.append(str(error))
                advance(1)

    def _crop(self, index: int) -> tuple[Crop, About]:
        if isinstance(self.source, Shards):
            return Crop(*self.source.stored(index)), self.source.about(index)
        hand = self.source.hand_of(index)
        return self.cutting(self.source[index]), About(
            hand=hand,
            **{name: number[hand].item() for name, number in self.numbers.items()},
            group="" if self.groups is None else self.groups[hand],
            class_name="" if self.classes is None else self.classes[hand],
        )


def _work(source: HandSource, folder: Path, cutting: Cutting, ranges: Sequence[range]) -> _Cut:
    if isinstance(source, Shards):
        return _Cut(source, folder, cutting, ranges, {})
    numbers: dict[str, NDArray[np.generic]] = {}
    if isinstance(source, HasVideos):
        numbers["video"] = source.video_of_hands()
    if tracks := tracks_of(source):
        numbers |= tracks._asdict()
    if cameras := cameras_of(source):
        numbers |= {"moment": cameras.frame, "camera": cameras.camera}
    groups, classes = None, None
    if isinstance(source, HasNames):
        groups, classes = source.names_of_hands("group"), source.names_of_hands("class")
    if groups is None and (of_hands := groups_of(source)) is not None:
        groups = list(map(str, of_hands.tolist()))
    return _Cut(source, folder, cutting, ranges, numbers, groups, classes)


def _labels_of(source: HandSource) -> Labels:
    if isinstance(source, Shards):
        return source.labels
    return "true" if pseudo_labels_of(source) is None else "pseudo"

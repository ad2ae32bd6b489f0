"""Cuts the hands of any source into shards, in tasks of so many images each."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from peclr.data.prepare.cutting import Crop, Cutting
from peclr.data.prepare.merging import is_done, is_merged, merge
from peclr.data.prepare.shard_writer import ShardWriter
from peclr.data.samples import HandSource, HasVideos
from peclr.data.sources.shard_format import About, Facts
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
        asked = isinstance(source, HasVideos) and not isinstance(source, Shards)
        videos = source.video_of_hands() if asked else None  # type: ignore[attr-defined]
        job = Job(_Cut(source, folder, cutting, ranges, videos), sizes, lambda task: is_done(folder, task), "images")
        if problems := run(job, workers=workers, part=part, scheduler=scheduler, progress=progress):
            task, reason = next(iter(problems.items()))
            raise ValueError(f"{folder}: {len(problems)} of {len(ranges)} tasks failed, task {task} for one: {reason}")
        if part is not None:
            return None
        name = source.name if isinstance(source, Shards) else f"crops of {source.name}"
        merge(
            folder,
            len(ranges),
            name=name,
            labels=source.labels if isinstance(source, Shards) else "true",
            settings=settings,
            progress=progress,
        )
    return Shards(folder).facts


@dataclass(frozen=True)
class _Cut:
    """The work: task i cuts out the images of a range."""

    source: HandSource
    folder: Path
    cutting: Cutting
    ranges: Sequence[range]
    videos: NDArray[np.int64] | None  # of hands

    def __call__(self, task: int, advance: Advance, /) -> None:
        source, videos = self.source, self.videos
        with ShardWriter(self.folder, task) as writer:
            for index in self.ranges[task]:
                hand = source.hand_of(index)
                try:
                    if isinstance(source, Shards):
                        crop, about = Crop(*source.stored(index)), source.about(index)
                    else:
                        crop = self.cutting(source[index])
                        about = About(video=-1 if videos is None else int(videos[hand]), hand=hand)
                    writer.add(crop, about)
                except ValueError as error:
                    writer.problems.append(str(error))
                advance(1)

"""A job: a list of independent tasks, done by anyone, in any order, any number of times, with the same result.

A task leaves its output under a name that is its own, whole or not at all; where the output is, the task is done. So a
job that was killed goes on when the same command is given again, and several machines that see one folder share a job
by `--part 1/16` … `--part 16/16`. What the outputs make together is a matter of one merge, see
`peclr.data.prepare.merging`.
"""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from peclr.options import locked, positive, usable_cores, write_whole
from peclr.untrusted.text import read_json, shown

LOCK: Final = ".lock"  # in a job's folder, of what only one process may do at a time
PLAN: Final = "plan.json"  # in a job's folder: what is done there
_HASH: Final = re.compile(r"[0-9a-f]{64}")  # SHA-256: what it is of has changed, the digits say nothing


class Advance(Protocol):
    """Called by a task for what it has done: so many units, and what else is counted, `hands=2` for example."""

    def __call__(self, units: int = 1, /, **counts: int) -> None:
        """Move the bar."""


@dataclass(frozen=True)
class Job:
    """What is to be done.

    Attributes:
        work: does the task of a number, again if it was done by halves. It is pickled once for every process, which
            calls it for one task after the other: what takes long to make, it may keep. ValueError, OSError and others
            end the task and not the job.
        sizes: of each task, in units; the tasks are numbered from 0.
        is_done: whether a task's output is there.
        unit: what is counted, such as "images".
    """

    work: Callable[[int, Advance], None]
    sizes: Sequence[int]
    is_done: Callable[[int], bool]
    unit: str


class Part(NamedTuple):
    """One of the parts of a job, numbered from 1: its tasks are every `parts`-th."""

    number: int
    parts: int

    def of(self, tasks: int) -> range:
        """Numbers of this part's tasks."""
        return range(self.number - 1, tasks, self.parts)


class Advanced(NamedTuple):
    """A task has done some units."""

    task: int
    units: int
    counts: Mapping[str, int]


class Ended(NamedTuple):
    """A task is done, or has failed for good, with the reason."""

    task: int
    problem: str | None


Event = Advanced | Ended


def part_of(text: str) -> Part:
    """Parse a part such as 3/16, for argparse."""
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    part = Part(*map(int, found.groups())) if found else Part(0, 0)
    if not 1 <= part.number <= part.parts:
        raise argparse.ArgumentTypeError(f"{text!r} is no part; expected 1/N to N/N, such as 3/16")
    return part


def add_job_options(parser: argparse.ArgumentParser) -> None:
    """Add --workers, --part and --scheduler."""
    group = parser.add_argument_group("work in parts", "a job that was stopped goes on when it is given again")
    help_ = "processes (default: one a core)"
    group.add_argument("--workers", type=positive, default=usable_cores(), metavar="N", help=help_)
    add_part(group)


def add_part(group: argparse._ArgumentGroup) -> None:
    """Add --part and --scheduler alone."""
    help_ = "do only this part, on one of N machines; without it, do what is left, check all, and make one set of it"
    group.add_argument("--part", type=part_of, metavar="I/N", help=help_)
    help_ = "of a Dask cluster that does the work: whoever is free has the next task, a lost worker's go to others"
    group.add_argument("--scheduler", metavar="ADDRESS", help=help_)


def check_claim(folder: Path) -> None:
    """Refuse a folder in which there is something that no job has begun."""
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is not a folder")
    others = folder.is_dir() and any(not entry.name.startswith(".") for entry in folder.iterdir())
    if others and not (folder / PLAN).is_file():
        raise FileExistsError(f"{folder} is neither empty nor was it begun by this; choose another folder")


def claim(folder: Path, plan: Mapping[str, Any]) -> None:
    """Make a job's folder, or find it made by the same plan: all that the output depends on, as JSON can hold it.

    ValueError where another job has its outputs; every process of a job may call this.
    """
    import orjson  # here, as workers import this module first

    path = folder / PLAN
    wanted = orjson.loads(orjson.dumps(plan))
    check_claim(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / LOCK):  # all parts may begin at once
        if not path.exists():
            write_whole(path, orjson.dumps(plan, option=orjson.OPT_INDENT_2) + b"\n")
    found = read_json(path)
    found = found if isinstance(found, dict) else {}
    if changed := sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)):
        name = changed[0]
        was, now = found.get(name), wanted.get(name)
        hashed = isinstance(was, str) and isinstance(now, str) and _HASH.fullmatch(was) and _HASH.fullmatch(now)
        what = f"other {name}" if hashed else f"{name} {shown(was, 60)}, now it is {shown(now, 60)}"
        raise ValueError(f"{folder} was begun with {what}; give the same again, or a new folder")


def run(
    job: Job, *, workers: int, part: Part | None = None, scheduler: str | None = None, progress: bool = True
) -> dict[int, str]:
    """Do the tasks of a job that are not done; returns reasons by the numbers of those that failed.

    Args:
        job: What is to be done.
        workers: Number of processes; with 0, all is done in this one, which a crash then ends.
        part: Only some tasks; None for all.
        scheduler: Address of a Dask cluster's, whose workers do it in place of processes here.
        progress: Whether to show a bar, with the rate and the remaining time.

    A process that dies costs its task a second try. On Ctrl-C all processes end at once; what is done stays done.
    """
    from peclr.parallel.cluster import on_cluster
    from peclr.parallel.processes import in_processes, in_this_process

    mine = range(len(job.sizes)) if part is None else part.of(len(job.sizes))
    done = {task for task in mine if job.is_done(task)}
    waiting = [task for task in mine if task not in done]
    if scheduler is not None:
        events = on_cluster(job.work, waiting, scheduler)
    else:
        events = in_processes(job.work, waiting, workers) if workers else in_this_process(job.work, waiting)
    problems = {}
    try:
        for event in _shown(events, job, mine, done, progress=progress):
            if event.problem is None:
                done.add(event.task)
            else:
                problems[event.task] = event.problem
    except KeyboardInterrupt:
        print(f"{len(done):,} of {len(mine):,} tasks are done; the same command goes on", file=sys.stderr)
        raise
    return problems


def _shown(
    events: Iterable[Event], job: Job, tasks: Sequence[int], done: set[int], *, progress: bool
) -> Iterator[Ended]:
    """Yield the ends of tasks; a bar shows what happens meanwhile."""
    from tqdm import tqdm

    total, before = sum(job.sizes[task] for task in tasks), sum(job.sizes[task] for task in done)
    advanced, counts = Counter[int](), Counter[str]()
    with tqdm(
        total=total, initial=before, unit=f" {job.unit}", disable=not progress or before == total, mininterval=0.5
    ) as bar:
        for event in events:
            if isinstance(event, Advanced):
                advanced[event.task] += event.units
                counts.update(event.counts)
                bar.update(event.units)
                if counts:
                    seconds = max(bar.format_dict["elapsed"], 1e-3) if progress else 1
                    rates = (f"{count:,} {name} ({count / seconds:.1f}/s)" for name, count in counts.items())
                    bar.set_postfix_str(", ".join(rates), refresh=False)
            else:
                # what a crashed try has counted is taken back; an estimate of a size is made good
                bar.update((job.sizes[event.task] if event.problem is None else 0) - advanced[event.task])
                yield event

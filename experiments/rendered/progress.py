"""The tasks of an experiment, and when they will be done: from a few steps timed before, then from what runs do."""

import heapq
import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Executor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from tqdm import tqdm

from peclr.options import write_whole

Row = dict[str, Any]

COUNTED: Final = f"--trainer.callbacks={__name__}.CountSteps"
_NAME: Final = "steps.txt"  # in a run's folder
# Seconds of a step, and before a run's first, until runs have shown theirs: on two cores, for `make demo`.
_GUESS: Final = {"pretrain": 0.3, "finetune": 0.2, "start": 4.0}


class CountSteps(Callback):
    """Notes in the run's folder how many steps are done, and how many seconds one takes, but for the first."""

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Note."""
        step, now = trainer.global_step, time.perf_counter()
        first, started = self._first = self._first or (step, now)
        pace = f" {(now - started) / (step - first)}" if step > first else ""
        Path(trainer.default_root_dir, _NAME).write_text(f"{step}{pace}")


def steps_of(run: Path) -> tuple[int, float | None]:
    """How many steps a run has done, and how many seconds one takes; None if that is not known yet."""
    try:
        step, *pace = (run / _NAME).read_text().split()
        return int(step), float(pace[0]) if pace else None
    except (OSError, ValueError):  # not begun, or just being written
        return 0, None


@dataclass(frozen=True)
class Task:
    """What one process does at a time, and what is known of how long that takes."""

    title: str  # for the one who waits
    kind: str  # tasks of one kind take equally long steps, but for their cost
    steps: int  # in all; what does not train is worth so many
    run: Path  # the training run's folder
    done: Path  # the file of its rows, which is there when it is done
    work: Callable[[], list[Row]]
    cost: float = 1.0  # how long a step takes, in steps of its kind

    def rows(self) -> list[Row] | None:
        """What it has found, if it is done."""
        rows: list[Row] | None = json.loads(self.done.read_text()) if self.done.exists() else None
        return rows

    def do(self) -> list[Row]:
        """Do it; the file of its rows is there only as a whole."""
        rows = self.work()
        self.done.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.done, json.dumps(rows, indent=2) + "\n")
        return rows


def remaining(tasks: Sequence[Task], processes: int, pace: dict[str, float]) -> float:
    """Seconds until all are done, each by the first process that is free; `pace` learns from runs that go on."""
    pace |= {task.kind: seconds / task.cost for task in tasks if (seconds := steps_of(task.run)[1]) is not None}
    # what has not run yet is as much slower, or faster, than guessed
    ratio = max((seconds / _GUESS[kind] for kind, seconds in pace.items()), default=1.0)
    known = {kind: pace.get(kind, ratio * guess) for kind, guess in _GUESS.items()}
    free = [0.0] * processes
    for task in tasks:
        step, _ = steps_of(task.run)
        left = max(task.steps - step, 0) * task.cost * known[task.kind] + (0 if step else known["start"])
        heapq.heapreplace(free, free[0] + left)
    return max(free)


def until(left: float) -> str:
    """The seconds that are left, and the time of day of the end."""
    return f"{tqdm.format_interval(left)} left, until {datetime.now() + timedelta(seconds=left):%H:%M}"


def show(bar: "tqdm[Any]", left: float, running: str) -> None:
    """Let a bar from 0 to 1 show the part of the time that is gone, what is left, and what is being done."""
    gone = bar.format_dict["elapsed"]
    bar.set_description_str(f"{tqdm.format_interval(gone)} gone, {until(left)}  {running}", refresh=False)
    bar.update(gone / max(gone + left, 1e-9) - bar.n)


def run_stages(stages: Sequence[Sequence[Task]], pool: Executor, processes: int, pace: dict[str, float]) -> None:
    """Do what is not done, stage after stage, until one fails."""
    found = {task: task.rows() for stage in stages for task in stage}
    look: dict[str, Any] = {"bar_format": "{percentage:3.0f} % {bar:20} {desc}", "leave": False, "dynamic_ncols": True}
    often = 1 if sys.stderr.isatty() else 20  # a file or a pipe gets lines, but few
    with tqdm(total=1.0, mininterval=often, maxinterval=often, miniters=0, **look) as bar:
        for number, stage in enumerate(stages):
            futures = {pool.submit(task.do): task for task in stage if found[task] is None}
            while pending := [future for future in futures if found[futures[future]] is None]:
                finished, _ = wait(pending, timeout=0.5, return_when=FIRST_EXCEPTION)
                for future in finished:
                    found[futures[future]] = future.result()
                    tqdm.write(f"{futures[future].title}  done")
                    sys.stdout.flush()
                later = [[task for task in stage if found[task] is None] for stage in stages[number:]]
                left = sum(remaining(tasks, processes, pace) for tasks in later)
                at_work = [f"{task.title} {step}/{task.steps}" for task in later[0] if (step := steps_of(task.run)[0])]
                show(bar, left, ", ".join(at_work)[:60])

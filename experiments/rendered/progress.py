"""When an experiment will be done: from a few steps timed before it, and then from what its runs do."""

import heapq
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Executor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from tqdm import tqdm

Row = dict[str, Any]

COUNTED = f"--trainer.callbacks={__name__}.CountSteps"
_NAME = "steps.txt"  # in a run's folder
# Seconds of a step, and before a run's first: for experiments so small that timing them would take as long.
_GUESS = {"pretrain": 0.3, "finetune": 0.2, "start": 4.0}


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
    """What one process does at a time, and what is known of how long that takes.

    Attributes:
        title: for the one who waits.
        kind: tasks of one kind take equally long steps.
        steps: in all; what does not train is worth so many.
        run: the training run's folder.
        done: its rows if it has been done before, or None.
        work: does it; in another process.
    """

    title: str
    kind: str
    steps: int
    run: Path
    done: Callable[[], list[Row] | None]
    work: Callable[[], list[Row]]


def remaining(tasks: Iterable[Task], processes: int, pace: dict[str, float]) -> float:
    """Seconds until all are done, each by the first process that is free; `pace` learns from runs that go on."""
    free, known = [0.0] * processes, _GUESS | pace
    for task in tasks:
        step, seconds = steps_of(task.run)
        if seconds is not None:
            pace[task.kind] = known[task.kind] = seconds
        left = max(task.steps - step, 0) * known[task.kind] + (0 if step else known["start"])
        heapq.heapreplace(free, free[0] + left)
    return max(free)


class Bar:
    """A bar whose share is of time, with the time that is left and what is being done."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._bar = tqdm(total=1.0, bar_format="{percentage:3.0f} % {bar:20} {desc}", leave=False, dynamic_ncols=True)
        # a file or a pipe gets lines, but few
        self._seconds, self._shown = 1.0 if sys.stderr.isatty() else 20.0, -1e9

    def show(self, left: float, running: str) -> None:
        """Show it as it is now."""
        now = time.monotonic()
        if now - self._shown < self._seconds:
            return
        gone, self._shown = now - self._started, now
        self._bar.n = gone / max(gone + left, 1e-9)
        end = datetime.now() + timedelta(seconds=left)
        self._bar.set_description_str(f"{minutes(gone)} gone, {minutes(left)} left, until {end:%H:%M}  {running}")

    def say(self, text: str) -> None:
        """Print a line above it."""
        tqdm.write(text)
        sys.stdout.flush()

    def close(self) -> None:
        """Take it away."""
        self._bar.close()


def minutes(seconds: float) -> str:
    """Such as 3:07."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def run_stages(stages: Sequence[Sequence[Task]], pool: Executor, processes: int, pace: dict[str, float]) -> list[Row]:
    """Do what is not done, stage after stage; after the first failure nothing is begun any more.

    Returns:
        The rows of all tasks, in their order.
    """
    found = {task: task.done() for stage in stages for task in stage}
    bar = Bar()
    try:
        for number, stage in enumerate(stages):
            futures = {pool.submit(task.work): task for task in stage if found[task] is None}
            while pending := [future for future in futures if found[futures[future]] is None]:
                finished, _ = wait(pending, timeout=0.5, return_when=FIRST_EXCEPTION)
                for future in finished:
                    found[futures[future]] = future.result()
                    bar.say(f"{futures[future].title}  done")
                later = [[task for task in stage if found[task] is None] for stage in stages[number:]]
                left = sum(remaining(tasks, processes, pace) for tasks in later)
                bar.show(left, ", ".join(_how_far(task) for task in later[0] if steps_of(task.run)[0])[:60])
    finally:
        bar.close()
    return [row for rows in found.values() for row in rows or ()]


def _how_far(task: Task) -> str:
    return f"{task.title} {steps_of(task.run)[0]}/{task.steps}"

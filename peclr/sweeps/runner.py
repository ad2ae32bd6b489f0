"""Runs a sweep: what is not done yet, several at a time, each in a folder of its own; failures stop nothing else."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tqdm import tqdm

from peclr.options import open_lock
from peclr.runs.layout import last_checkpoint, read_results
from peclr.sweeps.plan import folder_options, shown
from peclr.sweeps.study import Claim, Study

LOOK_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.05
# What a shell, and Python, call a process that Ctrl-C or SIGTERM ended.
_STOPPED: Final = {128 + signal.SIGINT, 128 + signal.SIGTERM, -signal.SIGINT, -signal.SIGTERM}


def run_sweep(study: Study, jobs: int = 1, gpus: Sequence[str] = ()) -> None:
    """Do what is not done yet, and what no other process does in the same folder; `study.outcomes` says what came out.

    As many `jobs` at a time, each with one of the `gpus`; none given leaves all GPUs to every run. After Ctrl-C or
    SIGTERM, runs save their checkpoints, all that is known is written, and KeyboardInterrupt or SystemExit is raised.
    """
    (study.out / "logs").mkdir(exist_ok=True)
    runs: list[_Run] = []
    free: list[str | None] = [*gpus[:jobs]] or [None] * jobs
    with _signals() as signals, tqdm(unit="run") as bar:
        try:
            while True:
                while not signals and free and (claim := study.claim()):
                    runs.append(_Run(study, claim, free.pop(0), jobs))
                bar.total, bar.n = len(study.outcomes), sum(outcome.is_done for outcome in study.outcomes)
                bar.refresh()
                if not runs:
                    return
                look = time.monotonic() + LOOK_SECONDS
                while all(_at_work(runs, signals)) and time.monotonic() < look:
                    time.sleep(_POLL_SECONDS)
                for run in [*runs]:
                    run.look()
                    if not run.is_at_work:
                        runs.remove(run)
                        free.append(run.gpu)
                        run.end()
        except BaseException:
            signals.append(signal.SIGTERM)
            while any(_at_work(runs, signals)):
                time.sleep(_POLL_SECONDS)
            for run in runs:
                run.claim.file.close()
            raise


@contextmanager
def _signals() -> Iterator[list[int]]:
    """The signals to stop that come; in the end the first is raised, as Python does."""
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda number, _: came.append(number)) for number in numbers]
    try:
        yield came
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt if came[0] == signal.SIGINT else SystemExit(128 + came[0])


def _at_work(runs: Sequence[_Run], signals: Sequence[int]) -> list[bool]:
    """Whether each has not ended yet; after a signal all are asked to, after a second one they are killed."""
    for run in runs if signals else ():
        run.stop(kill=len(signals) > 1)
    return [run.is_at_work for run in runs]


class _Run:
    """A run of this process, begun or gone on with, unless it has finished: a sweep may be killed before noting so."""

    def __init__(self, study: Study, claim: Claim, gpu: str | None, jobs: int) -> None:
        self.study, self.claim, self.gpu = study, claim, gpu
        self.folder, self.log = study.out / claim.outcome.run, study.out / "logs" / f"{claim.outcome.run}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.asked = False  # to end
        self.error: str | None = None  # here, rather than in the run
        self.started = time.monotonic()
        # what concurrent runs must not share; and W&B without an account, unless the user has said more
        threads = str(max(1, (os.cpu_count() or 1) // jobs))
        given = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads} if jobs > 1 else {}
        given |= {"WANDB_MODE": "offline"} | os.environ | ({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu})
        try:
            if _metrics(self.folder) is not None:
                return
            if self.folder.is_dir() and not last_checkpoint(self.folder).is_file() and any(self.folder.iterdir()):
                # a new one begins in an empty folder
                self.folder.rename(self.folder.with_name(f"{self.folder.name}.aside{claim.outcome.attempts - 1}"))
            with os.fdopen(open_lock(self.log), "ab") as output:
                self.process = subprocess.Popen(
                    [*study.sweep.words(claim.outcome.values), *folder_options(self.folder)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=given,
                    process_group=0,  # Ctrl-C in a terminal reaches the sweep alone
                    pass_fds=(claim.file.fileno(),),
                )
        except (OSError, ValueError) as error:  # no such program, no room for a log
            self.error = str(error)

    @property
    def is_at_work(self) -> bool:
        """Whether it has not ended yet."""
        return self.process is not None and self.process.poll() is None

    def stop(self, *, kill: bool = False) -> None:
        """Ask it once to save a checkpoint and end, as asked twice it would drop it; or end it with its children."""
        if self.process is None or self.process.poll() is not None:
            return
        if kill:
            os.killpg(self.process.pid, signal.SIGKILL)
        elif not self.asked:
            self.asked = True
            self.process.send_signal(signal.SIGINT)

    def look(self) -> None:
        """Show that it is alive, and stop it where that is in vain; others are judged by one that has finished, too."""
        try:
            if not self.study.keep(self.claim):  # another machine does it, as this one has slept for long
                self.stop(kill=True)
            elif self.study.is_hopeless(self.claim):
                self.stop()
        except (OSError, ValueError) as error:  # it cannot be watched
            self.error = str(error)
            self.stop()

    def end(self) -> None:
        """Note how it has ended, and print it."""
        outcome, metric = self.claim.outcome, self.study.sweep.metric.name
        code = 0 if self.process is None else self.process.returncode
        outcome.seconds += 0 if self.process is None else time.monotonic() - self.started
        metrics = None if code or self.error else _metrics(self.folder)
        outcome.error = self.error
        if metrics is None and self.claim.hopeless and self.asked:
            outcome.status, outcome.metrics = "pruned", self.claim.hopeless
        elif self.error or code not in {0, *_STOPPED}:
            outcome.status, outcome.error = "failed", self.error or _last_line(self.log) or f"exit status {code}"
        else:
            outcome.status, outcome.metrics = "interrupted" if code else "finished", metrics or outcome.metrics
        self.study.note(self.claim)
        value = outcome.metrics.get(metric)
        said = f"{metric} {shown(value)}" if value is not None else (outcome.error or "")
        tqdm.write(f"{outcome.run}: {outcome.status} after {outcome.seconds / 60:.1f} min  {said}".rstrip())


def _metrics(folder: Path) -> dict[str, float | None] | None:
    """Last metrics of a run that has ended well, None for those that are not finite numbers; None for any other run."""
    metrics = read_results(folder).get("metrics")
    if not isinstance(metrics, dict):
        return None
    return {n: float(v) if type(v) in (int, float) and math.isfinite(v) else None for n, v in metrics.items()}


def _last_line(log: Path) -> str | None:
    """The last line of a log that says something, shortened."""
    lines = log.read_bytes()[-8192:].decode(errors="replace").replace("\r", "\n").split("\n")
    return next((line.strip()[:160] for line in reversed(lines) if line.strip()), None)

"""Runs a sweep: what is not done yet, several at a time, each in a folder of its own; failures stop nothing else."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from peclr.sweeps.names import shown
from peclr.sweeps.results import Outcome
from peclr.sweeps.runs import finite, folder_options, last_line, put_aside, read_history, read_metrics
from peclr.sweeps.study import Claim, Study

if TYPE_CHECKING:
    from types import FrameType

LOGS: Final = "logs"
LOOK_SECONDS: Final = 5.0
_LIBRARY_THREADS: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
# What a shell, and Python, call a process that Ctrl-C or SIGTERM ended.
_STOPPED: Final = {128 + signal.SIGINT, 128 + signal.SIGTERM, -signal.SIGINT, -signal.SIGTERM}


def run_sweep(study: Study, jobs: int = 1, gpus: Sequence[str] = ()) -> None:
    """Do what is not done yet, and what no other process does in the same folder; `study.outcomes` says what came out.

    Args:
        study: of the sweep.
        jobs: runs at a time.
        gpus: identifiers of GPUs, one for each run at a time; empty leaves all GPUs to every run.

    Raises:
        KeyboardInterrupt: Ctrl-C; runs have saved their checkpoints, and all that is known is written.
        SystemExit: SIGTERM, which ends it in the same way.
    """
    (study.out / LOGS).mkdir(exist_ok=True)
    session = _Session(study, jobs, gpus)
    with _signals_noted(session.signals):
        session.run()
    if session.signals:
        raise KeyboardInterrupt if session.signals[0] == signal.SIGINT else SystemExit(128 + session.signals[0])


@dataclass
class _Run:
    """A run at work, whose process leads a group of its own: Ctrl-C in a terminal reaches the sweep alone."""

    claim: Claim
    process: subprocess.Popen[bytes]
    gpu: str | None
    started: float
    asked: bool = False
    hopeless: bool = False

    def stop(self) -> None:
        """Ask it once to save a checkpoint and end; asked twice, it would drop the checkpoint."""
        if not self.asked:
            self.process.send_signal(signal.SIGINT)
        self.asked = True

    def kill(self) -> None:
        """End it with all of its own processes."""
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.killpg(self.process.pid, signal.SIGKILL)


class _Session:
    """The runs of this process: as many at a time as asked for, until nothing is left or somebody asks to stop."""

    def __init__(self, study: Study, jobs: int, gpus: Sequence[str]) -> None:
        self.study, self.sweep, self.jobs = study, study.sweep, jobs
        self.signals: list[int] = []
        self._runs: list[_Run] = []
        self._free_gpus: list[str | None] = [*gpus] or [None] * jobs

    def run(self) -> None:
        """Do all there is to do."""
        from tqdm import tqdm

        with tqdm(unit="run", total=len(self.study.outcomes)) as bar:
            try:
                while True:
                    while not self.signals and len(self._runs) < self.jobs and (claim := self.study.claim()):
                        self._begin(claim)
                    bar.total = len(self.study.outcomes)
                    bar.n = sum(outcome.status in ("finished", "pruned") for outcome in self.study.outcomes)
                    bar.refresh()
                    if not self._runs:
                        return
                    self._wait()
            finally:  # of none, unless something went wrong here
                for run in self._runs:
                    run.stop()
                for run in self._runs:
                    run.process.wait()

    def _wait(self) -> None:
        """Wait until a run has ended, or it is time to look at all of them, and for more of them."""
        until = time.monotonic() + LOOK_SECONDS
        while time.monotonic() < until:
            time.sleep(0.05)
            for run in self._runs if self.signals else ():
                run.kill() if len(self.signals) > 1 else run.stop()
            ended = [run for run in self._runs if run.process.poll() is not None]
            for run in ended:
                self._end(run)
            if ended:
                return
        for run in self._runs:
            if not self.study.keep(run.claim):  # another machine does it, as this one has slept for long
                run.kill()
            elif self._is_hopeless(run):
                run.stop()

    def _begin(self, claim: Claim) -> None:
        """Start the process of a run, unless it has finished and was not noted: a sweep may be killed in between."""
        outcome = claim.outcome
        folder, log = self.study.out / outcome.run, self.study.out / LOGS / f"{outcome.run}.log"
        try:
            if self._read_results(outcome):
                return self.study.note(claim)
            put_aside(folder)
            outcome.attempts += 1
            with log.open("ab") as output:
                process = subprocess.Popen(
                    [*self.sweep.words(outcome.values), *folder_options(folder)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **self._environment(self._free_gpus[0])},
                    process_group=0,
                    pass_fds=(claim.file.fileno(),),
                )
        except OSError as error:  # no such program, no room for a log
            outcome.status, outcome.error = "failed", str(error)
            self._note(claim)
        else:
            self._runs.append(_Run(claim, process, self._free_gpus.pop(0), time.monotonic()))

    def _end(self, run: _Run) -> None:
        """Note how a run has ended."""
        outcome, status = run.claim.outcome, run.process.returncode
        self._runs.remove(run)
        self._free_gpus.append(run.gpu)
        outcome.seconds += time.monotonic() - run.started
        outcome.error = None
        hopeless = self._is_hopeless(run)  # also of one that has finished: others are judged by it
        if status == 0 and self._read_results(outcome):
            pass
        elif hopeless and run.asked:
            last = finite(self._history(run.claim)[-1])
            outcome.status, outcome.metrics = "pruned", {self.sweep.metric.name: last}
        elif status == 0:
            outcome.status = "finished"
        elif status in _STOPPED:
            outcome.status = "interrupted"
        else:
            log = self.study.out / LOGS / f"{outcome.run}.log"
            outcome.status, outcome.error = "failed", last_line(log) or f"exit status {status}"
        self._note(run.claim)

    def _read_results(self, outcome: Outcome) -> bool:
        """Whether a run has results, of whatever kind, which are then noted."""
        try:
            metrics = read_metrics(self.study.out / outcome.run)
        except ValueError as error:
            outcome.status, outcome.error = "failed", str(error)
            return True
        if metrics is not None:
            outcome.status, outcome.metrics, outcome.error = "finished", metrics, None
        return metrics is not None

    def _is_hopeless(self, run: _Run) -> bool:
        if self.sweep.early_terminate and not run.hopeless:
            run.hopeless = self.study.is_hopeless(run.claim, self._history(run.claim))
        return run.hopeless

    def _history(self, claim: Claim) -> list[float]:
        return read_history(self.study.out / claim.outcome.run, self.sweep.metric.name)

    def _note(self, claim: Claim) -> None:
        from tqdm import tqdm

        self.study.note(claim)
        outcome = claim.outcome
        value = outcome.metrics.get(self.sweep.metric.name)
        said = f"{self.sweep.metric.name} {shown(value)}" if value is not None else (outcome.error or "")
        tqdm.write(f"{outcome.run}: {outcome.status} after {outcome.seconds / 60:.1f} min  {said}".rstrip())

    def _environment(self, gpu: str | None) -> dict[str, str]:
        """What runs at the same time shall not share; and W&B without an account, unless the user has said more."""
        environment = {"WANDB_MODE": os.environ.get("WANDB_MODE", "offline")}
        if gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = gpu
        if self.jobs > 1:
            threads = max(1, (os.cpu_count() or 1) // self.jobs)
            environment |= {name: str(threads) for name in _LIBRARY_THREADS if name not in os.environ}
        return environment


@contextlib.contextmanager
def _signals_noted(noted: list[int]) -> Iterator[None]:
    """Note Ctrl-C and SIGTERM: asked once, the sweep stops its runs in order; asked a second time, it kills them."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        noted.append(number)

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""Runs a sweep: what is not done yet, several at a time, each in a folder of its own; failures stop nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from typing import Final

from tqdm import tqdm

from peclr.options import open_lock
from peclr.sweeps.plan import shown
from peclr.sweeps.results import Outcome
from peclr.sweeps.runs import folder_options, last_line, put_aside, read_metrics
from peclr.sweeps.study import Claim, Study

LOGS: Final = "logs"
LOOK_SECONDS: Final = 5.0
_LIBRARY_THREADS: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
# What a shell, and Python, call a process that Ctrl-C or SIGTERM ended.
_STOPPED: Final = {128 + signal.SIGINT, 128 + signal.SIGTERM, -signal.SIGINT, -signal.SIGTERM}


def run_sweep(study: Study, jobs: int = 1, gpus: Sequence[str] = ()) -> None:
    """Do what is not done yet, and what no other process does in the same folder; `study.outcomes` says what came out.

    As many `jobs` at a time, each with one of the `gpus`; none given leaves all GPUs to every run.

    Raises:
        KeyboardInterrupt: Ctrl-C; runs have saved their checkpoints, and all that is known is written.
        SystemExit: SIGTERM, which ends it in the same way.
    """
    (study.out / LOGS).mkdir(exist_ok=True)
    session = _Session(study, jobs, gpus)
    asyncio.run(session.run())
    if session.signals:
        raise KeyboardInterrupt if session.signals[0] == signal.SIGINT else SystemExit(128 + session.signals[0])


class _Session:
    """The runs of this process: as many at a time as asked for, until nothing is left or somebody asks to stop."""

    def __init__(self, study: Study, jobs: int, gpus: Sequence[str]) -> None:
        self.study, self.sweep, self.jobs = study, study.sweep, jobs
        self.signals: list[int] = []
        self._asked: dict[int, bool] = {}  # by process at work: whether it was asked to end
        self._free_gpus: list[str | None] = [*gpus] or [None] * jobs

    async def run(self) -> None:
        """Do all there is to do."""
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal, number)
        tasks: set[asyncio.Task[None]] = set()
        with tqdm(unit="run") as bar:
            try:
                while True:
                    while not self.signals and len(tasks) < self.jobs and (claim := self.study.claim()):
                        tasks.add(asyncio.create_task(self._do(claim)))
                    bar.total = len(self.study.outcomes)
                    bar.n = sum(outcome.is_done for outcome in self.study.outcomes)
                    bar.refresh()
                    if not tasks:
                        return
                    ended, tasks = await asyncio.wait(tasks, timeout=LOOK_SECONDS, return_when="FIRST_COMPLETED")
                    for task in ended:
                        task.result()  # raises what went wrong here, rather than in the run
            except BaseException:
                self.signals.append(signal.SIGTERM)  # for what begins just now, too
                self._stop_all()
                await asyncio.gather(*tasks, return_exceptions=True)
                raise

    def _on_signal(self, number: int) -> None:
        self.signals.append(number)
        self._stop_all(kill=len(self.signals) > 1)

    def _stop_all(self, *, kill: bool = False) -> None:
        for process in self._asked:
            self._stop(process, kill=kill)

    def _stop(self, process: int, *, kill: bool = False) -> None:
        """Ask a run once to save a checkpoint and end, as asked twice it would drop it; or end it with its children."""
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            if kill:
                os.killpg(process, signal.SIGKILL)
            elif not self._asked[process]:
                self._asked[process] = True
                os.kill(process, signal.SIGINT)

    async def _do(self, claim: Claim) -> None:
        """See a run through, unless it has finished and was not noted: a sweep may be killed in between."""
        outcome, gpu = claim.outcome, self._free_gpus.pop(0)
        try:
            if not self._has_results(outcome):
                await self._execute(claim, gpu)
        except (OSError, ValueError) as error:  # no such program, no room for a log, damaged results
            outcome.status, outcome.error = "failed", str(error)
        self._free_gpus.append(gpu)
        self.study.note(claim)
        value = outcome.metrics.get(self.sweep.metric.name)
        said = f"{self.sweep.metric.name} {shown(value)}" if value is not None else (outcome.error or "")
        tqdm.write(f"{outcome.run}: {outcome.status} after {outcome.seconds / 60:.1f} min  {said}".rstrip())

    async def _execute(self, claim: Claim, gpu: str | None) -> None:
        """Begin or go on with a run, and note how it has ended."""
        outcome, folder = claim.outcome, self.study.out / claim.outcome.run
        log = self.study.out / LOGS / f"{outcome.run}.log"
        put_aside(folder)
        outcome.attempts += 1
        outcome.error, started = None, time.monotonic()
        with os.fdopen(open_lock(log), "ab") as output:
            process = await asyncio.create_subprocess_exec(
                *self.sweep.words(outcome.values),
                *folder_options(folder),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment(gpu),
                process_group=0,  # Ctrl-C in a terminal reaches the sweep alone
                pass_fds=(claim.file.fileno(),),
            )
        hopeless, asked = await self._watched(claim, process)
        outcome.seconds += time.monotonic() - started
        if process.returncode == 0 and self._has_results(outcome):
            return
        if hopeless and asked:
            outcome.status, outcome.metrics = "pruned", claim.hopeless
        elif process.returncode == 0:
            outcome.status = "finished"
        elif process.returncode in _STOPPED:
            outcome.status = "interrupted"
        else:
            outcome.status, outcome.error = "failed", last_line(log) or f"exit status {process.returncode}"

    async def _watched(self, claim: Claim, process: asyncio.subprocess.Process) -> tuple[bool, bool]:
        """Wait for the end of a run: whether it was hopeless, and whether it was asked to end."""
        self._asked[process.pid] = False
        if self.signals:  # while it began
            self._stop(process.pid)
        ended = asyncio.ensure_future(process.wait())
        try:
            while not (await asyncio.wait([ended], timeout=LOOK_SECONDS))[0]:
                if not self.study.keep(claim):  # another machine does it, as this one has slept for long
                    self._stop(process.pid, kill=True)
                elif self.study.is_hopeless(claim):
                    self._stop(process.pid)
            # also of one that has finished: others are judged by it
            return self.study.is_hopeless(claim), self._asked[process.pid]
        finally:
            if not ended.done():  # it could not be watched
                self._stop(process.pid)
            await ended
            del self._asked[process.pid]

    def _has_results(self, outcome: Outcome) -> bool:
        """Whether a run has finished with results, which are then noted."""
        metrics = read_metrics(self.study.out / outcome.run)
        if metrics is not None:
            outcome.status, outcome.metrics, outcome.error = "finished", metrics, None
        return metrics is not None

    def _environment(self, gpu: str | None) -> dict[str, str]:
        """Variables that concurrent runs must not share; and W&B without an account, unless the user has said more."""
        environment = {"WANDB_MODE": "offline"} | os.environ
        if gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = gpu
        if self.jobs > 1:
            threads = str(max(1, (os.cpu_count() or 1) // self.jobs))
            environment = dict.fromkeys(_LIBRARY_THREADS, threads) | environment
        return environment

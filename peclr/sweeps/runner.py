"""Runs a sweep: what is not done yet, several at a time, each in a folder of its own; failures stop nothing else."""

from __future__ import annotations

import os
import queue
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from peclr.sweeps.lock import LOCK_NAME, locked
from peclr.sweeps.names import run_names, shown
from peclr.sweeps.plan import Sweep
from peclr.sweeps.processes import Ended, Processes, folder_options, put_aside, read_metrics
from peclr.sweeps.results import JSON_NAME, Outcome, read_results, write_results

if TYPE_CHECKING:
    from types import FrameType

LOGS: Final = "logs"
_LIBRARY_THREADS: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Options:
    """How a sweep is run.

    Attributes:
        out: its folder.
        jobs: runs at a time.
        gpus: identifiers of GPUs, one for each run at a time; None leaves all GPUs to every run.
        max_runs: no more runs than these.
        seed: of random search.
    """

    out: Path
    jobs: int = 1
    gpus: tuple[str, ...] | None = None
    max_runs: int | None = None
    seed: int = 0


def run_sweep(sweep: Sweep, options: Options) -> list[Outcome]:
    """Do what is not done yet.

    Returns:
        The outcomes of all runs, in the order of the sweep.

    Raises:
        ValueError: the folder is another sweep's, or at work for this one.
        KeyboardInterrupt: Ctrl-C or SIGTERM; runs have saved their checkpoints, and all that is known is written.
    """
    values = sweep.runs(options.max_runs, options.seed)
    plan = {
        "sweep": sweep.name,
        "method": sweep.method,
        "metric": {"name": sweep.metric.name, "goal": "maximize" if sweep.metric.maximize else "minimize"},
        "command": list(sweep.command),
        "varying": sweep.varying,
    }
    with locked(options.out) as held:
        known = _read_known(options.out, plan)
        outcomes = [
            _known_or_new(known, name, given) for name, given in zip(run_names(sweep, values), values, strict=True)
        ]
        waiting = [outcome for outcome in outcomes if not _is_finished(options.out, outcome)]
        (options.out / LOGS).mkdir(exist_ok=True)
        write_results(options.out, plan, outcomes, sweep.metric)
        work = _Work(sweep, options, held)
        for ended in work.through(waiting, already=len(outcomes) - len(waiting)):
            _report(ended, sweep)
            write_results(options.out, plan, outcomes, sweep.metric)
        if work.processes.stopping:
            raise KeyboardInterrupt
    return outcomes


class _Work:
    """The threads that wait for the processes, one for each run at a time."""

    def __init__(self, sweep: Sweep, options: Options, held: int) -> None:
        self.sweep, self.options, self.held = sweep, options, held
        self.processes = Processes()
        self._free_gpus: queue.SimpleQueue[str] = queue.SimpleQueue()
        for gpu in options.gpus or ():
            self._free_gpus.put(gpu)

    def through(self, outcomes: Sequence[Outcome], already: int) -> Iterator[Outcome]:
        """Run all; yields each when it has ended, also after the sweep was asked to stop."""
        from tqdm import tqdm

        with (
            ThreadPoolExecutor(self.options.jobs) as pool,
            _signals_stop(self.processes),
            tqdm(total=already + len(outcomes), initial=already, unit="run", disable=not outcomes) as progress,
        ):
            futures: dict[Future[bool], Outcome] = {pool.submit(self._run, outcome): outcome for outcome in outcomes}
            for future in as_completed(futures):
                if future.result():
                    progress.update()
                    yield futures[future]

    def _run(self, outcome: Outcome) -> bool:
        """Run one to its end and note how it ended; whether it was started at all."""
        folder = self.options.out / outcome.run
        if self.processes.stopping:
            return False
        put_aside(folder)
        words = [*self.sweep.words(outcome.values), *folder_options(folder)]
        gpu = self._free_gpus.get() if self.options.gpus else None
        try:
            log = self.options.out / LOGS / f"{outcome.run}.log"
            ended = self.processes.run(words, log, self._environment(gpu), self.held)
        except OSError as error:  # no such program, no room for a log
            ended = Ended(127, 0.0, str(error))
        finally:
            if gpu is not None:
                self._free_gpus.put(gpu)
        if ended is not None:
            _note(outcome, ended, folder)
        return ended is not None

    def _environment(self, gpu: str | None) -> dict[str, str]:
        """What runs at the same time shall not share; and W&B without an account, unless the user has said more."""
        environment = {"WANDB_MODE": os.environ.get("WANDB_MODE", "offline")}
        if gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = gpu
        if self.options.jobs > 1:
            threads = max(1, (os.cpu_count() or 1) // self.options.jobs)
            environment |= {name: str(threads) for name in _LIBRARY_THREADS if name not in os.environ}
        return environment


def _note(outcome: Outcome, ended: Ended, folder: Path) -> None:
    outcome.attempts += 1
    outcome.seconds += ended.seconds
    outcome.error = None
    if ended.status == 0:
        try:
            outcome.status, outcome.metrics = "finished", read_metrics(folder) or {}
        except ValueError as error:
            outcome.status, outcome.error = "failed", str(error)
    elif ended.stopped:
        outcome.status = "interrupted"
    else:
        outcome.status, outcome.error = "failed", ended.error or f"exit status {ended.status}"


def _is_finished(out: Path, outcome: Outcome) -> bool:
    """Whether nothing is left to do. The run's own results count: a sweep may be killed before it notes them."""
    metrics = read_metrics(out / outcome.run)
    if metrics is not None:
        outcome.status, outcome.metrics, outcome.error = "finished", metrics, None
    return outcome.status == "finished"


def _known_or_new(known: dict[str, Outcome], name: str, values: dict[str, Any]) -> Outcome:
    outcome = known.get(name, Outcome(name, values))
    if outcome.values != values:
        raise ValueError(
            f"run {name}: its folder holds a run with {outcome.values}, not {values}; choose another --out"
        )
    return outcome


def _read_known(out: Path, plan: dict[str, Any]) -> dict[str, Outcome]:
    """The outcomes noted before.

    Raises:
        ValueError: they are another sweep's.
    """
    path = out / JSON_NAME
    if not path.is_file():
        if {inside.name for inside in out.iterdir()} - {LOCK_NAME}:
            raise ValueError(f"{out} is not empty and holds no {JSON_NAME}; choose another --out")
        return {}
    noted, outcomes = read_results(path)
    for key in ("sweep", "method", "command"):
        if noted.get(key) != plan[key]:
            raise ValueError(f"{out} was begun with {key} {noted.get(key)}, not {plan[key]}; choose another --out")
    return outcomes


def _report(outcome: Outcome, sweep: Sweep) -> None:
    from tqdm import tqdm

    value = outcome.metrics.get(sweep.metric.name)
    told = f"{sweep.metric.name} {shown(value)}" if value is not None else (outcome.error or "")
    tqdm.write(f"{outcome.run}: {outcome.status} after {outcome.seconds / 60:.1f} min  {told}".rstrip())


@contextmanager
def _signals_stop(processes: Processes) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM stop the sweep in order; asked a second time, it ends at once."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        if processes.stopping:
            processes.kill()
        else:
            processes.stop()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

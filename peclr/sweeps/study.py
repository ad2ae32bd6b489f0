"""The runs of a sweep as trials of an Optuna study, shared by all that work in its folder, on any machine."""

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final
from zlib import crc32

import optuna
from msgspec import convert, to_builtins
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from peclr.options import open_lock
from peclr.runs.aliases import renewed_metrics
from peclr.runs.layout import metrics_files
from peclr.sweeps.lock import hold, is_held
from peclr.sweeps.parameters import Parameter
from peclr.sweeps.plan import Sweep, Values
from peclr.sweeps.results import JSON_NAME, Outcome, read_results, write_results
from peclr.untrusted.text import read_table

_OUTCOME: Final = "outcome"  # of a trial's attributes


@dataclass
class Claim:
    """A run that this process does, and no other: what is known of it, its trial, and the file that marks it."""

    outcome: Outcome
    trial: optuna.Trial
    file: IO[str]
    judged: int = 0  # values of the metric that early termination has seen
    hopeless: dict[str, float | None] = field(default_factory=dict)  # the metric that it ended the run for


class Study:
    """The state of a sweep: its runs, who does them, and what came out.

    Its folder `out` is new or of the same sweep. ValueError if it is another's, or the sweep cannot be run.
    """

    outcomes: list[Outcome]  # of all runs, when this process last noted one

    def __init__(self, sweep: Sweep, out: Path, max_runs: int | None = None, seed: int = 0) -> None:
        self.sweep, self.out, self._seed = sweep, out, seed
        self._cap = sweep.cap(max_runs) if sweep.method == "bayes" else 0
        self._space = {name: _space(sweep.parameters[name]) for name in sweep.varying} if self._cap else {}
        self._planned = sweep.runs(max_runs, seed)
        self._suggested: dict[str, Values] = {}  # by run
        if out.exists() and not out.is_dir():
            raise ValueError(f"{out} is a file; expected a folder")
        out.mkdir(parents=True, exist_ok=True)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        # exclusive creation is safe on NFS; Optuna's other lock, a link, is never found stale in a relative path
        self._mutex = JournalFileOpenLock(str(out / "study"))
        with self._alone():
            noted = read_results(out, sweep)
            journal, early = str(out / "study.journal"), sweep.early_terminate
            os.close(open_lock(Path(journal)))  # Optuna would write through a link
            try:
                self._study = optuna.create_study(
                    study_name=sweep.name,
                    storage=optuna.storages.JournalStorage(JournalFileBackend(journal, JournalFileOpenLock(journal))),
                    direction=sweep.metric.goal,
                    pruner=optuna.pruners.SuccessiveHalvingPruner(early.first, early.eta) if early else None,
                    load_if_exists=True,
                )
            except ValueError as error:  # written on a full disk, for example
                raise ValueError(f"{journal} is damaged: {error}; delete it, {JSON_NAME} stands in for it") from None
            if not self._cap and not self._study.trials:  # a search would have to know what was suggested
                for outcome in noted:
                    known = {_OUTCOME: to_builtins(outcome)}
                    self._study.add_trial(optuna.create_trial(**self._end(outcome), user_attrs=known))
            self._write()
        # tried again; what fails from here on is left to the next process
        self._failed = {outcome.run for outcome in self.outcomes if outcome.status == "failed"}
        self._tried: set[str] = set()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others from changing what is decided upon."""
        self._mutex.acquire()
        try:
            yield
        finally:
            self._mutex.release()

    def claim(self) -> Claim | None:
        """Take the next run, which no other process begins from then on; None if there is none to begin."""
        with self._alone():
            known = self._known()
            if not any(trial.state == TrialState.WAITING for trial in self._trials()):  # one may, after a kill
                chosen = next(filter(self._is_open, known), None)
                if chosen is not None:
                    self._study.enqueue_trial(self._suggested.get(chosen.run, {}), {_OUTCOME: to_builtins(chosen)})
                elif len(known) >= self._cap:
                    return None
            if self._cap:  # by trial: a search that goes on would otherwise begin with its first draws again
                seed = crc32(f"{self._seed}, {len(self._trials())}".encode())
                self._study.sampler = optuna.samplers.TPESampler(seed=seed)
            trial = self._study.ask(self._space)
            if _OUTCOME in trial.user_attrs:
                outcome = convert(trial.user_attrs[_OUTCOME], Outcome)
            else:  # a search has just chosen
                parameters = self.sweep.parameters.items()
                values = {name: parameter.value(trial.params.get(name)) for name, parameter in parameters}
                outcome = Outcome(self.sweep.names([values], len(known))[0], values)
            outcome.status = "running"
            outcome.attempts += 1
            trial.set_user_attr(_OUTCOME, to_builtins(outcome))
            self._tried.add(outcome.run)
            return Claim(outcome, trial, hold(self._mark(outcome.run)))

    def _is_open(self, outcome: Outcome) -> bool:
        """Whether a run is to be begun, or tried again: once by each process, and a failure only if it was before."""
        failed_before = outcome.status == "failed" and outcome.run in self._failed
        return outcome.run not in self._tried and (failed_before or outcome.status in ("waiting", "interrupted"))

    def keep(self, claim: Claim) -> bool:
        """Show that a run is alive; whether it is still this process's, and was not taken for dead."""
        os.utime(claim.file.fileno())
        return self._trials()[claim.trial.number].state == TrialState.RUNNING

    def is_hopeless(self, claim: Claim) -> bool:
        """Whether early termination ends a run, after the values of the metric that it has logged so far."""
        early, metric = self.sweep.early_terminate, self.sweep.metric.name
        if early and not claim.hopeless and self.keep(claim):
            for value in _history(self.out / claim.outcome.run, metric)[claim.judged :]:
                claim.judged += 1
                claim.trial.report(value, claim.judged)
                if claim.judged < (early.max_iter or math.inf) and claim.trial.should_prune():
                    claim.hopeless = {metric: value if math.isfinite(value) else None}
                    break
        return bool(claim.hopeless)

    def note(self, claim: Claim) -> None:
        """Note how a run has ended, for all that work in the folder."""
        with self._alone():
            if self.keep(claim):
                claim.trial.set_user_attr(_OUTCOME, to_builtins(claim.outcome))
                self._study.tell(claim.trial, **self._end(claim.outcome))
                self._mark(claim.outcome.run).unlink(missing_ok=True)
            claim.file.close()
            self._write()

    def _end(self, outcome: Outcome) -> dict[str, Any]:
        """The end of a run, as Optuna knows it: one that diverged is as bad as one that was stopped."""
        if outcome.status == "finished" and math.isfinite(outcome.score(self.sweep.metric)):
            return {"values": [outcome.metrics[self.sweep.metric.name]], "state": TrialState.COMPLETE}
        return {"state": TrialState.PRUNED if outcome.is_done else TrialState.FAIL}

    def _mark(self, run: str) -> Path:
        """The file that marks a run as somebody's."""
        return self.out / "held" / run

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _known(self) -> list[Outcome]:
        """State of all runs, in the order of the sweep; those whose process was killed are given up."""
        noted: dict[str, Outcome] = {}
        for trial in self._trials():
            # none of a search that was killed before it had chosen
            outcome = convert(trial.user_attrs[_OUTCOME], Outcome) if _OUTCOME in trial.user_attrs else None
            is_alive = trial.state == TrialState.RUNNING and outcome is not None and is_held(self._mark(outcome.run))
            if trial.state == TrialState.RUNNING and not is_alive:
                self._study.tell(trial.number, state=TrialState.FAIL)
            if outcome is not None:
                if outcome.status == "running" and not is_alive:
                    outcome.status = "interrupted"
                noted[outcome.run], self._suggested[outcome.run] = outcome, trial.params
        for run, values in self._planned.items():
            if noted.setdefault(run, Outcome(run, values)).values != values:
                there = f"{self.out} holds a run with {noted[run].values}, not {values}"
                raise ValueError(f"run {run}: {there}; choose another --out")
        return [noted[run] for run in self._planned or noted]

    def _write(self) -> None:
        self.outcomes = self._known()
        write_results(self.out, self.sweep, self.outcomes)


def _space(parameter: Parameter) -> BaseDistribution:
    """The distribution from which Optuna suggests; `Parameter.value` reads its suggestions."""
    if parameter.choices is None:
        return FloatDistribution(parameter.low, parameter.high, log=parameter.log)
    if parameter.weights is not None:
        raise ValueError("bayes search weighs values by their results; give them without probabilities")
    if isinstance(parameter.choices, range):
        return IntDistribution(parameter.choices[0], parameter.choices[-1])
    return CategoricalDistribution([json.dumps(choice) for choice in parameter.choices])  # it takes no lists


def _history(folder: Path, metric: str) -> list[float]:
    """The values of a metric that a run has logged so far, those of a run that went on in order of their steps."""
    values: dict[float, float] = {}
    for path in metrics_files(folder):
        rows = map(renewed_metrics, read_table(path, unfinished=True))  # half a number is another number
        for number, row in enumerate(rows):
            with suppress(ValueError):  # of another program, perhaps: nothing to stop all runs for
                if row.get(metric):
                    values[float(row.get("step") or number)] = float(row[metric])
    return [value for _, value in sorted(values.items())]

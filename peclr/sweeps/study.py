"""The runs of a sweep as trials of an Optuna study, shared by all that work in its folder, on any machine."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from msgspec import convert, to_builtins

from peclr.sweeps.lock import hold, is_held
from peclr.sweeps.plan import Sweep
from peclr.sweeps.results import JSON_NAME, Outcome, read_results, write_results

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.trial import FrozenTrial, TrialState

_OUTCOME: Final = "outcome"  # of a trial's attributes


@dataclass
class Claim:
    """A run that this process does, and no other: what is known of it, its trial, and the file that marks it."""

    outcome: Outcome
    trial: Trial
    file: IO[str]
    judged: int = 0  # values of the metric that early termination has seen


class Study:
    """Which runs there are, who does them, and what came out.

    Args:
        sweep: the file.
        out: the sweep's folder, new or of the same sweep.
        max_runs: no more runs than these.
        seed: of the search.

    Attributes:
        outcomes: of all runs, when this process last noted one.

    Raises:
        ValueError: the folder is another sweep's, or the sweep cannot be run.
    """

    def __init__(self, sweep: Sweep, out: Path, max_runs: int | None = None, seed: int = 0) -> None:
        try:
            import optuna
            from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
        except ModuleNotFoundError as error:
            raise ValueError("sweeps need Optuna: pip install 'peclr[sweeps]'") from error
        self.sweep, self.out, self._seed = sweep, out, seed
        self._cap = sweep.cap(max_runs) if sweep.method == "bayes" else 0
        self._space = {name: sweep.parameters[name].space() for name in sweep.varying} if self._cap else {}
        self._planned = sweep.runs(max_runs, seed)
        self._tried: set[str] = set()
        if out.exists() and not out.is_dir():
            raise ValueError(f"{out} is a file; expected a folder")
        out.mkdir(parents=True, exist_ok=True)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        # exclusive creation is safe on NFS; Optuna's other lock, a link, is never found stale in a relative path
        self._mutex = JournalFileOpenLock(str(out / "study"))
        with self._alone():
            known = self._read_known()
            journal, early = str(out / "study.journal"), sweep.early_terminate
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
                for outcome in known:
                    values, state = self._result(outcome)
                    attributes = {_OUTCOME: to_builtins(outcome)}
                    self._study.add_trial(optuna.create_trial(state=state, values=values, user_attrs=attributes))
            self._first = len(self._study.trials)
            self.outcomes = self._write()

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
            trials = self._trials()
            if not any(trial.state.name == "WAITING" for trial in trials.values()):  # one may, after a kill
                chosen = next((known for known in self._all(trials) if self._is_open(known, trials)), None)
                if chosen is not None:
                    values = trials[chosen.run].params if self._cap else chosen.values
                    self._study.enqueue_trial(values, {_OUTCOME: to_builtins(chosen)})
                elif len(trials) >= self._cap:
                    return None
            if self._cap:
                self._seed_search()
            trial = self._study.ask(self._space)
            begun = self._study.get_trials(deepcopy=False)[trial.number]
            outcome = _noted(begun) or self._suggested(begun, len(trials))
            outcome.status = "running"
            trial.set_user_attr(_OUTCOME, to_builtins(outcome))
            self._tried.add(outcome.run)
            return Claim(outcome, trial, hold(self._mark(outcome)))

    def keep(self, claim: Claim) -> bool:
        """Show that a run is alive; whether it is still this process's, and was not taken for dead."""
        os.utime(claim.file.fileno())
        return self._study.get_trials(deepcopy=False)[claim.trial.number].state.name == "RUNNING"

    def is_hopeless(self, claim: Claim, values: list[float]) -> bool:
        """Whether early termination ends a run that has had these values of the metric."""
        early = self.sweep.early_terminate
        for value in values[claim.judged :] if early and self.keep(claim) else ():
            claim.judged += 1
            claim.trial.report(value, claim.judged)
            if early and claim.judged < (early.max_iter or math.inf) and claim.trial.should_prune():
                return True
        return False

    def note(self, claim: Claim) -> None:
        """Note how a run has ended, for all that work in the folder."""
        with self._alone():
            if self.keep(claim):
                claim.trial.set_user_attr(_OUTCOME, to_builtins(claim.outcome))
                self._study.tell(claim.trial, *self._result(claim.outcome))
                self._mark(claim.outcome).unlink(missing_ok=True)
            claim.file.close()
            self.outcomes = self._write()

    def _result(self, outcome: Outcome) -> tuple[list[float] | None, TrialState]:
        """How a run has ended, as Optuna knows it: one that diverged is as bad as one that was stopped."""
        from optuna.trial import TrialState

        value = outcome.metrics.get(self.sweep.metric.name)
        if outcome.status == "finished" and value is not None and math.isfinite(value):
            return [value], TrialState.COMPLETE
        return None, TrialState.PRUNED if outcome.is_done else TrialState.FAIL

    def _mark(self, outcome: Outcome) -> Path:
        """The file that marks a run as somebody's."""
        return self.out / "held" / outcome.run

    def _trials(self) -> dict[str, FrozenTrial]:
        """The last attempt at each run. One whose process was killed is given up, for anybody to go on with."""
        from optuna.trial import TrialState

        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            outcome = _noted(trial)
            if outcome is None or not is_held(self._mark(outcome)):
                self._study.tell(trial.number, state=TrialState.FAIL)
        trials = self._study.get_trials(deepcopy=False)
        return {outcome.run: trial for trial in trials if (outcome := _noted(trial))}

    def _all(self, trials: dict[str, FrozenTrial]) -> list[Outcome]:
        """What is known of all runs, in the order of the sweep."""
        noted = {run: outcome for run, trial in trials.items() if (outcome := _noted(trial))}
        for run, values in self._planned.items():
            if run in noted and noted[run].values != values:
                there = f"{self.out} holds a run with {noted[run].values}, not {values}"
                raise ValueError(f"run {run}: {there}; choose another --out")
        if self._cap:
            return list(noted.values())
        return [noted.get(run) or Outcome(run, values) for run, values in self._planned.items()]

    def _is_open(self, outcome: Outcome, trials: dict[str, FrozenTrial]) -> bool:
        """Whether a run is to be begun, or tried again: once by each process, and a failure only if it was before."""
        if outcome.run in self._tried or outcome.is_done or outcome.status == "running":
            return False
        return outcome.status != "failed" or trials[outcome.run].number < self._first

    def _seed_search(self) -> None:
        """Seed by trial: a search that goes on would otherwise begin with its first draws again."""
        from numpy.random import SeedSequence
        from optuna.samplers import TPESampler

        seed = SeedSequence((self._seed, len(self._study.trials))).generate_state(1)
        self._study.sampler = TPESampler(seed=int(seed[0]))

    def _suggested(self, trial: FrozenTrial, number: int) -> Outcome:
        """The outcome, so far, of a run that a search has just chosen."""
        values = {
            name: parameter.value(trial.params[name]) if name in self._space else (parameter.choices or ())[0]
            for name, parameter in self.sweep.parameters.items()
        }
        (run,) = self.sweep.names([values], number)
        return Outcome(run, values)

    def _write(self) -> list[Outcome]:
        outcomes = self._all(self._trials())
        write_results(self.out, self.sweep, outcomes)
        return outcomes

    def _read_known(self) -> list[Outcome]:
        """The outcomes in `sweep.json`; version 0.1 noted them nowhere else.

        Raises:
            ValueError: they are another sweep's.
        """
        path = self.out / JSON_NAME
        if not path.is_file():
            if any(not inside.name.startswith("study.") for inside in self.out.iterdir()):
                raise ValueError(f"{self.out} is not empty and holds no {JSON_NAME}; choose another --out")
            return []
        noted, outcomes = read_results(path)
        for key, wanted in self.sweep.identity.items():
            if noted.get(key) != wanted:
                begun = f"{self.out} was begun with {key} {noted.get(key)}, not {wanted}"
                raise ValueError(f"{begun}; choose another --out")
        return [outcome for outcome in outcomes if outcome.status != "waiting"]


def _noted(trial: FrozenTrial) -> Outcome | None:
    """What a trial says of its run; None of a search's that was killed before it had chosen."""
    if _OUTCOME not in trial.user_attrs:
        return None
    outcome = convert(trial.user_attrs[_OUTCOME], Outcome)
    if outcome.status == "running" and trial.state.name != "RUNNING":
        outcome.status = "interrupted"
    return outcome

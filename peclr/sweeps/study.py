"""The runs of a sweep as trials of an Optuna study, shared by all that work in its folder, on any machine."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from msgspec import convert, to_builtins

from peclr.sweeps.lock import hold, is_held
from peclr.sweeps.plan import Sweep
from peclr.sweeps.results import JSON_NAME, Outcome, read_results, write_results
from peclr.sweeps.runs import read_history

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.trial import FrozenTrial

_OUTCOME: Final = "outcome"  # of a trial's attributes


@dataclass
class Claim:
    """A run that this process does, and no other: what is known of it, its trial, and the file that marks it."""

    outcome: Outcome
    trial: Trial
    file: IO[str]
    judged: int = 0  # values of the metric that early termination has seen
    hopeless: dict[str, float | None] = field(default_factory=dict)  # the metric that it ended the run for


class Study:
    """The state of a sweep: its runs, who does them, and what came out.

    Its folder `out` is new or of the same sweep. ValueError if it is another's, or the sweep cannot be run.
    """

    outcomes: list[Outcome]  # of all runs, when this process last noted one

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
        if out.exists() and not out.is_dir():
            raise ValueError(f"{out} is a file; expected a folder")
        out.mkdir(parents=True, exist_ok=True)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        # exclusive creation is safe on NFS; Optuna's other lock, a link, is never found stale in a relative path
        self._mutex = JournalFileOpenLock(str(out / "study"))
        with self._alone():
            noted = self._read_json()
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
                for outcome in noted:
                    known = {_OUTCOME: to_builtins(outcome)}
                    self._study.add_trial(optuna.create_trial(**self._end(outcome), user_attrs=known))
            self.outcomes = self._write()
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
            known, trials = self._known(), self._trials()
            if not any(trial.state.name == "WAITING" for trial in trials):  # one may, after a kill
                chosen = next(filter(self._is_open, known), None)
                if chosen is not None:
                    suggested = {
                        trial.user_attrs[_OUTCOME]["run"]: trial.params for trial in trials if trial.user_attrs
                    }
                    values = suggested[chosen.run] if self._cap else chosen.values
                    self._study.enqueue_trial(values, {_OUTCOME: to_builtins(chosen)})
                elif len(known) >= self._cap:
                    return None
            if self._cap:
                from numpy.random import SeedSequence
                from optuna.samplers import TPESampler

                # by trial: a search that goes on would otherwise begin with its first draws again
                seed = SeedSequence((self._seed, len(self._trials()))).generate_state(1)
                self._study.sampler = TPESampler(seed=int(seed[0]))
            trial = self._study.ask(self._space)
            noted = trial.user_attrs.get(_OUTCOME)
            outcome = convert(noted, Outcome) if noted else self._suggested(trial.params, len(known))
            outcome.status = "running"
            trial.set_user_attr(_OUTCOME, to_builtins(outcome))
            self._tried.add(outcome.run)
            return Claim(outcome, trial, hold(self._mark(outcome.run)))

    def keep(self, claim: Claim) -> bool:
        """Show that a run is alive; whether it is still this process's, and was not taken for dead."""
        os.utime(claim.file.fileno())
        return self._trials()[claim.trial.number].state.name == "RUNNING"

    def is_hopeless(self, claim: Claim) -> bool:
        """Whether early termination ends a run, after the values of the metric that it has logged so far."""
        early, metric = self.sweep.early_terminate, self.sweep.metric.name
        if early and not claim.hopeless and self.keep(claim):
            for value in read_history(self.out / claim.outcome.run, metric)[claim.judged :]:
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
            self.outcomes = self._write()

    def _end(self, outcome: Outcome) -> dict[str, Any]:
        """The end of a run, as Optuna knows it: one that diverged is as bad as one that was stopped."""
        from optuna.trial import TrialState

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
        from optuna.trial import TrialState

        noted: dict[str, Outcome] = {}
        for trial in self._trials():
            outcome = convert(trial.user_attrs[_OUTCOME], Outcome) if _OUTCOME in trial.user_attrs else None
            is_running = trial.state == TrialState.RUNNING
            if is_running and (outcome is None or not is_held(self._mark(outcome.run))):
                self._study.tell(trial.number, state=TrialState.FAIL)
                is_running = False
            if outcome is not None:  # None of a search that was killed before it had chosen
                if outcome.status == "running" and not is_running:
                    outcome.status = "interrupted"
                noted[outcome.run] = outcome
        for run, values in self._planned.items():
            if run in noted and noted[run].values != values:
                there = f"{self.out} holds a run with {noted[run].values}, not {values}"
                raise ValueError(f"run {run}: {there}; choose another --out")
        if self._cap:
            return list(noted.values())
        return [noted.get(run) or Outcome(run, values) for run, values in self._planned.items()]

    def _is_open(self, outcome: Outcome) -> bool:
        """Whether a run is to be begun, or tried again: once by each process, and a failure only if it was before."""
        failed_before = outcome.status == "failed" and outcome.run in self._failed
        return outcome.run not in self._tried and (failed_before or outcome.status in ("waiting", "interrupted"))

    def _suggested(self, suggestions: dict[str, Any], number: int) -> Outcome:
        """The outcome, so far, of a run that a search has just chosen."""
        values = {
            name: parameter.value(suggestions[name]) if name in suggestions else (parameter.choices or ())[0]
            for name, parameter in self.sweep.parameters.items()
        }
        (run,) = self.sweep.names([values], number)
        return Outcome(run, values)

    def _write(self) -> list[Outcome]:
        outcomes = self._known()
        write_results(self.out, self.sweep, outcomes)
        return outcomes

    def _read_json(self) -> list[Outcome]:
        """The outcomes in `sweep.json`, where version 0.1 noted them; ValueError if they are another sweep's."""
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

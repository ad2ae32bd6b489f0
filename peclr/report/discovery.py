"""Finds what there is to report on below the given files and folders."""

import logging
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from peclr.report import results
from peclr.report.results import SCORED_ON, Row, known_metrics, without_seed
from peclr.report.runs import SCORES_NAME, Evaluation, TrainingRun, data_name, is_run, read_evaluation, read_run
from peclr.runs.layout import CHECKPOINTS, RESUMED
from peclr.runs.names import said_name
from peclr.untrusted.text import read_json

_log = logging.getLogger(__name__)

_PRUNED: Final = {CHECKPOINTS, "wandb", "rgb"}  # folders below which no run lies
_LARGEST_TABLE: Final = 32 * 2**20  # bytes; larger files are labels or predictions
_EXPECTED: Final = (
    "expected a run (config.yaml with metrics.csv or results.json), the output of `peclr evaluate` (scores.json), "
    'a result table (JSON with "rows"), or a folder with some of these'
)


@dataclass
class Findings:
    """Runs and results that the report is about."""

    rows: list[Row] = field(default_factory=list)  # of tables, and of evaluations and tests that no table sums up
    runs: list[TrainingRun] = field(default_factory=list)  # of training, in which something was logged
    evaluations: list[Evaluation] = field(default_factory=list)
    names: dict[str, Path] = field(default_factory=dict)  # that runs have in their configs, and whose they are
    _scored: dict[tuple[str, Path], int] = field(default_factory=dict)  # index of the row, by protocol and run

    def add(self, row: Row, run: Path) -> None:
        """Add what a run scored; of two who measured the same, `peclr test` and `peclr evaluate`, it is one row."""
        if (index := self._scored.get((row.protocol, run))) is not None:
            known = self.rows[index]
            shared = known.metrics.keys() & row.metrics.keys()
            if all(math.isclose(known.metrics[name], row.metrics[name], rel_tol=1e-3) for name in shared):
                self.rows[index] = replace(known, metrics={**row.metrics, **known.metrics})
                return
            row = replace(row, protocol=f"{row.protocol}, by another version")
        self._scored.setdefault((row.protocol, run), len(self.rows))
        self.rows.append(replace(row, of=run))


def find_all(given: Sequence[Path]) -> Findings:
    """Read everything that lies at or below the given paths; what occurs twice is read once.

    A table sums up the runs in the folders below it: their tests and evaluations are the same networks, and compared in
    the table alone. Where there is nothing to report on, or a file is damaged, a ValueError names it.
    """
    if missing := [path for path in given if not path.exists()]:
        raise FileNotFoundError(f"{missing[0]}: no such file or folder; {_EXPECTED}")
    findings, seen = Findings(), set[Path]()
    tails = results.shortest_tails(path for path in given if path.is_dir())
    for path in given:
        if path.is_dir():
            if not _add_folder(findings, path, tails[path.resolve()] if len(tails) > 1 else "", seen):
                raise ValueError(f"{path}: nothing to report on; {_EXPECTED}")
        elif path.suffix != ".json":
            raise ValueError(f"{path}: nothing to report on; {_EXPECTED}")
        elif path.resolve() not in seen:
            seen.add(path.resolve())
            findings.rows += results.read_table(path)
    findings.rows = results.keep_apart(findings.rows)
    return findings


def _add_folder(findings: Findings, root: Path, prefix: str, seen: set[Path]) -> bool:
    """Add what is below `root`; return whether there was anything, new or not."""
    found, summed_up = False, set[Path]()
    for place, below, _ in os.walk(root):
        below[:] = sorted(name for name in below if name not in _PRUNED and not name.startswith((".", RESUMED)))
        folder = Path(place)
        evaluated, ran = (folder / SCORES_NAME).is_file(), is_run(folder)
        tables = [] if evaluated or ran else _tables(folder)
        found |= evaluated or ran or bool(tables)
        summed_up |= {folder} if tables else set()
        is_new = folder.resolve() not in seen
        seen.add(folder.resolve())
        scored: tuple[Row, Path] | None = None
        if evaluated and is_new:
            called = _name(folder, root, prefix, hidden="evaluation")
            if own := _own_name(folder.parent, findings):
                further = folder.name.partition("evaluation_")[2]  # of several, as `--evaluate` calls it
                called = f"{own} on {further}" if further else own
            evaluation = read_evaluation(folder, called)
            findings.evaluations.append(evaluation)
            scored = _of_evaluation(evaluation)
        elif ran and is_new:
            place = _name(folder, root, prefix, hidden="test")
            run = read_run(folder, said_name(folder) or place)
            if run.stage == "fit":
                findings.runs.append(replace(run, name=_own_name(folder, findings) or place))
            else:
                scored = _of_test(run)
        if scored and scored[0].metrics and summed_up.isdisjoint(folder.parents):
            row, of = scored
            inside = of != folder.absolute() and of.is_relative_to(root.absolute())
            name = (_own_name(of, findings) or _name(of, root.absolute(), prefix)) if inside else row.weights
            # labels and seed have columns of their own
            name = without_seed(without_seed(name).removesuffix(f"-{row.labels}"))
            findings.add(replace(row, weights=name), of)
        for path in tables:
            if path.resolve() not in seen:
                seen.add(path.resolve())
                findings.rows += results.read_table(path)
    return found


def _tables(folder: Path) -> list[Path]:
    """JSON files that hold result tables and say what is compared, which tables of other trials do not."""
    found = []
    for path in sorted(path for path in folder.glob("*.json") if path.stat().st_size <= _LARGEST_TABLE):
        try:
            entries: list[Any] = results.entries_of(read_json(path)) or []
            compared = sum(isinstance(entry, dict) and "weights" in entry for entry in entries)
            if 0 < compared < len(entries):
                raise ValueError(f"{path}: {compared} of {len(entries)} rows name `weights`")
            found += [path] if compared else []
        except (OSError, ValueError) as error:
            _log.warning("left out of the report: %s", error)
    return found


def _name(folder: Path, root: Path, prefix: str, hidden: str = "") -> str:
    """The path below `root`; the folder that a command makes by itself inside a run's goes by the run's name."""
    parts = list(folder.relative_to(root).parts)
    if parts and parts[-1] == hidden:
        parts.pop()
    elif not parts and root.resolve().name == hidden:
        return root.resolve().parent.name
    return "/".join(part for part in (prefix, *parts) if part) or root.resolve().name


def _own_name(run: Path, findings: Findings) -> str | None:
    """What a run is called in its config, unless another that is reported on is called so."""
    name = said_name(run) if is_run(run) else None
    return name if name and findings.names.setdefault(name, run.resolve()) == run.resolve() else None


def _of_evaluation(evaluation: Evaluation) -> tuple[Row, Path]:
    """What an evaluation scored, by its name, and the folder of the run that was scored, so far as names say it."""
    of, scores = evaluation.folder.absolute().parent, evaluation.scores
    run = read_run(of, evaluation.name) if is_run(of) else None
    if run is None:
        of = _run_of(scores.checkpoint) or evaluation.folder.absolute()
    labels, seed = (None, None) if run is None else (run.labels, run.seed)
    protocol = _protocol(scores.data, scores.hands, scores.crop, split=scores.split, labels=scores.labels)
    tested_on = data_name(scores.data)
    return Row(protocol, evaluation.name, labels, seed, evaluation.metrics, tested_on=tested_on), of


def _of_test(run: TrainingRun) -> tuple[Row, Path]:
    """The same of `peclr test`, and of `peclr validate`."""
    metrics = known_metrics({name.partition("/")[2]: value for name, value in run.metrics.items()})
    protocol = f"peclr {run.stage}"
    if run.stage == "test" and run.images and run.data:  # as `peclr evaluate` scores
        protocol = _protocol(run.data, run.images, run.crop, labels=run.labels_are)
    row = Row(protocol, run.name, run.labels, run.seed, metrics, tested_on=data_name(run.data or ""))
    return row, _run_of(run.checkpoint) or run.folder.absolute()


def _protocol(data: str, hands: int, crop: str, split: str = "", labels: str = "") -> str:
    """How something was scored; of sets that are divided in several ways, the split says which."""
    division = f" {split}" if "_" in split else ""
    what = f"{SCORED_ON}{data_name(data)}{division}, {hands:,} hands"
    return what + (f" with {labels}-labels" if labels else "") + (f", crop: {crop}" if crop else "")


def _run_of(checkpoint: str | None) -> Path | None:
    """The absolute folder of a checkpoint's run by its name, which nobody looks up."""
    path = None if checkpoint is None else Path(checkpoint).absolute()
    return path and (path.parent.parent if path.parent.name == CHECKPOINTS else path.with_suffix(""))

"""Finds what there is to report on below the given files and folders."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, Final

from peclr.report import results
from peclr.report.results import Row, known_metrics, without_seed
from peclr.report.runs import SCORES_NAME, Evaluation, TrainingRun, is_run, read_evaluation, read_run
from peclr.runs.layout import CHECKPOINTS, RESUMED
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
        rows: list[Row] = []
        if evaluated and is_new:
            evaluation = read_evaluation(folder, _name(folder, root, prefix, hidden="evaluation"))
            findings.evaluations.append(evaluation)
            of, scores = folder.parent, evaluation.scores
            crop = f", crop: {scores.crop}" if scores.crop else ""
            protocol = f"scored on {PurePath(scores.data).name or scores.data}, {scores.hands:,} hands{crop}"
            run = read_run(of, evaluation.name) if is_run(of) else None
            rows = [_row(protocol, evaluation.name, run, evaluation.metrics)]
        elif ran and is_new:
            run = read_run(folder, _name(folder, root, prefix, hidden="test"))
            if run.stage == "fit":
                findings.runs.append(run)
            else:
                metrics = known_metrics({name.partition("/")[2]: value for name, value in run.metrics.items()})
                rows = [_row(f"peclr {run.stage}", run.name, run, metrics)]
        if summed_up.isdisjoint(folder.parents):
            findings.rows += [row for row in rows if row.metrics]
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


def _name(folder: Path, root: Path, prefix: str, hidden: str) -> str:
    """The path below `root`; the folder that a command makes by itself inside a run's goes by the run's name."""
    parts = list(folder.relative_to(root).parts)
    if parts and parts[-1] == hidden:
        parts.pop()
    elif not parts and root.resolve().name == hidden:
        return root.resolve().parent.name
    return "/".join(part for part in (prefix, *parts) if part) or root.resolve().name


def _row(protocol: str, name: str, run: TrainingRun | None, metrics: dict[str, float]) -> Row:
    """A run is compared by its name without seed and label count, which have columns of their own."""
    labels, seed = (None, None) if run is None else (run.labels, run.seed)
    return Row(protocol, without_seed(without_seed(name).removesuffix(f"-{labels}")), labels, seed, metrics)

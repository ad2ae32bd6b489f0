"""Finds what there is to report on below the given files and folders."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from peclr.report.evaluations import SCORES_NAME, EvaluationFolder, read_evaluation
from peclr.report.mixing import rows_of_tables, shortest_tails
from peclr.report.rows import (
    ResultRow,
    ResultTable,
    compares_weights,
    known_metrics,
    read_json,
    read_table,
    without_seed,
)
from peclr.report.runs import TrainingRun, is_run, read_run

# Folders below which no run lies.
_PRUNED: Final = {"checkpoints", "wandb", "rgb"}
# Larger files are labels or predictions, not tables.
_LARGEST_TABLE: Final = 32 * 2**20  # bytes
_EXPECTED: Final = (
    "expected a run (config.yaml with metrics.csv or results.json), the output of `peclr evaluate` (scores.json), "
    'a result table (JSON with "rows"), or a folder with some of these'
)


@dataclass
class Findings:
    """What the report is about.

    Attributes:
        measured: rows of evaluations, and of tests that no table sums up.
        runs: of training, in which something was logged.
        evaluations: made by `peclr evaluate`.
        tables: of results.
    """

    measured: list[ResultRow] = field(default_factory=list)
    runs: list[TrainingRun] = field(default_factory=list)
    evaluations: list[EvaluationFolder] = field(default_factory=list)
    tables: list[ResultTable] = field(default_factory=list)

    @property
    def rows(self) -> list[ResultRow]:
        """All that is compared."""
        return [*rows_of_tables(self.tables), *self.measured]


def find_all(given: Sequence[Path]) -> Findings:
    """Read everything that lies at or below the given paths.

    Args:
        given: files or folders; what occurs twice is read once.

    Raises:
        FileNotFoundError: one does not exist.
        ValueError: there is nothing to report on in one of them, or a file is damaged; the message names it.
    """
    findings = Findings()
    seen: set[Path] = set()
    missing = [path for path in given if not path.exists()]
    if missing:
        raise FileNotFoundError(f"{missing[0]}: no such file or folder; {_EXPECTED}")
    prefixes = _prefixes([path for path in given if path.is_dir()])
    for path in given:
        if path.is_dir():
            if not _add_folder(findings, path, prefixes[path.resolve()], seen):
                raise ValueError(f"{path}: nothing to report on; {_EXPECTED}")
        elif path.resolve() not in seen:
            seen.add(path.resolve())
            findings.tables.append(read_table(path))
    return findings


def _prefixes(roots: Sequence[Path]) -> dict[Path, str]:
    """What tells several folders apart; nothing for one."""
    tails = shortest_tails(roots)
    return tails if len(tails) > 1 else dict.fromkeys(tails, "")


def _add_folder(findings: Findings, root: Path, prefix: str, seen: set[Path]) -> bool:
    """Adds what is below `root`; says whether there was anything, new or not."""
    tests: list[TrainingRun] = []
    found, summed_up = False, False
    for folder in _folders(root):
        is_new = folder.resolve() not in seen
        seen.add(folder.resolve())
        if (folder / SCORES_NAME).is_file():
            found = True
            if is_new:
                _add_evaluation(findings, folder, _name(folder, root, prefix, hidden="evaluation"))
        elif is_run(folder):
            found = True
            if is_new:
                run = read_run(folder, _name(folder, root, prefix, hidden="test"))
                (findings.runs if run.stage == "fit" else tests).append(run)
        else:
            for path in _tables(folder):
                found, summed_up = True, True
                if path.resolve() not in seen:
                    seen.add(path.resolve())
                    findings.tables.append(read_table(path))
    if not summed_up:  # otherwise the same numbers are in the table already
        findings.measured += [row for run in tests if (row := _row_of_test(run)).metrics]
    return found


def _folders(root: Path) -> Iterator[Path]:
    for folder, below, _ in os.walk(root):
        below[:] = sorted(name for name in below if name not in _PRUNED and not name.startswith((".", "resumed-")))
        yield Path(folder)


def _tables(folder: Path) -> Iterator[Path]:
    """JSON files of a folder that hold result tables, by what is in them; others are passed over."""
    for path in sorted(folder.glob("*.json")):
        if path.stat().st_size <= _LARGEST_TABLE:
            try:
                content = read_json(path)
            except ValueError:  # a file that nobody has asked for
                continue
            if compares_weights(content):
                yield path


def _name(folder: Path, root: Path, prefix: str, hidden: str) -> str:
    """The path below `root`; the folder that a command makes by itself inside a run's goes by the run's name."""
    parts = list(folder.relative_to(root).parts)
    if parts and parts[-1] == hidden:
        parts.pop()
    elif not parts and root.resolve().name == hidden:
        return root.resolve().parent.name
    return "/".join(part for part in (prefix, *parts) if part) or root.resolve().name


def _row_of_test(run: TrainingRun) -> ResultRow:
    metrics = known_metrics({key.partition("/")[2]: value for key, value in run.metrics.items()})
    labels = _labels(run)
    return ResultRow(f"peclr {run.stage}", _weights(run.name, labels), labels, run.seed, metrics)


def _add_evaluation(findings: Findings, folder: Path, name: str) -> None:
    evaluation = read_evaluation(folder, name)
    findings.evaluations.append(evaluation)
    run = read_run(folder.parent, name) if is_run(folder.parent) else None
    where = evaluation.data.resolve().name
    crop = f", crop: {evaluation.crop}" if evaluation.crop else ""
    labels = None if run is None else _labels(run)
    findings.measured.append(
        ResultRow(
            protocol=f"scored on {where}, {evaluation.hands:,} hands{crop}",
            weights=_weights(name, labels),
            labels=labels,
            seed=None if run is None else run.seed,
            metrics=evaluation.metrics,
        )
    )


def _weights(name: str, labels: float | None) -> str:
    """What a run is compared as: its name without seed and label count, which have columns of their own."""
    return without_seed(without_seed(name).removesuffix(f"-{labels}"))


def _labels(run: TrainingRun) -> float | None:
    labels = run.data_setting("num_labels")
    return labels if isinstance(labels, int) and not isinstance(labels, bool) else None

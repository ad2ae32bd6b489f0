"""What came out of a sweep: a table for people, JSON and CSV for programs."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal

from peclr.sweeps.names import short_labels, shown
from peclr.sweeps.plan import Metric, Values

JSON_NAME: Final = "sweep.json"
CSV_NAME: Final = "sweep.csv"
Status = Literal["waiting", "running", "finished", "pruned", "interrupted", "failed"]
# Whose scores stand for a run in tables that compare runs, the first that it has.
_SPLITS: Final = ("test", "val", "probe")
_SCORES: Final = ("error_2d_px", "root_relative_epe_mm", "pa_epe_mm")
_LABELS: Final = ("data.num_labels", "data.label_fraction")
_SEEDS: Final = ("seed_everything", "data.seed")


@dataclass
class Outcome:
    """One run of a sweep, as far as it has come.

    Attributes:
        run: its name, and its folder's in the sweep's.
        values: of the sweep's parameters.
        status: how it ended; a run that another process does is still waiting.
        metrics: what it logged last, by full name.
        seconds: what its processes took, all attempts together.
        attempts: how often it was started.
        error: the last line it wrote before it failed.
    """

    run: str
    values: Values
    status: Status = "waiting"
    metrics: dict[str, float | None] = field(default_factory=dict)
    seconds: float = 0.0
    attempts: int = 0
    error: str | None = None

    def score(self, metric: Metric) -> float:
        """The metric, to be minimised; infinite where there is none."""
        value = self.metrics.get(metric.name)
        if value is None or not math.isfinite(value):
            return math.inf
        return -value if metric.maximize else value


def ranked(outcomes: list[Outcome], metric: Metric) -> list[Outcome]:
    """Best first; runs without the metric last, in their order."""
    return sorted(outcomes, key=lambda outcome: outcome.score(metric))


def write_results(folder: Path, plan: dict[str, Any], outcomes: list[Outcome], metric: Metric) -> None:
    """Write `sweep.json`, which a sweep that is run again goes on from, and `sweep.csv`.

    Args:
        folder: the sweep's.
        plan: what the folder is for: its sweep's name, the command, what varies, and so on.
        outcomes: of all runs.
        metric: what they are sorted by.
    """
    best_first = ranked(outcomes, metric)
    rows = [_row(plan, outcome) for outcome in best_first]
    _replace(folder / JSON_NAME, json.dumps({**plan, "rows": rows}, indent=2, allow_nan=False) + "\n")
    parameters = list(dict.fromkeys(name for outcome in best_first for name in outcome.values))
    metrics = sorted({name for outcome in best_first for name in outcome.metrics})
    partial = folder / f"{CSV_NAME}.partial"
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["run", "status", "seconds", *parameters, *metrics])
        for outcome in best_first:
            told = [outcome.values.get(name) for name in parameters] + [outcome.metrics.get(name) for name in metrics]
            writer.writerow([outcome.run, outcome.status, f"{outcome.seconds:.1f}", *told])
    partial.replace(folder / CSV_NAME)


def read_results(path: Path) -> tuple[dict[str, Any], dict[str, Outcome]]:
    """Read `sweep.json`: what its folder is for, and the outcomes by name.

    Raises:
        ValueError: it is not what `write_results` writes.
    """
    names = [field.name for field in fields(Outcome)]
    try:
        noted: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        rows = noted.pop("rows")
        return noted, {row["run"]: Outcome(**{name: row[name] for name in names}) for row in rows}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not the results of a sweep: {error!r}") from error


def table(outcomes: list[Outcome], metric: Metric, varying: list[str]) -> str:
    """One line per run, best first."""
    labels = short_labels(varying)
    rows = [["", *(labels[name] for name in varying), metric.name, "min", "status"]]
    for rank, outcome in enumerate(ranked(outcomes, metric), start=1):
        value = outcome.metrics.get(metric.name)
        rows.append(
            [
                str(rank) if math.isfinite(outcome.score(metric)) else "-",
                *(shown(outcome.values[name]) for name in varying),
                "-" if value is None else f"{value:.4g}",
                f"{outcome.seconds / 60:.1f}",
                outcome.status if outcome.error is None else f"{outcome.status}: {outcome.error}",
            ]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    numeric = range(len(varying) + 1, len(varying) + 3)
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in numeric else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _row(plan: dict[str, Any], outcome: Outcome) -> dict[str, Any]:
    """An outcome, with the names by which tables of all kinds of experiments call the same things."""
    values = outcome.values
    labels = next((values[name] for name in _LABELS if name in values), None)
    seed = next((values[name] for name in _SEEDS if name in values), None)
    told = [name for name in plan["varying"] if name not in {*_LABELS, *_SEEDS}]
    others = [f"{label}={shown(values[name])}" for name, label in short_labels(told).items()]
    scores = {
        score: outcome.metrics[f"{split}/{score}"]
        for score in _SCORES
        for split in reversed(_SPLITS)
        if f"{split}/{score}" in outcome.metrics
    }
    return {
        "protocol": plan["sweep"],
        "weights": ", ".join(others),
        "labels": labels,
        "seed": seed,
        **scores,
        **asdict(outcome),
    }


def _replace(path: Path, text: str) -> None:
    """Write a file as a whole or not at all, whenever the process is killed."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)

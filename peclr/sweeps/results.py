"""What came out of a sweep: a table for people, JSON and CSV for programs."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal

from peclr.sweeps.names import short_labels, shown
from peclr.sweeps.plan import Metric, Sweep, Values

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
        status: how it ended; pruned is what early termination stopped.
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
        """The metric, to be minimized; infinite where there is none."""
        value = self.metrics.get(metric.name)
        if value is None or not math.isfinite(value):
            return math.inf
        return -value if metric.maximize else value


def ranked(outcomes: list[Outcome], metric: Metric) -> list[Outcome]:
    """Best first; runs that did not finish, or without the metric, last."""
    return sorted(outcomes, key=lambda outcome: (outcome.status != "finished", outcome.score(metric)))


def write_results(folder: Path, sweep: Sweep, outcomes: list[Outcome]) -> None:
    """Write `sweep.json`, by which a folder is known as the sweep's, and `sweep.csv`: all runs, best first."""
    best_first = ranked(outcomes, sweep.metric)
    metric = {"name": sweep.metric.name, "goal": sweep.metric.goal}
    rows = [_row(sweep, outcome) for outcome in best_first]
    noted = {**sweep.identity, "metric": metric, "varying": sweep.varying, "rows": rows}
    _replace(folder / JSON_NAME, json.dumps(noted, indent=2, allow_nan=False) + "\n")
    lines = [
        {"run": outcome.run, "status": outcome.status, "seconds": f"{outcome.seconds:.1f}"}
        | outcome.values
        | dict(sorted(outcome.metrics.items()))
        for outcome in best_first
    ]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(dict.fromkeys(name for line in lines for name in line)))
    writer.writeheader()
    writer.writerows(lines)
    _replace(folder / CSV_NAME, text.getvalue())


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


def table(outcomes: list[Outcome], sweep: Sweep) -> str:
    """One line per run, best first."""
    labels = short_labels(sweep.varying)
    rows = [["", *(labels[name] for name in sweep.varying), sweep.metric.name, "min", "status"]]
    for rank, outcome in enumerate(ranked(outcomes, sweep.metric), start=1):
        value = outcome.metrics.get(sweep.metric.name)
        rows.append(
            [
                str(rank) if math.isfinite(outcome.score(sweep.metric)) else "-",
                *(shown(outcome.values[name]) for name in sweep.varying),
                "-" if value is None else f"{value:.4g}",
                f"{outcome.seconds / 60:.1f}",
                outcome.status if outcome.error is None else f"{outcome.status}: {outcome.error}",
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = [*([str.ljust] * (len(sweep.varying) + 1)), str.rjust, str.rjust, str.ljust]
    return "\n".join("  ".join(map(lambda align, *cell: align(*cell), aligned, row, widths)).rstrip() for row in rows)


def _row(sweep: Sweep, outcome: Outcome) -> dict[str, Any]:
    """An outcome, with the names by which tables of all kinds of experiments call the same things."""
    values = outcome.values
    labels = next((values[name] for name in _LABELS if name in values), None)
    seed = next((values[name] for name in _SEEDS if name in values), None)
    varied = [name for name in sweep.varying if name not in {*_LABELS, *_SEEDS}]
    others = [f"{label}={shown(values[name])}" for name, label in short_labels(varied).items()]
    scores = {
        score: outcome.metrics[f"{split}/{score}"]
        for score in _SCORES
        for split in reversed(_SPLITS)
        if f"{split}/{score}" in outcome.metrics
    }
    return {
        "protocol": sweep.name,
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

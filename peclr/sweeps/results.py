"""What came out of a sweep: a table for people, JSON and CSV for programs."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from peclr.options import write_whole
from peclr.runs.aliases import renewed_metrics
from peclr.sweeps.plan import Metric, Sweep, Values, short_labels, shown
from peclr.untrusted.text import quoted, read_json

JSON_NAME: Final = "sweep.json"
CSV_NAME: Final = "sweep.csv"
# Whose scores stand for a run in tables that compare runs, the first that it has.
_SPLITS: Final = ("test", "val", "probe")
_SCORES: Final = ("error_2d_px", "root_relative_epe_mm", "pa_epe_mm")
_LABELS: Final = ("data.num_labels", "data.label_fraction")
_SEEDS: Final = ("seed_everything", "data.seed")


class Outcome(msgspec.Struct):
    """One run of a sweep, as far as it has come."""

    run: str  # its name, and its folder's in the sweep's
    values: Values
    status: Literal["waiting", "running", "finished", "pruned", "interrupted", "failed"] = "waiting"
    metrics: dict[str, float | None] = {}  # what it logged last, by full name
    seconds: float = 0.0  # of all attempts together
    attempts: int = 0
    error: str | None = None  # the last line it wrote before it failed

    @property
    def is_done(self) -> bool:
        """Whether there is nothing to try again."""
        return self.status in ("finished", "pruned")

    def score(self, metric: Metric) -> float:
        """The metric, to be minimized; infinite where there is none."""
        value = self.metrics.get(metric.name)
        if value is None or not math.isfinite(value):
            return math.inf
        return -value if metric.goal == "maximize" else value


def write_results(folder: Path, sweep: Sweep, outcomes: list[Outcome]) -> None:
    """Write `sweep.json`, by which a folder is known as the sweep's, and `sweep.csv`: all runs, best first."""
    best_first = _ranked(outcomes, sweep.metric)
    rows = [_compared(sweep, outcome) | msgspec.to_builtins(outcome) for outcome in best_first]
    noted = _identity(sweep) | {"metric": msgspec.to_builtins(sweep.metric), "varying": sweep.varying, "rows": rows}
    write_whole(folder / JSON_NAME, json.dumps(noted, indent=2, allow_nan=False) + "\n")
    lines = [
        {name: row[name] for name in ("run", "status", "seconds")} | row["values"] | row["metrics"] for row in rows
    ]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, dict.fromkeys(name for line in lines for name in line))
    writer.writerow({name: quoted(name) for name in writer.fieldnames})
    writer.writerows({name: quoted(value) for name, value in line.items()} for line in lines)
    write_whole(folder / CSV_NAME, text.getvalue())


def _identity(sweep: Sweep) -> dict[str, Any]:
    """The purpose of a folder, the same as long as its runs can be compared."""
    return {"sweep": sweep.name, "method": sweep.method, "command": list(sweep.command)}


def read_results(folder: Path, sweep: Sweep) -> list[Outcome]:
    """The runs in `sweep.json`, as version 0.1 noted them, that had begun; ValueError if the folder is another's."""
    path = folder / JSON_NAME
    if not path.is_file():
        if any(not inside.name.startswith("study.") for inside in folder.iterdir()):
            raise ValueError(f"{folder} is not empty and holds no {JSON_NAME}; choose another --out")
        return []
    try:
        noted = msgspec.convert(read_json(path), dict[str, Any])
        outcomes = msgspec.convert(noted["rows"], list[Outcome])
    except (KeyError, msgspec.ValidationError) as error:
        raise ValueError(f"{path}: not the results of a sweep: {error!r}") from error
    for key, wanted in _identity(sweep).items():
        if noted.get(key) != wanted:
            raise ValueError(f"{folder} was begun with {key} {noted.get(key)}, not {wanted}; choose another --out")
    for outcome in outcomes:
        outcome.metrics = renewed_metrics(outcome.metrics)
    return [outcome for outcome in outcomes if outcome.status != "waiting"]


def table(outcomes: list[Outcome], sweep: Sweep) -> str:
    """One line per run, best first."""
    rows = [["", *short_labels(sweep.varying).values(), sweep.metric.name, "min", "status"]]
    for rank, outcome in enumerate(_ranked(outcomes, sweep.metric), start=1):
        value = outcome.metrics.get(sweep.metric.name)
        place = str(rank) if math.isfinite(outcome.score(sweep.metric)) else "-"
        varied = [shown(outcome.values[name]) for name in sweep.varying]
        status = outcome.status if outcome.error is None else f"{outcome.status}: {outcome.error}"
        score = "-" if value is None else shown(value)
        rows.append([place, *varied, score, f"{outcome.seconds / 60:.1f}", status])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _ranked(outcomes: list[Outcome], metric: Metric) -> list[Outcome]:
    """Best first; runs that did not finish, or without the metric, last."""
    return sorted(outcomes, key=lambda outcome: (outcome.status != "finished", outcome.score(metric)))


def _compared(sweep: Sweep, outcome: Outcome) -> dict[str, Any]:
    """Columns that tables of all kinds of experiments share."""
    values = outcome.values
    return {
        "protocol": sweep.name,
        "weights": sweep.label(values, ", ", _LABELS + _SEEDS),
        "labels": next((values[name] for name in _LABELS if name in values), None),
        "seed": next((values[name] for name in _SEEDS if name in values), None),
    } | {
        score: outcome.metrics[f"{split}/{score}"]
        for score in _SCORES
        for split in reversed(_SPLITS)
        if f"{split}/{score}" in outcome.metrics
    }

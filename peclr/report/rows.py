"""Rows of results: what was measured, read from JSON tables, and summed up over seeds."""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final

_SEED_IN_NAME: Final = re.compile(r"[-_.]?seed[-_=]?\d+", re.IGNORECASE)


@dataclass(frozen=True)
class Metric:
    """A column of the comparison.

    Attributes:
        name: as in JSON.
        title: for people.
        unit: "" where there is none.
        decimals: that are shown.
        higher_is_better: otherwise it is an error.
    """

    name: str
    title: str
    unit: str
    decimals: int
    higher_is_better: bool = False

    @property
    def heading(self) -> str:
        """Title and unit."""
        return f"{self.title}, {self.unit}" if self.unit else self.title


METRICS: Final = (
    Metric("epe_mm", "EPE", "mm", 1),
    Metric("root_relative_epe_mm", "EPE rel. to wrist", "mm", 1),
    Metric("pa_epe_mm", "PA-EPE", "mm", 1),
    Metric("error_2d_px", "2-D error", "px", 2),
    Metric("mesh_epe_mm", "mesh error", "mm", 1),
    Metric("pa_mesh_epe_mm", "PA mesh error", "mm", 1),
    Metric("auc", "AUC", "", 3, higher_is_better=True),
    Metric("pa_auc", "PA-AUC", "", 3, higher_is_better=True),
    Metric("f_score_5", "F@5 mm, aligned", "", 3, higher_is_better=True),
    Metric("f_score_15", "F@15 mm, aligned", "", 3, higher_is_better=True),
)


@dataclass(frozen=True)
class ResultRow:
    """One measurement.

    Attributes:
        protocol: how it was measured, such as "frozen probe".
        weights: what is compared, such as "PeCLR".
        labels: number of labeled hands; None where it is not known.
        seed: None where it is not known.
        metrics: value by name, for names of METRICS; finite.
    """

    protocol: str
    weights: str
    labels: float | None
    seed: int | None
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation of `count` values; the deviation of one value is None."""

    mean: float
    deviation: float | None
    count: int


@dataclass(frozen=True)
class Group:
    """Rows that differ in the seed only."""

    protocol: str
    weights: str
    labels: float | None
    rows: tuple[ResultRow, ...]

    @property
    def block(self) -> tuple[str, float | None]:
        """What is compared with each other: groups of one protocol and label count."""
        return self.protocol, self.labels

    def spread(self, metric: str) -> Spread | None:
        """Over the rows that have the metric; None if none has."""
        values = [row.metrics[metric] for row in self.rows if metric in row.metrics]
        if not values:
            return None
        return Spread(fmean(values), stdev(values) if len(values) > 1 else None, len(values))


def group_rows(rows: Iterable[ResultRow]) -> list[Group]:
    """Rows gathered over seeds, in the order in which protocols, label counts and weights appear.

    A row that occurs twice, because a table and a copy of it are given, counts once.
    """
    gathered: dict[tuple[str, float | None, str], list[ResultRow]] = {}
    for row in rows:
        same = gathered.setdefault((row.protocol, row.labels, row.weights), [])
        if row not in same:
            same.append(row)
    protocols = list(dict.fromkeys(protocol for protocol, _, _ in gathered))
    ordered = sorted(gathered, key=lambda key: (protocols.index(key[0]), math.inf if key[1] is None else key[1]))
    return [Group(key[0], key[2], key[1], tuple(gathered[key])) for key in ordered]


def metrics_of(rows: Iterable[ResultRow]) -> list[Metric]:
    """The columns that some row fills."""
    present = {name for row in rows for name in row.metrics}
    return [metric for metric in METRICS if metric.name in present]


def best_groups(groups: Sequence[Group], metric: Metric) -> set[int]:
    """Indices of the groups with the best mean of their protocol and label count, where there is a choice."""
    best: set[int] = set()
    blocks: dict[object, list[tuple[float, int]]] = {}
    for index, group in enumerate(groups):
        spread = group.spread(metric.name)
        if spread is not None:
            badness = -spread.mean if metric.higher_is_better else spread.mean
            blocks.setdefault(group.block, []).append((badness, index))
    for block in blocks.values():
        least = min(block)[0]
        if any(badness > least for badness, _ in block):
            best |= {index for badness, index in block if badness == least}
    return best


def without_seed(name: str) -> str:
    """The name of a run without what tells its seed: "peclr-seed1" and "peclr-seed2" are both "peclr"."""
    parts = (_SEED_IN_NAME.sub("", part).strip("-_. ") for part in name.split("/"))
    return "/".join(part for part in parts if part) or name


@dataclass(frozen=True)
class ResultTable:
    """A file of results.

    Attributes:
        path: of the file.
        size: of the experiment, as the table tells it; None if it does not.
        rows: that have metrics.
    """

    path: Path
    size: Any
    rows: list[ResultRow]


def read_table(path: Path) -> ResultTable:
    """Read a result table: {"rows": […]}, or {"seeds": [{"seed": …, "rows": […]}, …]}, and "size" where it is told.

    Args:
        path: JSON.

    Raises:
        ValueError: it is not such a table; the message names the file, the row and what was expected.
    """
    content = read_json(path)
    if not is_table(content):
        raise ValueError(f'{path}: expected a result table, JSON with "rows" or "seeds"')
    tables = content["seeds"] if "rows" not in content else [content]
    rows = []
    for table in tables:
        if not isinstance(table.get("rows"), list):
            raise ValueError(f'{path}: expected a list of "rows", found {table.get("rows")!r:.80}')
        for number, entry in enumerate(table["rows"]):
            row = _row(entry, table.get("seed"), f"{path}, row {number}")
            if row.metrics:  # a failed run of a sweep has none
                rows.append(row)
    return ResultTable(path, content.get("size"), rows)


def is_table(content: object) -> bool:
    """Whether parsed JSON has the outline of a result table."""
    if not isinstance(content, dict):
        return False
    if "rows" in content:
        return isinstance(content["rows"], list)
    seeds = content.get("seeds")
    return isinstance(seeds, list) and bool(seeds) and all(isinstance(seed, dict) for seed in seeds)


def compares_weights(content: object) -> bool:
    """Whether parsed JSON is a result table that says what is compared, as some tables of other trials do not."""
    if not isinstance(content, dict) or not is_table(content):
        return False
    rows = content["rows"] if "rows" in content else content["seeds"][0].get("rows")
    return isinstance(rows, list) and all(isinstance(row, dict) and "weights" in row for row in rows)


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        ValueError: it cannot be parsed; the message names the file.
    """
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:  # not JSON, or not text
        raise ValueError(f"{path}: not valid JSON: {error}") from error


def known_metrics(values: Mapping[str, object]) -> dict[str, float]:
    """The finite numbers among `values` that are columns of the comparison."""
    names = {metric.name for metric in METRICS}
    return {
        name: float(value)
        for name, value in values.items()
        if name in names and isinstance(value, int | float) and math.isfinite(value)
    }


def _row(entry: object, seed: object, where: str) -> ResultRow:
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: expected an object, found {entry!r:.80}")
    weights, protocol, labels = entry.get("weights"), entry.get("protocol", "result"), entry.get("labels")
    seed = entry.get("seed", seed)
    if not isinstance(weights, str) or not isinstance(protocol, str):
        raise ValueError(f"{where}: weights {weights!r:.60} and protocol {protocol!r:.60} must be strings")
    if labels is not None and not _is_count(labels):
        raise ValueError(f"{where}: labels {labels!r:.60} must be a number of labeled hands")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise ValueError(f"{where}: seed {seed!r:.60} must be a whole number")
    for metric in METRICS:
        value = entry.get(metric.name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ValueError(f"{where}: {metric.name} {value!r:.60} must be a number")
    # a sweep over seeds or labels alone has nothing else to tell its rows by
    return ResultRow(protocol, weights or protocol, labels, seed, known_metrics(entry))


def _is_count(labels: object) -> bool:
    return isinstance(labels, int | float) and not isinstance(labels, bool) and 0 <= labels < math.inf

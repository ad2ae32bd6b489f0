"""Results as rows: read from JSON tables, kept apart by experiment, summed up over seeds, compared."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final

import msgspec

from peclr.runs.aliases import ARMS
from peclr.untrusted.text import as_type, read_json

SCORED_ON: Final = "scored on "  # what a protocol that names a data set begins with
_SEED_IN_NAME: Final = re.compile(r"[-_. ]?seed[-_=]?\d+", re.IGNORECASE)


@dataclass(frozen=True)
class Metric:
    """A column of the comparison: its name in JSON, its title and unit for people, and the decimals that are shown."""

    name: str
    title: str
    unit: str
    decimals: int
    higher_is_better: bool = False

    @property
    def heading(self) -> str:
        """Title and unit."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    @property
    def after(self) -> str:
        """The unit as it stands after a number."""
        return f" {self.unit}" if self.unit else ""


# "EPE" alone is that of joints in the camera frame
METRICS: Final = (
    Metric("epe_mm", "EPE", "mm", 1),
    Metric("root_relative_epe_mm", "root-relative EPE", "mm", 1),
    Metric("pa_epe_mm", "PA-EPE", "mm", 1),
    *(Metric(f"mpjpe_{kind}_mm", f"MPJPE, {kind}", "mm", 1) for kind in ("all", "single", "interacting")),
    Metric("mrrpe_mm", "MRRPE", "mm", 1),
    Metric("error_2d_px", "2-D error", "px", 2),
    Metric("epe_image_px", "2-D error in the image", "px", 1),
    *(Metric(f"pck_{n}".replace(".", "_"), f"PCK@{n}", "", 3, higher_is_better=True) for n in (0.05, 0.1, 0.15, 0.2)),
    Metric("auc_30px", "AUC to 30 px", "", 3, higher_is_better=True),
    Metric("mesh_epe_mm", "mesh EPE", "mm", 1),
    Metric("pa_mesh_epe_mm", "mesh PA-EPE", "mm", 1),
    Metric("auc", "AUC", "", 3, higher_is_better=True),
    Metric("pa_auc", "PA-AUC", "", 3, higher_is_better=True),
    Metric("f_score_5", "F@5 mm, aligned", "", 3, higher_is_better=True),
    Metric("f_score_15", "F@15 mm, aligned", "", 3, higher_is_better=True),
    Metric("class_accuracy_percent", "class accuracy", "%", 1, higher_is_better=True),
)


@dataclass(frozen=True)
class Row:
    """One measurement."""

    protocol: str  # how it was measured, such as "frozen probe"
    weights: str  # what is compared, such as "PeCLR"
    labels: float | None  # number of labeled hands, where it is known
    seed: int | None
    metrics: Mapping[str, float]  # by name, for names of METRICS; finite
    table: Path | None = field(default=None, compare=False)  # that says it; None if a run or an evaluation does
    size: Any = field(default=None, compare=False)  # of the experiment, where the table says it
    of: Path | None = field(default=None, compare=False)  # absolute folder of the run that was scored; None of tables
    tested_on: str = field(default="", compare=False)  # the data set's name; "" where it is not known


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
    rows: tuple[Row, ...]

    @property
    def block(self) -> tuple[str, float | None]:
        """Groups to compare with each other: those of one protocol and label count."""
        return self.protocol, self.labels

    @property
    def title(self) -> str:
        """The same for people."""
        return self.protocol if self.labels is None else f"{self.protocol}, {label_count(self.labels)} labels"

    def spread(self, metric: Metric) -> Spread | None:
        """Over the rows that have the metric; None if none has."""
        values = [row.metrics[metric.name] for row in self.rows if metric.name in row.metrics]
        if not values:
            return None
        return Spread(fmean(values), stdev(values) if len(values) > 1 else None, len(values))


def group_rows(rows: Iterable[Row]) -> list[Group]:
    """Rows gathered over seeds, in the order in which protocols and weights appear; a copy of a row does not count."""
    gathered: dict[tuple[str, float | None, str], list[Row]] = {}
    for row in rows:
        same = gathered.setdefault((row.protocol, row.labels, row.weights), [])
        if row not in same:
            same.append(row)
    protocols = list(dict.fromkeys(protocol for protocol, _, _ in gathered))
    ordered = sorted(gathered, key=lambda key: (protocols.index(key[0]), math.inf if key[1] is None else key[1]))
    return [Group(key[0], key[2], key[1], tuple(gathered[key])) for key in ordered]


def metrics_of(groups: Iterable[Group]) -> list[Metric]:
    """The columns that some row fills."""
    present = {name for group in groups for row in group.rows for name in row.metrics}
    return [metric for metric in METRICS if metric.name in present]


def ranked(groups: Iterable[Group], metric: Metric) -> list[tuple[Group, Spread]]:
    """Groups that have the metric, with its spread, best first."""
    found = [(group, spread) for group in groups if (spread := group.spread(metric)) is not None]
    return sorted(found, key=lambda pair: -pair[1].mean if metric.higher_is_better else pair[1].mean)


def winners(groups: Iterable[Group], metric: Metric) -> list[Group]:
    """Groups with the best mean; none where all that have the metric have it."""
    rivals = ranked(groups, metric)
    best = [group for group, spread in rivals if spread.mean == rivals[0][1].mean]
    return best if len(best) < len(rivals) else []


def best_groups(groups: Sequence[Group], metric: Metric) -> set[int]:
    """Indices of the groups with the best mean of their protocol and label count, where there is a choice."""
    rivals = [[group for group in groups if group.block == block] for block in {group.block for group in groups}]
    best = [group for same in rivals for group in winners(same, metric)]
    return {index for index, group in enumerate(groups) if group in best}


def shown(spread: Spread, metric: Metric) -> str:
    """Mean and deviation for people."""
    numbers = [spread.mean] if spread.deviation is None else [spread.mean, spread.deviation]
    return " ± ".join(f"{number:.{metric.decimals}f}" for number in numbers)


def stated(group: Group, metric: Metric) -> str:
    """The same with its unit, title and number of seeds; the group has the metric."""
    spread = group.spread(metric)
    assert spread is not None
    return f"{shown(spread, metric)}{metric.after} {metric.title} over {seeds_of(group, spread)}"


def seeds_of(group: Group, spread: Spread) -> str:
    """The number of seeds; of runs, where nothing says their seeds."""
    what = "run" if any(row.seed is None for row in group.rows) else "seed"
    return f"{spread.count} {what}s" if spread.count > 1 else f"one {what}"


def quoted_name(name: str) -> str:
    """A name for a sentence: in quotes if a comma in it would be read as the sentence's."""
    return f"“{name}”" if "," in name else name


def label_count(labels: float | None) -> str:
    """A number of labeled hands for people."""
    return "—" if labels is None else f"{labels:,g}" if labels < 1 else f"{labels:,.0f}"


def without_seed(name: str) -> str:
    """The name of a run without its seed: "peclr-seed1" and "peclr-seed2" are both "peclr"."""
    parts = (_SEED_IN_NAME.sub("", part).strip("-_. ") for part in name.split("/"))
    return "/".join(part for part in parts if part) or name


def known_metrics(values: Mapping[str, object]) -> dict[str, float]:
    """The finite numbers among `values` that are columns of the comparison."""
    found: dict[str, Any] = {metric.name: values.get(metric.name) for metric in METRICS}
    return {name: float(v) for name, v in found.items() if type(v) in (int, float) and math.isfinite(v)}


_WORDS: Final[list[Any]] = [("weights", str), ("protocol", str, "result"), ("labels", int | float | None, None)]
_NUMBERS: Final[list[Any]] = [(metric.name, float | None, None) for metric in METRICS]
_Entry = msgspec.defstruct("_Entry", [*_WORDS, ("seed", int | None, None), *_NUMBERS])


def read_table(path: Path) -> list[Row]:
    """Read a result table: {"rows": […]}, or {"seeds": [{"seed": …, "rows": […]}, …]}, and "size" where it is known."""
    content = read_json(path)
    entries = entries_of(content)
    if entries is None:
        raise ValueError(f'{path}: expected a result table, JSON with a list of "rows", or of "seeds" with "rows" each')
    rows = []
    for number, entry in enumerate(entries):
        read: Any = as_type(entry, _Entry, f"{path}, row {number}")
        if read.labels is not None and not 0 <= read.labels < math.inf:
            raise ValueError(f"{path}, row {number}: labels {read.labels} must be a number of labeled hands")
        if metrics := known_metrics(msgspec.structs.asdict(read)):  # a failed run of a sweep has none
            # a sweep over seeds or labels alone has nothing else to distinguish its rows by
            weights = ARMS.get(read.weights, read.weights) or read.protocol
            rows.append(Row(read.protocol, weights, read.labels, read.seed, metrics, path, content.get("size")))
    return rows


def entries_of(content: Any) -> list[Any] | None:
    """The rows of parsed JSON, each with the seed of its table if it has none; None if it is no result table."""
    if not isinstance(content, dict):
        return None
    tables = content.get("seeds") if "rows" not in content else [content]
    if not tables or not isinstance(tables, list):
        return None
    if not all(isinstance(one, dict) and isinstance(one.get("rows"), list) for one in tables):
        return None
    seeds = [({"seed": table["seed"]} if "seed" in table else {}, table["rows"]) for table in tables]
    return [seed | entry if isinstance(entry, dict) else entry for seed, rows in seeds for entry in rows]


def keep_apart(rows: Sequence[Row]) -> list[Row]:
    """The rows, with names of tables in protocols that tables of different experiments share.

    Experiments differ if their tables say so by "size", or if the same seed came to other numbers.
    """
    tables = list(dict.fromkeys(row.table for row in rows if row.table is not None))
    names = shortest_tails(tables, at_least=2)
    renamed: dict[tuple[Path | None, str], str] = {}
    for protocol in {row.protocol for row in rows}:
        experiments: list[list[Row]] = []
        for table in tables:
            if found := [row for row in rows if (row.table, row.protocol) == (table, protocol)]:
                same = next((known for known in experiments if _is_one([*known, *found])), [])
                if not same:
                    experiments.append(same)
                same += found
        if len(experiments) > 1:
            for experiment in experiments:
                name = f"{protocol} ({names[Path(experiment[0].table or '').resolve()]})"
                renamed |= {(row.table, protocol): name for row in experiment}
    return [replace(row, protocol=renamed.get((row.table, row.protocol), row.protocol)) for row in rows]


def _is_one(rows: Sequence[Row]) -> bool:
    """Whether rows of a protocol can be of one experiment: one size, and copies of a row are equal."""
    first: dict[tuple[str, float | None, int | None], Row] = {}
    return all(
        row.size == rows[0].size
        and ((known := first.setdefault((row.weights, row.labels, row.seed), row)) == row or known.table == row.table)
        for row in rows
    )


def shortest_tails(paths: Iterable[Path], at_least: int = 1) -> dict[Path, str]:
    """Short names that keep paths apart: as many of their last parts as that takes, by resolved path."""
    resolved = list(dict.fromkeys(path.resolve() for path in paths))
    depths = range(at_least, 1 + max((len(path.parts) for path in resolved), default=0))
    enough = next((n for n in depths if len({path.parts[-n:] for path in resolved}) == len(resolved)), at_least)
    return {path: "/".join(path.parts[-enough:]) for path in resolved}

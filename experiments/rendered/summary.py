"""An experiment's table and figure: means over seeds, with standard deviations."""

import math
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Row = dict[str, Any]

METRICS = {"error_2d_px": "2-D error, px", "root_relative_epe_mm": "EPE, mm", "pa_epe_mm": "PA-EPE, mm"}
PROTOCOLS = ("frozen probe", "fine-tuned, short", "fine-tuned, converged")
# Okabe & Ito 2008, with marks for those who cannot tell them apart. Of the benchmark's first arms, a color is an
# objective, and a line a pairing.
STYLES = (
    ("#999999", "x", ":"),
    ("#E69F00", "o", "--"),
    ("#0072B2", "o", "--"),
    ("#E69F00", "s", "-"),
    ("#0072B2", "s", "-"),
    ("#D55E00", "^", "-"),
    ("#56B4E9", "^", "-"),
    ("#CC79A7", "D", "-"),
    ("#009E73", "D", "-"),
    ("#000000", "v", "-"),
)


def names_of(rows: Iterable[Row]) -> list[str]:
    """What is compared, in the order of the suite."""
    return list(dict.fromkeys(row["weights"] for row in rows))


def over_seeds(rows: Iterable[Row], protocol: str, labels: int, weights: str, metric: str) -> tuple[float, float]:
    """Mean and standard deviation (0 for one seed); NaN where nothing was measured."""
    values = [
        row[metric] for row in rows if (row["protocol"], row["labels"], row["weights"]) == (protocol, labels, weights)
    ]
    if not values:
        return float("nan"), float("nan")
    return fmean(values), stdev(values) if len(values) > 1 else 0.0


def table(rows: list[Row], metric: str = "root_relative_epe_mm", baseline: str | None = None) -> str:
    """Markdown: a row for each kind of weights, a column for each protocol and label count, its least mean in bold.

    Args:
        rows: of all seeds.
        metric: one of METRICS.
        baseline: of the other arms, the differences to this one are shown, of the same seed.
    """
    columns = [
        (protocol, labels)
        for protocol in PROTOCOLS
        for labels in sorted({row["labels"] for row in rows if row["protocol"] == protocol})
    ]
    names = names_of(rows)
    kept = {(r["protocol"], r["labels"], r["seed"]): r[metric] for r in rows if r["weights"] == baseline}
    shown = [
        row | {metric: row[metric] - kept.get((row["protocol"], row["labels"], row["seed"]), math.nan)}
        if baseline not in (None, row["weights"])
        else row
        for row in rows
    ]
    scores = {(name, *column): over_seeds(shown, *column, name, metric) for name in names for column in columns}
    others = [name for name in names if name != baseline] or names
    least = {column: min((scores[name, *column][0] for name in others), key=_last_if_nan) for column in columns}
    lines = [
        f"| {METRICS[metric]} | " + " | ".join(f"{protocol}, {labels:,}" for protocol, labels in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for name in names:
        sign = "" if baseline in (None, name) else "+"
        cells = [_cell(*scores[name, *column], sign, scores[name, *column][0] == least[column]) for column in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _last_if_nan(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _cell(mean: float, deviation: float, sign: str, bold: bool) -> str:
    if math.isnan(mean):
        return ""
    text = f"{mean:{sign}.1f} ± {deviation:.1f}"
    return f"**{text}**" if bold else text


def _named(metric: str) -> str:
    return METRICS[metric] + (", wrist-relative" if metric == "root_relative_epe_mm" else "")


def curves(axis: Axes, rows: list[Row], protocol: str, metric: str) -> None:
    """Error over labeled hands, one curve per kind of weights."""
    of_protocol = [row for row in rows if row["protocol"] == protocol]
    counts = sorted({row["labels"] for row in of_protocol})
    everything = names_of(rows)
    for name in names_of(of_protocol):
        color, mark, line = STYLES[everything.index(name) % len(STYLES)]
        means, deviations = zip(*(over_seeds(rows, protocol, n, name, metric) for n in counts), strict=True)
        axis.errorbar(
            counts, means, deviations, color=color, marker=mark, ls=line, ms=4.5, lw=1.4, capsize=2, label=name
        )
    axis.set_xscale("log")
    axis.set_xticks(counts, [f"{n:,}" for n in counts])
    axis.minorticks_off()
    axis.set_xlabel("labeled hands")
    axis.set_ylabel(_named(metric))
    axis.set_title(protocol, loc="left", fontsize=10)
    axis.grid(axis="y", alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)


def _list(axis: Axes, rows: list[Row], protocol: str, metric: str) -> None:
    """Arms among each other, the first at the top and its mean drawn through all: for more than curves can show."""
    of_protocol = [row for row in rows if row["protocol"] == protocol]
    counts, names = sorted({row["labels"] for row in of_protocol}), names_of(of_protocol)
    for number, labels in enumerate(counts):
        color, mark, _ = STYLES[number % len(STYLES)]
        means, deviations = zip(*(over_seeds(rows, protocol, labels, name, metric) for name in names), strict=True)
        style: dict[str, Any] = {"color": color, "marker": mark, "ls": "", "ms": 4.5, "capsize": 2}
        axis.errorbar(means, range(len(names)), xerr=deviations, label=f"{labels:,} labels", **style)
        axis.axvline(means[0], color=color, ls=":", lw=1)
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.set_xlabel(_named(metric))
    axis.set_title(protocol, loc="left", fontsize=10)
    axis.grid(axis="y", alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)


def draw(results: dict[str, Any], out: Path) -> None:
    """Draw errors over labels for all protocols into a PNG; for many arms one below the other."""
    rows: list[Row] = results["rows"]
    shown = [protocol for protocol in PROTOCOLS if any(row["protocol"] == protocol for row in rows)]
    arms = len(names_of(rows))
    kind, height = (curves, 3.3) if arms <= len(STYLES) else (_list, 0.9 + 0.25 * arms)
    with mpl.rc_context({"font.family": "DejaVu Sans", "savefig.dpi": 110}):
        figure = Figure(figsize=(9.6, height * len(shown) + 1), layout="constrained")
        axes = figure.subplots(len(shown), 2, squeeze=False, sharey="row" if kind is _list else "none")
        for line, protocol in zip(axes, shown, strict=True):
            for axis, metric in zip(line, ("root_relative_epe_mm", "pa_epe_mm"), strict=True):
                kind(axis, rows, protocol, metric)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
        seeds = len(results["seeds"])
        figure.suptitle(
            f"{results['title']}\n{seeds} seed{'s'[: seeds > 1]}; bars are standard deviations", fontsize=11
        )
        figure.savefig(out)

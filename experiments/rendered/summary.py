"""An experiment's table and figure: means over seeds, with standard deviations."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.rendered.progress import Row
from peclr.drawing.series import styles

METRICS: Final = {
    "error_2d_px": "2-D error, px",
    "root_relative_epe_mm": "root-relative EPE, mm",
    "pa_epe_mm": "PA-EPE, mm",
    "class_accuracy_percent": "accuracy of a linear probe of classes, %",
}
_HIGHER_IS_BETTER: Final = {"class_accuracy_percent"}
PROTOCOLS: Final = ("frozen probe", "fine-tuned, short", "fine-tuned, converged")
LOOK: Final[dict[Any, Any]] = {
    "font.family": "DejaVu Sans",
    "savefig.dpi": 110,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
# matplotlib's words for plotly's
_MARKS: Final = {"circle": "o", "square": "s", "diamond": "D", "cross": "P", "star": "*"} | {
    "triangle-up": "^",
    "triangle-down": "v",
}
_DASHES: Final = {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-."}
_MOST_CURVES: Final = 10  # more cannot be distinguished


def names_of(rows: Iterable[Row]) -> list[str]:
    """What is compared, in the order of the suite."""
    return list(dict.fromkeys(row["weights"] for row in rows))


def counts_of(rows: Iterable[Row]) -> list[int]:
    """The numbers of labels, in order."""
    return sorted({row["labels"] for row in rows})


def metrics_of(rows: Sequence[Row]) -> list[str]:
    """What was measured, of `METRICS`."""
    return [metric for metric in METRICS if any(metric in row for row in rows)]


def over_seeds(rows: Iterable[Row], protocol: str, labels: int, weights: str, metric: str) -> tuple[float, float]:
    """Mean and standard deviation (0 for one seed); NaN where nothing was measured."""
    wanted = (protocol, labels, weights)
    values = [
        row[metric] for row in rows if metric in row and (row["protocol"], row["labels"], row["weights"]) == wanted
    ]
    return (fmean(values), stdev(values) if len(values) > 1 else 0.0) if values else (math.nan, math.nan)


def table(rows: list[Row], metric: str = "root_relative_epe_mm", baseline: str | None = None) -> str:
    """Markdown: a row for each kind of weights, a column for each protocol and label count, its best mean in bold.

    With the name of a baseline, of the other arms the differences to it are shown, of the same seed.
    """
    rows, best_of = [row for row in rows if metric in row], max if metric in _HIGHER_IS_BETTER else min
    columns = [(protocol, n) for protocol in PROTOCOLS for n in counts_of(r for r in rows if r["protocol"] == protocol)]
    names = names_of(rows)
    of_baseline = {(r["protocol"], r["labels"], r["seed"]): r[metric] for r in rows if r["weights"] == baseline}
    shown = [
        row | {metric: row[metric] - of_baseline.get((row["protocol"], row["labels"], row["seed"]), math.nan)}
        if baseline not in (None, row["weights"])
        else row
        for row in rows
    ]
    others = [name for name in names if name != baseline] or names
    cells: dict[str, list[str]] = {name: [name] for name in names}
    for column in columns:
        scores = {name: over_seeds(shown, *column, name, metric) for name in names}
        best = best_of((scores[name][0] for name in others if not math.isnan(scores[name][0])), default=None)
        for name, (mean, deviation) in scores.items():
            text = f"{mean:{'' if baseline in (None, name) else '+'}.1f} ± {deviation:.1f}"
            cells[name].append("" if math.isnan(mean) else f"**{text}**" if mean == best else text)
    head = [METRICS[metric], *(f"{protocol}, {labels:,}" for protocol, labels in columns)]
    lines = [f"| {' | '.join(line)} |" for line in (head, *cells.values())]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:], ""])


def curves(axis: Axes, rows: list[Row], protocol: str, metric: str) -> None:
    """Error over labeled hands, one curve per kind of weights."""
    of_protocol = [row for row in rows if row["protocol"] == protocol]
    counts, looks = counts_of(of_protocol), styles(names_of(rows))
    for name in names_of(of_protocol):
        means, deviations = zip(*(over_seeds(rows, protocol, n, name, metric) for n in counts), strict=True)
        style: dict[str, Any] = {"color": looks[name].color, "ls": _DASHES[looks[name].dash], "lw": 1.4, "ms": 4.5}
        axis.errorbar(counts, means, deviations, marker=_MARKS[looks[name].mark], capsize=2, label=name, **style)
    axis.set_xscale("log")
    axis.set_xticks(counts, [f"{n:,}" for n in counts])
    axis.minorticks_off()
    axis.set(xlabel="labeled hands", ylabel=METRICS[metric])
    axis.set_title(protocol, loc="left", fontsize=10)
    axis.grid(axis="y", alpha=0.3)


def _list(axis: Axes, rows: list[Row], protocol: str, metric: str) -> None:
    """Arms among each other, the first at the top and its mean drawn through all: for more than curves can show."""
    of_protocol = [row for row in rows if row["protocol"] == protocol]
    names, looks = names_of(of_protocol), styles(f"{labels:,} labels" for labels in counts_of(of_protocol))
    for labels, (label, look) in zip(counts_of(of_protocol), looks.items(), strict=True):
        means, deviations = zip(*(over_seeds(rows, protocol, labels, name, metric) for name in names), strict=True)
        style: dict[str, Any] = {"color": look.color, "marker": _MARKS[look.mark], "ls": "", "ms": 4.5}
        axis.errorbar(means, range(len(names)), xerr=deviations, capsize=2, label=label, **style)
        axis.axvline(means[0], color=look.color, ls=":", lw=1)
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.set_xlabel(METRICS[metric])
    axis.set_title(protocol, loc="left", fontsize=10)
    axis.grid(axis="y", alpha=0.3)


def draw(results: dict[str, Any], out: Path) -> None:
    """Draw errors over labels for all protocols into a PNG; for many arms one below the other."""
    rows: list[Row] = results["rows"]
    shown = [protocol for protocol in PROTOCOLS if any(row["protocol"] == protocol for row in rows)]
    arms, seeds = len(names_of(rows)), len(results["seeds"])
    kind, height = (curves, 3.3) if arms <= _MOST_CURVES else (_list, 0.9 + 0.25 * arms)
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(9.6, height * len(shown) + 1), layout="constrained")
        axes = figure.subplots(len(shown), 2, squeeze=False, sharey="row" if kind is _list else "none")
        for line, protocol in zip(axes, shown, strict=True):
            for axis, metric in zip(line, ("root_relative_epe_mm", "pa_epe_mm"), strict=True):
                kind(axis, rows, protocol, metric)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
        bars = f"{seeds} seed{'s'[: seeds > 1]}; bars are standard deviations"
        figure.suptitle(f"{results['title']}\n{bars}", fontsize=11)
        figure.savefig(out)

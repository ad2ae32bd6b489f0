"""An experiment's tables and figure: means over seeds, with standard deviations.

`python -m experiments.rendered.summary results.json …` prints what changes were worth, a table for each file.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final

import matplotlib as mpl
import numpy as np
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
PROTOCOLS: Final = ("frozen probe", "fine-tuned, short", "fine-tuned, converged", "fine-tuned, long")
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
_CHANGED: Final = ("root_relative_epe_mm", "pa_epe_mm")


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
    """Mean and standard deviation (NaN for one seed); NaN where nothing was measured."""
    wanted = (protocol, labels, weights)
    values = [
        row[metric] for row in rows if metric in row and (row["protocol"], row["labels"], row["weights"]) == wanted
    ]
    return (fmean(values), stdev(values) if len(values) > 1 else math.nan) if values else (math.nan, math.nan)


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
            spread = "" if math.isnan(deviation) else f" ± {deviation:.1f}"
            text = f"{mean:{'' if baseline in (None, name) else '+'}.1f}{spread}"
            cells[name].append("" if math.isnan(mean) else f"**{text}**" if mean == best else text)
    head = [METRICS[metric], *(f"{protocol}, {labels:,}" for protocol, labels in columns)]
    lines = [f"| {' | '.join(line)} |" for line in (head, *cells.values())]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:], ""])


def changes(results: dict[str, Any], *, percent: bool = False) -> str:
    """Markdown: what each arm differs from the baseline by, of the same seed: root-relative EPE / PA-EPE, mm.

    The baseline's are its own errors. Differences are bold where they are better than 0 by more than their standard
    deviation over seeds, of which there are two or more. In percent of the baseline's, if wanted.
    """
    rows: list[Row] = results["rows"]
    columns = sorted({(row["protocol"], row["labels"]) for row in rows}, key=lambda of: (PROTOCOLS.index(of[0]), of[1]))
    errors = {(r["protocol"], r["labels"], r["weights"], r["seed"]): r for r in rows}
    seeds_of = {arm: {row["seed"] for row in rows if row["weights"] == arm} for arm in names_of(rows)}
    lines = []
    for arm in seeds_of:
        seeds, cells = seeds_of[arm] & seeds_of[results["baseline"]], []
        for column in columns:
            pairs = [(errors.get((*column, arm, s)), errors.get((*column, results["baseline"], s))) for s in seeds]
            known = [(own, other) for own, other in pairs if own and other]
            cells.append(" / ".join(_change(known, metric, percent=percent) for metric in _CHANGED) if known else "")
        lines.append([arm, f"{len(seeds)}", *cells])
    unit, shown = (
        "% of the baseline's" if percent else "mm",
        [f"{protocol}, {labels:,}" for protocol, labels in columns],
    )
    head = [f"root-relative EPE / PA-EPE, {unit}", "seeds", *shown]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines)) + "\n"


def _change(pairs: Sequence[tuple[Row, Row]], metric: str, *, percent: bool) -> str:
    """Mean and standard deviation of errors' differences to others; of the errors where these are their own."""
    own, other = (np.array([rows[of][metric] for rows in pairs]) for of in (0, 1))
    itself = pairs[0][0] is pairs[0][1]
    values = own if itself else 100 * (own / other - 1) if percent else own - other
    spread = float(values.std(ddof=1)) if len(values) > 1 else None
    text = f"{values.mean():{'' if itself else '+'}.1f}" + ("" if spread is None else f" ± {spread:.1f}")
    clearly = not itself and spread is not None and values.mean() < -spread
    return (f"**{text}**" if clearly else text).replace("-", "−")


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


def _list(axis: Axes, rows: list[Row], protocol: str, metric: str, baseline: str | None) -> None:
    """Arms among each other, the baseline's mean drawn through all: for more than curves can show."""
    of_protocol = [row for row in rows if row["protocol"] == protocol]
    names, looks = names_of(of_protocol), styles(f"{labels:,} labels" for labels in counts_of(of_protocol))
    for labels, (label, look) in zip(counts_of(of_protocol), looks.items(), strict=True):
        means, deviations = zip(*(over_seeds(rows, protocol, labels, name, metric) for name in names), strict=True)
        style: dict[str, Any] = {"color": look.color, "marker": _MARKS[look.mark], "ls": "", "ms": 4.5}
        axis.errorbar(means, range(len(names)), xerr=deviations, capsize=2, label=label, **style)
        axis.axvline(means[names.index(baseline) if baseline in names else 0], color=look.color, ls=":", lw=1)
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)  # the first at the top
    axis.set_xlabel(METRICS[metric])
    axis.set_title(protocol, loc="left", fontsize=10)
    axis.grid(axis="y", alpha=0.3)


def draw(results: dict[str, Any], out: Path) -> None:
    """Draw errors over labels for all protocols into a PNG; for many arms one below the other."""
    rows: list[Row] = results["rows"]
    shown = [protocol for protocol in PROTOCOLS if any(row["protocol"] == protocol for row in rows)]
    arms, seeds = len(names_of(rows)), len(results["seeds"])
    listed = arms > _MOST_CURVES
    height = 0.9 + 0.25 * arms if listed else 3.3
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(9.6, height * len(shown) + 1), layout="constrained")
        axes = figure.subplots(len(shown), 2, squeeze=False, sharey="row" if listed else "none")
        for line, protocol in zip(axes, shown, strict=True):
            for axis, metric in zip(line, ("root_relative_epe_mm", "pa_epe_mm"), strict=True):
                if listed:
                    _list(axis, rows, protocol, metric, results.get("baseline"))
                else:
                    curves(axis, rows, protocol, metric)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
        bars = f"{seeds} seeds; bars are standard deviations" if seeds > 1 else "1 seed"
        figure.suptitle(f"{results['title']}\n{bars}", fontsize=11)
        figure.savefig(out)


def main(arguments: list[str] | None = None) -> int:
    """Parse the options and print."""
    parser = argparse.ArgumentParser(prog="python -m experiments.rendered.summary", description=__doc__)
    parser.add_argument("results", type=Path, nargs="+", help="results.json of a suite with a baseline")
    parser.add_argument("--percent", action="store_true", help="differences in percent of the baseline's errors")
    options = parser.parse_args(arguments)
    for path in options.results:
        results = json.loads(path.read_text(encoding="utf-8"))
        if not results.get("baseline"):
            print(f"{path}: expected results of a suite with a baseline", file=sys.stderr)
            return 2
        print(f"{results['title']} (`{results['command']}`)\n\n{changes(results, percent=options.percent)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

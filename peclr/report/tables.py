"""The comparison as text for terminals, CSV, LaTeX, JSON and HTML."""

import csv
import io
from collections.abc import Iterable, Sequence
from html import escape
from itertools import chain
from typing import Any, Final

from peclr.report.results import Group, Metric, best_groups, label_count, metrics_of, shown
from peclr.untrusted.text import printable, quoted

_SPELLED: Final = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
LATEX: Final = str.maketrans(_SPELLED | {character: f"\\{character}" for character in "&%$#_{}"})
_WORDS: Final = ("protocol", "labels", "weights")
MISSING: Final = "—"


def text_table(groups: Sequence[Group], metrics: Sequence[Metric]) -> str:
    """Aligned columns for a terminal; `*` marks the best mean of a protocol and label count."""
    lines = [[*_WORDS, "n", *(metric.heading for metric in metrics)]]
    for group, cells in zip(groups, _cells(groups, metrics), strict=True):
        lines.append([*_words(group), *(cell + ("*" if best else " ") for cell, best in cells)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    # words stand at the left, numbers at the right
    sides = [str.ljust, str.rjust, str.ljust, *[str.rjust] * (len(widths) - 3)]
    rows = [
        "  ".join(side(cell, width) for side, cell, width in zip(sides, line, widths, strict=True)).rstrip()
        for line in lines
    ]
    return "\n".join([rows[0], "─" * max(map(len, rows)), *rows[1:]])


def csv_table(groups: Sequence[Group], metrics: Sequence[Metric]) -> str:
    """One line per group with full precision; the headings are the names, which end in the unit."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*_WORDS, *(f"{metric.name}_{part}" for metric in metrics for part in ("mean", "sd", "n"))])
    for group in groups:
        spreads = [group.spread(metric) for metric in metrics]
        cells = [("", "", 0) if spread is None else (spread.mean, spread.deviation, spread.count) for spread in spreads]
        writer.writerow([*map(quoted, (group.protocol, group.labels, group.weights)), *chain.from_iterable(cells)])
    return file.getvalue()


def latex_table(groups: Sequence[Group], metrics: Sequence[Metric]) -> str:
    """A `tabular` for the package booktabs, the best means in bold."""
    heads = [metric.heading + (r" $\uparrow$" if metric.higher_is_better else r" $\downarrow$") for metric in metrics]
    lines = [
        r"% needs \usepackage{booktabs}; mean and sample standard deviation over n seeds, the best mean in bold",
        rf"\begin{{tabular}}{{lrlr{'r' * len(metrics)}}}",
        r"\toprule",
        " & ".join([*_WORDS, "$n$", *heads]) + r" \\",
        r"\midrule",
    ]
    for index, (group, cells) in enumerate(zip(groups, _cells(groups, metrics), strict=True)):
        if index and group.block != groups[index - 1].block:
            lines.append(r"\addlinespace")
        lines.append(latex_row(_words(group), cells))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def latex_row(words: Iterable[str], cells: Iterable[tuple[str, bool]]) -> str:
    """A line of a `tabular`: words, then means and deviations, and whether each is to be bold."""
    maths = [(cell.replace("±", r"\pm"), best) for cell, best in cells]
    numbers = ["--" if cell == MISSING else r"\boldmath" * best + f"${cell}$" for cell, best in maths]
    return " & ".join([*(word.translate(LATEX) for word in words), *numbers]) + r" \\"


def json_table(groups: Sequence[Group], metrics: Sequence[Metric]) -> dict[str, Any]:
    """The groups and the rows that they sum up, for programs."""
    return {
        "units": {metric.name: metric.unit or "0 to 1" for metric in metrics},
        "groups": [
            {
                "protocol": group.protocol,
                "labels": group.labels,
                "weights": group.weights,
                "metrics": {
                    metric.name: {"mean": spread.mean, "sd": spread.deviation, "n": spread.count}
                    for metric in metrics
                    if (spread := group.spread(metric)) is not None
                },
                "rows": [{"seed": row.seed, **row.metrics} for row in group.rows],
            }
            for group in groups
        ],
    }


def html_tables(groups: Sequence[Group]) -> str:
    """A `<table>` for each protocol, with the columns that it fills; label counts are written once for each block."""
    parts = []
    for protocol in dict.fromkeys(group.protocol for group in groups):
        same = [group for group in groups if group.protocol == protocol]
        metrics = metrics_of(same)
        heads = "".join(f'<th scope="col">{html_heading(metric)}</th>' for metric in metrics)
        words = '<th scope="col">labeled<br>hands</th><th scope="col" class="word">weights</th><th scope="col">n</th>'
        lines = [f"<table><thead><tr>{words}{heads}</tr></thead><tbody>"]
        for index, (group, cells) in enumerate(zip(same, _cells(same, metrics), strict=True)):
            begins = not index or group.block != same[index - 1].block
            numbers = "".join(f"<td{' class=best' * best}>{cell}</td>" for cell, best in cells)
            name = f'<th scope="row" class="word">{escape(group.weights)}</th>'
            labels = f"<td>{label_count(group.labels) if begins else ''}</td>"
            lines.append(f"<tr{' class=block' * begins}>{labels}{name}<td>{len(group.rows)}</td>{numbers}</tr>")
        table = "\n".join([*lines, "</tbody></table>"])
        parts.append(f'<h3>{escape(protocol)}</h3><div class="scroll">{table}</div>')
    return "\n".join(parts)


def html_heading(metric: Metric) -> str:
    """Title and unit of a column, and which way is better."""
    arrow, meaning = ("↑", "higher is better") if metric.higher_is_better else ("↓", "lower is better")
    heading = escape(metric.heading).replace("-", "\N{NON-BREAKING HYPHEN}")
    return f'{heading}&nbsp;<span title="{meaning}">{arrow}</span>'


def _words(group: Group) -> list[str]:
    return [printable(group.protocol), label_count(group.labels), printable(group.weights), str(len(group.rows))]


def _cells(groups: Sequence[Group], metrics: Sequence[Metric]) -> list[list[tuple[str, bool]]]:
    """Mean and deviation by group and metric, and whether the mean is the best of its block."""
    best = [(metric, best_groups(groups, metric)) for metric in metrics]
    return [[(entry(group, metric), n in winners) for metric, winners in best] for n, group in enumerate(groups)]


def entry(group: Group, metric: Metric) -> str:
    """Mean and deviation for people, and over how many rows, where not all have the metric."""
    spread = group.spread(metric)
    if spread is None:
        return MISSING
    return shown(spread, metric) + ("" if spread.count == len(group.rows) else f" (n={spread.count})")

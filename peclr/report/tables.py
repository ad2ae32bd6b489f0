"""The comparison as text for terminals, CSV, LaTeX, JSON and HTML."""

import csv
import io
from collections.abc import Sequence
from html import escape
from typing import Any, Final

from peclr.report.rows import Group, Metric, Spread, best_groups, metrics_of

_LATEX: Final = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{character: f"\\{character}" for character in "&%$#_{}"},
    }
)


def text_table(groups: Sequence[Group], metrics: Sequence[Metric]) -> str:
    """Aligned columns for a terminal; `*` marks the best mean of a protocol and label count."""
    best = {metric.name: best_groups(groups, metric) for metric in metrics}
    head = ["protocol", "labels", "weights", "n", *(metric.heading for metric in metrics)]
    lines = [
        [
            group.protocol,
            label_count(group.labels),
            group.weights,
            str(len(group.rows)),
            *(_cell(group, metric) + ("*" if index in best[metric.name] else " ") for metric in metrics),
        ]
        for index, group in enumerate(groups)
    ]
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    # words stand at the left, numbers at the right
    rows = [
        "  ".join(
            text.ljust(width) if place in (0, 2) else text.rjust(width)
            for place, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in [head, *lines]
    ]
    rows.insert(1, "─" * max(map(len, rows)))
    return "\n".join(rows)


def csv_table(groups: Sequence[Group], metrics: Sequence[Metric]) -> str:
    """One line per group with full precision; the headings are the names, which end in the unit."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    columns = [f"{metric.name}_{part}" for metric in metrics for part in ("mean", "sd", "n")]
    writer.writerow(["protocol", "labels", "weights", *columns])
    for group in groups:
        cells: list[object] = []
        for metric in metrics:
            spread = group.spread(metric.name)
            cells += ["", "", 0] if spread is None else [spread.mean, spread.deviation, spread.count]
        writer.writerow([group.protocol, group.labels, group.weights, *cells])
    return file.getvalue()


def latex_table(groups: Sequence[Group], metrics: Sequence[Metric]) -> str:
    """A `tabular` for the package booktabs, the best means in bold."""
    best = {metric.name: best_groups(groups, metric) for metric in metrics}
    lines = [
        "% needs \\usepackage{booktabs}; mean and sample standard deviation over n seeds, the best mean in bold",
        f"\\begin{{tabular}}{{lrlr{'r' * len(metrics)}}}",
        "\\toprule",
        " & ".join(["protocol", "labels", "weights", "$n$", *(_latex_heading(metric) for metric in metrics)]) + " \\\\",
        "\\midrule",
    ]
    for index, group in enumerate(groups):
        if index and _block(group) != _block(groups[index - 1]):
            lines.append("\\addlinespace")
        cells = []
        for metric in metrics:
            spread = group.spread(metric.name)
            cell = "--" if spread is None else "$" + _number(spread, metric, r" \pm ") + "$"
            cells.append(f"\\boldmath{cell}" if index in best[metric.name] else cell)
        words = [group.protocol, label_count(group.labels), group.weights, str(len(group.rows))]
        lines.append(" & ".join([*(word.translate(_LATEX) for word in words), *cells]) + " \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


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
                    if (spread := group.spread(metric.name)) is not None
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
        of_protocol = [group for group in groups if group.protocol == protocol]
        metrics = metrics_of(row for group in of_protocol for row in group.rows)
        table = _html_table(of_protocol, metrics)
        parts.append(f'<h3>{escape(protocol)}</h3><div class="scroll">{table}</div>')
    return "\n".join(parts)


def _html_table(groups: Sequence[Group], metrics: Sequence[Metric]) -> str:
    best = {metric.name: best_groups(groups, metric) for metric in metrics}
    heads = "".join(f'<th scope="col">{_html_heading(metric)}</th>' for metric in metrics)
    words = '<th scope="col">labelled<br>hands</th><th scope="col" class="word">weights</th><th scope="col">n</th>'
    lines = [f"<table><thead><tr>{words}{heads}</tr></thead><tbody>"]
    for index, group in enumerate(groups):
        is_new_block = not index or _block(groups[index - 1]) != _block(group)
        cells = "".join(
            f"<td{' class=best' if index in best[metric.name] else ''}>{_cell(group, metric)}</td>"
            for metric in metrics
        )
        lines.append(
            f"<tr{' class=block' if is_new_block else ''}>"
            f"<td>{label_count(group.labels) if is_new_block else ''}</td>"
            f'<th scope="row" class="word">{escape(group.weights)}</th><td>{len(group.rows)}</td>{cells}</tr>'
        )
    return "\n".join([*lines, "</tbody></table>"])


def label_count(labels: float | None) -> str:
    """A number of labelled hands for people."""
    return "—" if labels is None else f"{labels:,g}" if labels < 1 else f"{labels:,.0f}"


def _block(group: Group) -> tuple[str, float | None]:
    return group.protocol, group.labels


def _cell(group: Group, metric: Metric) -> str:
    spread = group.spread(metric.name)
    if spread is None:
        return "—"
    remark = "" if spread.count == len(group.rows) else f" (n={spread.count})"
    return _number(spread, metric, " ± ") + remark


def _number(spread: Spread, metric: Metric, plus_minus: str) -> str:
    mean = f"{spread.mean:.{metric.decimals}f}"
    return mean if spread.deviation is None else f"{mean}{plus_minus}{spread.deviation:.{metric.decimals}f}"


def _latex_heading(metric: Metric) -> str:
    arrow = r"$\uparrow$" if metric.higher_is_better else r"$\downarrow$"
    return f"{metric.heading} {arrow}"


def _html_heading(metric: Metric) -> str:
    arrow, meaning = ("↑", "higher is better") if metric.higher_is_better else ("↓", "lower is better")
    heading = escape(metric.heading).replace("-", "\N{NON-BREAKING HYPHEN}")
    return f'{heading}&nbsp;<span title="{meaning}">{arrow}</span>'

"""Train × test: what runs score on each of several data sets, one table for each metric."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from peclr.report.results import SCORED_ON, Group, Metric, label_count, metrics_of, winners
from peclr.report.runs import TrainingRun
from peclr.report.tables import LATEX, MISSING, entry, html_heading, latex_row
from peclr.untrusted.text import printable

Trained = tuple[str, float | None]  # weights, and number of labeled hands


@dataclass(frozen=True)
class Transfer:
    """One metric of the runs, over seeds, that were scored in several ways."""

    metric: Metric
    columns: list[str]  # protocols
    rows: dict[Trained, dict[str, Group]]  # by protocol
    trained_on: dict[Trained, tuple[str, ...]]  # names of data sets; empty where no run that was found says it

    def heads(self) -> list[tuple[str, str]]:
        """Each column's data set, and the rest of how it was scored."""
        parted = (column.removeprefix(SCORED_ON).partition(", ") for column in self.columns)
        return [(name, how) for name, _, how in parted]

    def names(self, row: Trained) -> list[str]:
        """A run, and what it was trained on."""
        weights, labels = row
        of_labels = f", {label_count(labels)} labels" if labels is not None else ""
        return [weights + of_labels, " + ".join(self.trained_on[row]) or MISSING]

    def cells(self, row: Trained) -> list[tuple[str, bool, bool]]:
        """Mean and deviation by column, whether it is the column's best, and whether on a set that was trained on."""
        found = []
        for column in self.columns:
            group = self.rows[row].get(column)
            if group is None or group.spread(self.metric) is None:
                found.append((MISSING, False, False))
                continue
            best = winners([groups[column] for groups in self.rows.values() if column in groups], self.metric)
            own = group.rows[0].tested_on in self.trained_on[row]
            found.append((entry(group, self.metric), group in best, own))
        return found


def transfers(groups: Sequence[Group], runs: Sequence[TrainingRun]) -> list[Transfer]:
    """One for each metric that some run has on at least two data sets; what it was trained on is what `runs` say."""
    folders = {run.folder.absolute(): run.trained_on for run in runs if run.trained_on}
    scored = [group for group in groups if group.protocol.startswith(SCORED_ON)]
    found = []
    for metric in metrics_of(scored):
        rows = dict[Trained, dict[str, Group]]()
        for group in scored:
            if group.spread(metric) is not None:
                rows.setdefault((group.weights, group.labels), {})[group.protocol] = group
        if not any(len({group.rows[0].tested_on for group in of_run.values()}) > 1 for of_run in rows.values()):
            continue
        trained_on = dict.fromkeys(rows, tuple[str, ...]())
        for row, of_run in rows.items():
            scored_runs = (one.of for group in of_run.values() for one in group.rows)
            trained_on[row] = next((folders[of] for of in scored_runs if of in folders), ())
        of_rows = [group for of_run in rows.values() for group in of_run.values()]
        tested_on = {group.protocol: group.rows[0].tested_on for group in of_rows}
        # as sets are trained on: a diagonal, where each run has one
        order = list(dict.fromkeys([name for names in trained_on.values() for name in names] + [*tested_on.values()]))
        columns = sorted(tested_on, key=lambda protocol: order.index(tested_on[protocol]))
        found.append(Transfer(metric, columns, rows, trained_on))
    return found


def html_transfers(found: Sequence[Transfer]) -> str:
    """A `<table>` for each metric; what is scored on a set that was trained on is underlined."""
    parts = []
    for transfer in found:
        columns = "".join(
            f'<th scope="col">{escape(name)}<br><span class="quiet">{escape(how)}</span></th>'
            for name, how in transfer.heads()
        )
        words = '<th scope="col" class="word">trained</th><th scope="col" class="word">on</th>'
        lines = [f"<table><thead><tr>{words}{columns}</tr></thead><tbody>"]
        for row in transfer.rows:
            run, sets = (escape(name) for name in transfer.names(row))
            cells = "".join(
                f'<td class="{"best " * best}{"own" * own}">{text}</td>'.replace(' class=""', "")
                for text, best, own in transfer.cells(row)
            )
            lines.append(f'<tr><th scope="row" class="word">{run}</th><td class="word sets">{sets}</td>{cells}</tr>')
        table = "\n".join([*lines, "</tbody></table>"])
        parts.append(f'<h3>{html_heading(transfer.metric)}</h3><div class="scroll">{table}</div>')
    return "\n".join(parts)


def latex_transfers(found: Sequence[Transfer]) -> str:
    """A `tabular` for each metric, the best of a column in bold; "" where there is none."""
    parts = []
    for transfer in found:
        heads = ["trained", "on", *(name for name, _ in transfer.heads())]
        lines = [
            f"% {transfer.metric.heading}; columns: {'; '.join(map(printable, transfer.columns))}",
            rf"\begin{{tabular}}{{ll{'r' * len(transfer.columns)}}}",
            r"\toprule",
            " & ".join(head.translate(LATEX) for head in heads) + r" \\",
            r"\midrule",
        ]
        lines += [latex_row(transfer.names(row), [cell[:2] for cell in transfer.cells(row)]) for row in transfer.rows]
        parts.append("\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""]))
    return "\n".join(parts)

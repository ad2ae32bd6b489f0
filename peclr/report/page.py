"""The report as one HTML file that needs nothing else: style, script, plotly.js, figures and images are inside."""

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any, Final

from plotly.graph_objects import Figure  # type: ignore[import-untyped]  # plotly ships no types
from plotly.io import templates  # type: ignore[import-untyped]
from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

from peclr import __version__
from peclr.report import charts
from peclr.report.discovery import Findings
from peclr.report.hands import ShownHand, figure_3d, overlays, shown_hands
from peclr.report.results import METRICS, Contest, Group, contests, group_rows
from peclr.report.runs import CONFIG_NAME, FINETUNING, Evaluation, TrainingRun
from peclr.report.tables import html_tables

_HERE: Final = Path(__file__).parent
# Browsers that hold to it load nothing from anywhere, whatever the page says.
_POLICY: Final = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'"
)
# a wheel scrolls the page; the page's script says how large figures are
_PLOTLY: Final = {"responsive": False, "displayModeBar": False, "scrollZoom": False}
_MOST_SENTENCES: Final = 4
_REMARK: Final = (
    "Mean ± sample standard deviation of n measurements, which differ in the seed. The best mean of a protocol and "
    "number of labeled hands is marked, where there is a choice. EPE is that of joints in the camera frame, unless it "
    "says wrist-relative; PA is after a similarity alignment."
)
_HOW_TO_EVALUATE: Final = (
    '<p class="quiet"><code>peclr evaluate RUN --data DATA</code> makes accuracy curves, errors of each joint and a '
    "gallery; <code>peclr report … --evaluate</code> does so first for the runs that have none.</p>"
)
_OBJECTIVES_DIFFER: Final = (
    '<p class="quiet">Contrastive losses of different objectives or batch sizes cannot be compared; probes can.</p>'
)
_TURNING: Final = (
    "<p>The prediction has thick bones, a color for each finger; the label's are thin and light. Both wrists lie at "
    "the origin. Drag to turn.</p>"
)


def report_page(title: str, findings: Findings, data: Path | None, count: int) -> str:
    """The whole file.

    Args:
        title: of the page.
        findings: what it reports on.
        data: where evaluated data sets are now; None where each evaluation knew it.
        count: of best hands of each evaluation, and of worst ones.
    """
    groups, evaluations = group_rows(findings.rows), findings.evaluations
    finetuning = [run for run in findings.runs if run.kind == FINETUNING]
    pretraining = [run for run in findings.runs if run.kind != FINETUNING]
    curves = _plotted("Pre-training", charts.training_curves(pretraining))
    galleries, hands = _galleries(evaluations, data, count)
    if finetuning and not evaluations:
        galleries = _HOW_TO_EVALUATE
    table = html_tables(groups)
    efficiency = "".join(_plotted(name, figure) for name, figure in charts.label_efficiency(groups).items())
    sections = [
        ("comparison", "Comparison", f"<p>{_REMARK}</p>{table}" if table else ""),
        ("labels", "Label efficiency", efficiency),
        ("pck", "Accuracy curves", _plotted("", charts.pck(evaluations))),
        ("joints", "Errors of each joint", _plotted("", charts.joint_errors(evaluations))),
        (
            "training",
            "Training and probes",
            (curves and curves + _OBJECTIVES_DIFFER) + _plotted("Fine-tuning", charts.training_curves(finetuning)),
        ),
        ("gallery", "Best and worst hands", galleries),
        ("three-d", "A hand in 3-D", _turning(hands)),
        ("runs", "Runs", "\n".join(map(_details, findings.runs))),
    ]
    return _html(title, _summary(findings, groups), [section for section in sections if section[2]], hands)


def _summary(findings: Findings, groups: Sequence[Group]) -> str:
    """Who has won, by how much, over how many seeds; and a figure of it."""
    found = contests(groups)[-_MOST_SENTENCES:][::-1]  # what was measured last comes first: fine-tuning after probes
    if not found:
        counts = {"runs": len(findings.runs), "evaluations": len(findings.evaluations), "results": len(groups)}
        there = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        return f'<p class="lead">{there}; nothing was measured of two of them in one way, so none is best.</p>'
    return "".join(map(_sentence, found)) + _plotted("", charts.who_is_best(found))


def _sentence(contest: Contest) -> str:
    return f'<p class="lead"><b>{escape(contest.title)}:</b> {escape(contest.sentence())}</p>'


def _plotted(heading: str, figure: Figure | None) -> str:
    """A figure below its heading; "" if there is none."""
    if figure is None:
        return ""
    html = figure.to_html(full_html=False, include_plotlyjs=False, config=_PLOTLY)
    return (f"<h3>{escape(heading)}</h3>" if heading else "") + f'<div class="chart">{html}</div>'


def _galleries(
    evaluations: Sequence[Evaluation], data: Path | None, count: int
) -> tuple[str, list[tuple[str, Figure]]]:
    """Overlays of all evaluations, or why there are none; and titles and figures of their hands in 3-D."""
    parts, figures = [], list[tuple[str, Figure]]()
    for evaluation in evaluations:
        try:
            hands = shown_hands(evaluation, data, count)
        except (FileNotFoundError, ValueError) as error:  # no reason to write no report
            print(f"{evaluation.name}: no gallery: {error}", file=sys.stderr)
            parts.append(f'<h3>{escape(evaluation.name)}</h3><p class="quiet">Not drawn: {escape(str(error))}</p>')
            continue
        cards: dict[str, list[str]] = {"best": [], "worst": []}
        for hand in hands:
            cards[hand.rank].append(_card(hand, len(figures)))
            title = f"{evaluation.name}, {hand.rank}: {hand.id}, PA-EPE {hand.pa_epe_mm:.1f} mm"
            figures.append((title, figure_3d(hand)))
        rows = (f'<h3>{rank.title()}</h3><div class="hands">{"".join(html)}</div>' for rank, html in cards.items())
        means = (f"{m.title} {evaluation.metrics[m.name]:.1f} mm" for m in METRICS[:3] if m.name in evaluation.metrics)
        about = f"{evaluation.scores.hands:,} hands; mean {', '.join(means)}"
        parts.append(_folded(evaluation.name, about, "".join(rows), is_open=len(figures) == len(hands)))
    note = "<p>By PA-EPE. Above the prediction, below the label.</p>"
    return (note if parts else "") + "\n".join(parts), figures


def _card(hand: ShownHand, index: int) -> str:
    predicted, label = overlays(hand)
    return (
        f'<figure><div class="pair"><img alt="prediction" src="{predicted}"><img alt="label" src="{label}"></div>'
        f"<figcaption>{escape(hand.id)}<br>{hand.errors}</figcaption>"
        f'<button type="button" data-hand="{index}">turn it in 3-D</button></figure>'
    )


def _turning(hands: Sequence[tuple[str, Figure]]) -> str:
    """The first hand in 3-D and the choice of others; "" if there is none."""
    if not hands:
        return ""
    options = "".join(f'<option value="{index}">{escape(title)}</option>' for index, (title, _) in enumerate(hands))
    figure = hands[0][1].to_html(
        full_html=False, include_plotlyjs=False, config={**_PLOTLY, "responsive": True}, div_id="turn"
    )
    return (
        f'{_TURNING}<div class="choice"><label>Hand: <select id="hand">{options}</select></label>'
        f'<button type="button" id="upright">as the camera saw it</button></div>{figure}'
    )


def _details(run: TrainingRun) -> str:
    """A run's last metrics and config, folded."""
    rows = "".join(
        f'<tr><td class="word">{escape(name)}</td><td>{value:.6g}</td></tr>' for name, value in run.metrics.items()
    )
    path = run.folder / CONFIG_NAME
    config = escape(path.read_text(encoding="utf-8")) if path.is_file() else ""
    about = " · ".join(text for text in (run.kind, str(run.folder)) if text)
    return _folded(run.name, about, f"<table>{rows}</table><pre>{config}</pre>")


def _folded(name: str, about: str, html: str, *, is_open: bool = False) -> str:
    summary = f'<summary><b>{escape(name)}</b> <span class="quiet">{escape(about)}</span></summary>'
    return f"<details{' open' * is_open}>{summary}{html}</details>"


def _html(
    title: str, summary: str, sections: Sequence[tuple[str, str, str]], hands: Sequence[tuple[str, Figure]]
) -> str:
    links = "".join(f'<a href="#{anchor}">{escape(name)}</a>' for anchor, name, _ in sections)
    body = "\n".join(
        f'<section id="{anchor}"><h2>{escape(name)}</h2>\n{html}\n</section>' for anchor, name, html in sections
    )
    themes = {"light": templates["plotly_white"].to_plotly_json(), "dark": templates["plotly_dark"].to_plotly_json()}
    content: dict[str, Any] = {"hands": [figure.to_plotly_json()["data"] for _, figure in hands], "themes": themes}
    # JSON that no name in it can break out of: `</script>` and `<!--` end or hide scripts
    data = json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
<style>
{(_HERE / "page.css").read_text(encoding="utf-8")}</style>
<script>{get_plotlyjs()}</script>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<p class="quiet">peclr {__version__}, {datetime.now():%Y-%m-%d %H:%M}</p>
<section id="summary">{summary}</section>
<nav>{links}</nav>
</header>
<main>
{body}
<footer class="quiet">Made by <code>peclr report</code>. This file needs no network: figures are drawn by plotly.js,
which is inside.</footer>
</main>
<script id="content" type="application/json">{data}</script>
<script>
{(_HERE / "page.js").read_text(encoding="utf-8")}</script>
</body>
</html>
"""

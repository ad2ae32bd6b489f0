"""The report as one HTML file that needs nothing else: style, script, plotly.js, figures and images are inside."""

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from string import Template
from typing import Final

from plotly.graph_objects import Figure  # type: ignore[import-untyped]  # plotly ships no types
from plotly.io import templates  # type: ignore[import-untyped]
from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

from peclr import __version__
from peclr.report import charts
from peclr.report.contests import alone, contests
from peclr.report.discovery import Findings
from peclr.report.hands import ShownHand, shown_hands
from peclr.report.results import METRICS, Group, group_rows
from peclr.report.runs import FINETUNING, Evaluation, TrainingRun, data_name
from peclr.report.tables import html_tables
from peclr.report.transfer import html_transfers, transfers
from peclr.runs.layout import CONFIG

_HERE: Final = Path(__file__).parent
Section = tuple[str, str, str]  # anchor, title, HTML
Turnable = tuple[str, Figure]  # title of a hand, and it in 3-D
# a wheel scrolls the page; the page's script says how large figures are
_PLOTLY: Final = {"responsive": False, "displayModeBar": False, "scrollZoom": False}
_MOST_SENTENCES: Final = 4
_REMARK: Final = (
    "Mean ± sample standard deviation of n measurements, which differ in the seed. The best mean of a protocol and "
    "number of labeled hands is marked, where there is a choice. EPE is that of joints in the camera frame; "
    "root-relative is with both wrists at the origin; PA is after a similarity alignment. Scratch is no pre-training."
)
_TRANSFER: Final = (
    "Rows are runs and what they were trained on, columns the data sets that they were scored on, underlined where a "
    "run has trained on them. The best of a column is marked; numbers of two columns cannot be compared."
)
_HOW_TO_EVALUATE: Final = (
    '<p class="quiet"><code>peclr evaluate RUN --data DATA</code> makes accuracy curves, errors of each joint and a '
    "gallery; <code>peclr report … --evaluate --data DATA</code> does so first for the runs that have none.</p>"
)
_HOW_TO_SHOW: Final = (
    '<p class="quiet"><code>peclr report … --data DATA</code> draws hands of the data set that was evaluated on: '
    "a page shows no images from a folder because a file, perhaps from somebody else, names it.</p>"
)
_OBJECTIVES_DIFFER: Final = (
    '<p class="quiet">Contrastive losses of different objectives or batch sizes cannot be compared; probes can.</p>'
)
_APART: Final = '<p class="quiet">Protocols measure in different ways: numbers of two of them cannot be compared.</p>'
_TURNING: Final = "<p>Prediction: thick bones, colored by finger; label: thin and light; wrists at 0. Drag to turn.</p>"


def report_page(title: str, findings: Findings, data: Sequence[Path], count: int) -> str:
    """The whole file; `data`, one folder for each data set, and `count` are of `shown_hands`."""
    groups, evaluations = group_rows(findings.rows), findings.evaluations
    finetuned = [run for run in findings.runs if run.kind == FINETUNING]
    pretrained = [run for run in findings.runs if run.kind != FINETUNING]
    galleries, hands = _galleries(evaluations, data, count)
    if finetuned and not evaluations:
        galleries = _HOW_TO_EVALUATE
    pretraining = _plotted("Pre-training", charts.training_curves(pretrained))
    finetuning = _plotted("Fine-tuning", charts.training_curves(finetuned))
    table = html_tables(groups)
    matrices = html_transfers(transfers(groups, findings.runs))
    efficiency = "".join(_plotted(name, figure) for name, figure in charts.label_efficiency(groups).items())
    sections = [
        ("comparison", "Comparison", table and f"<p>{_REMARK}</p>{table}"),
        ("transfer", "Train × test", matrices and f"<p>{_TRANSFER}</p>{matrices}"),
        ("labels", "Label efficiency", efficiency),
        ("pck", "Accuracy curves", _plotted("", charts.pck(evaluations))),
        ("joints", "Errors of each joint", _plotted("", charts.joint_errors(evaluations))),
        ("training", "Training and probes", (pretraining and pretraining + _OBJECTIVES_DIFFER) + finetuning),
        ("gallery", "Best and worst hands", galleries),
        ("three-d", "A hand in 3-D", _turning(hands)),
        ("runs", "Runs", "\n".join(map(_details, findings.runs))),
    ]
    return _html(title, _summary(findings, groups), [section for section in sections if section[2]], hands)


def _summary(findings: Findings, groups: Sequence[Group]) -> str:
    """Who has won, by how much, over how many seeds; and figures of it."""
    found = contests(groups)[-_MOST_SENTENCES:][::-1]  # what was measured last comes first: fine-tuning after probes
    if not found:
        return f'<p class="lead">{escape(_alone(findings, groups))}</p>'
    names = [group.weights for one in found for group, _ in one.ranking]
    parts = []
    for one in found:
        sentence = f'<p class="lead"><b>{escape(one.title)}:</b> {escape(one.sentence())}</p>'
        parts.append(f"<div>{sentence}{_plotted('', charts.who_is_best(one, names))}</div>")
    return f'<div class="contests">{"".join(parts)}</div>{_APART if len(found) > 1 else ""}'


def _alone(findings: Findings, groups: Sequence[Group]) -> str:
    """What there is, where nothing was measured of two things in one way: what they score, or how many they are."""
    if groups:
        return alone(groups, _MOST_SENTENCES)
    counts = {"run": len(findings.runs), "evaluation": len(findings.evaluations)}
    there = ", ".join(f"{count} {name}{'s'[: count > 1]}" for name, count in counts.items() if count)
    return f"{there}; nothing was scored, so none is best."


def _plotted(heading: str, figure: Figure | None) -> str:
    """A figure below its heading; "" if there is none."""
    if figure is None:
        return ""
    html = figure.to_html(full_html=False, include_plotlyjs=False, config=_PLOTLY)
    return (f"<h3>{escape(heading)}</h3>" if heading else "") + f'<div class="chart">{html}</div>'


def _galleries(evaluations: Sequence[Evaluation], data: Sequence[Path], count: int) -> tuple[str, list[Turnable]]:
    """Overlays of all evaluations on `data`, or why there are none; and titles and figures of their hands in 3-D."""
    parts, figures = [], list[Turnable]()
    if not data:
        return (_HOW_TO_SHOW if evaluations else ""), []
    for evaluation in evaluations:
        called = data_name(evaluation.scores.data)
        root = data[0] if len(data) == 1 else next((one for one in data if data_name(str(one)) == called), None)
        if root is None or (len(data) > 1 and not (root / "evaluation" / "rgb").is_dir()):
            continue  # hands of FreiHAND's layout are drawn
        try:
            hands = shown_hands(evaluation, root, count)
        except (FileNotFoundError, ValueError) as error:  # no reason to write no report
            print(f"{evaluation.name}: no gallery: {error}", file=sys.stderr)
            parts.append(f'<h3>{escape(evaluation.name)}</h3><p class="quiet">Not drawn: {escape(str(error))}</p>')
            continue
        cards: dict[str, list[str]] = {"best": [], "worst": []}
        for hand in hands:
            cards[hand.rank].append(_card(hand, len(figures)))
            figures.append((f"{evaluation.name}, {hand.rank}: {hand.id}, {hand.errors}", hand.figure))
        rows = (f'<h3>{rank.title()}</h3><div class="hands">{"".join(html)}</div>' for rank, html in cards.items())
        means = (f"{m.title} {evaluation.metrics[m.name]:.1f} mm" for m in METRICS[:3] if m.name in evaluation.metrics)
        about = f"{evaluation.scores.hands:,} hands; mean {', '.join(means)}"
        parts.append(_folded(evaluation.name, about, "".join(rows), is_open=len(figures) == len(hands)))
    note = "<p>By PA-EPE. Above the prediction, below the label.</p>"
    return (note if parts else "") + "\n".join(parts), figures


def _card(hand: ShownHand, index: int) -> str:
    images = {"prediction": hand.predicted, "label": hand.label}
    pair = "".join(f'<img alt="{name}" src="{source}">' for name, source in images.items())
    return (
        f'<figure><div class="pair">{pair}</div><figcaption>{escape(hand.id)}<br>{hand.errors}</figcaption>'
        f'<button type="button" data-hand="{index}">turn it in 3-D</button></figure>'
    )


def _turning(hands: Sequence[Turnable]) -> str:
    """The first hand in 3-D and the choice of others; "" if there is none."""
    if not hands:
        return ""
    options = "".join(f'<option value="{index}">{escape(title)}</option>' for index, (title, _) in enumerate(hands))
    config = {**_PLOTLY, "responsive": True}
    figure = hands[0][1].to_html(full_html=False, include_plotlyjs=False, config=config, div_id="turn")
    choice = f'<label>Hand: <select id="hand">{options}</select></label>'
    button = '<button type="button" id="upright">as the camera saw it</button>'
    return f'{_TURNING}<div class="choice">{choice}{button}</div>{figure}'


def _details(run: TrainingRun) -> str:
    """A run's last metrics and config, folded."""
    cells = {escape(name): f"{value:.6g}" for name, value in run.metrics.items()}
    rows = "".join(f'<tr><td class="word">{name}</td><td>{value}</td></tr>' for name, value in cells.items())
    path = run.folder / CONFIG
    config = escape(path.read_text(encoding="utf-8")) if path.is_file() else ""
    about = f"{run.kind} · {run.folder}" if run.kind else str(run.folder)
    return _folded(run.name, about, f"<table>{rows}</table><pre>{config}</pre>")


def _folded(name: str, about: str, html: str, *, is_open: bool = False) -> str:
    summary = f'<summary><b>{escape(name)}</b> <span class="quiet">{escape(about)}</span></summary>'
    return f"<details{' open' * is_open}>{summary}{html}</details>"


def _html(title: str, summary: str, sections: Sequence[Section], hands: Sequence[Turnable]) -> str:
    themes = {"light": templates["plotly_white"].to_plotly_json(), "dark": templates["plotly_dark"].to_plotly_json()}
    content = {"hands": [figure.to_plotly_json()["data"] for _, figure in hands], "themes": themes}
    files = {suffix: (_HERE / f"page.{suffix}").read_text(encoding="utf-8") for suffix in ("html", "css", "js")}
    return Template(files["html"]).substitute(
        title=escape(title),
        style=files["css"],
        plotly=get_plotlyjs(),
        made=f"peclr {__version__}, {datetime.now():%Y-%m-%d %H:%M}",
        summary=summary,
        links="".join(f'<a href="#{anchor}">{escape(name)}</a>' for anchor, name, _ in sections),
        sections="\n".join(
            f'<section id="{anchor}"><h2>{escape(name)}</h2>\n{html}\n</section>' for anchor, name, html in sections
        ),
        # JSON that no name in it can break out of: `</script>` and `<!--` end or hide scripts
        content=json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
        script=files["js"],
    )

"""The report as one HTML file that needs nothing else: style, script, plotly.js, figures and pictures are inside."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any, Final

from peclr import __version__
from peclr.report.charts import Figure, Panel
from peclr.report.evaluations import EvaluationFolder, ShownHand
from peclr.report.hands import caption, overlays, stage, traces_3d
from peclr.report.legend import legend
from peclr.report.runs import CONFIG_NAME, TrainingRun

_HERE: Final = Path(__file__).parent
# Browsers that hold to it load nothing from anywhere, whatever the page says.
_POLICY: Final = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'"
)
_HOW_TO_EVALUATE: Final = (
    "<code>peclr evaluate RUN --data DATA</code> makes accuracy curves, errors of each joint and a gallery; "
    "<code>peclr report … --evaluate</code> does so first for the runs that have none."
)


@dataclass
class Section:
    """A part of the page.

    Attributes:
        anchor: its id.
        title: its heading.
        html: below the heading.
    """

    anchor: str
    title: str
    html: str


@dataclass
class Gallery:
    """The best and the worst hands of an evaluation, or why there are none to see."""

    evaluation: EvaluationFolder
    hands: list[ShownHand] = field(default_factory=list)
    obstacle: str = ""


class Page:
    """Gathers sections, and the figures and hands that the page's script draws."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._sections: list[Section] = []
        self._figures: list[Figure] = []
        self._hands: list[dict[str, Any]] = []
        self._has_gallery = False

    def add(self, anchor: str, title: str, *html: str) -> None:
        """A section, unless there is nothing in it."""
        if any(html):
            self._sections.append(Section(anchor, title, "\n".join(html)))

    def charts(self, panels: Sequence[Panel]) -> str:
        """Places for the figures of panels, each side by side below heading and legend; "" if there are none."""
        return "".join(self._panel(panel) for panel in panels)

    def _panel(self, panel: Panel) -> str:
        places = []
        for figure in panel.figures:
            wide = " wide" if figure["wide"] or len(panel.figures) == 1 else ""
            height = figure["layout"]["height"]  # the page does not jump when they are drawn
            places.append(
                f'<div class="chart{wide}" data-figure="{len(self._figures)}" style="min-height:{height}px"></div>'
            )
            self._figures.append({"data": figure["data"], "layout": figure["layout"]})
        heading = f"<h3>{escape(panel.title)}</h3>" if panel.title else ""
        charts = f'<div class="charts">{"".join(places)}</div>'
        return f'<div class="panel">{heading}{legend(panel.figures)}{charts}</div>'

    def gallery(self, gallery: Gallery) -> str:
        """Overlays of an evaluation's hands, each with a button that turns it in 3-D; folded after the first."""
        name = escape(gallery.evaluation.name)
        if gallery.obstacle:
            return f'<h3>{name}</h3><p class="quiet">Not drawn: {escape(gallery.obstacle)}</p>'
        parts = []
        for rank in ("best", "worst"):
            cards = [self._card(hand, gallery.evaluation.name) for hand in gallery.hands if hand.rank == rank]
            parts.append(f'<h3>{rank.capitalize()}</h3><div class="hands">{"".join(cards)}</div>')
        is_open = "" if self._has_gallery else " open"
        self._has_gallery = True
        about = f"{gallery.evaluation.hands:,} hands"
        summary = f'<summary><b>{name}</b> <span class="quiet">{about}</span></summary>'
        return f"<details{is_open}>{summary}{''.join(parts)}</details>"

    def turning(self) -> str:
        """The hand in 3-D and the choice of it; "" if the gallery is empty."""
        if not self._hands:
            return ""
        options = "".join(
            f'<option value="{index}">{escape(hand["title"])}</option>' for index, hand in enumerate(self._hands)
        )
        return (
            "<p>The prediction has thick bones, a colour for each finger; the label's are thin and light. Both wrists "
            "lie at the origin. Drag to turn.</p>"
            f'<div class="choice"><label>Hand: <select id="hand">{options}</select></label>'
            '<button type="button" id="upright">as the camera saw it</button></div><div id="turn"></div>'
        )

    def html(self) -> str:
        """The whole file.

        Raises:
            ValueError: the library that draws is not installed.
        """
        links = "".join(f'<a href="#{part.anchor}">{escape(part.title)}</a>' for part in self._sections)
        body = "\n".join(
            f'<section id="{part.anchor}"><h2>{escape(part.title)}</h2>\n{part.html}\n</section>'
            for part in self._sections
        )
        content = {"figures": self._figures, "hands": self._hands, "stage": stage()}
        made = f"peclr {__version__}, {datetime.now():%Y-%m-%d %H:%M}"
        return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<link rel="icon" href="data:,">
<title>{escape(self.title)}</title>
<style>
{(_HERE / "page.css").read_text(encoding="utf-8")}</style>
</head>
<body>
<header><h1>{escape(self.title)}</h1><p class="quiet">{made}</p><nav>{links}</nav></header>
<main>
{body}
<footer class="quiet">Made by <code>peclr report</code>. This file needs no network: figures are drawn by plotly.js,
which is inside.</footer>
</main>
<script id="content" type="application/json">{_json_in_html(content)}</script>
<script>{plotly_js()}</script>
<script>
{(_HERE / "page.js").read_text(encoding="utf-8")}</script>
</body>
</html>
"""

    def _card(self, hand: ShownHand, evaluation: str) -> str:
        predicted, label = overlays(hand)
        index = len(self._hands)
        title = f"{evaluation}, {hand.rank}: {hand.id}, PA-EPE {hand.pa_epe_mm:.1f} mm"
        self._hands.append({"title": title, "traces": traces_3d(hand)})
        return (
            f'<figure><div class="pair"><img alt="prediction" src="{predicted}"><img alt="label" src="{label}"></div>'
            f"<figcaption>{caption(hand)}</figcaption>"
            f'<button type="button" data-hand="{index}">turn it in 3-D</button></figure>'
        )


def run_details(runs: Sequence[TrainingRun]) -> str:
    """Each run's last metrics and config, folded."""
    parts = []
    for run in runs:
        rows = "".join(
            f'<tr><td class="word">{escape(name)}</td><td>{value:.6g}</td></tr>' for name, value in run.metrics.items()
        )
        path = run.folder / CONFIG_NAME
        config = escape(path.read_text(encoding="utf-8")) if path.is_file() else ""
        about = " · ".join(escape(text) for text in (run.kind, str(run.folder)) if text)
        parts.append(
            f'<details><summary><b>{escape(run.name)}</b> <span class="quiet">{about}</span></summary>'
            f"<table>{rows}</table><pre>{config}</pre></details>"
        )
    return "\n".join(parts)


def how_to_evaluate() -> str:
    """Says what is missing where nothing has been evaluated; HTML."""
    return f'<p class="quiet">{_HOW_TO_EVALUATE}</p>'


def plotly_js() -> str:
    """The library's own copy of plotly.js.

    Raises:
        ValueError: plotly is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]  # plotly ships no types
    except ImportError as error:
        raise ValueError("the report's figures need plotly: pip install 'peclr[report]'") from error
    script: str = get_plotlyjs()
    return script


def _json_in_html(content: object) -> str:
    """JSON that no name in it can break out of: `</script>` and `<!--` end or hide scripts."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")

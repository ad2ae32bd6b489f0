"""The report as one HTML file that needs nothing else: style, script, plotly.js, figures and images are inside."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any, Final

from plotly.io import templates  # type: ignore[import-untyped]  # plotly ships no types
from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

from peclr import __version__
from peclr.report.charts import Panel
from peclr.report.evaluations import EvaluationFolder, ShownHand
from peclr.report.hands import STAGE, caption, overlays, traces_3d
from peclr.report.runs import CONFIG_NAME, TrainingRun

_HERE: Final = Path(__file__).parent
# Browsers that hold to it load nothing from anywhere, whatever the page says.
_POLICY: Final = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'"
)
# plotly's legends are one for each figure; buttons are one for each panel, and hide a series in all its figures
_DASHES: Final = {"solid": "━", "dash": "╍", "dot": "┅", "dashdot": "┉"}
_MARKS: Final = {
    "circle": "●",
    "square": "■",
    "diamond": "◆",
    "triangle-up": "▲",
    "triangle-down": "▼",
    "cross": "✚",
    "star": "★",
}


class Page:
    """Gathers sections, and the figures and hands that the page's script draws."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._sections: list[tuple[str, str, str]] = []
        self._figures: list[dict[str, Any]] = []
        self._hands: list[dict[str, Any]] = []

    def add(self, anchor: str, title: str, *html: str) -> None:
        """Add a section, unless there is nothing in it."""
        if any(html):
            self._sections.append((anchor, title, "\n".join(html)))

    def charts(self, panels: Sequence[Panel]) -> str:
        """Places for the figures of panels, side by side below heading and legend; "" if there are none."""
        return "".join(self._panel(panel) for panel in panels if panel.figures)

    def _panel(self, panel: Panel) -> str:
        places = []
        for figure in panel.figures:
            wide = " wide" if figure.layout.meta == "wide" or len(panel.figures) == 1 else ""
            style = f"min-height:{figure.layout.height}px"  # the page does not jump when they are drawn
            places.append(f'<div class="chart{wide}" data-figure="{len(self._figures)}" style="{style}"></div>')
            self._figures.append(figure.to_dict())
        heading = f"<h3>{escape(panel.title)}</h3>" if panel.title else ""
        charts = f'<div class="charts">{"".join(places)}</div>'
        return f'<div class="panel">{heading}{_legend(panel.figures)}{charts}</div>'

    def gallery(self, evaluation: EvaluationFolder, hands: Sequence[ShownHand]) -> str:
        """Overlays of an evaluation's hands, each with a button that turns it in 3-D; folded after the first."""
        is_open = "" if self._hands else " open"
        parts = []
        for rank in ("best", "worst"):
            cards = [self._card(hand, evaluation.name) for hand in hands if hand.rank == rank]
            parts.append(f'<h3>{rank.capitalize()}</h3><div class="hands">{"".join(cards)}</div>')
        return _folded(evaluation.name, f"{evaluation.hands:,} hands", "".join(parts), is_open)

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

    def turning(self) -> str:
        """The hand in 3-D and the choice of it; "" if the gallery is empty."""
        if not self._hands:
            return ""
        titles = enumerate(hand["title"] for hand in self._hands)
        options = "".join(f'<option value="{index}">{escape(title)}</option>' for index, title in titles)
        return (
            "<p>The prediction has thick bones, a color for each finger; the label's are thin and light. Both wrists "
            "lie at the origin. Drag to turn.</p>"
            f'<div class="choice"><label>Hand: <select id="hand">{options}</select></label>'
            '<button type="button" id="upright">as the camera saw it</button></div><div id="turn"></div>'
        )

    def html(self) -> str:
        """The whole file."""
        links = "".join(f'<a href="#{anchor}">{escape(title)}</a>' for anchor, title, _ in self._sections)
        body = "\n".join(
            f'<section id="{anchor}"><h2>{escape(title)}</h2>\n{html}\n</section>'
            for anchor, title, html in self._sections
        )
        themes = {
            name: templates[f"plotly_{theme}"].to_plotly_json()
            for name, theme in (("light", "white"), ("dark", "dark"))
        }
        content = {"figures": self._figures, "hands": self._hands, "stage": STAGE, "themes": themes}
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
<script>{get_plotlyjs()}</script>
<script>
{(_HERE / "page.js").read_text(encoding="utf-8")}</script>
</body>
</html>
"""


def run_details(runs: Sequence[TrainingRun]) -> str:
    """Each run's last metrics and config, folded."""
    parts = []
    for run in runs:
        rows = "".join(
            f'<tr><td class="word">{escape(name)}</td><td>{value:.6g}</td></tr>' for name, value in run.metrics.items()
        )
        path = run.folder / CONFIG_NAME
        config = escape(path.read_text(encoding="utf-8")) if path.is_file() else ""
        about = " · ".join(text for text in (run.kind, str(run.folder)) if text)
        parts.append(_folded(run.name, about, f"<table>{rows}</table><pre>{config}</pre>"))
    return "\n".join(parts)


def _folded(name: str, about: str, html: str, is_open: str = "") -> str:
    summary = f'<summary><b>{escape(name)}</b> <span class="quiet">{escape(about)}</span></summary>'
    return f"<details{is_open}>{summary}{html}</details>"


def _legend(figures: Iterable[Any]) -> str:
    """A button for each of the figures' series, with its line and mark, in the order in which they occur."""
    series = {trace.name: trace for figure in figures for trace in figure.data}
    entries = []
    for name, trace in series.items():
        dash = _DASHES[trace.line.dash] if "lines" in trace.mode else ""
        mark = _MARKS[trace.marker.symbol] if "markers" in trace.mode else dash
        swatch = f'<span style="color:{trace.line.color}" aria-hidden="true">{dash}{mark}{dash}</span>'
        # names of traces are HTML already, as plotly reads them
        entries.append(
            f'<button type="button" aria-pressed="true" data-series="{escape(name)}">{swatch}{name}</button>'
        )
    return f'<div class="legend" role="group" aria-label="series; a click hides one">{"".join(entries)}</div>'


def _json_in_html(content: object) -> str:
    """JSON that no name in it can break out of: `</script>` and `<!--` end or hide scripts."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")

"""The legend that all figures of a panel share; a click on a series hides it in each of them."""

from collections.abc import Iterable
from html import escape
from typing import Any, Final

from peclr.report.charts import Figure

_WIDTH, _HEIGHT = 38, 14  # px
# Of plotly's dashes, for lines of 2.2 px.
_DASHES: Final = {"solid": "", "dash": "8 5", "dot": "2.2 4", "dashdot": "8 4 2.2 4"}
_MARKS: Final = {
    "circle": '<circle r="4.5"/>',
    "square": '<path d="M-4-4H4V4H-4Z"/>',
    "diamond": '<path d="M0-5.6L5.6 0L0 5.6L-5.6 0Z"/>',
    "triangle-up": '<path d="M0-5L5.2 4H-5.2Z"/>',
    "triangle-down": '<path d="M0 5L5.2-4H-5.2Z"/>',
    "cross": '<path d="M-1.8-5.4H1.8V-1.8H5.4V1.8H1.8V5.4H-1.8V1.8H-5.4V-1.8H-1.8Z"/>',
    "star": '<path d="M0-6L1.5-1.9L5.7-1.9L2.3.7L3.5 4.9L0 2.4L-3.5 4.9L-2.3.7L-5.7-1.9L-1.5-1.9Z"/>',
}


def legend(figures: Iterable[Figure]) -> str:
    """A list of the figures' series with their dashes and marks, in the order in which they occur; HTML."""
    series: dict[str, list[dict[str, Any]]] = {}
    for figure in figures:
        for trace in figure["data"]:
            series.setdefault(trace["name"], []).append(trace)
    # names of traces are HTML already, as plotly reads them
    entries = "".join(
        f'<button type="button" aria-pressed="true" data-series="{escape(name)}">{_swatch(traces)}{name}</button>'
        for name, traces in series.items()
    )
    return f'<div class="legend" role="group" aria-label="series; a click hides one">{entries}</div>'


def _swatch(traces: list[dict[str, Any]]) -> str:
    """Line and mark of a series, if some of its traces have them."""
    line = traces[0]["line"]
    parts = []
    if any("lines" in trace["mode"] for trace in traces):
        dashes = f' stroke-dasharray="{pattern}"' if (pattern := _DASHES[line["dash"]]) else ""
        parts.append(f'<path d="M{-_WIDTH // 2} 0h{_WIDTH}" stroke-width="2.2"{dashes}/>')
    mark = next((trace["marker"]["symbol"] for trace in traces if "markers" in trace["mode"]), None)
    if mark:
        parts.append(f'<g stroke="none" fill="currentColor">{_MARKS[mark]}</g>')
    box = f"{-_WIDTH // 2} {-_HEIGHT // 2} {_WIDTH} {_HEIGHT}"
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" viewBox="{box}" aria-hidden="true" '
        f'style="color:{line["color"]}" stroke="currentColor">{"".join(parts)}</svg>'
    )

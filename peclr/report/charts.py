"""The report's figures: label efficiency, PCK, errors of each joint, curves of training.

Colors of paper, ink and grid are those of plotly's templates, which the page's script sets: it knows whether the page
is dark. Figures of a panel share its legend.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

import plotly.graph_objects as go  # type: ignore[import-untyped]  # plotly ships no types

from peclr.drawing.series import Style, pck_curves, styles
from peclr.geometry.joints import FINGERS, JOINT_NAMES
from peclr.report.evaluations import EvaluationFolder
from peclr.report.rows import METRICS, Group, Metric
from peclr.report.runs import TrainingRun
from peclr.report.tables import label_count

_MOST_POINTS: Final = 600  # of a curve: a figure has no more columns
_HEIGHT: Final = 310  # px
_FONT: Final = 'system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif'  # the page's
_CLOSEST_TICKS: Final = 0.14  # of the axis: two label counts beside each other at half the page's width
_EFFICIENCY: Final = ("epe_mm", "root_relative_epe_mm", "pa_epe_mm", "error_2d_px")
_UNITS: Final = {"_mm": "mm", "_px": "px", "_deg": "degrees"}


@dataclass(frozen=True)
class Panel:
    """Figures that belong together: series of one name look alike in all of them.

    Attributes:
        title: a heading; "" where that of the section says it.
        figures: of plotly; `layout.meta` says which of them need the page's whole width.
    """

    title: str
    figures: list[go.Figure]


def label_efficiency(groups: Sequence[Group]) -> list[Panel]:
    """Error over the number of labeled hands: a panel for each protocol, bars of one standard deviation."""
    counted = [group for group in groups if group.labels]  # a logarithm has no place for 0
    looks = styles(group.weights for group in counted)
    panels = []
    for protocol in dict.fromkeys(group.protocol for group in counted):
        same = [group for group in counted if group.protocol == protocol]
        if len({group.labels for group in same}) > 1:
            figures = [_efficiency(same, metric, looks) for metric in METRICS if metric.name in _EFFICIENCY]
            panels.append(Panel(protocol, [figure for figure in figures if figure.data]))
    return panels


def pck(evaluations: Sequence[EvaluationFolder]) -> list[Panel]:
    """Share of points within 0 to 50 mm, one figure for each kind of points and alignment."""
    looks = styles(evaluation.name for evaluation in evaluations)
    figures: dict[str, go.Figure] = {}
    for evaluation in evaluations:
        for curve in pck_curves(evaluation.pck):
            if curve.title not in figures:
                figures[curve.title] = _figure(curve.title, "error threshold, mm", "share of points within it")
                figures[curve.title].update_yaxes(range=[0, 1.02], tickformat=".0%", ticklabelstandoff=8)
                figures[curve.title].update_xaxes(ticklabelstandoff=8)  # apart from the other axis' 0
            trace = _line(evaluation.name, curve.thresholds_mm, curve.shares, looks[evaluation.name])
            hover = f"%{{y:.1%}} within %{{x:.1f}} mm, AUC {curve.auc:.3f}<extra>{trace.name}</extra>"
            figures[curve.title].add_trace(trace.update(hovertemplate=hover))
    return [Panel("", list(figures.values()))]


def joint_errors(evaluations: Sequence[EvaluationFolder]) -> list[Panel]:
    """Mean error of each joint, finger by finger, in two figures: in the camera frame and aligned."""
    looks = styles(evaluation.name for evaluation in evaluations)
    joints = ["wrist", *(f"{finger} {part}" for finger in FINGERS for part in ("MCP", "PIP", "DIP", "tip"))]
    figures = []
    for error, title in {"pa_epe_mm": "PA-EPE of each joint", "epe_mm": "EPE of each joint, camera frame"}.items():
        figure = _figure(title, "", "mean error, mm").update_layout(height=_HEIGHT + 30, meta="wide")
        for evaluation in evaluations:
            errors = [evaluation.per_joint.get(joint, {}).get(error) for joint in JOINT_NAMES]
            # lines would say that joints of two fingers have something between them
            figure.add_trace(_line(evaluation.name, joints, errors, looks[evaluation.name], "markers"))
        figures.append(figure.update_xaxes(tickangle=-55, type="category").update_yaxes(rangemode="tozero"))
    return [Panel("", figures)] if evaluations else []


def training_curves(runs: Sequence[TrainingRun], title: str = "") -> list[Panel]:
    """The metrics of runs over their steps, one figure for each metric."""
    looks = styles(run.name for run in runs)
    names = sorted({name for run in runs for name in run.curves}, key=lambda name: (name != "train/loss", name))
    figures = []
    for name in names:
        unit = next((unit for suffix, unit in _UNITS.items() if name.endswith(suffix)), "no unit")
        figure = _figure(name, "optimizer steps", unit).update_xaxes(tickformat=",d")
        for run in runs:
            if curve := run.curves.get(name):
                part = slice(None, None, -(-len(curve.steps) // _MOST_POINTS))
                # a probe that has run once is a point, not a line
                mode = "lines+markers" if len(curve.steps) <= 30 else "lines"
                figure.add_trace(_line(run.name, curve.steps[part], curve.values[part], looks[run.name], mode, 6))
        figures.append(figure)
    return [Panel(title, figures)]


def _efficiency(groups: Sequence[Group], metric: Metric, looks: dict[str, Style]) -> go.Figure:
    figure = _figure(metric.title, "labeled hands, log scale", metric.heading)
    for weights in dict.fromkeys(group.weights for group in groups):
        measured = [(group.labels, group.spread(metric.name)) for group in groups if group.weights == weights]
        points = [(labels, spread) for labels, spread in measured if spread is not None]
        if points:
            x, y = [labels for labels, _ in points], [spread.mean for _, spread in points]
            trace = _line(weights, x, y, looks[weights], "lines+markers")
            deviations = [spread.deviation for _, spread in points]
            if any(deviation is not None for deviation in deviations):
                trace.error_y = {"array": deviations, "thickness": 1.5, "width": 5}
            figure.add_trace(trace)
    return figure.update_xaxes(**_log_axis(sorted({group.labels for group in groups if group.labels})))


def _log_axis(counts: Sequence[float]) -> dict[str, Any]:
    """An axis on which the counts, in order, are written as far as there is room for them."""
    places = [math.log10(count) for count in counts]
    span = max(places[-1] - places[0], 0.1)
    written: list[int] = []
    for index, place in enumerate(places):
        if not written or place - places[written[-1]] >= _CLOSEST_TICKS * span:
            written.append(index)
    values = [counts[index] for index in written]
    ends = [places[0] - 0.07 * span, places[-1] + 0.07 * span]
    return {"type": "log", "range": ends, "tickvals": values, "ticktext": [*map(label_count, values)], "tickangle": 0}


def _line(
    name: str, x: Sequence[object], y: Sequence[float | None], style: Style, mode: str = "lines", size: int = 9
) -> go.Scatter:
    return go.Scatter(
        name=escape(name),  # plotly reads some HTML in names, and these are somebody's folders
        x=list(x),
        y=[value if value is not None and math.isfinite(value) else None for value in y],
        mode=mode,
        line={"color": style.color, "dash": style.dash, "width": 2.2},
        marker={"color": style.color, "symbol": style.mark, "size": size},
    )


def _figure(title: str, x_title: str, y_title: str) -> go.Figure:
    layout = {
        "template": "none",  # plotly's own would be written into the page once for each figure
        "title": {"text": escape(title), "x": 0, "xref": "paper", "font": {"size": 16}},
        "font": {"size": 14, "family": _FONT},
        "height": _HEIGHT,
        "margin": {"l": 64, "r": 12, "t": 44, "b": 56},
        "xaxis": {"title": {"text": escape(x_title), "standoff": 10}, "automargin": True},
        "yaxis": {"title": {"text": escape(y_title)}, "automargin": True},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "showlegend": False,  # the panel has one
        "hovermode": "closest",
    }
    return go.Figure(layout=layout)

"""The report's figures as plotly's JSON: label efficiency, PCK, errors of each joint, curves of training.

They are plain dictionaries, which plotly.js draws in the reader's browser; only drawing needs the library. Colours of
paper, ink and grid are the page's, which knows whether it is dark. Figures of a panel share its legend.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from peclr.geometry.joints import FINGERS, JOINT_NAMES
from peclr.report.evaluations import EvaluationFolder
from peclr.report.palette import Style, styles
from peclr.report.rows import METRICS, Group, Metric
from peclr.report.runs import TrainingRun
from peclr.report.tables import label_count

Figure = dict[str, Any]

_MOST_POINTS: Final = 600  # of a curve: a picture has no more columns
_HEIGHT: Final = 310  # px
_JOINT_NAMES_HEIGHT: Final = 30  # px, below the axis
_CLOSEST_TICKS: Final = 0.14  # of the axis: two label counts beside each other at half the page's width
_EFFICIENCY: Final = tuple(
    metric for metric in METRICS if metric.name in {"epe_mm", "root_relative_epe_mm", "pa_epe_mm", "error_2d_px"}
)
# Name of the curve: title, and the metric that is the area under it.
_PCK: Final = {
    "xyz": ("3-D PCK, camera frame", "auc"),
    "xyz_al": ("3-D PCK, aligned", "pa_auc"),
    "mesh": ("mesh PCK, camera frame", ""),
    "mesh_al": ("mesh PCK, aligned", ""),
}
_UNITS: Final = {"_mm": "mm", "_px": "px", "_deg": "degrees"}


@dataclass(frozen=True)
class Panel:
    """Figures that belong together: series of one name look alike in all of them.

    Attributes:
        title: a heading; "" where that of the section says it.
        figures: never none.
    """

    title: str
    figures: list[Figure]


def label_efficiency(groups: Sequence[Group]) -> list[Panel]:
    """Error over the number of labelled hands: a panel for each protocol, bars of one standard deviation."""
    counted = [group for group in groups if group.labels]  # a logarithm has no place for 0
    looks = styles(group.weights for group in counted)
    panels = []
    for protocol in dict.fromkeys(group.protocol for group in counted):
        of_protocol = [group for group in counted if group.protocol == protocol]
        if len({group.labels for group in of_protocol}) > 1:
            figures = [_efficiency(of_protocol, metric, looks) for metric in _EFFICIENCY]
            panels += _panel([figure for figure in figures if figure["data"]], protocol)
    return panels


def pck(evaluations: Sequence[EvaluationFolder]) -> list[Panel]:
    """Share of points within 0 to 50 mm, one figure for each kind of points and alignment."""
    looks = styles(evaluation.name for evaluation in evaluations)
    figures = []
    for curve, (title, area) in _PCK.items():
        traces = []
        for evaluation in evaluations:
            if curve in evaluation.pck:
                auc = f", AUC {evaluation.metrics[area]:.3f}" if area in evaluation.metrics else ""
                style = looks[evaluation.name]
                trace = _line(evaluation.name, evaluation.thresholds_mm, evaluation.pck[curve], style)
                hover = f"%{{y:.1%}} within %{{x:.1f}} mm{auc}<extra>{trace['name']}</extra>"
                traces.append(trace | {"hovertemplate": hover})
        if traces:
            figure = _figure(title, traces, "error threshold, mm", "share of points within it")
            figure["layout"]["yaxis"] |= {"range": [0, 1.02], "tickformat": ".0%"}
            figures.append(figure)
    return _panel(figures)


def joint_errors(evaluations: Sequence[EvaluationFolder]) -> list[Panel]:
    """Mean error of each joint, finger by finger, in two figures: in the camera frame and aligned."""
    looks = styles(evaluation.name for evaluation in evaluations)
    titles = {"pa_epe_mm": "PA-EPE of each joint", "epe_mm": "EPE of each joint, camera frame"}
    parts = ["wrist", *(f"{finger} {part}" for finger in FINGERS for part in ("MCP", "PIP", "DIP", "tip"))]
    figures = []
    for error, title in titles.items():
        traces = []
        for evaluation in evaluations:
            style = looks[evaluation.name]
            errors = [evaluation.per_joint.get(joint, {}).get(error) for joint in JOINT_NAMES]
            trace = _line(evaluation.name, parts, errors, style)
            # lines would say that joints of two fingers have something between them
            traces.append(trace | _marks(style) | {"mode": "markers"})
        if traces:
            figure = _figure(title, traces, "", "mean error, mm")
            figure["layout"]["xaxis"] |= {"tickangle": -55, "type": "category"}
            figure["layout"]["yaxis"]["rangemode"] = "tozero"
            figure["layout"]["height"] += _JOINT_NAMES_HEIGHT
            figures.append(figure | {"wide": True})
    return _panel(figures)


def training_curves(runs: Sequence[TrainingRun], title: str = "") -> list[Panel]:
    """The metrics of runs over their steps, one figure for each metric."""
    looks = styles(run.name for run in runs)
    names = sorted({name for run in runs for name in run.curves}, key=lambda name: (name != "train/loss", name))
    figures = []
    for name in names:
        traces = []
        for run in runs:
            if name in run.curves:
                curve = run.curves[name]
                stride = -(-len(curve.steps) // _MOST_POINTS)
                trace = _line(run.name, curve.steps[::stride], curve.values[::stride], looks[run.name])
                # a probe that has run once is a point, not a line
                few = len(curve.steps) <= 30
                traces.append(trace | (_marks(looks[run.name], 6) if few else {}))
        unit = next((unit for suffix, unit in _UNITS.items() if name.endswith(suffix)), "")
        figure = _figure(name, traces, "optimiser steps", unit or "no unit")
        figure["layout"]["xaxis"]["tickformat"] = ",d"
        figures.append(figure)
    return _panel(figures, title)


def _panel(figures: list[Figure], title: str = "") -> list[Panel]:
    """A panel, unless it has no figures."""
    return [Panel(title, figures)] if figures else []


def _efficiency(groups: Sequence[Group], metric: Metric, looks: dict[str, Style]) -> Figure:
    traces = []
    for weights in dict.fromkeys(group.weights for group in groups):
        points = [
            (group.labels, spread)
            for group in groups
            if group.weights == weights and (spread := group.spread(metric.name)) is not None
        ]
        if not points:
            continue
        style = looks[weights]
        deviations = [spread.deviation for _, spread in points]
        trace = _line(weights, [labels for labels, _ in points], [spread.mean for _, spread in points], style)
        trace |= _marks(style)
        if any(deviation is not None for deviation in deviations):
            trace["error_y"] = {
                "type": "data",
                "array": deviations,
                "color": style.colour,
                "thickness": 1.5,
                "width": 5,
            }
        traces.append(trace)
    figure = _figure(metric.title, traces, "labelled hands, log scale", metric.heading)
    figure["layout"]["xaxis"] |= _log_axis(group.labels for group in groups if group.labels)
    return figure


def _log_axis(counts: Iterable[float]) -> dict[str, Any]:
    """An axis on which the counts are written as far as there is room for them."""
    ordered = sorted(set(counts))
    places = [math.log10(count) for count in ordered]
    span = max(places[-1] - places[0], 0.1)
    written: list[int] = []
    for index, place in enumerate(places):
        if not written or place - places[written[-1]] >= _CLOSEST_TICKS * span:
            written.append(index)
    return {
        "type": "log",
        "range": [places[0] - 0.07 * span, places[-1] + 0.07 * span],
        "tickmode": "array",
        "tickvals": [ordered[index] for index in written],
        "ticktext": [label_count(ordered[index]) for index in written],
        "tickangle": 0,
    }


def _line(name: str, x: Sequence[object], y: Sequence[float | None], style: Style) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        # plotly reads some HTML in names, and these are somebody's folders
        "name": escape(name),
        "x": list(x),
        "y": [value if value is not None and math.isfinite(value) else None for value in y],
        "line": {"color": style.colour, "dash": style.dash, "width": 2.2},
    }


def _marks(style: Style, size: int = 9) -> dict[str, Any]:
    return {"mode": "lines+markers", "marker": {"color": style.colour, "symbol": style.mark, "size": size}}


def _figure(title: str, traces: list[dict[str, Any]], x_title: str, y_title: str) -> Figure:
    layout = {
        "title": {"text": escape(title), "x": 0, "xref": "paper", "font": {"size": 16}},
        "height": _HEIGHT,
        "margin": {"l": 64, "r": 12, "t": 44, "b": 56},
        "xaxis": {"title": {"text": escape(x_title), "font": {"size": 14}, "standoff": 10}, "automargin": True},
        "yaxis": {"title": {"text": escape(y_title), "font": {"size": 14}}, "automargin": True},
        "showlegend": False,  # the panel has one
        "hovermode": "closest",
    }
    return {"data": traces, "layout": layout, "wide": False}

"""The report's figures as plotly's JSON: label efficiency, PCK, errors of each joint, curves of training.

They are plain dictionaries, which plotly.js draws in the reader's browser; only drawing needs the library. Colours of
paper, ink and grid are the page's, which knows whether it is dark.
"""

from collections.abc import Sequence
from html import escape
from typing import Any, Final

from peclr.geometry.joints import FINGERS, JOINT_NAMES
from peclr.report.evaluations import EvaluationFolder
from peclr.report.palette import Style, styles
from peclr.report.rows import METRICS, Group, Metric
from peclr.report.runs import TrainingRun

Figure = dict[str, Any]

_MOST_POINTS: Final = 600  # of a curve: a picture has no more columns
_HEIGHT, _LEGEND_ROW = 330, 24  # px
_EFFICIENCY: Final = tuple(
    metric for metric in METRICS if metric.name in {"error_2d_px", "epe_mm", "root_relative_epe_mm", "pa_epe_mm"}
)
# Name of the curve: title, and the metric that is the area under it.
_PCK: Final = {
    "xyz": ("3-D PCK, camera frame", "auc"),
    "xyz_al": ("3-D PCK, aligned", "pa_auc"),
    "mesh": ("mesh PCK, camera frame", ""),
    "mesh_al": ("mesh PCK, aligned", ""),
}
_UNITS: Final = {"_mm": "mm", "_px": "px", "_deg": "degrees"}


def label_efficiency(groups: Sequence[Group]) -> list[Figure]:
    """Error over the number of labelled hands, one figure for each protocol and metric, bars of one deviation."""
    figures: list[Figure] = []
    for protocol in dict.fromkeys(group.protocol for group in groups):
        of_protocol = [group for group in groups if group.protocol == protocol and group.labels is not None]
        looks = styles(group.weights for group in of_protocol)
        if len({group.labels for group in of_protocol}) > 1:
            figures += [
                figure
                for metric in _EFFICIENCY
                if (figure := _efficiency(of_protocol, metric, f"{protocol}: {metric.title}", looks))["data"]
            ]
    return figures


def pck(evaluations: Sequence[EvaluationFolder]) -> list[Figure]:
    """Share of points within 0 to 50 mm, one figure for each kind of points and alignment."""
    looks = styles(evaluation.name for evaluation in evaluations)
    figures = []
    for curve, (title, area) in _PCK.items():
        traces = []
        for evaluation in evaluations:
            if curve in evaluation.pck:
                auc = f": AUC {evaluation.metrics[area]:.3f}" if area in evaluation.metrics else ""
                style = looks[evaluation.name]
                traces.append(_line(evaluation.name + auc, evaluation.thresholds_mm, evaluation.pck[curve], style))
        if traces:
            figure = _figure(title, traces, "error threshold, mm", "share of points within it")
            figure["layout"]["yaxis"] |= {"range": [0, 1.02], "tickformat": ".0%"}
            figures.append(figure)
    return figures


def joint_errors(evaluations: Sequence[EvaluationFolder]) -> list[Figure]:
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
            traces.append(
                trace | {"mode": "markers", "marker": {"color": style.colour, "symbol": style.mark, "size": 9}}
            )
        if traces:
            figure = _figure(title, traces, "", "mean error, mm")
            figure["layout"]["xaxis"] |= {"tickangle": -55, "type": "category"}
            figure["layout"]["yaxis"]["rangemode"] = "tozero"
            for part in (figure["layout"], figure["layout"]["margin"]):
                part["height" if "height" in part else "b"] += 30  # the joints' names
            figures.append(figure | {"wide": True})
    return figures


def training_curves(runs: Sequence[TrainingRun]) -> list[Figure]:
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
                marker = {"color": looks[run.name].colour, "symbol": looks[run.name].mark, "size": 6}
                traces.append(trace | ({"mode": "lines+markers", "marker": marker} if few else {}))
        unit = next((unit for suffix, unit in _UNITS.items() if name.endswith(suffix)), "")
        figures.append(_figure(name, traces, "optimiser steps", unit or "no unit"))
    return figures


def _efficiency(groups: Sequence[Group], metric: Metric, title: str, looks: dict[str, Style]) -> Figure:
    counts = sorted({group.labels for group in groups if group.labels is not None})
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
        trace |= {"mode": "lines+markers", "marker": {"color": style.colour, "symbol": style.mark, "size": 9}}
        if any(deviation is not None for deviation in deviations):
            trace["error_y"] = {
                "type": "data",
                "array": deviations,
                "color": style.colour,
                "thickness": 1.5,
                "width": 5,
            }
        traces.append(trace)
    figure = _figure(title, traces, "labelled hands, logarithmic", metric.heading)
    ticks = {"tickmode": "array", "tickvals": counts, "ticktext": [f"{count:,g}" for count in counts]}
    figure["layout"]["xaxis"] |= {"type": "log", **ticks}
    return figure


def _line(name: str, x: Sequence[object], y: Sequence[object], style: Style) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        # plotly reads some HTML in names, and these are somebody's folders
        "name": escape(name),
        "x": list(x),
        "y": list(y),
        "line": {"color": style.colour, "dash": style.dash, "width": 2.2},
    }


def _figure(title: str, traces: list[dict[str, Any]], x_title: str, y_title: str) -> Figure:
    """A figure with its legend below it."""
    longest = max((len(trace["name"]) for trace in traces), default=0)
    per_row = max(1, 62 // (longest + 7))  # characters across a figure of half the page
    legend = _LEGEND_ROW * -(-len(traces) // per_row)
    layout = {
        "title": {"text": escape(title), "x": 0, "xref": "paper", "font": {"size": 16}},
        "height": _HEIGHT + legend,
        "margin": {"l": 64, "r": 12, "t": 44, "b": 64 + legend},
        "xaxis": {"title": {"text": escape(x_title), "font": {"size": 14}, "standoff": 8}},
        "yaxis": {"title": {"text": escape(y_title), "font": {"size": 14}}, "automargin": True},
        # below the axis, however tall its labels are
        "legend": {"orientation": "h", "x": 0, "y": 0, "yref": "container", "yanchor": "bottom", "font": {"size": 14}},
        "showlegend": True,
        "hovermode": "closest",
    }
    return {"data": traces, "layout": layout, "wide": False}

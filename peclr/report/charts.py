"""The report's figures, each a grid of plots with one legend: who is best, label efficiency, PCK, joints, training.

Colors of paper, ink and grid are those of plotly's templates, which the page's script sets: it knows whether the page
is dark, and how many plots stand side by side.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, Final

import plotly.graph_objects as go  # type: ignore[import-untyped]  # plotly ships no types

from peclr.drawing.series import Style, pck_curves, styles
from peclr.geometry.joints import FINGERS, JOINT_NAMES
from peclr.report.results import METRICS, Contest, Group, label_count, shown
from peclr.report.runs import Evaluation, TrainingRun

_MOST_POINTS: Final = 600  # of a curve: a figure has no more columns
_MOST_BARS: Final = 8
_CLOSEST_TICKS: Final = 0.14  # of the axis: two label counts beside each other at half the page's width
_FONT: Final = 'system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif'  # the page's
_EFFICIENCY: Final = ("epe_mm", "root_relative_epe_mm", "pa_epe_mm", "error_2d_px")
_UNITS: Final = {"_mm": "mm", "_px": "px", "_deg": "degrees"}
_HEIGHT: Final = 320  # px of a plot
_GAP: Final = 110  # px between rows, for the words of the axes and the title of the plot below


@dataclass
class Plot:
    """One plot of a figure: traces, and the properties of its axes."""

    title: str
    x: dict[str, Any]
    y: dict[str, Any]
    traces: list[go.Scatter | go.Bar] = field(default_factory=list)


def figure(plots: Sequence[Plot], columns: int = 2, height: int = _HEIGHT, *, legend: bool = True) -> go.Figure:
    """Plots in rows of `columns`; a click in the legend hides a series in all of them."""
    columns = min(columns, len(plots))
    rows = -(-len(plots) // columns)
    drawn = go.Figure(
        layout={
            "template": "none",
            "font": {"size": 13, "family": _FONT},
            "grid": {"rows": rows, "columns": columns, "pattern": "independent", "xgap": 0.2, "ygap": _GAP / height},
            "height": rows * height,
            "margin": {"l": 64, "r": 12, "t": 40, "b": 64},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "showlegend": legend,
            "legend": {"orientation": "h", "yref": "container", "y": 1, "yanchor": "top", "x": 0, "tracegroupgap": 0},
            "hovermode": "closest",
            "meta": {"columns": columns, "plots": len(plots), "height": height},
        }
    )
    named: set[str] = set()
    for number, plot in enumerate(plots, start=1):
        x, y = (axis if number == 1 else f"{axis}{number}" for axis in "xy")
        for trace in plot.traces:
            drawn.add_trace(trace.update(xaxis=x, yaxis=y, legendgroup=trace.name, showlegend=trace.name not in named))
            named.add(trace.name)
        drawn.layout[x.replace("x", "xaxis")] = {"automargin": True} | plot.x
        drawn.layout[y.replace("y", "yaxis")] = {"automargin": True} | plot.y
        drawn.add_annotation(
            text=f"<b>{escape(plot.title)}</b>",
            showarrow=False,
            font={"size": 15},
            xref=f"{x} domain",
            yref=f"{y} domain",
            x=0,
            y=1,
            xanchor="left",
            yanchor="bottom",
        )
    return drawn


def who_is_best(contests: Sequence[Contest]) -> go.Figure | None:
    """Means and deviations of what is compared, best first, a plot for each protocol."""
    looks = styles(group.weights for contest in contests for group, _ in contest.ranking)
    plots = []
    for contest in contests:
        ranking = contest.ranking[:_MOST_BARS]
        bars = go.Bar(
            orientation="h",
            y=[escape(group.weights) for group, _ in ranking],
            x=[spread.mean for _, spread in ranking],
            error_x={"array": [spread.deviation or 0 for _, spread in ranking], "thickness": 1.5, "width": 5},
            marker={"color": [looks[group.weights].color for group, _ in ranking]},
            text=[shown(spread, contest.metric) for _, spread in ranking],
            textposition="inside",
            insidetextanchor="start",
            textfont={"color": "white"},
            hovertemplate="%{y}: %{text}<extra></extra>",
        )
        axis = {"title": {"text": contest.metric.heading}, "rangemode": "tozero"}
        plots.append(Plot(contest.title, axis, {"autorange": "reversed", "ticklabelstandoff": 6}, [bars]))
    most = max((len(plot.traces[0].y) for plot in plots), default=0)
    return figure(plots, height=140 + 34 * most, legend=False) if plots else None


def label_efficiency(groups: Sequence[Group]) -> dict[str, go.Figure]:
    """Error over the number of labeled hands: a figure for each protocol, bars of one standard deviation."""
    counted = [group for group in groups if group.labels]  # a logarithm has no place for 0
    looks = styles(group.weights for group in counted)
    figures = {}
    for protocol in dict.fromkeys(group.protocol for group in counted):
        same = [group for group in counted if group.protocol == protocol]
        counts = sorted({group.labels for group in same if group.labels})
        plots = []
        for metric in METRICS:
            if metric.name in _EFFICIENCY and any(group.spread(metric) for group in same):
                plot = Plot(metric.title, _log_axis(counts), {"title": {"text": metric.heading}})
                for weights in dict.fromkeys(group.weights for group in same):
                    of_weights = [group for group in same if group.weights == weights]
                    points = [(group.labels, s) for group in of_weights if (s := group.spread(metric)) is not None]
                    x, y = [labels for labels, _ in points], [spread.mean for _, spread in points]
                    trace = _line(weights, x, y, looks[weights], "lines+markers")
                    if any(spread.deviation is not None for _, spread in points):
                        deviations = [spread.deviation for _, spread in points]
                        trace.error_y = {"array": deviations, "thickness": 1.5, "width": 5}
                    plot.traces += [trace] if points else []
                plots.append(plot)
        if len(counts) > 1 and plots:
            figures[protocol] = figure(plots)
    return figures


def _log_axis(counts: Sequence[float]) -> dict[str, Any]:
    """An axis on which the counts, in order, are written as far as there is room for them."""
    places = [math.log10(count) for count in counts]
    span = max(places[-1] - places[0], 0.1)
    written = [0]
    for index, place in enumerate(places):
        if place - places[written[-1]] >= _CLOSEST_TICKS * span:
            written.append(index)
    values = [counts[index] for index in written]
    return {
        "title": {"text": "labeled hands, log scale"},
        "type": "log",
        "range": [places[0] - 0.07 * span, places[-1] + 0.07 * span],
        "tickvals": values,
        "ticktext": [*map(label_count, values)],
        "tickangle": 0,
    }


def pck(evaluations: Sequence[Evaluation]) -> go.Figure | None:
    """Share of points within 0 to 50 mm, one plot for each kind of points and alignment."""
    looks = styles(evaluation.name for evaluation in evaluations)
    plots: dict[str, Plot] = {}
    for evaluation in evaluations:
        for curve in pck_curves(evaluation.scores.pck):
            # tick labels stand apart from the other axis' 0
            x = {"title": {"text": "error threshold, mm"}, "ticklabelstandoff": 8}
            y = {"title": {"text": "share of points within it"}, "ticklabelstandoff": 8}
            share = {"range": [0, 1.02], "tickformat": ".0%"}
            trace = _line(evaluation.name, curve.thresholds_mm, curve.shares, looks[evaluation.name])
            trace.hovertemplate = f"%{{y:.1%}} within %{{x:.1f}} mm, AUC {curve.auc:.3f}<extra>{trace.name}</extra>"
            plots.setdefault(curve.title, Plot(curve.title, x, y | share)).traces.append(trace)
    return figure([*plots.values()]) if plots else None


def joint_errors(evaluations: Sequence[Evaluation]) -> go.Figure | None:
    """Mean error of each joint, finger by finger: aligned, and in the camera frame."""
    looks = styles(evaluation.name for evaluation in evaluations)
    joints = ["wrist", *(f"{finger} {part}" for finger in FINGERS for part in ("MCP", "PIP", "DIP", "tip"))]
    plots = []
    for error, title in {"pa_epe_mm": "PA-EPE of each joint", "epe_mm": "EPE of each joint"}.items():
        y = {"title": {"text": "mean error, mm"}, "rangemode": "tozero"}
        plot = Plot(title, {"tickangle": -55, "type": "category"}, y)
        for evaluation in evaluations:
            errors = [evaluation.scores.per_joint.get(joint, {}).get(error) for joint in JOINT_NAMES]
            # lines would say that joints of two fingers have something between them
            plot.traces.append(_line(evaluation.name, joints, errors, looks[evaluation.name], "markers"))
        plots.append(plot)
    return figure(plots, columns=1) if evaluations else None


def training_curves(runs: Sequence[TrainingRun]) -> go.Figure | None:
    """The metrics of runs over their steps, one plot for each metric."""
    looks = styles(run.name for run in runs)
    names = sorted({name for run in runs for name in run.curves}, key=lambda name: (name != "train/loss", name))
    plots = []
    for name in names:
        unit = next((unit for suffix, unit in _UNITS.items() if name.endswith(suffix)), "no unit")
        plot = Plot(name, {"title": {"text": "optimizer steps"}, "tickformat": ",d"}, {"title": {"text": unit}})
        for run in runs:
            if curve := run.curves.get(name):
                part = slice(None, None, -(-len(curve.steps) // _MOST_POINTS))
                # a probe that has run once is a point, not a line
                mode = "lines+markers" if len(curve.steps) <= 30 else "lines"
                plot.traces.append(_line(run.name, curve.steps[part], curve.values[part], looks[run.name], mode, 6))
        plots.append(plot)
    return figure(plots) if plots else None


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

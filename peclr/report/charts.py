"""The report's figures, each a grid of plots with one legend; the page's script sets plotly's template and columns."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from textwrap import wrap
from typing import Any, Final

import plotly.graph_objects as go  # type: ignore[import-untyped]  # plotly ships no types

from peclr.drawing.series import ink_on, pck_curves, styles
from peclr.geometry.joints import FINGERS, JOINT_NAMES
from peclr.report.contests import Contest
from peclr.report.results import Group, label_count, metrics_of, shown
from peclr.report.runs import Evaluation, TrainingRun

_MOST_POINTS: Final = 600  # of a curve: a figure has no more columns
_CLOSEST_TICKS: Final = 0.14  # of the axis: two label counts beside each other at half the page's width
_FEW_STEPS: Final = 8  # with ticks between them, which are rounded, numbers would repeat
_MOST_BARS: Final = 8
_BAR: Final = 40  # px
_NAME: Final = 18  # letters of a line beside a bar, for which there is room on a telephone
_FONT: Final = 'system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif'  # the page's
_EFFICIENCY: Final = ("epe_mm", "root_relative_epe_mm", "pa_epe_mm", "error_2d_px")
_UNITS: Final = {"_mm": "mm", "_px": "px", "_deg": "degrees"}
_HEIGHT: Final = 320  # px of a plot
_GAP: Final = 110  # px between rows, for the words of the axes and the title of the plot below


@dataclass
class Plot:
    """One plot of a figure: properties of its axes, and of plotly's traces by name of the series."""

    title: str
    x: dict[str, Any]
    y: dict[str, Any]
    series: dict[str, dict[str, Any]] = field(default_factory=dict)


def figure(
    plots: Sequence[Plot], names: Iterable[str], mode: str = "lines", columns: int = 2, height: int = _HEIGHT
) -> go.Figure | None:
    """Plots side by side; a click in the legend hides a series in all of them. None if there are no plots.

    `names` are of everything that looks apart, in this figure and its neighbors; `mode` is plotly's, of lines that do
    not say their own; there are at most `columns` plots side by side, of a `height` in px.
    """
    if not plots:
        return None
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
            "legend": {"orientation": "h", "yref": "container", "y": 1, "yanchor": "top", "x": 0, "tracegroupgap": 0},
            "hovermode": "closest",
            "barmode": "overlay",
            "meta": {"columns": columns, "plots": len(plots), "height": height},
        }
    )
    looks, in_legend = styles(names), set[str]()
    for number, plot in enumerate(plots, start=1):
        x, y = (letter if number == 1 else f"{letter}{number}" for letter in "xy")
        drawn.layout[f"xaxis{number}"] = {"automargin": True, **plot.x}
        drawn.layout[f"yaxis{number}"] = {"automargin": True, **plot.y}
        place = {"x": 0, "xref": f"{x} domain", "xanchor": "left", "y": 1, "yref": f"{y} domain", "yanchor": "bottom"}
        if plot.title:
            drawn.add_annotation(place, text=f"<b>{escape(plot.title)}</b>", showarrow=False, font={"size": 15})
        for name, properties in plot.series.items():
            label = escape(name)  # plotly reads some HTML in names, and these are somebody's folders
            group = {"legendgroup": label, "showlegend": name not in in_legend, "xaxis": x, "yaxis": y}
            style = looks[name]
            look: dict[str, Any] = {"marker": {"color": style.color}}
            if properties.get("type") != "bar":
                line = {"color": style.color, "dash": style.dash, "width": 2.2}
                look = {"mode": mode, "line": line, "marker": {"color": style.color, "symbol": style.mark, "size": 8}}
            drawn.add_trace({"name": label, **group, **look, **properties})
            in_legend.add(name)
    return drawn


def who_is_best(contest: Contest, names: Sequence[str]) -> go.Figure | None:
    """Means and deviations of what is compared, best first; `names` as in `figure`."""
    plot = Plot("", {"title": {"text": contest.metric.heading}, "nticks": 6}, {"autorange": "reversed"})
    looks = styles(names)
    for group, spread in contest.ranking[:_MOST_BARS]:
        plot.series[group.weights] = {
            "type": "bar",
            "orientation": "h",
            "y": ["<br>".join(f"{escape(line)} " for line in wrap(group.weights, _NAME))],
            "x": [spread.mean],
            "error_x": {"array": [spread.deviation], "visible": spread.count > 1, "thickness": 1.5, "width": 5},
            "text": [shown(spread, contest.metric)],
            "textposition": "inside",
            "insidetextanchor": "start",
            "textfont": {"color": ink_on(looks[group.weights].color)},
            "hovertemplate": "%{y}: %{text}<extra></extra>",
        }
    drawn = figure([plot], names, height=_GAP + _BAR * len(plot.series))
    return drawn and drawn.update_layout(showlegend=False)


def label_efficiency(groups: Sequence[Group]) -> dict[str, go.Figure]:
    """Error over the number of labeled hands: a figure for each protocol, bars of one standard deviation."""
    counted = [group for group in groups if group.labels]  # a logarithm has no place for 0
    figures = {}
    for protocol in dict.fromkeys(group.protocol for group in counted):
        same = [group for group in counted if group.protocol == protocol]
        counts = sorted({group.labels for group in same if group.labels})
        ticks = counts[:1]  # those that can be written below a logarithmic axis
        for count in counts[1:]:
            if count / ticks[-1] >= (counts[-1] / counts[0]) ** _CLOSEST_TICKS:
                ticks.append(count)
        written = {"tickvals": ticks, "ticktext": [*map(label_count, ticks)]}
        x = {"title": {"text": "labeled hands, log scale"}, "type": "log", **written}
        plots = []
        for metric in (metric for metric in metrics_of(same) if metric.name in _EFFICIENCY):
            plot = Plot(metric.title, x, {"title": {"text": metric.heading}})
            for group in same:
                if (spread := group.spread(metric)) is not None:
                    start: dict[str, Any] = {"x": [], "y": [], "error_y": {"array": [], "thickness": 1.5, "width": 5}}
                    points = plot.series.setdefault(group.weights, start)
                    points["x"].append(group.labels)
                    points["y"].append(spread.mean)
                    points["error_y"]["array"].append(spread.deviation)
            plots.append(plot)
        if len(counts) > 1 and (drawn := figure(plots, [group.weights for group in counted], "lines+markers")):
            figures[protocol] = drawn
    return figures


def pck(evaluations: Sequence[Evaluation]) -> go.Figure | None:
    """Share of points within 0 to 50 mm, one plot for each kind of points and alignment."""
    apart = {"ticklabelstandoff": 8}  # from the other axis' 0
    x = {"title": {"text": "error threshold, mm"}, **apart}
    y = {"title": {"text": "share of points within it"}, "range": [0, 1.02], "tickformat": ".0%", **apart}
    plots: dict[str, Plot] = {}
    for evaluation in evaluations:
        for curve in pck_curves(evaluation.scores.pck):
            plot = plots.setdefault(curve.title, Plot(curve.title, x, y))
            hover = f"%{{y:.1%}} within %{{x:.1f}} mm, AUC {curve.auc:.3f}"
            plot.series[evaluation.name] = {"x": curve.thresholds_mm, "y": curve.shares, "hovertemplate": hover}
    return figure([*plots.values()], [evaluation.name for evaluation in evaluations])


def joint_errors(evaluations: Sequence[Evaluation]) -> go.Figure | None:
    """Mean error of each joint, finger by finger: aligned, and in the camera frame."""
    joints = ["wrist", *(f"{finger} {part}" for finger in FINGERS for part in ("MCP", "PIP", "DIP", "tip"))]
    y = {"title": {"text": "mean error, mm"}, "rangemode": "tozero"}
    plots = []
    for error, title in {"pa_epe_mm": "PA-EPE of each joint", "epe_mm": "EPE of each joint"}.items():
        series = {
            one.name: {"x": joints, "y": [one.scores.per_joint.get(joint, {}).get(error) for joint in JOINT_NAMES]}
            for one in evaluations
            if one.scores.per_joint
        }
        plots += [Plot(title, {"tickangle": -55, "type": "category"}, y, series)] if series else []
    # lines would say that joints of two fingers have something between them
    return figure(plots, [evaluation.name for evaluation in evaluations], "markers", columns=1)


def training_curves(runs: Sequence[TrainingRun]) -> go.Figure | None:
    """The metrics of runs over their steps, one plot for each metric."""
    names = sorted({name for run in runs for name in run.curves}, key=lambda name: (name != "train/loss", name))
    plots = []
    for name in names:
        unit = next((unit for suffix, unit in _UNITS.items() if name.endswith(suffix)), "no unit")
        few = {"dtick": 1} if max(run.curves[name].steps[-1] for run in runs if name in run.curves) < _FEW_STEPS else {}
        x = {"title": {"text": "optimizer steps"}, "tickformat": ",d", **few}
        plot = Plot(name, x, {"title": {"text": unit}})
        for run in runs:
            if curve := run.curves.get(name):
                part = slice(None, None, -(-len(curve.steps) // _MOST_POINTS))
                # a probe that has run once is a point, not a line
                mode = "lines+markers" if len(curve.steps) <= 30 else "lines"
                plot.series[run.name] = {"x": curve.steps[part], "y": curve.values[part], "mode": mode}
        plots.append(plot)
    return figure(plots, [run.name for run in runs])

"""What the series of a figure look like, on the page and in PNGs, and the PCK curves of an evaluation."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Final

import numpy as np

# Okabe & Ito, "Color Universal Design", 2008; without black, which a dark page swallows, and yellow, which a light one
# does.
BLUE, ORANGE, GREEN, PINK, VERMILLION, SKY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9"
_COLORS: Final = (BLUE, ORANGE, GREEN, PINK, VERMILLION, SKY)
# light enough for a dark page, and apart from green and pink under deuteranopia, which a lighter gray is not
GRAY: Final = "#727272"
# The methods have the same colors in each figure of the project.
_KNOWN: Final[Mapping[str, str]] = {"peclr": BLUE, "simclr": ORANGE, "scratch": GRAY}
_MARKS: Final = ("circle", "square", "diamond", "triangle-up", "cross", "star", "triangle-down")
_DASHES: Final = ("solid", "dash", "dot", "dashdot")
_PCK_TITLES: Final = {
    "xyz": "3-D PCK, camera frame",
    "xyz_al": "3-D PCK, aligned",
    "mesh": "mesh PCK, camera frame",
    "mesh_al": "mesh PCK, aligned",
}


@dataclass(frozen=True)
class Style:
    """The look of a series, in plotly's words."""

    color: str
    mark: str
    dash: str


def styles(names: Iterable[str]) -> dict[str, Style]:
    """A style for each name; the methods of the paper keep their colors, as words of longer names too."""
    unique = list(dict.fromkeys(names))
    words = {name: re.split(r"[^a-z0-9]+", name.lower()) for name in unique}
    colors = {name: _KNOWN[word] for name in unique for word in words[name] if word in _KNOWN}
    free = [color for color in _COLORS if color not in colors.values()] or list(_COLORS)
    others = [name for name in unique if name not in colors]
    colors |= dict(zip(others, cycle(free), strict=False))
    dashes = {color: cycle(_DASHES) for color in colors.values()}  # what has the same color has another dash
    marks = zip(unique, cycle(_MARKS), strict=False)
    return {name: Style(colors[name], mark, next(dashes[colors[name]])) for name, mark in marks}


def ink_on(color: str) -> str:
    """Black or white for words on a color, #RRGGBB: the one with more contrast (WCAG 2.2, relative luminance)."""
    red, green, blue = (int(color[start : start + 2], 16) / 255 for start in (1, 3, 5))
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (red, green, blue)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "black" if (luminance + 0.05) ** 2 > 0.05 * 1.05 else "white"


@dataclass(frozen=True)
class PCKCurve:
    """Share of points within each threshold; `auc` is the area under it, 0 to 1."""

    title: str
    thresholds_mm: Sequence[float]
    shares: Sequence[float]
    auc: float


def pck_curves(pck: Mapping[str, Sequence[float]]) -> list[PCKCurve]:
    """The curves of a scores.json's `pck`: "thresholds_mm", and shares by "xyz", "xyz_al", "mesh", "mesh_al"."""
    thresholds = pck.get("thresholds_mm", ())
    span = thresholds[-1] - thresholds[0] if thresholds else 0
    return [
        PCKCurve(title, thresholds, pck[name], float(np.trapezoid(pck[name], thresholds)) / span)
        for name, title in _PCK_TITLES.items()
        if name in pck
    ]

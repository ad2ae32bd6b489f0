"""Colours, marks and dashes of series: apart for colour-blind eyes, and without colour."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

# Okabe & Ito, "Color Universal Design", 2008; without black, which a dark page swallows, and yellow, which a light one
# does.
_COLOURS: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
# light enough for a dark page, and apart from green and pink under deuteranopia, which a lighter grey is not
_GREY: Final = "#727272"
_MARKS: Final = ("circle", "square", "diamond", "triangle-up", "cross", "star", "triangle-down")
_DASHES: Final = ("solid", "dash", "dot", "dashdot")
# The methods have the same colours in each figure of the project.
_KNOWN: Final[Mapping[str, str]] = {"peclr": "#0072B2", "simclr": "#E69F00", "random": _GREY, "scratch": _GREY}
_SEPARATORS: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class Style:
    """How a series looks, in plotly's words."""

    colour: str
    mark: str
    dash: str


def styles(names: Iterable[str]) -> dict[str, Style]:
    """A style for each name; the methods of the paper keep their colours, as words of longer names too."""
    unique = list(dict.fromkeys(names))
    colours = {name: _KNOWN[word] for name in unique for word in _words(name) if word in _KNOWN}
    free = [colour for colour in _COLOURS if colour not in colours.values()] or list(_COLOURS)
    others = [name for name in unique if name not in colours]
    colours |= {name: free[index % len(free)] for index, name in enumerate(others)}
    chosen = {}
    for index, name in enumerate(unique):
        # what has the same colour has another dash
        same_before = sum(colours[other] == colours[name] for other in unique[:index])
        chosen[name] = Style(colours[name], _MARKS[index % len(_MARKS)], _DASHES[same_before % len(_DASHES)])
    return chosen


def _words(name: str) -> list[str]:
    return _SEPARATORS.split(name.lower())

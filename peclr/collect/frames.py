"""Which frames of a video are looked at."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_ROUNDING = 1e-6  # s, of times that are exactly a period apart


class Every(NamedTuple):
    """Every n-th frame; or, where there are seconds, the first in each period of so many."""

    frames: int = 1
    seconds: float | None = None

    def __str__(self) -> str:
        return f"{self.frames}" if self.seconds is None else f"{self.seconds:g}s"

    def chooser(self) -> Callable[[int, float], bool]:
        """Whether a frame of a number and time, from 0, is one of them; to be asked about a video's frames in order."""
        before = -1

        def choose(number: int, seconds: float) -> bool:
            nonlocal before
            last = before
            before = number // self.frames if self.seconds is None else int((seconds + _ROUNDING) / self.seconds)
            return before != last

        return choose

    def gap(self, rate: float) -> float:
        """Seconds between two of them, in a video of so many frames a second."""
        return self.frames / rate if self.seconds is None else self.seconds


def every_of(text: str) -> Every:
    """Parse 5 or 0.5s, for argparse."""
    try:
        every = Every(seconds=float(text.removesuffix("s"))) if text.endswith("s") else Every(int(text))
    except ValueError:
        every = Every(0)
    if every.frames < 1 or not 0 < every.gap(1) < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of frames, such as 5, nor a time, such as 0.5s")
    return every

"""Which frames of a video are looked at."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from peclr.data.sources.inputs import Frame

_ROUNDING = 1e-6  # s, of times that are exactly a period apart


class Every(NamedTuple):
    """Every n-th frame; or, where there are seconds, the first in each period of so many."""

    frames: int = 1
    seconds: float | None = None

    def __str__(self) -> str:
        return f"{self.frames}" if self.seconds is None else f"{self.seconds:g}s"

    def of(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Those of a video's frames; one that says that the video is damaged has no number, and is one of them."""
        before = -1
        for frame in frames:
            if frame.number is None or frame.time_s is None:
                yield frame
                continue
            period = frame.number // self.frames
            if self.seconds is not None:
                period = int((frame.time_s + _ROUNDING) / self.seconds)
            if period != before:
                before = period
                yield frame

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

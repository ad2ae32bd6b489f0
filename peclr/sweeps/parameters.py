"""The parameters of a sweep: which values each may take, and how one is drawn, with W&B's names and meaning."""

from __future__ import annotations

import json
import math
import re
from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

if TYPE_CHECKING:  # `--help` does not import it
    from numpy.random import Generator

Value = Any  # what YAML can say, but null

_RANGES: Final = ("uniform", "q_uniform", "log_uniform_values", "q_log_uniform_values")
_LARGEST: Final = 1e18  # beyond, counting and rounding overflow
_EXPECTED: Final = (
    "expected {value: ...}; {values: [...]}, perhaps with probabilities, which sum to 1; or {min: ..., max: ...}, "
    f"min ≤ max, with distribution int_uniform (both whole), {', '.join(_RANGES)} (0 < min for logarithms, q > 0 for "
    "steps; 1.0e-3 rather than 1e-3, which YAML takes for text); and NAME.CHILD for what is nested"
)


class Parameter(Struct, frozen=True):
    """One line of a sweep's `parameters`: either choices or a range of numbers."""

    choices: Sequence[Value] | None = None
    weights: Sequence[float] | None = None  # probabilities of the choices, which are equally likely without
    low: float = math.nan
    high: float = math.nan
    log: bool = False  # whether the logarithms of numbers are equally likely, rather than the numbers
    step: float | None = None  # numbers are rounded to multiples of it

    def draw(self, rng: Generator) -> Value:
        """Draw one value; every call takes one number from the rng."""
        position = float(rng.random())
        if self.choices is not None:
            count, weights = len(self.choices), self.weights
            chosen = int(position * count) if weights is None else bisect([*accumulate(weights)], position)
            return self.choices[min(chosen, count - 1)]
        if self.log:
            return self.value(math.exp(math.log(self.low) + (math.log(self.high) - math.log(self.low)) * position))
        return self.value(self.low + (self.high - self.low) * position)

    def value(self, suggested: Any) -> Value:
        """The value that a suggestion, or a number drawn from the range, stands for; of a constant, none is needed."""
        if self.choices is not None:
            if len(self.choices) == 1:
                return self.choices[0]
            return json.loads(suggested) if isinstance(suggested, str) else suggested
        if self.step is None:
            return suggested
        # W&B counts steps from 0; multiplied back, 3 · 0.1 would be 0.30000000000000004
        rounded = float(f"{round(suggested / self.step) * self.step:.12g}")
        return int(rounded) if float(self.step).is_integer() else rounded


def read_parameter(name: str, given: object) -> Parameter:
    """Read one parameter of the file; ValueError if it is none, or of a kind that is not run here."""
    fields = dict(given) if isinstance(given, dict) else {}
    kind = fields.pop("distribution", None)
    match kind, fields:
        case "constant" | None, {"value": value} if len(fields) == 1:
            return _choices(name, [value])
        case "categorical" | None, {"values": [_, *_] as values} if len(fields) == 1:
            return _choices(name, values)
        case "categorical_w_probabilities" | None, {"values": [*values], "probabilities": [*weights]}:
            fit = len(fields) == 2 and len(values) == len(weights) > 0 and _are_numbers(*weights)
            if fit and min(weights) >= 0 and math.isclose(sum(weights), 1):
                return _choices(name, values, weights)
        case "int_uniform" | None, {"min": int(low), "max": int(high)} if len(fields) == 2 and _are_numbers(low, high):
            if low <= high:
                return Parameter(range(low, high + 1))
        case _, {"min": low, "max": high}:
            kind = kind or ("uniform" if type(low) is type(high) is float else "")
            log, rounds, step = "log_" in kind, kind.startswith("q_"), fields.get("q", 1)
            fit = kind in _RANGES and len(fields) == 2 + (rounds and "q" in fields) and _are_numbers(low, high, step)
            if fit and low <= high and step > 1 / _LARGEST and (low > 0 or not log):
                return Parameter(low=float(low), high=float(high), log=log, step=step if rounds else None)
    raise ValueError(f"parameter {name}: {_EXPECTED}; got {given}")


def _are_numbers(*given: Any) -> bool:
    return all(type(number) in (int, float) and abs(number) <= _LARGEST for number in given)


def _choices(name: str, values: list[Any], weights: list[float] | None = None) -> Parameter:
    try:
        noted = json.dumps(values, allow_nan=False)
    except (TypeError, ValueError):
        raise ValueError(f"parameter {name}: {values} cannot be JSON; write dates and the like in quotes") from None
    if "null" in re.sub(r'"(\\.|[^"\\])*"', "", noted):
        raise ValueError(f"parameter {name}: null would reach the command as the word None; write the text 'null'")
    return Parameter(values, weights)

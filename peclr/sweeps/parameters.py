"""The parameters of a sweep: which values each may take, and how one is drawn, with W&B's names and meaning."""

from __future__ import annotations

import json
import math
from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

if TYPE_CHECKING:  # `--help` imports neither
    from numpy.random import Generator
    from optuna.distributions import BaseDistribution

Value = Any  # what YAML can say, but null

_NUMBERS: Final = "min ≤ max, both numbers (1.0e-3 rather than 1e-3, which YAML takes for text)"
# Of each distribution, its fields and what they have to be; q may be left out.
_TAKES: Final = {
    "constant": ({"value"}, "value"),
    "categorical": ({"values"}, "values, a list"),
    "categorical_w_probabilities": ({"values", "probabilities"}, "values and their probabilities, which sum to 1"),
    "int_uniform": ({"min", "max"}, "min ≤ max, both whole"),
    "uniform": ({"min", "max"}, _NUMBERS),
    "q_uniform": ({"min", "max", "q"}, f"{_NUMBERS}, and q > 0"),
    "log_uniform_values": ({"min", "max"}, f"0 < {_NUMBERS}"),
    "q_log_uniform_values": ({"min", "max", "q"}, f"0 < {_NUMBERS}, and q > 0"),
}


class Parameter(Struct, frozen=True):
    """One line of a sweep's `parameters`.

    Attributes:
        choices: all values there are; None for a range of numbers.
        weights: probabilities of the choices; None if they are equally likely.
        low: smallest number of the range.
        high: its largest.
        log: whether logarithms of the numbers are equally likely.
        step: numbers are rounded to multiples of it; None for no rounding.
    """

    choices: Sequence[Value] | None = None
    weights: Sequence[float] | None = None
    low: float = math.nan
    high: float = math.nan
    log: bool = False
    step: float | None = None

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

    def space(self) -> BaseDistribution:
        """What Optuna suggests from; `value` reads its suggestions."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices is None:
            return FloatDistribution(self.low, self.high, log=self.log)
        if self.weights is not None:
            raise ValueError("bayes search weighs values by their results; give them without probabilities")
        if isinstance(self.choices, range):
            return IntDistribution(self.choices[0], self.choices[-1])
        return CategoricalDistribution([json.dumps(choice) for choice in self.choices])  # it takes no lists

    def value(self, suggested: Any) -> Value:
        """The value that a suggestion, or a number drawn from the range, stands for."""
        if self.choices is not None:
            return json.loads(suggested) if isinstance(suggested, str) else suggested
        if self.step is None:
            return suggested
        # W&B counts steps from 0; multiplied back, 3 · 0.1 would be 0.30000000000000004
        rounded = float(f"{round(suggested / self.step) * self.step:.12g}")
        return int(rounded) if float(self.step).is_integer() else rounded


def read_parameter(given: object) -> Parameter:
    """Read one parameter of the file.

    Raises:
        ValueError: it is none, or of a kind that is not run here.
    """
    if not isinstance(given, dict) or "parameters" in given:
        raise ValueError(f"expected {{values: [...]}} or the like, and NAME.CHILD for what is nested; got {given!r}")
    fields = dict(given)
    distribution = str(fields.pop("distribution", None) or _inferred(fields))
    if distribution not in _TAKES:
        raise ValueError(f"distribution {distribution!r}; expected one of {', '.join(_TAKES)}")
    known, takes = _TAKES[distribution]
    parameter = None
    if known - {"q"} <= fields.keys() <= known:
        parameter = _range(distribution, **fields) if "min" in known else _choices(**fields)
    if parameter is None:
        raise ValueError(f"{distribution} takes {takes}; got {fields}")
    return parameter


def _inferred(fields: dict[str, Any]) -> str:
    """What W&B takes a parameter for whose distribution is not given."""
    if "value" in fields:
        return "constant"
    if "values" in fields:
        return "categorical_w_probabilities" if "probabilities" in fields else "categorical"
    types = {type(fields.get("min")), type(fields.get("max"))}
    if types not in ({int}, {float}):
        raise ValueError(f"expected value, values, or min and max, both whole or both not (1.0e-3); got {fields}")
    return "int_uniform" if types == {int} else "uniform"


def _choices(values: Any = None, value: Any = None, probabilities: Any = None) -> Parameter | None:
    """The parameter with these fields; None if they are not what they have to be."""
    choices = [value] if values is None else values
    if not isinstance(choices, list) or not choices:
        return None
    if _holds_null(choices):
        raise ValueError("null would reach the command as the word None; write the text 'null'")
    try:
        json.dumps(choices, allow_nan=False)
    except (TypeError, ValueError):
        raise ValueError(f"{choices} cannot be noted as JSON; write dates and the like in quotes") from None
    if probabilities is None:
        return Parameter(choices)
    if not isinstance(probabilities, list) or not all(type(part) in (int, float) for part in probabilities):
        return None
    sums_to_one = min(probabilities, default=-1) >= 0 and math.isclose(sum(probabilities), 1)
    return Parameter(choices, probabilities) if sums_to_one and len(probabilities) == len(choices) else None


def _holds_null(value: Value) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is None or any(map(_holds_null, parts))


def _range(distribution: str, min: Any, max: Any, q: Any = 1) -> Parameter | None:  # noqa: A002 (W&B's names)
    """The parameter with these fields; None if they are not what they have to be."""
    whole, log = distribution == "int_uniform", "log_" in distribution
    if not all(type(number) in ((int,) if whole else (int, float)) for number in (min, max, q)):
        return None
    if not (-math.inf < min <= max < math.inf and q > 0 and (min > 0 or not log)):
        return None
    if whole:
        return Parameter(range(min, max + 1))
    return Parameter(low=float(min), high=float(max), log=log, step=q if distribution.startswith("q_") else None)

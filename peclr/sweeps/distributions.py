"""The parameters of a W&B sweep: what values each may take, and how one is drawn.

Names and meaning are those of W&B's sweep configuration, so that one file serves both `wandb sweep` and `peclr sweep`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # `--help` must not import NumPy
    from numpy.random import Generator

Value = Any  # what YAML can say, but null

# Of each distribution, what has to be given and what may be.
_FIELDS: Final[dict[str, tuple[set[str], set[str]]]] = {
    "constant": ({"value"}, set()),
    "categorical": ({"values"}, set()),
    "categorical_w_probabilities": ({"values", "probabilities"}, set()),
    "int_uniform": ({"min", "max"}, set()),
    "uniform": ({"min", "max"}, set()),
    "q_uniform": ({"min", "max"}, {"q"}),
    "log_uniform_values": ({"min", "max"}, set()),
    "q_log_uniform_values": ({"min", "max"}, {"q"}),
}
_LISTED = {"constant", "categorical", "categorical_w_probabilities", "int_uniform"}


@dataclass(frozen=True)
class Parameter:
    """One line of a sweep's `parameters`.

    Attributes:
        name: dotted, as an option of `peclr fit` without its dashes.
        distribution: W&B's name for how values are drawn.
        choices: all values there are; None for a continuous or quantised distribution.
        probabilities: of the choices; None if they are equally likely.
        low: smallest value.
        high: largest value.
        step: what drawn values are rounded to multiples of; None for no rounding.
    """

    name: str
    distribution: str
    choices: Sequence[Value] | None = None
    probabilities: tuple[float, ...] | None = None
    low: float = math.nan
    high: float = math.nan
    step: float | None = None

    @property
    def varies(self) -> bool:
        """Whether runs can differ in it."""
        return self.choices is None or len(self.choices) > 1

    def draw(self, stream: Generator) -> Value:
        """Draw one value; every call takes one number from the stream."""
        position = float(stream.random())
        if self.choices is not None:
            return self.choices[self._chosen(position)]
        if self.distribution.endswith("log_uniform_values"):
            drawn = math.exp(math.log(self.low) + (math.log(self.high) - math.log(self.low)) * position)
        else:
            drawn = self.low + (self.high - self.low) * position
        if self.step is None:
            return drawn
        # multiplied back, 3 · 0.1 would be 0.30000000000000004
        rounded = float(f"{round(drawn / self.step) * self.step:.12g}")
        return int(rounded) if float(self.step).is_integer() else rounded

    def _chosen(self, position: float) -> int:
        """The choice at a position in [0, 1) on the line along which they lie one after the other."""
        assert self.choices is not None
        count = len(self.choices)
        if self.probabilities is None:
            return min(int(position * count), count - 1)
        for number, probability in enumerate(self.probabilities):
            position -= probability
            if position < 0:
                return number
        return count - 1  # rounding


def read_parameter(name: str, given: object) -> Parameter:
    """Read one parameter.

    Args:
        name: see `Parameter`.
        given: its mapping in the file.

    Raises:
        ValueError: it is not a parameter, or of a kind that is not run here; the message names it.
    """
    if not isinstance(given, Mapping):
        raise ValueError(f"parameter {name}: expected a mapping such as {{values: [...]}}, got {given!r}")
    if "parameters" in given:
        raise ValueError(f"parameter {name}: nested parameters do not reach the command; write {name}.CHILD: {{...}}")
    fields = dict(given)
    distribution = str(fields.pop("distribution", None) or _inferred(name, fields))
    if distribution not in _FIELDS:
        raise ValueError(f"parameter {name}: distribution {distribution!r}; expected one of {', '.join(_FIELDS)}")
    required, optional = _FIELDS[distribution]
    if not required <= fields.keys() <= required | optional:
        raise ValueError(
            f"parameter {name}: {distribution} takes {', '.join(sorted(required | optional))}, got {', '.join(fields)}"
        )
    if distribution in _LISTED:
        return _listed(name, distribution, fields)
    return _ranged(name, distribution, fields)


def _inferred(name: str, fields: dict[str, Any]) -> str:
    """What W&B takes a parameter for that does not say."""
    if "value" in fields:
        return "constant"
    if "values" in fields:
        return "categorical_w_probabilities" if "probabilities" in fields else "categorical"
    ends = [fields.get("min"), fields.get("max")]
    if all(_is_whole(end) for end in ends):
        return "int_uniform"
    if all(isinstance(end, float) for end in ends):
        return "uniform"
    raise ValueError(f"parameter {name}: expected value, values, or min and max, both whole or both not, got {fields}")


def _is_whole(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)


def _listed(name: str, distribution: str, fields: dict[str, Any]) -> Parameter:
    if distribution == "int_uniform":
        low, high = fields["min"], fields["max"]
        if not (_is_whole(low) and _is_whole(high) and low <= high):
            raise ValueError(f"parameter {name}: expected whole numbers min ≤ max, got {low!r} and {high!r}")
        return Parameter(name, distribution, range(low, high + 1))
    choices = [fields["value"]] if distribution == "constant" else fields["values"]
    if not isinstance(choices, list) or not choices:
        raise ValueError(f"parameter {name}: values is {choices!r}; expected a list with something in it")
    if any(_holds_null(choice) for choice in choices):
        raise ValueError(f"parameter {name}: null would reach the command as the word None; write the text 'null'")
    probabilities = fields.get("probabilities")
    if probabilities is None:
        return Parameter(name, distribution, tuple(choices))
    if not _are_probabilities(probabilities, len(choices)):
        raise ValueError(f"parameter {name}: probabilities {probabilities} of {len(choices)} values do not sum to 1")
    return Parameter(name, distribution, tuple(choices), tuple(probabilities))


def _are_probabilities(given: object, count: int) -> bool:
    if not isinstance(given, list) or len(given) != count or not all(isinstance(part, int | float) for part in given):
        return False
    return min(given) >= 0 and math.isclose(sum(given), 1)


def _holds_null(value: Value) -> bool:
    if isinstance(value, list | dict):
        return any(_holds_null(part) for part in (value.values() if isinstance(value, dict) else value))
    return value is None


def _ranged(name: str, distribution: str, fields: dict[str, Any]) -> Parameter:
    numbers = {key: fields[key] for key in ("min", "max", "q") if key in fields}
    for key, number in numbers.items():
        if not isinstance(number, int | float) or isinstance(number, bool):
            # YAML 1.1 reads 1e-3 as text, and W&B with it
            raise ValueError(f"parameter {name}: {key} is {number!r}, not a number; write 1.0e-3 rather than 1e-3")
    low, high, step = float(numbers["min"]), float(numbers["max"]), numbers.get("q", 1)
    if not low <= high:
        raise ValueError(f"parameter {name}: min {low} is more than max {high}")
    if distribution.endswith("log_uniform_values") and low <= 0:
        raise ValueError(f"parameter {name}: min {low} has no logarithm; expected more than 0")
    if step <= 0:
        raise ValueError(f"parameter {name}: q {step}; expected more than 0")
    return Parameter(name, distribution, low=low, high=high, step=step if distribution.startswith("q_") else None)

"""What a sweep's file asks for: its runs' values, and the command of each."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, Final

import yaml

from peclr.sweeps.distributions import Parameter, Value, read_parameter

# Top-level keys that W&B knows. What only its server can do is left to it.
_KEYS: Final = {"name", "description", "project", "entity", "program", "command", "method", "metric", "parameters"}
_IGNORED_HERE: Final = {"run_cap", "early_terminate"}
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_ENVIRONMENT: Final = re.compile(r"\$\{envvar:([A-Z0-9_]*)\}")
_ARGS: Final = "${args}"
_PLACEHOLDERS: Final = ("${env}", "${interpreter}", "${program}", _ARGS)
_MOST_REPEATS = 1000

Values = dict[str, Value]


@dataclass(frozen=True)
class Metric:
    """What runs are compared by.

    Attributes:
        name: as runs log it: `split/metric_unit`.
        maximize: whether more is better.
    """

    name: str
    maximize: bool = False


@dataclass(frozen=True)
class Sweep:
    """A sweep's file.

    Attributes:
        name: the file's, without its ending.
        method: "grid" or "random".
        metric: what runs are compared by.
        parameters: what runs differ in, and constants.
        command: words; `${args}` stands for a run's values.
        run_cap: most runs; None for as many as a grid has.
        program: what `${program}` stands for.
        early_terminate: whether W&B would stop runs early.
    """

    name: str
    method: str
    metric: Metric
    parameters: tuple[Parameter, ...]
    command: tuple[str, ...]
    run_cap: int | None = None
    program: str | None = None
    early_terminate: bool = False

    @property
    def varying(self) -> list[str]:
        """Names of the parameters that runs can differ in, in the file's order."""
        return [parameter.name for parameter in self.parameters if parameter.varies]

    def runs(self, most: int | None = None, seed: int = 0) -> list[Values]:
        """The values of all runs: a grid's last parameter varies fastest; random ones are without repeats.

        With more runs, or a seed that stays the same, those there were stay the same.

        Args:
            most: no more runs than these; also overrides the file's `run_cap`.
            seed: of random search.

        Raises:
            ValueError: random search without an end, or a grid over what has no finite number of values.
        """
        cap = self.run_cap if most is None else most
        if self.method == "grid":
            return self._grid()[:cap]
        if cap is None:
            raise ValueError(f"sweep {self.name}: random search has no end; give run_cap in the file, or --max-runs")
        return self._random(cap, seed)

    def _grid(self) -> list[Values]:
        for parameter in self.parameters:
            if parameter.choices is None:
                raise ValueError(f"parameter {parameter.name}: a grid needs values, not {parameter.distribution}")
        names = [parameter.name for parameter in self.parameters]
        return [
            dict(zip(names, chosen, strict=True))
            for chosen in product(*(parameter.choices or () for parameter in self.parameters))
        ]

    def _random(self, count: int, seed: int) -> list[Values]:
        from numpy.random import default_rng

        stream = default_rng(seed)
        there_are = prod(len(parameter.choices) if parameter.choices else sys.maxsize for parameter in self.parameters)
        found: list[Values] = []
        repeats = 0
        while len(found) < min(count, there_are) and repeats < _MOST_REPEATS:
            drawn = {parameter.name: parameter.draw(stream) for parameter in self.parameters}
            if drawn in found:
                repeats += 1
            else:
                found.append(drawn)
        return found

    def words(self, values: Values) -> list[str]:
        """The command of a run, its options written as W&B's agent writes them."""
        replacements = {
            "${env}": ["/usr/bin/env"] if os.name == "posix" else [],
            "${interpreter}": [sys.executable],
            "${program}": [] if self.program is None else [self.program],
            _ARGS: [f"--{name}={value}" for name, value in values.items()],
        }
        words: list[str] = []
        for word in self.command:
            filled = _ENVIRONMENT.sub(lambda match: os.environ.get(match[1], match[1]), word)
            words += replacements.get(filled, [filled])
        return words


def read_sweep(path: Path) -> Sweep:
    """Read a sweep's file.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is not a sweep that can be run here; the message names the file and what was expected.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a sweep's YAML, as experiments/sweeps holds")
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a YAML file: {error}") from error
    if not isinstance(given, dict):
        raise ValueError(f"{path}: expected a mapping with method, metric and parameters")
    try:
        return _read(path.stem, given)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _read(name: str, given: dict[str, Any]) -> Sweep:
    unknown = given.keys() - _KEYS - _IGNORED_HERE
    if unknown:
        raise ValueError(f"does not take {', '.join(sorted(map(str, unknown)))}; expected {', '.join(sorted(_KEYS))}")
    method = given.get("method")
    if method not in ("grid", "random"):
        raise ValueError(f"method is {method!r}; grid and random are run here, others by `wandb sweep`")
    parameters = given.get("parameters")
    if not isinstance(parameters, dict) or not parameters:
        raise ValueError("parameters: expected a mapping from dotted names to {values: [...]} and so on")
    for option in parameters:
        if not _NAME.fullmatch(str(option)):
            raise ValueError(f"parameter {option!r}: expected the name of an option, without dashes before it")
    run_cap = given.get("run_cap")
    if run_cap is not None and (not isinstance(run_cap, int) or run_cap < 1):
        raise ValueError(f"run_cap is {run_cap!r}; expected a whole number of at least 1")
    return Sweep(
        name=name,
        method=method,
        metric=_read_metric(given.get("metric")),
        parameters=tuple(read_parameter(str(option), value) for option, value in parameters.items()),
        command=_read_command(given.get("command")),
        run_cap=run_cap,
        program=given.get("program"),
        early_terminate="early_terminate" in given,
    )


def _read_metric(given: object) -> Metric:
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        raise ValueError(f"metric is {given!r}; expected {{name: val/pa_epe_mm, goal: minimize}}")
    goal = given.get("goal", "minimize")
    if goal not in ("minimize", "maximize"):
        raise ValueError(f"metric.goal is {goal!r}; expected minimize or maximize")
    return Metric(given["name"], goal == "maximize")


def _read_command(given: object) -> tuple[str, ...]:
    words = tuple(map(str, given)) if isinstance(given, Sequence) and not isinstance(given, str) else ()
    if _ARGS not in words:
        raise ValueError(f"command is {given!r}; expected a list of words, one of them {_ARGS}")
    strange = [word for word in words if word.startswith("${") and word not in _PLACEHOLDERS]
    strange = [word for word in strange if not _ENVIRONMENT.match(word)]
    if strange:
        raise ValueError(f"command: {strange[0]}; of W&B's placeholders, {', '.join(_PLACEHOLDERS)} are known here")
    return words


def with_overrides(sweep: Sweep, overrides: list[str]) -> Sweep:
    """The sweep with options that are the same for all runs, and take the place of the file's constants.

    Args:
        sweep: as the file has it.
        overrides: `--name=value` each.

    Raises:
        ValueError: one is not of this form, or is of a parameter that the sweep varies.
    """
    names = []
    for word in overrides:
        name, equals, _ = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not equals or not _NAME.fullmatch(name):
            raise ValueError(f"{word}: expected options of `peclr fit` as --name=value")
        if name in sweep.varying:
            raise ValueError(f"{word}: the sweep {sweep.name} varies {name}")
        names.append(name)
    kept = tuple(parameter for parameter in sweep.parameters if parameter.name not in names)
    return replace(sweep, parameters=kept, command=(*sweep.command, *overrides))

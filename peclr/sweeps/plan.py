"""What a sweep's file asks for: its runs' values, the folder of each by name, and its command."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import islice, product
from math import prod
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct, convert
from msgspec.structs import replace

from peclr.options import choices, did_you_mean
from peclr.runs.aliases import renamed
from peclr.runs.layout import last_checkpoint
from peclr.shipped import shipped_configs
from peclr.sweeps.parameters import Parameter, Value, read_parameter
from peclr.untrusted.text import read_yaml

_OPTION: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_ENVIRONMENT: Final = re.compile(r"\$\{envvar:([A-Z0-9_]*)\}")
_ARGS: Final = "${args}"
_PLACEHOLDERS: Final = ("${env}", "${interpreter}", "${program}", _ARGS)
_METHODS: Final = ("grid", "random", "bayes")
_MOST_RUNS: Final = 100_000
_LONGEST_NAME: Final = 100
# What every run's checkpoint is called: its folder says more.
_SAID_BY_ALL: Final = {"checkpoints", "last.ckpt", "config.yaml"}

Values = dict[str, Value]
_Count = Annotated[int, Meta(ge=1)]


class Metric(Struct, frozen=True):
    """The metric by which runs are compared; its name as runs log it, `split/metric_unit`."""

    name: str
    goal: Literal["minimize", "maximize"] = "minimize"


class Hyperband(Struct, frozen=True, forbid_unknown_fields=True):
    """Early termination: after `first` values of the metric, eta times as many, and so on, the best 1 / eta go on."""

    type: Annotated[str, Meta(pattern="^hyperband$")]
    min_iter: _Count | None = None
    max_iter: _Count | None = None
    s: _Count | None = None
    eta: Annotated[int, Meta(ge=2)] = 3
    strict: bool = True  # always so here

    def __post_init__(self) -> None:
        if (self.min_iter is None) == (self.max_iter is None or self.s is None):
            raise ValueError("early_terminate: expected either min_iter, or max_iter and s")

    @property
    def first(self) -> int:
        """Number of values of the metric that a run has before it is first judged."""
        return self.min_iter or max(1, (self.max_iter or 1) // self.eta ** (self.s or 1))


class Sweep(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sweep's file, with the keys that W&B knows; `name` is the file's, method bayes is Optuna's TPE."""

    name: str
    method: Literal["grid", "random", "bayes"]
    metric: Metric
    command: tuple[str, ...]
    parameters: dict[str, Parameter] = {}
    run_cap: _Count | None = None
    early_terminate: Hyperband | None = None
    program: str | None = None
    description: Any = None
    project: Any = None
    entity: Any = None

    @property
    def varying(self) -> list[str]:
        """Names of the parameters that runs can differ in, in the file's order."""
        return [name for name, given in self.parameters.items() if given.choices is None or len(given.choices) > 1]

    def cap(self, most: int | None) -> int:
        """The number of runs of a search: `most`, or the file's `run_cap`; ValueError if neither says."""
        cap = self.run_cap if most is None else most
        if cap is None:
            raise ValueError(f"{self.name}: {self.method} search has no end; give run_cap in the file, or --max-runs")
        if cap > _MOST_RUNS:
            raise ValueError(f"{self.name}: a search of {cap:,} runs; expected at most {_MOST_RUNS:,}")
        return cap

    def runs(self, most: int | None = None, seed: int = 0) -> dict[str, Values]:
        """The values of all runs that can be planned ahead, by the run's name, without repeats: none of bayes search.

        A grid's last parameter varies fastest. With more runs, or a seed that stays the same, those there were stay.
        `most` overrides the file's `run_cap`. ValueError for a search without an end, or a grid over a range.
        """
        runs: list[Values] = []
        if self.method == "grid":
            runs = self._grid(self.run_cap if most is None else most)
        elif self.method == "random":
            runs = self._random(self.cap(most), seed)
        return dict(zip(self.names(runs), runs, strict=True))

    def _grid(self, most: int | None) -> list[Values]:
        choices = [parameter.choices for parameter in self.parameters.values()]
        if None in choices:
            raise ValueError(f"parameter {[*self.parameters][choices.index(None)]}: a grid needs values, not a range")
        distinct = [one if isinstance(one, range) else _without_repeats(one) for one in choices if one]
        total = min(prod(map(len, distinct)), math.inf if most is None else most)
        if total > _MOST_RUNS:
            raise ValueError(f"{self.name}: a grid of {total:,} runs; give run_cap in the file, or --max-runs")
        combinations = product(*(islice(one, most) for one in distinct))  # the last varies fastest
        return [dict(zip(self.parameters, chosen, strict=True)) for chosen in islice(combinations, most)]

    def _random(self, count: int, seed: int) -> list[Values]:
        from numpy.random import default_rng

        rng = default_rng(seed)
        found: dict[str, Values] = {}
        repeats = 0
        while len(found) < count and repeats < 1000:
            drawn = {name: parameter.draw(rng) for name, parameter in self.parameters.items()}
            if (noted := json.dumps(drawn)) in found:
                repeats += 1
            found[noted] = drawn
        return [*found.values()]

    def names(self, runs: Sequence[Values], first: int = 0) -> list[str]:
        """A name for each run and its folder, by what runs differ in: `objective=SimCLR,temperature=0.5`.

        Searches number them from `first`, as rounded values may be equal; a grid's do not depend on what others it has.
        """
        names = []
        for number, values in enumerate(runs, first):
            said = re.sub(r"[^A-Za-z0-9._=,+-]+", "-", self.label(values, ",") or "run")
            names.append(said if self.method == "grid" else f"{number:03d},{said}")
        counts = Counter(name[:_LONGEST_NAME] for name in names)
        for index, name in enumerate(names):
            if len(name) > _LONGEST_NAME or counts[name] > 1:
                digest = hashlib.sha256(json.dumps(runs[index], sort_keys=True).encode()).hexdigest()
                names[index] = f"{name[:_LONGEST_NAME]}-{digest[:8]}"
        return names

    def label(self, values: Values, separator: str, without: Sequence[str] = ()) -> str:
        """What sets a run apart, as people read it."""
        labels = short_labels([name for name in self.varying if name not in without])
        return separator.join(f"{label}={shown(values[name])}" for name, label in labels.items())

    def words(self, values: Values) -> list[str]:
        """The command of a run, its options written as W&B's agent writes them."""
        replacements = {
            "${env}": ["/usr/bin/env"] if os.name == "posix" else [],
            "${interpreter}": [sys.executable],
            "${program}": [] if self.program is None else [self.program],
            _ARGS: [f"--{name}={value}" for name, value in values.items()],
        }
        filled = (_ENVIRONMENT.sub(lambda match: os.environ.get(match[1], match[1]), word) for word in self.command)
        return [part for word in filled for part in replacements.get(word, [word])]

    def with_options(self, words: Sequence[str]) -> Sweep:
        """The sweep with options, `--name=value` each, in place of its constants; ValueError if it varies one."""
        kept = dict(self.parameters)
        for word in words:
            name, equals, _ = word.removeprefix("--").partition("=")
            if not word.startswith("--") or not equals or not _OPTION.fullmatch(name):
                raise ValueError(f"{word}: expected options of `peclr fit` as --name=value")
            if name in self.varying:
                raise ValueError(f"{word}: the sweep {self.name} varies {name}")
            kept.pop(name, None)
        return replace(self, parameters=kept, command=(*self.command, *words))


def short_labels(names: Sequence[str]) -> dict[str, str]:
    """Dotted names without what precedes the last dot, where that is enough to keep them apart."""
    last = {name: name.rsplit(".", 1)[-1] for name in names}
    # the name of a class is what it is the class of
    last |= {name: name.split(".")[-2] for name in names if name.endswith(".class_path")}
    counts = Counter(last.values())
    return {name: label if counts[label] == 1 else name for name, label in last.items()}


def shown(value: object) -> str:
    """A value as people read it: numbers rounded, of a path what sets it apart."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str) and "/" in value:
        parts = [part for part in PurePosixPath(value).parts if part not in _SAID_BY_ALL]
        return PurePosixPath(parts[-1]).stem if parts and parts[-1].endswith(".yaml") else (parts or [value])[-1]
    return str(value)


def _without_repeats(choices: Sequence[Value]) -> list[Value]:
    return list({json.dumps(one): one for one in choices}.values())


def folder_options(folder: Path) -> list[str]:
    """The options by which a run begins in its folder, or goes on from what it saved there."""
    last = last_checkpoint(folder)
    return [*([f"--ckpt_path={last}"] if last.is_file() else []), f"--run_dir={folder}"]


def read_sweep(path: Path) -> Sweep:
    """Read a sweep's file; ValueError names it and what was expected if it is none that can be run here."""
    if not path.is_file():
        meant = did_you_mean(str(path), [name for name in shipped_configs() if name.startswith("sweeps/")])
        raise FileNotFoundError(f"{path}: no such file{meant or '; expected a YAML, as experiments/sweeps holds'}")
    given = read_yaml(path)
    try:
        parameters = given.get("parameters") if isinstance(given, dict) else None
        if not isinstance(parameters, dict) or not parameters:
            raise ValueError("expected method, metric, command, and parameters as {NAME: {values: [...]}, ...}")
        if (method := given.get("method")) not in _METHODS:
            meant = did_you_mean(str(method), _METHODS)
            raise ValueError(f"method is {method!r}; expected one of {choices(_METHODS)}{meant}")
        command = given.get("command")
        words = [str(word) for word in command] if isinstance(command, list) else command
        sweep = convert({**given, "name": path.stem, "parameters": {}, "command": words}, Sweep)
        sweep = replace(sweep, metric=replace(sweep.metric, name=renamed(sweep.metric.name)))
        if _ARGS not in sweep.command:
            raise ValueError(f"command is {list(sweep.command)}; one of its words has to be {_ARGS}")
        for word in sweep.command:
            if word.startswith("${") and word not in _PLACEHOLDERS and not _ENVIRONMENT.match(word):
                raise ValueError(f"command: {word}; of W&B's placeholders, {', '.join(_PLACEHOLDERS)} are known here")
        for option, value in parameters.items():
            if not _OPTION.fullmatch(str(option)):
                raise ValueError(f"parameter {option!r}: expected the name of an option, without dashes before it")
            sweep.parameters[option] = read_parameter(option, value)
    except ValueError as error:  # of msgspec, too
        raise ValueError(f"{path}: {error}") from None
    return sweep

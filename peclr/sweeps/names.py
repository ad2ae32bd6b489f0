"""The folders of a sweep's runs, named by what the runs differ in."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final

from peclr.sweeps.plan import Sweep, Values

_LONGEST: Final = 100
# What every run's checkpoint is called: its folder says more.
_SAID_BY_ALL: Final = {"checkpoints", "last.ckpt", "config.yaml"}


def run_names(sweep: Sweep, runs: Sequence[Values], first: int = 0) -> list[str]:
    """One name per run, such as `objective=SimCLR,temperature=0.5`.

    A grid's names do not depend on what other runs there are. Searches number them from `first`, as rounded values may
    be equal.
    """
    labels = short_labels(sweep.varying)
    names = []
    for number, values in enumerate(runs, first):
        said = ",".join(f"{labels[name]}={shown(values[name])}" for name in sweep.varying) or "run"
        said = re.sub(r"[^A-Za-z0-9._=,+-]+", "-", said)
        names.append(f"{number:03d},{said}" if sweep.method != "grid" else said)
    counts = Counter(name[:_LONGEST] for name in names)
    return [
        name if len(name) <= _LONGEST and counts[name] == 1 else f"{name[:_LONGEST]}-{_digest(values)}"
        for name, values in zip(names, runs, strict=True)
    ]


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


def _digest(values: Values) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]

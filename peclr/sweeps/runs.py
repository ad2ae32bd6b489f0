"""One run of a sweep in its folder: how it is begun or gone on with, and what it has written."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path
from typing import Any, Final

from peclr.runs.layout import RESULTS, last_checkpoint, metrics_files
from peclr.untrusted.text import read_json, read_table

_TAIL_BYTES: Final = 8192
_LONGEST_ERROR: Final = 160


def folder_options(folder: Path) -> list[str]:
    """The options by which a run begins in its folder, or goes on from what it saved there."""
    last = last_checkpoint(folder)
    resumed = [f"--ckpt_path={last}"] if last.is_file() else []
    return [*resumed, f"--run_dir={folder}"]


def put_aside(folder: Path) -> None:
    """Rename what a run left that ended before it saved anything: a new one begins in an empty folder."""
    if not folder.is_dir() or last_checkpoint(folder).is_file() or not any(folder.iterdir()):
        return
    number = 1
    while (aside := folder.with_name(f"{folder.name}.aside{number}")).exists():
        number += 1
    folder.rename(aside)


def read_metrics(folder: Path) -> dict[str, float | None] | None:
    """Last metrics of a run that has ended well, None for those that are not finite; None for any other run.

    Raises:
        ValueError: its results are not what `peclr fit` writes.
    """
    path = folder / RESULTS
    if not path.is_file():
        return None
    try:
        metrics: Any = read_json(path)["metrics"]
        numbers = {str(name): math.nan if value is None else float(value) for name, value in metrics.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not the results of a run: {error!r}") from error
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}


def read_history(folder: Path, metric: str) -> list[float]:
    """The values of a metric that a run has logged so far, those of a run that went on in order of their steps."""
    values: dict[float, float] = {}
    for path in metrics_files(folder):
        for number, row in enumerate(read_table(path, unfinished=True)):  # half a number is another number
            with contextlib.suppress(ValueError):  # of another program, perhaps: nothing to stop all runs for
                if row.get(metric):
                    values[float(row.get("step") or number)] = float(row[metric])
    return [value for _, value in sorted(values.items())]


def last_line(log: Path) -> str | None:
    """The last line of a log that says something, shortened."""
    with log.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - _TAIL_BYTES))
        lines = file.read().decode(errors="replace").replace("\r", "\n").split("\n")
    return next((line.strip()[:_LONGEST_ERROR] for line in reversed(lines) if line.strip()), None)

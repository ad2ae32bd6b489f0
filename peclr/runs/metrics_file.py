"""`RUN/metrics.csv`: what a run measures, on disk row by row; a run that is resumed goes on in it."""

import csv
import io
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from peclr.options import write_whole
from peclr.runs.layout import METRICS, metrics_files
from peclr.untrusted.text import read_table


class MetricsFile(Logger):
    """Writes a run's metrics; Lightning's own logger would begin the file anew, and has none while it adds a column.

    A run that goes on from before the file's end takes some steps again: from its first row on, what it measures takes
    the place of what was measured first. ValueError if a file that is there is no table of metrics.
    """

    name = version = ""  # Lightning's own checkpoints, if there are any, go to the run's folder

    def __init__(self, run: Path) -> None:
        super().__init__()
        # older versions began a file each time that a run went on: it goes on in the newest
        self._path = [run / METRICS, *metrics_files(run)][-1]
        self._found = read_table(self._path, unfinished=True) if self._path.is_file() else []
        if self._found and not all(row.get("step", "").isdecimal() for row in self._found):
            raise ValueError(f"{self._path}: expected a number in its column `step` in every row")
        self._columns: list[str] = []  # of the file since this run's first row

    @property
    def save_dir(self) -> str:
        """The run's folder."""
        return str(self._path.parent)

    @rank_zero_only
    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        """Do nothing: they are in the run's config.yaml."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write a row; it is in the file when this returns."""
        row = {**metrics, "step": step or 0}
        if row.keys() - set(self._columns):
            rows = read_table(self._path) if self._columns else _before(self._found, row)
            self._found = []
            self._columns = sorted(row.keys() | set(self._columns or (rows[0] if rows else ())))
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._path, self._lines([dict(zip(self._columns, self._columns, strict=True)), *rows]))
        with self._path.open("a", newline="", encoding="utf-8") as file:
            file.write(self._lines([row]))

    def _lines(self, rows: Sequence[Mapping[str, Any]]) -> str:
        text = io.StringIO(newline="")
        csv.DictWriter(text, self._columns, lineterminator="\n").writerows(rows)
        return text.getvalue()


def _before(found: list[dict[str, str]], row: Mapping[str, Any]) -> list[dict[str, str]]:
    """Rows from before the first that measures what `row` does, or that is of a later step."""
    values = [name for name in row if name not in ("step", "epoch")]

    def stays(old: dict[str, str]) -> bool:
        step = int(old["step"])
        return step < row["step"] or (step == row["step"] and not any(old.get(name) for name in values))

    return list(takewhile(stays, found))

"""A training run's folder, as its pictures need it: config, curves over steps, last metrics."""

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from peclr.report.rows import read_json
from peclr.runs.layout import read_run_config

CONFIG_NAME: Final = "config.yaml"
METRICS_NAME: Final = "metrics.csv"
RESULTS_NAME: Final = "results.json"
_CURVES: Final = ("val/", "probe/")  # besides the loss


@dataclass(frozen=True)
class Curve:
    """A metric over a run's steps, which increase."""

    steps: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class TrainingRun:
    """What is known about one run.

    Attributes:
        name: unique in the report.
        folder: of the run.
        config: as it was saved; empty if it was not.
        stage: "fit", "validate" or "test".
        metrics: the last ones, by name.
        curves: by metric.
    """

    name: str
    folder: Path
    config: dict[str, Any]
    stage: str
    metrics: dict[str, float]
    curves: dict[str, Curve]

    @property
    def kind(self) -> str:
        """The class that was trained, "PretrainModule" for example; "" if the config does not tell."""
        model = self.config.get("model")
        return str(model.get("class_path", "")).rpartition(".")[2] if isinstance(model, dict) else ""

    @property
    def seed(self) -> int | None:
        """The seed in the config."""
        seed = self.config.get("seed_everything")
        return seed if isinstance(seed, int) and not isinstance(seed, bool) else None

    def data_setting(self, name: str) -> Any:
        """An argument of the config's data module; None if there is none."""
        data = self.config.get("data")
        arguments = data.get("init_args") if isinstance(data, dict) else None
        return arguments.get(name) if isinstance(arguments, dict) else None


def is_run(folder: Path) -> bool:
    """Whether a folder is a run's."""
    return (folder / CONFIG_NAME).is_file() and any((folder / name).is_file() for name in (METRICS_NAME, RESULTS_NAME))


def read_run(folder: Path, name: str) -> TrainingRun:
    """Read a run's folder.

    Raises:
        ValueError: a file in it is damaged; the message names it.
    """
    results: Any = {}
    if (folder / RESULTS_NAME).is_file():
        results = read_json(folder / RESULTS_NAME)
        if not isinstance(results, dict) or not isinstance(results.get("metrics", {}), dict):
            raise ValueError(f'{folder / RESULTS_NAME}: expected an object with "stage" and "metrics"')
    metrics = {key: float(value) for key, value in results.get("metrics", {}).items() if isinstance(value, int | float)}
    # asked for by the place of a checkpoint
    config = read_run_config(folder / "checkpoints" / "last.ckpt")
    return TrainingRun(name, folder, config, str(results.get("stage", "fit")), metrics, read_curves(folder))


def read_curves(folder: Path) -> dict[str, Curve]:
    """The loss, validation metrics and probes of a run and of what resumed it.

    A run that was resumed repeats the steps since its last checkpoint: the later values count.
    """
    files = [folder / METRICS_NAME, *sorted(folder.glob(f"resumed-*/{METRICS_NAME}"))]
    points: dict[str, dict[int, float]] = {}
    for path in files:
        if not path.is_file():
            continue
        read = _read_metrics(path)
        begin = min((step for found in read.values() for step in found), default=0)
        for name in {*points, *read}:
            before = {step: value for step, value in points.get(name, {}).items() if step < begin}
            points[name] = before | read.get(name, {})
    return {
        name: Curve(tuple(found), tuple(found.values()))
        for name, unordered in points.items()
        if (found := dict(sorted(unordered.items())))
    }


def _read_metrics(path: Path) -> dict[str, dict[int, float]]:
    """Value by step, by metric, of one metrics.csv; what is not finite is left out, as a gap.

    A run that goes on, or was killed, may have written half of its last line, which is passed over.
    """
    points: dict[str, dict[int, float]] = {}
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines.pop()
    if not lines:
        return points
    table = csv.DictReader(lines)
    if table.fieldnames is None or "step" not in table.fieldnames:
        raise ValueError(f"{path}: expected a column `step`, found {table.fieldnames}")
    wanted = {name: title for name in table.fieldnames if (title := _curve_name(name)) is not None}
    for row in table:
        try:
            step = int(row["step"])
            read = {title: float(row[name]) for name, title in wanted.items() if row[name]}
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}, line {table.line_num}: expected numbers: {error}") from error
        for title, value in read.items():
            if math.isfinite(value):
                points.setdefault(title, {})[step] = value
    return points


def _curve_name(column: str) -> str | None:
    """Lightning calls a metric that is logged by step and by epoch `train/loss_step` and `train/loss_epoch`."""
    if column in ("train/loss", "train/loss_step"):
        return "train/loss"
    return column if column.startswith(_CURVES) else None

"""Folders that runs and evaluations leave, as a report needs them: config, curves over steps, scores."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from peclr.report.results import known_metrics
from peclr.runs.layout import CONFIG, METRICS, RESULTS, last_checkpoint, metrics_files, read_run_config
from peclr.untrusted.text import as_type, read_json, read_table

SCORES_NAME: Final = "scores.json"
FINETUNING: Final = "FinetuneModule"  # kind of a run
_CURVES: Final = ("val/", "probe/")  # besides the loss
# what Lightning calls a metric that is logged by step, and probes called an error relative to the wrist before 0.2
_NOW: Final = {"train/loss_step": "train/loss", "probe/epe_mm": "probe/root_relative_epe_mm"}
_MM_PER_CM: Final = 10.0
# names of scores.txt and of its neighbors; means are in cm there
_MEANS: Final = {
    "xyz_mean3d": "epe_mm",
    "xyz_rel_mean3d": "root_relative_epe_mm",
    "xyz_al_mean3d": "pa_epe_mm",
    "mesh_mean3d": "mesh_epe_mm",
    "mesh_al_mean3d": "pa_mesh_epe_mm",
}
_SHARES: Final = {
    "xyz_auc3d": "auc",
    "xyz_al_auc3d": "pa_auc",
    "f_al_score_5": "f_score_5",
    "f_al_score_15": "f_score_15",
}


@dataclass(frozen=True)
class Curve:
    """A metric over a run's steps, which increase."""

    steps: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class TrainingRun:
    """All that is known about one run."""

    name: str  # unique in the report
    folder: Path
    config: dict[str, Any]  # as it was saved; empty if it was not
    stage: str  # "fit", "validate" or "test"
    metrics: dict[str, float]  # the last ones, by name
    curves: dict[str, Curve]  # by metric

    def setting(self, *keys: str) -> Any:
        """What the config says there, "data", "init_args", "root" for example; None if it says nothing."""
        value: Any = self.config
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    @property
    def kind(self) -> str:
        """The class that was trained, "PretrainModule" for example; "" if the config does not say."""
        return str(self.setting("model", "class_path") or "").rpartition(".")[2]

    @property
    def seed(self) -> int | None:
        """The seed in the config."""
        seed = self.setting("seed_everything")
        return seed if type(seed) is int else None

    @property
    def labels(self) -> int | None:
        """The number of labeled hands in the config."""
        labels = self.setting("data", "init_args", "num_labels")
        return labels if type(labels) is int else None


def is_run(folder: Path) -> bool:
    """Whether a folder is a run's."""
    return (folder / CONFIG).is_file() and any((folder / name).is_file() for name in (METRICS, RESULTS))


def read_run(folder: Path, name: str) -> TrainingRun:
    """Read a run's folder; ValueError names a damaged file."""
    path = folder / RESULTS
    results = read_json(path) if path.is_file() else {}
    if not isinstance(results, dict) or not isinstance(results.get("metrics", {}), dict):
        raise ValueError(f'{path}: expected an object with "stage" and "metrics"')
    metrics = {key: float(value) for key, value in results.get("metrics", {}).items() if isinstance(value, int | float)}
    config = read_run_config(last_checkpoint(folder))  # asked for by the place of a checkpoint
    return TrainingRun(name, folder, config, str(results.get("stage", "fit")), metrics, read_curves(folder))


def read_curves(folder: Path) -> dict[str, Curve]:
    """The loss, validation metrics and probes of a run; where resuming repeated steps, the later values count."""
    points: dict[str, dict[int, float]] = {}
    for path in metrics_files(folder):
        read = _read_metrics(path)
        begin = min((step for found in read.values() for step in found), default=math.inf)
        for name in {*points, *read}:
            before = {step: value for step, value in points.get(name, {}).items() if step < begin}
            points[name] = before | read.get(name, {})
    ordered = {name: dict(sorted(found.items())) for name, found in points.items() if found}
    return {name: Curve(tuple(found), tuple(found.values())) for name, found in ordered.items()}


def _read_metrics(path: Path) -> dict[str, dict[int, float]]:
    """Value by step, by metric, of one metrics.csv, whose last line may be half written; not finite ones are gaps."""
    points: dict[str, dict[int, float]] = {}
    for line, row in enumerate(read_table(path, unfinished=True), start=2):
        if "step" not in row:
            raise ValueError(f"{path}: expected a column `step`, found {list(row)}")
        try:
            step = int(row["step"])
            for column, text in row.items():
                name = _NOW.get(column, column)
                wanted = text and (name == "train/loss" or name.startswith(_CURVES))
                if wanted and math.isfinite(value := float(text)):
                    points.setdefault(name, {})[step] = value
        except ValueError as error:
            raise ValueError(f"{path}, line {line}: expected numbers: {error}") from error
    return points


class Scores(msgspec.Struct, frozen=True):
    """Content of the scores.json that `peclr evaluate` writes."""

    hands: int
    data: str  # the data set, as the evaluation knew its place
    scores: dict[str, float]  # the official ones; means in cm
    further: dict[str, float]  # the same
    pck: dict[str, list[float]]  # share of points within each threshold, by name of the curve, and "thresholds_mm"
    per_joint: dict[str, dict[str, float]]  # errors in mm by their names, by joint
    crop: str = ""  # where the network looked; "" if a file of predictions was scored
    predictions: str | None = None  # that file


@dataclass(frozen=True)
class Evaluation:
    """A folder that `peclr evaluate` wrote, by a name that is unique in the report."""

    name: str
    folder: Path
    scores: Scores

    @property
    def metrics(self) -> dict[str, float]:
        """Scores by names and units of `peclr.report.results.METRICS`."""
        found = self.scores.scores | self.scores.further
        means = {new: found[old] * _MM_PER_CM for old, new in _MEANS.items() if old in found}
        return known_metrics(means | {new: found[old] for old, new in _SHARES.items() if old in found})


def read_evaluation(folder: Path, name: str) -> Evaluation:
    """Read the scores of a folder that `peclr evaluate` wrote; ValueError names a file that is damaged or another's."""
    path = folder / SCORES_NAME
    where = f"{path}: not the scores.json of `peclr evaluate`"
    scores = as_type(read_json(path), Scores, where)
    lengths = {len(curve) for curve in scores.pck.values()}
    if "thresholds_mm" not in scores.pck or len(lengths) > 1 or min(lengths) < 2:
        raise ValueError(f"{where}: PCK curves of {sorted(lengths)} thresholds")
    return Evaluation(name, folder, scores)

"""Folders that runs and evaluations leave, as a report needs them: config, curves over steps, scores."""

import math
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Final

import msgspec

from peclr.report.results import known_metrics
from peclr.runs.aliases import renewed_metrics, renewed_scores
from peclr.runs.layout import CONFIG, METRICS, RESULTS, last_checkpoint, metrics_files, read_run_config
from peclr.untrusted.text import as_type, read_json, read_table, shown, value_at

SCORES_NAME: Final = "scores.json"
FINETUNING: Final = "FinetuneModule"  # kind of a run
_CURVES: Final = ("val/", "probe/")  # besides the loss
_BY_STEP: Final = {"train/loss_step": "train/loss"}  # what Lightning calls a metric that is logged by step


@dataclass(frozen=True)
class Curve:
    """A metric over a run's steps, which increase."""

    steps: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class TrainingRun:
    """All that is known about one run; None and "" are what its config does not say."""

    name: str  # unique in the report
    folder: Path
    kind: str  # the class that was trained, "PretrainModule" for example
    seed: int | None
    labels: int | None  # number of labeled hands
    data: str | None  # folder of the data set: a name, never one to open
    stage: str  # "fit", "validate" or "test"
    metrics: dict[str, float]  # the last ones, by name
    curves: dict[str, Curve]  # by metric
    images: int | None = None  # number of all images that were tested on
    crop: str = "keypoints"  # where the network looked
    checkpoint: str | None = None  # that was scored or gone on with: a name, never a file to open
    trained_on: tuple[str, ...] = ()  # names of the folders of data
    labels_are: str = ""  # "pseudo", where scores are against a teacher's labels


def is_run(folder: Path) -> bool:
    """Whether a folder is a run's."""
    return (folder / CONFIG).is_file() and any((folder / name).is_file() for name in (METRICS, RESULTS))


def read_run(folder: Path, name: str) -> TrainingRun:
    """Read a run's folder; ValueError names a damaged file."""
    path = folder / RESULTS
    results = read_json(path) if path.is_file() else {}
    if not isinstance(results, dict) or not isinstance(results.get("metrics", {}), dict):
        raise ValueError(f'{path}: expected an object with "stage" and "metrics"')
    logged = renewed_metrics(results.get("metrics", {}))
    metrics = {key: float(value) for key, value in logged.items() if type(value) in (int, float)}
    config = read_run_config(last_checkpoint(folder))  # asked for by the place of a checkpoint
    kind = str(value_at(config, "model", "class_path") or "").rpartition(".")[2]
    counts = config.get("seed_everything"), value_at(config, "data", "init_args", "num_labels")
    seed, labels = (count if type(count) is int and abs(count) < 2**63 else None for count in counts)
    stage = str(results.get("stage", "fit"))
    roots = {name: _roots(value_at(config, "data", "init_args", name)) for name in ("root", "sources", "test_sources")}
    tested = roots["root"] or roots["test_sources" if stage == "test" else "sources"]
    data = tested[0] if len(tested) == 1 else None
    return TrainingRun(
        *(name, folder, kind, seed, labels, data, stage, metrics, read_curves(folder)),
        images=images if type(images := results.get("images")) is int else None,
        crop=str(value_at(config, "data", "init_args", "crop") or "keypoints"),
        checkpoint=checkpoint if isinstance(checkpoint := config.get("ckpt_path"), str) else None,
        trained_on=tuple(dict.fromkeys(data_name(root) for root in roots["root"] or roots["sources"])),
        labels_are=str(results.get("labels") or ""),
    )


def data_name(root: str) -> str:
    """What a data set is called: its folder."""
    return PurePath(root).name or root


def _roots(given: Any) -> list[str]:
    """The paths in a config's `root`, or in its readers."""
    if isinstance(given, list):
        return [root for one in given for root in _roots(one)]
    if isinstance(given, dict):
        return _roots(value_at(given, "init_args", "root"))
    return [given] if given and isinstance(given, str) else []


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
            if (step := int(row["step"])) >= 2**63:
                raise ValueError(f"step {shown(row['step'])}")
            for column, text in renewed_metrics(row).items():
                name = _BY_STEP.get(column, column)
                wanted = text and (name == "train/loss" or name.startswith(_CURVES))
                if wanted and math.isfinite(value := float(text)):
                    points.setdefault(name, {})[step] = value
        except ValueError as error:
            raise ValueError(f"{path}, line {line}: expected numbers: {error}") from error
    return points


class Scores(msgspec.Struct, frozen=True):
    """Content of the scores.json that `peclr evaluate` writes."""

    hands: int
    data: str  # the data set, as the evaluation knew its place: a name, never a folder to open
    metrics: dict[str, float]  # by the names that runs log
    # share of points within each threshold, by name of the curve, and "thresholds_mm"; none of 2-D
    pck: dict[str, list[float]]
    per_joint: dict[str, dict[str, float]]  # errors in mm by their names, by joint
    crop: str = ""  # where the network looked; "" if a file of predictions was scored
    checkpoint: str | None = None  # whose network predicted: a name, never a file to open
    split: str = ""
    labels: str = ""  # "pseudo", where they are a teacher's


@dataclass(frozen=True)
class Evaluation:
    """A folder that `peclr evaluate` wrote, by a name that is unique in the report."""

    name: str
    folder: Path
    scores: Scores

    @property
    def metrics(self) -> dict[str, float]:
        """Those that reports compare."""
        return known_metrics(self.scores.metrics)


def read_evaluation(folder: Path, name: str) -> Evaluation:
    """Read the scores of a folder that `peclr evaluate` wrote; ValueError names a file that is damaged or another's."""
    path = folder / SCORES_NAME
    where = f"{path}: not the scores.json of `peclr evaluate`"
    content = read_json(path)
    scores = as_type(renewed_scores(content) if isinstance(content, dict) else content, Scores, where)
    lengths = {len(curve) for curve in scores.pck.values()}
    if scores.pck and ("thresholds_mm" not in scores.pck or len(lengths) > 1 or min(lengths) < 2):
        raise ValueError(f"{where}: PCK curves of {sorted(lengths)} thresholds")
    return Evaluation(name, folder, scores)

"""How long scoring takes: FreiHAND's 3,960 evaluation hands, from arrays and from a 200 MB file."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from peclr.evaluate.predictions import Predictions, read_predictions
from peclr.metrics.freihand import freihand_scores
from tests.benchmarks.run import Row

HANDS = 3960  # of FreiHAND's evaluation split


def hands(points: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Predictions and labels (3960, points, 3), metres: a hand's extent, errors as of the published networks."""
    rng = np.random.default_rng(0)
    labels = rng.normal([0.0, 0.0, 0.7], 0.04, (HANDS, points, 3))
    return labels + rng.normal(0.0, 0.006, labels.shape), labels


def run() -> list[Row]:
    """Measure each once, after a warm-up on a few hands."""
    pred_xyz, xyz = hands(21)
    pred_verts, verts = hands(778)
    freihand_scores(pred_xyz[:8], xyz[:8], pred_verts[:8], verts[:8])
    with tempfile.TemporaryDirectory() as folder:
        path = write_float64(Path(folder), Predictions(pred_xyz, pred_verts))
        return [
            ("keypoint_scores_s", seconds(lambda: freihand_scores(pred_xyz, xyz)), "s", "≤ 0.5"),
            ("mesh_scores_s", seconds(lambda: freihand_scores(pred_xyz, xyz, pred_verts, verts)), "s", "≤ 20"),
            ("predictions_read_s", seconds(lambda: read_predictions(path)), "s", "≤ 5"),
        ]


def write_float64(folder: Path, predictions: Predictions) -> Path:
    """pred.json as most people write it, with all of Python's digits: 200 MB."""
    path = folder / "pred.json"
    content = [predictions.xyz, predictions.verts]
    path.write_bytes(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY))
    return path


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start

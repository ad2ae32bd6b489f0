"""Scores of a file of predictions: the official ones, per joint, and what they leave out; as text and as JSON."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from peclr.evaluate.predictions import Predictions
from peclr.geometry.joints import JOINT_NAMES, WRIST
from peclr.metrics.freihand import freihand_scores
from peclr.metrics.points import PCK_THRESHOLDS, align, summarize_errors
from peclr.metrics.pose import aligned_errors
from peclr.options import naming

Array = NDArray[np.float64]

_MM_PER_M = 1000.0
_CM_PER_M = 100.0


@dataclass(frozen=True)
class Evaluation:
    """What predictions are worth.

    Attributes:
        official: the official scores, names and units of scores.txt: means in cm, AUC and F-scores 0…1.
        further: in the same units: `xyz_rel` after moving both wrists to the origin, `xyz_al_proper` after an
            alignment that may not mirror, as the official one may.
        errors_mm: (N, 21), raw.
        aligned_mm: (N, 21), after the official alignment.
        proper_mm: (N, 21), after the alignment that may not mirror.
        pck: share of points within each of the official thresholds, by name of the curve.
    """

    official: dict[str, float]
    further: dict[str, float]
    errors_mm: Array
    aligned_mm: Array
    proper_mm: Array
    pck: dict[str, Array]

    def per_joint(self) -> dict[str, dict[str, float]]:
        """Mean errors of each joint, by its name."""
        columns = {"epe_mm": self.errors_mm, "pa_epe_mm": self.aligned_mm, "pa_epe_proper_mm": self.proper_mm}
        means = {name: errors.mean(axis=0) for name, errors in columns.items()}
        return {
            joint: {name: float(mean[index]) for name, mean in means.items()} for index, joint in enumerate(JOINT_NAMES)
        }

    def pck_mm(self) -> dict[str, list[float]]:
        """The curves of `pck`, and their "thresholds_mm"."""
        thresholds = (PCK_THRESHOLDS * _MM_PER_M).tolist()
        return {"thresholds_mm": thresholds, **{name: curve.tolist() for name, curve in self.pck.items()}}


def score(predictions: Predictions, xyz: Array, verts: Array | None = None) -> Evaluation:
    """Score predictions.

    Args:
        predictions: of N hands.
        xyz: (N, 21, 3), labels, metres, camera frame, order freihand.
        verts: (N, 778, 3), labels; meshes are scored if both sides have them.
    """
    pred = predictions.xyz
    with_mesh = predictions.verts is not None and verts is not None
    official = freihand_scores(pred, xyz, predictions.verts if with_mesh else None, verts if with_mesh else None)
    aligned = align(pred, xyz)
    proper, proper_mm = (part.numpy() for part in aligned_errors(torch.from_numpy(pred), torch.from_numpy(xyz)))
    summaries = {"xyz": summarize_errors(pred, xyz), "xyz_al": summarize_errors(aligned, xyz)}
    if predictions.verts is not None and verts is not None:
        summaries["mesh"] = summarize_errors(predictions.verts, verts)
        summaries["mesh_al"] = summarize_errors(align(predictions.verts, verts), verts)
    relative = summarize_errors(pred - pred[:, [WRIST]], xyz - xyz[:, [WRIST]])
    without_mirrors = summarize_errors(proper, xyz)
    return Evaluation(
        official=official,
        further={
            "xyz_rel_mean3d": relative.mean_m * _CM_PER_M,
            "xyz_rel_auc3d": relative.auc,
            "xyz_al_proper_mean3d": without_mirrors.mean_m * _CM_PER_M,
            "xyz_al_proper_auc3d": without_mirrors.auc,
        },
        errors_mm=_distances_mm(pred, xyz),
        aligned_mm=_distances_mm(aligned, xyz),
        proper_mm=proper_mm,
        pck={name: summary.pck for name, summary in summaries.items()},
    )


def write_scores(folder: Path, evaluation: Evaluation, about: dict[str, Any]) -> None:
    """Write `scores.txt`, in the official format, and `scores.json`.

    Args:
        folder: exists.
        evaluation: what to write.
        about: what was scored, and how; goes into the JSON.
    """
    lines = [f"{name}: {value:f}\n" for name, value in evaluation.official.items()]
    with naming(folder / "scores.txt"):
        (folder / "scores.txt").write_text("".join(lines))
    content = {
        **about,
        "hands": len(evaluation.errors_mm),
        "units": "means in cm, per joint in mm; AUC, PCK and F-scores 0 to 1",
        "scores": evaluation.official,
        "further": evaluation.further,
        "per_joint": evaluation.per_joint(),
        "pck": evaluation.pck_mm(),
    }
    with naming(folder / "scores.json"):
        (folder / "scores.json").write_text(json.dumps(content, indent=2) + "\n")


def table(evaluation: Evaluation) -> str:
    """The scores for a terminal: a block of means, then one line per joint."""
    scores = evaluation.official | evaluation.further
    rows = {
        "keypoints": "xyz",
        "  relative to the wrist": "xyz_rel",
        "  aligned, official": "xyz_al",
        "  aligned, no mirroring": "xyz_al_proper",
        "mesh": "mesh",
        "  mesh aligned": "mesh_al",
    }
    lines = [f"{f'{len(evaluation.errors_mm)} hands':<26}{'mean cm':>9}{'AUC':>8}"]
    lines += [
        f"{title:<26}{scores[f'{name}_mean3d']:>9.3f}{scores[f'{name}_auc3d']:>8.3f}"
        for title, name in rows.items()
        if f"{name}_mean3d" in scores
    ]
    lines += [
        f"F-score at {limit:>2} mm, aligned   {scores[f'f_score_{limit}']:>8.3f}{scores[f'f_al_score_{limit}']:>8.3f}"
        for limit in (5, 15)
        if f"f_score_{limit}" in scores
    ]
    lines += ["", f"{'joint':<14}{'EPE mm':>9}{'PA-EPE mm':>12}"]
    lines += [
        f"{joint:<14}{errors['epe_mm']:>9.2f}{errors['pa_epe_mm']:>12.2f}"
        for joint, errors in evaluation.per_joint().items()
    ]
    return "\n".join(lines)


def _distances_mm(pred: Array, true: Array) -> Array:
    distances: Array = np.linalg.norm(pred - true, axis=-1) * _MM_PER_M
    return distances

"""Scores of predictions: the official ones, per joint, and what they leave out; as text, as JSON, as images."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from peclr.data.sources.freihand import FreiHAND
from peclr.data.sources.images import write_image
from peclr.drawing.series import pck_curves, styles
from peclr.drawing.tiles import Image, overlays, sheet
from peclr.evaluate.predictions import Predictions
from peclr.geometry.joints import JOINT_NAMES, WRIST
from peclr.metrics.freihand import freihand_scores
from peclr.metrics.points import PCK_THRESHOLDS, align, summarize_errors
from peclr.metrics.pose import aligned_errors
from peclr.options import naming, write_whole

Array = NDArray[np.float64]

_MM_PER_M: Final = 1000.0
_CM_PER_M: Final = 100.0
_COLUMNS, _ROWS = 2, 4  # pairs of the worst hands' tiles side by side, and below one another


@dataclass(frozen=True)
class Evaluation:
    """Scores of predictions, by names of scores.txt: means in cm, AUC and F-scores 0…1."""

    hands: int
    official: dict[str, float]
    further: dict[str, float]  # "xyz_rel" with both wrists at the origin, "xyz_al_proper" aligned without mirroring
    joints_mm: dict[str, Array]  # (N, 21): "epe_mm", "pa_epe_mm" (official alignment), "pa_epe_proper_mm"
    pck: dict[str, Array]  # share of points within each of the official thresholds

    def per_joint(self) -> dict[str, dict[str, float]]:
        """Mean errors of each joint, by its name."""
        means = {name: errors.mean(axis=0).tolist() for name, errors in self.joints_mm.items()}
        return {joint: {name: mean[i] for name, mean in means.items()} for i, joint in enumerate(JOINT_NAMES)}

    def pck_mm(self) -> dict[str, list[float]]:
        """The curves of `pck`, and their "thresholds_mm"."""
        thresholds = (PCK_THRESHOLDS * _MM_PER_M).tolist()
        return {"thresholds_mm": thresholds, **{name: curve.tolist() for name, curve in self.pck.items()}}


def score(predictions: Predictions, xyz: Array, verts: Array | None = None) -> Evaluation:
    """Score predictions by labels (N, 21, 3) and, if both sides have meshes, (N, 778, 3): metres, camera frame."""
    pred, pred_verts = predictions.xyz, predictions.verts
    if pred_verts is None or verts is None:
        pred_verts = verts = None
    aligned = align(pred, xyz)
    proper, proper_mm = (part.numpy() for part in aligned_errors(torch.from_numpy(pred), torch.from_numpy(xyz)))
    curves = {"xyz": (pred, xyz), "xyz_al": (aligned, xyz)}
    if pred_verts is not None and verts is not None:
        curves |= {"mesh": (pred_verts, verts), "mesh_al": (align(pred_verts, verts), verts)}
    pairs = {"xyz_rel": (pred - pred[:, [WRIST]], xyz - xyz[:, [WRIST]]), "xyz_al_proper": (proper, xyz)}
    further: dict[str, float] = {}
    for name, pair in pairs.items():
        summary = summarize_errors(*pair)
        further |= {f"{name}_mean3d": summary.mean_m * _CM_PER_M, f"{name}_auc3d": summary.auc}
    distances = {"epe_mm": pred - xyz, "pa_epe_mm": aligned - xyz}
    joints_mm = {name: _MM_PER_M * np.linalg.norm(offset, axis=-1) for name, offset in distances.items()}
    return Evaluation(
        hands=len(pred),
        official=freihand_scores(pred, xyz, pred_verts, verts),
        further=further,
        joints_mm={**joints_mm, "pa_epe_proper_mm": proper_mm},
        pck={name: summarize_errors(*pair).pck for name, pair in curves.items()},
    )


def write_scores(folder: Path, evaluation: Evaluation, about: dict[str, Any]) -> None:
    """Write `scores.txt`, in the official format, and `scores.json`, with `about`: what was scored, and how."""
    content = {
        **about,
        "hands": evaluation.hands,
        "units": "means in cm, per joint in mm; AUC, PCK and F-scores 0 to 1",
        "scores": evaluation.official,
        "further": evaluation.further,
        "per_joint": evaluation.per_joint(),
        "pck": evaluation.pck_mm(),
    }
    lines = "".join(f"{name}: {value:f}\n" for name, value in evaluation.official.items())
    for name, text in {"scores.txt": lines, "scores.json": json.dumps(content, indent=2) + "\n"}.items():
        write_whole(folder / name, text)


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
    lines = [f"{f'{evaluation.hands} hands':<26}{'mean cm':>9}{'AUC':>8}"]
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


def draw_pck(evaluation: Evaluation, path: Path) -> None:
    """Draw the share of points within 0 to 50 mm; the area under each curve is its AUC."""
    axes = (figure := Figure(figsize=(6, 4.2), layout="constrained")).add_subplot()
    curves = pck_curves(evaluation.pck_mm())
    looks = styles(curve.title for curve in curves)
    for curve in curves:
        label = f"{curve.title}: AUC {curve.auc:.3f}"
        axes.plot(curve.thresholds_mm, curve.shares, color=looks[curve.title].color, label=label)
    axes.set(xlabel="error threshold, mm", ylabel="share of points within it", ylim=(0, 1.02))
    axes.set_title(f"PCK of {evaluation.hands:,} hands")
    axes.margins(x=0)
    axes.grid(alpha=0.3)
    axes.legend(loc="best")
    with naming(path):
        figure.savefig(path, dpi=150)


def draw_worst(evaluation: Evaluation, predictions: Predictions, source: FreiHAND, path: Path) -> None:
    """Draw the hands with the largest errors after an alignment that may not mirror: prediction, label beside it."""
    errors, epe = (evaluation.joints_mm[name].mean(axis=1) for name in ("pa_epe_proper_mm", "epe_mm"))
    tiles: list[Image] = []
    titles: list[str] = []
    for hand in np.argsort(errors)[::-1][: _COLUMNS * _ROWS].tolist():
        sample = source[hand]
        K, label = (np.asarray(sample[key], np.float64) for key in ("K", "joints_3d"))
        tiles += overlays(sample["image"], K, predictions.xyz[hand], label)
        titles += [f"{sample['id']}: PA-EPE {errors[hand]:.1f} mm, EPE {epe[hand]:.0f} mm", "label"]
    rows = [slice(start, start + 2 * _COLUMNS) for start in range(0, len(tiles), 2 * _COLUMNS)]
    write_image(path, sheet([tiles[row] for row in rows], [titles[row] for row in rows]))

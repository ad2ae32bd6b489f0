"""Scores of predictions: those that runs log, the leaderboard's, and each joint's; as text, as JSON, as images."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from peclr.data.samples import HandSource
from peclr.data.sources.images import write_image
from peclr.drawing.series import pck_curves, styles
from peclr.drawing.tiles import Image, overlays, sheet
from peclr.evaluate.predictions import Predictions
from peclr.geometry.joints import JOINT_NAMES
from peclr.geometry.procrustes import similarity_align
from peclr.metrics.freihand import freihand_scores
from peclr.metrics.points import F_SCORE_THRESHOLDS, MM_PER_M, PCK_THRESHOLDS, summarize_errors
from peclr.metrics.pose import ERRORS_MM, joint_scores
from peclr.options import naming, write_whole

Array = NDArray[np.float64]

_UNITS: Final = "mm; AUC, PCK and F-scores 0 to 1; scores.txt has the leaderboard's, in cm"
_MM_PER_CM: Final = 10.0
_HEADS: Final = {"epe_mm": "EPE", "root_relative_epe_mm": "root-relative", "pa_epe_mm": "PA-EPE"}
_COLUMNS, _ROWS = 2, 4  # pairs of the worst hands' tiles side by side, and below one another


@dataclass(frozen=True)
class Evaluation:
    """Scores of predictions."""

    hands: int
    leaderboard: dict[str, float]  # by names of scores.txt: means in cm, aligned by what may mirror
    metrics: dict[str, float]  # by the names that runs log: mm, aligned without mirroring; AUC and F-scores 0…1
    joints_mm: dict[str, Array]  # (N, 21), by names of `ERRORS_MM`
    pck: dict[str, Array]  # share of points within each of the official thresholds, as aligned as `metrics`

    def per_joint(self) -> dict[str, dict[str, float]]:
        """Mean errors of each joint, by its name."""
        means = {name: errors.mean(axis=0).tolist() for name, errors in self.joints_mm.items()}
        return {joint: {name: mean[i] for name, mean in means.items()} for i, joint in enumerate(JOINT_NAMES)}

    def pck_mm(self) -> dict[str, list[float]]:
        """The curves of `pck`, and their "thresholds_mm"."""
        thresholds = (PCK_THRESHOLDS * MM_PER_M).tolist()
        return {"thresholds_mm": thresholds, **{name: curve.tolist() for name, curve in self.pck.items()}}


def score(predictions: Predictions, xyz: Array, verts: Array | None = None) -> Evaluation:
    """Score predictions by labels (N, 21, 3) and, if both sides have meshes, (N, 778, 3): metres, camera frame."""
    pred, pred_verts = predictions.xyz, predictions.verts
    if pred_verts is None or verts is None:
        pred_verts = verts = None
    joints = torch.from_numpy(pred), torch.from_numpy(xyz)
    leaderboard, metrics = freihand_scores(pred, xyz, pred_verts, verts), joint_scores(*joints)
    curves = {"xyz": (pred, xyz), "xyz_al": (similarity_align(*joints).numpy(), xyz)}
    if pred_verts is not None and verts is not None:
        aligned = similarity_align(torch.from_numpy(pred_verts), torch.from_numpy(verts)).numpy()
        curves |= {"mesh": (pred_verts, verts), "mesh_al": (aligned, verts)}
    summaries = {name: summarize_errors(*pair) for name, pair in curves.items()}
    if "mesh" in summaries:
        means = {"mesh_epe_mm": "mesh", "pa_mesh_epe_mm": "mesh_al"}
        metrics |= {name: MM_PER_M * summaries[curve].mean_m for name, curve in means.items()}
        metrics |= {f"f_score_{limit}": leaderboard[f"f_al_score_{limit}"] for limit in F_SCORE_THRESHOLDS}
    return Evaluation(
        hands=len(pred),
        leaderboard=leaderboard,
        metrics=metrics,
        joints_mm={name: measure(*joints).numpy() for name, measure in ERRORS_MM.items()},
        pck={name: summary.pck for name, summary in summaries.items()},
    )


def write_scores(folder: Path, evaluation: Evaluation, about: dict[str, Any], *, units: str = _UNITS) -> None:
    """Write `scores.txt`, in the official format, and `scores.json`, with `about`: what was scored, and how."""
    content = {
        **about,
        "hands": evaluation.hands,
        "units": units,
        "metrics": evaluation.metrics,
        "per_joint": evaluation.per_joint(),
        "pck": evaluation.pck_mm(),
    }
    lines = "".join(f"{name}: {value:f}\n" for name, value in evaluation.leaderboard.items())
    for name, text in {"scores.txt": lines, "scores.json": json.dumps(content, indent=2) + "\n"}.items():
        write_whole(folder / name, text)


def table(evaluation: Evaluation) -> str:
    """The scores for a terminal: a block of means, one line per joint, and how the leaderboard's differ."""
    metrics, leaderboard = evaluation.metrics, evaluation.leaderboard
    rows = {
        "EPE": ("epe_mm", "auc"),
        "root-relative EPE": ("root_relative_epe_mm", None),
        "PA-EPE": ("pa_epe_mm", "pa_auc"),
        "mesh EPE": ("mesh_epe_mm", None),
        "mesh PA-EPE": ("pa_mesh_epe_mm", None),
    }
    lines = [f"{f'{evaluation.hands} hands':<26}{'mean, mm':>9}{'AUC':>8}"]
    for title, (mean, area) in rows.items():
        if mean in metrics:
            lines.append(
                f"{title:<26}{metrics[mean]:>9.2f}{'' if area is None else f'{metrics[area]:.3f}':>8}".rstrip()
            )
    lines += [
        f"{f'F-score at {limit} mm, aligned':<26}{metrics[f'f_score_{limit}']:>17.3f}"
        for limit in F_SCORE_THRESHOLDS
        if f"f_score_{limit}" in metrics
    ]
    heads = "".join(f"{_HEADS[name]:>15}" for name in evaluation.joints_mm)
    lines += ["", f"{'mean of a joint, mm':<20}{heads}"]
    for joint, errors in evaluation.per_joint().items():
        lines.append(f"{joint:<20}" + "".join(f"{error:>15.2f}" for error in errors.values()))
    mirrored = _MM_PER_CM * leaderboard["xyz_al_mean3d"]
    note = f"scores.txt is the leaderboard's: cm, and aligned by what may mirror, for a PA-EPE of {mirrored:.2f} mm"
    return "\n".join([*lines, "", note])


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


def draw_worst(evaluation: Evaluation, predictions: Predictions, source: HandSource, path: Path) -> None:
    """Draw the hands with the largest PA-EPE: prediction, label beside it."""
    errors, epe = (evaluation.joints_mm[name].mean(axis=1) for name in ("pa_epe_mm", "epe_mm"))
    tiles: list[Image] = []
    titles: list[str] = []
    for hand in np.argsort(errors)[::-1][: _COLUMNS * _ROWS].tolist():
        sample = source[hand]
        K, label = (np.asarray(sample[key], np.float64) for key in ("K", "joints_3d"))
        tiles += overlays(sample["image"], K, predictions.xyz[hand], label)
        titles += [f"{sample['id']}: PA-EPE {errors[hand]:.1f} mm, EPE {epe[hand]:.0f} mm", "label"]
    rows = [slice(start, start + 2 * _COLUMNS) for start in range(0, len(tiles), 2 * _COLUMNS)]
    write_image(path, sheet([tiles[row] for row in rows], [titles[row] for row in rows]))

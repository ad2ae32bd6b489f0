"""Pictures of an evaluation: PCK curves, and the hands that a network gets most wrong."""

from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from peclr.data.sources.freihand import FreiHAND
from peclr.drawing.skeleton import draw_skeleton
from peclr.evaluate.predictions import Predictions
from peclr.evaluate.scoring import Evaluation
from peclr.geometry.camera import project
from peclr.metrics.points import PCK_THRESHOLDS
from peclr.options import naming

_MM_PER_M = 1000.0
# Pairs of pictures side by side, and below one another.
_COLUMNS, _ROWS = 2, 4
_PICTURE_SIDE = 448  # pixels to which small photographs are enlarged, so that lines stay thin on them
# Okabe & Ito, "Color Universal Design", 2008, as the skeletons.
_CURVES = {
    "xyz": ("keypoints", "#0072B2", "-"),
    "xyz_al": ("keypoints, aligned", "#0072B2", "--"),
    "mesh": ("mesh", "#D55E00", "-"),
    "mesh_al": ("mesh, aligned", "#D55E00", "--"),
}


def draw_pck(evaluation: Evaluation, path: Path) -> None:
    """Share of points within 0 to 50 mm; the area under each curve is its AUC."""
    figure = Figure(figsize=(6, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for name, curve in evaluation.pck.items():
        title, colour, style = _CURVES[name]
        label = f"{title}: AUC {evaluation.official[f'{name}_auc3d']:.3f}"
        axes.plot(PCK_THRESHOLDS * _MM_PER_M, curve, style, color=colour, label=label)
    axes.set(
        xlim=(0, PCK_THRESHOLDS[-1] * _MM_PER_M),
        ylim=(0, 1.02),
        xlabel="error threshold in mm",
        ylabel="share of points within it",
        title=f"3D PCK, {len(evaluation.errors_mm)} hands",
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="best")
    with naming(path):
        figure.savefig(path, dpi=150)


def draw_worst(evaluation: Evaluation, predictions: Predictions, source: FreiHAND, path: Path) -> None:
    """The hands with the largest errors after an alignment that may not mirror: prediction and label.

    Args:
        evaluation: of `predictions`.
        predictions: drawn where the camera of the picture sees them.
        source: the split that was predicted, with its labels.
        path: of the picture.
    """
    error = evaluation.proper_mm.mean(axis=1)
    worst = np.argsort(error)[::-1][: _COLUMNS * _ROWS].tolist()
    rows = -(-len(worst) // _COLUMNS)
    figure = Figure(figsize=(5.2 * _COLUMNS, 2.9 * rows), layout="constrained")
    figure.suptitle("Largest errors: predicted on the left, label on the right")
    for place, hand in enumerate(worst):
        sample = source[hand]
        axes = figure.add_subplot(rows, _COLUMNS, place + 1)
        axes.set_axis_off()
        raw = evaluation.errors_mm[hand].mean()
        axes.set_title(f"{sample['id']}: PA-EPE {error[hand]:.1f} mm, EPE {raw:.0f} mm", fontsize=9)
        predicted = _overlay(sample["image"], predictions.xyz[hand], sample["K"])
        label = _overlay(sample["image"], sample["joints_3d"], sample["K"])
        axes.imshow(np.concatenate((predicted, label), axis=1))
    with naming(path):
        figure.savefig(path, dpi=130)


def _overlay(
    image: NDArray[np.uint8], joints_3d: NDArray[np.floating] | None, K: NDArray[np.floating] | None
) -> NDArray[np.uint8]:
    enlarge = max(1, round(_PICTURE_SIDE / max(image.shape[:2])))
    camera = torch.tensor(np.asarray(K, np.float64))
    points = project(torch.tensor(np.asarray(joints_3d, np.float64)), camera).numpy()
    return draw_skeleton(image, points, enlarge)

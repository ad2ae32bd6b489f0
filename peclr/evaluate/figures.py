"""Pictures of an evaluation: PCK curves, and the hands that a network gets most wrong."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from peclr.data.sources.freihand import FreiHAND
from peclr.data.sources.images import write_image
from peclr.drawing.series import pck_curves, styles
from peclr.drawing.tiles import Image, overlays, sheet
from peclr.evaluate.predictions import Predictions
from peclr.evaluate.scoring import Evaluation
from peclr.options import naming

_COLUMNS, _ROWS = 2, 4  # pairs of tiles side by side, and below one another


def draw_pck(evaluation: Evaluation, path: Path) -> None:
    """Draw the share of points within 0 to 50 mm; the area under each curve is its AUC."""
    axes = (figure := Figure(figsize=(6, 4.2), layout="constrained")).add_subplot()
    curves = pck_curves(evaluation.pck_mm())
    looks = styles(curve.title for curve in curves)
    for curve in curves:
        label = f"{curve.title}: AUC {curve.auc:.3f}"
        axes.plot(curve.thresholds_mm, curve.shares, color=looks[curve.title].color, label=label)
    axes.set(xlabel="error threshold, mm", ylabel="share of points within it", ylim=(0, 1.02))
    axes.set_title(f"PCK of {len(evaluation.errors_mm):,} hands")
    axes.margins(x=0)
    axes.grid(alpha=0.3)
    axes.legend(loc="best")
    with naming(path):
        figure.savefig(path, dpi=150)


def draw_worst(evaluation: Evaluation, predictions: Predictions, source: FreiHAND, path: Path) -> None:
    """Draw the hands with the largest errors after an alignment that may not mirror: prediction, and label beside it.

    Args:
        evaluation: of `predictions`.
        predictions: drawn where the camera of the image sees them.
        source: the split that was predicted, with its labels.
        path: of the picture.
    """
    errors = evaluation.proper_mm.mean(axis=1)
    tiles: list[Image] = []
    titles: list[str] = []
    for hand in np.argsort(errors)[::-1][: _COLUMNS * _ROWS].tolist():
        sample = source[hand]
        K, label = (np.asarray(sample[key], np.float64) for key in ("K", "joints_3d"))
        tiles += overlays(sample["image"], K, predictions.xyz[hand], label)
        epe = evaluation.errors_mm[hand].mean()
        titles += [f"{sample['id']}: PA-EPE {errors[hand]:.1f} mm, EPE {epe:.0f} mm", "label"]
    rows = range(0, len(tiles), 2 * _COLUMNS)
    write_image(path, sheet([tiles[i : i + 2 * _COLUMNS] for i in rows], [titles[i : i + 2 * _COLUMNS] for i in rows]))

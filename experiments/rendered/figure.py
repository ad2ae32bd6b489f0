"""The demo's figure: what the views are, what undoing their geometry means, what came of it."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from experiments.rendered.jobs import Job
from experiments.rendered.plan import Size, Suite
from experiments.rendered.summary import LOOK, METRICS, curves, names_of, over_seeds
from peclr.data.datamodules import LabeledHandDataModule, PairedViewDataModule
from peclr.data.sources.freihand import FreiHAND
from peclr.drawing.series import ink_on, styles
from peclr.drawing.skeleton import draw_skeleton
from peclr.drawing.views import pair_tiles
from peclr.inference.network import load_network

Image = NDArray[np.uint8]

PAIRS = 4
VIEW = 128  # pixels: sharper than the views that are trained on
METRIC = "root_relative_epe_mm"


def view_pairs(hands: Path, seed: int) -> dict[str, list[Image]]:
    """Views of some training hands with their skeletons, and the same brought back to the crop: 2 · PAIRS of each."""
    still: dict[str, Any] = {"val_fraction": 0.0, "seed": seed, "border": "reflect", "batch_size": PAIRS}
    data = PairedViewDataModule(sources=FreiHAND(hands), pairing="across_versions", view_size=VIEW, **still)
    tiles = [pair_tiles(data.train_set, (0, hand)) for hand in range(PAIRS)]
    columns = {"views": slice(1, 3), "undone": slice(3, 5)}
    return {name: [view for row in tiles for view in row[of_kind]] for name, of_kind in columns.items()}


def _strip(panel: SubFigure, title: str, rows: dict[str, list[Image]], top: float) -> None:
    """Draw rows of images, each with its name at the left, under a title that ends at `top`."""
    panel.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    axes = panel.subplots(len(rows), squeeze=False)[:, 0]
    panel.subplots_adjust(left=0.07, right=0.995, bottom=0.01, top=top, hspace=0.04)
    for axis, (name, images) in zip(axes, rows.items(), strict=True):
        gap = max(1, images[0].shape[1] // 30)
        tiles = [np.pad(image, ((0, 0), (0, gap), (0, 0)), constant_values=255) for image in images]
        axis.imshow(np.concatenate(tiles, axis=1)[:, :-gap])
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)


def _bars(axis: Axes, rows: list[dict[str, Any]], protocol: str, labels: int) -> None:
    """Errors at one number of labels, a bar for each kind of weights."""
    names, looks = names_of(row for row in rows if row["protocol"] == protocol), styles(names_of(rows))
    means, deviations = zip(*(over_seeds(rows, protocol, labels, name, METRIC) for name in names), strict=True)
    bars = axis.bar(names, means, yerr=deviations, color=[looks[name].color for name in names], capsize=3)
    for word, name in zip(axis.bar_label(bars, fmt="%.1f", label_type="center", fontsize=11), names, strict=True):
        word.set_color(ink_on(looks[name].color))
    axis.set_ylabel(METRICS[METRIC])
    axis.set_title(f"{protocol}, {labels:,} labels", loc="left", fontsize=10)


def draw_figure(suite: Suite, size: Size, hands: Path, results: dict[str, Any], out: Path) -> Path:
    """Draw `out/demo.png`, of the first seed but for the errors, and return its path."""
    seed, schedule, labels = (
        results["seeds"][0],
        next(iter(size.finetune_steps)),
        max(filter(None, suite.finetune_labels)),
    )
    data = LabeledHandDataModule(root=hands, view_size=size.view_px, seed=seed, border="reflect")
    data.setup("test")
    items = [data.test_set[index] for index in range(2 * PAIRS)]
    images = [item["image"].permute(1, 2, 0).numpy() for item in items]
    joints = {"truth": np.stack([item["joints_25d"][:, :2].numpy() for item in items])}
    for arm in suite.arms:
        if arm.name in suite.pictured:
            network = load_network(Job(arm, seed, size, hands, out).finetune_run(labels, schedule))
            joints[arm.name] = network.see(images, [item["K"].numpy() for item in items]).keypoints_2d
    rows = {
        name: [draw_skeleton(image, points, enlarge=5) for image, points in zip(images, of_hands, strict=True)]
        for name, of_hands in joints.items()
    }
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(11, 10.6), layout=None)
        grid = figure.add_gridspec(3, 1, height_ratios=(3.1, 4.45, 3.1))
        top, middle, bottom = (figure.add_subfigure(grid[row]) for row in range(3))
        title = "Pairs of views: one hand, two backgrounds, colors and geometries; and the same with geometry undone"
        _strip(top, title, view_pairs(hands, seed), 0.89)
        title = f"Hands and scenes never seen, after fine-tuning on {labels} labels"
        _strip(middle, title, rows, 0.92)
        axes = bottom.subplots(1, 2)
        bottom.subplots_adjust(left=0.07, right=0.99, top=0.9, bottom=0.15, wspace=0.16)
        curves(axes[0], results["rows"], "frozen probe", METRIC)
        axes[0].legend(frameon=False, fontsize=9)
        _bars(axes[1], results["rows"], f"fine-tuned, {schedule}", labels)
        figure.savefig(out / "demo.png")
    return out / "demo.png"

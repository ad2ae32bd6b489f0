"""The demo's picture: what the views are, what undoing their geometry means, what came of it."""

from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from experiments.demo.jobs import DemoSize
from experiments.jobs import LAST
from peclr.checkpoints import load_pose_net
from peclr.data.datamodules import LabelledHandDataModule
from peclr.data.datasets import PairedViewDataset
from peclr.data.samples import LabelledItem
from peclr.data.sources.freihand import FreiHAND
from peclr.data.views.geometric import GeometryRange
from peclr.data.views.photometric import Photometric
from peclr.drawing.skeleton import draw_skeleton
from peclr.geometry.affine import apply_affine, compose, invert, pixels_from_normalised
from peclr.models.encoders import normalise_images

Picture = NDArray[np.uint8]

PAIRS = 4
VIEW = 128  # pixels: sharper than the views that the demo trains on
COLOURS = {
    "random": "#999999",
    "scratch": "#999999",
    "SimCLR": "#E69F00",
    "PeCLR": "#0072B2",
}  # Okabe & Ito 2008


def view_pairs(hands: Path, seed: int) -> tuple[list[Picture], list[Picture]]:
    """Views of some training hands with their skeletons, and the same brought back to the crop.

    Returns:
        Two lists of 2 · PAIRS pictures; the two views of a hand follow each other.
    """
    source = FreiHAND(hands)
    data = PairedViewDataset([source], "across_versions", VIEW, GeometryRange(), Photometric(), seed, "reflect")
    views, undone = [], []
    for hand in range(PAIRS):
        item = data[hand]
        joints_2d = source[source.versions_of(hand)[0]]["joints_2d"]
        assert joints_2d is not None  # embedded hands are labelled
        pixels = pixels_from_normalised(VIEW)
        for view, view_from_image, view_from_crop in zip(
            item["views"], item["view_from_image"], item["view_from_crop"], strict=True
        ):
            picture = view.permute(1, 2, 0).numpy()
            joints = apply_affine(view_from_image, torch.from_numpy(joints_2d))
            crop_from_view = compose(pixels, invert(view_from_crop), invert(pixels))
            straight = cv2.warpAffine(picture, crop_from_view[:2].numpy(), (VIEW, VIEW)).astype(np.uint8)
            views.append(draw_skeleton(picture, joints.numpy(), enlarge=2))
            undone.append(draw_skeleton(straight, apply_affine(crop_from_view, joints).numpy(), enlarge=2))
    return views, undone


@torch.no_grad()
def predicted(run: Path, items: list[LabelledItem]) -> list[Picture]:
    """A fine-tuned network's skeletons over evaluation hands."""
    network = load_pose_net(run / LAST).eval()
    images = torch.stack([item["image"] for item in items])
    joints = network(normalise_images(images), torch.stack([item["K"] for item in items]))["keypoints_2d"]
    return [_over(item, points) for item, points in zip(items, joints, strict=True)]


def _over(item: LabelledItem, joints_2d: torch.Tensor) -> Picture:
    return draw_skeleton(item["image"].permute(1, 2, 0).numpy(), joints_2d.numpy(), enlarge=5)


def _strip(panel: SubFigure, title: str, rows: dict[str, list[Picture]], top: float) -> None:
    """Rows of pictures with a name at their left, below a title; `top` is where they begin, a fraction of the panel."""
    panel.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    axes = panel.subplots(len(rows), max(map(len, rows.values())), squeeze=False)
    panel.subplots_adjust(left=0.07, right=0.995, top=top, bottom=0.01, wspace=0.03, hspace=0.04)
    for line, (name, pictures) in zip(axes, rows.items(), strict=True):
        for axis, picture in zip(line, pictures, strict=True):
            axis.imshow(picture)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)


def _bars(axis: Axes, rows: list[dict[str, Any]], title: str) -> None:
    """EPE over label counts, one colour per kind of weights."""
    counts = sorted({row["labels"] for row in rows})
    names = list(dict.fromkeys(row["weights"] for row in rows))
    width = 0.8 / len(names)
    for position, name in enumerate(names):
        heights = [
            next(r["root_relative_epe_mm"] for r in rows if (r["weights"], r["labels"]) == (name, n)) for n in counts
        ]
        bars = axis.bar(
            np.arange(len(counts)) + (position - (len(names) - 1) / 2) * width,
            heights,
            width * 0.92,
            label=name,
            color=COLOURS[name],
        )
        axis.bar_label(bars, fmt="%.1f", fontsize=8, padding=1)
    axis.set_xticks(range(len(counts)), [f"{n:,} labels" for n in counts])
    axis.set_ylabel("EPE, mm (wrist-relative)")
    axis.set_title(title, loc="left", fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)
    axis.margins(y=0.3)  # room for the legend
    axis.legend(frameon=False, fontsize=9, ncols=len(names), loc="upper right")


def draw_demo_figure(out: Path, hands: Path, size: DemoSize, rows: list[dict[str, Any]], seed: int) -> Path:
    """Draw `out/demo.png` and return its path."""
    labels = max(size.finetune_labels)
    data = LabelledHandDataModule(root=hands, view_size=size.view_size, seed=seed, border="reflect")
    data.setup("test")
    assert data.test_set is not None  # set up above
    items = [data.test_set[index] for index in range(2 * PAIRS)]
    views, undone = view_pairs(hands, seed)
    with mpl.rc_context({"font.family": "DejaVu Sans", "savefig.dpi": 110}):
        figure = Figure(figsize=(11, 10.6), layout=None)
        grid = figure.add_gridspec(3, 1, height_ratios=(3.1, 4.45, 3.1))
        top, middle, bottom = (figure.add_subfigure(grid[row]) for row in range(3))
        _strip(
            top,
            "Pairs of views: one hand, two backgrounds, colours and geometries — and the same with the geometry undone",
            {"views": views, "undone": undone},
            top=0.89,
        )
        _strip(
            middle,
            f"Hands and scenes never seen, after fine-tuning on {labels} labels",
            {
                "truth": [_over(item, item["joints_25d"][:, :2]) for item in items],
                "scratch": predicted(out / f"finetune-random-{labels}", items),
                "PeCLR": predicted(out / f"finetune-peclr-{labels}", items),
            },
            top=0.92,
        )
        left, right = bottom.subplots(1, 2)
        bottom.subplots_adjust(left=0.07, right=0.99, top=0.86, bottom=0.1, wspace=0.16)
        _bars(left, [row for row in rows if row["protocol"] == "frozen probe"], "Frozen encoder, ridge probe")
        _bars(right, [row for row in rows if row["protocol"] == "fine-tuned"], "Fine-tuned end to end")
        path = out / "demo.png"
        figure.savefig(path)
    return path

"""The figure of a comparison on real hands: what the best network sees of people it has not seen, and errors."""

import json
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from experiments.rendered.jobs import Job
from experiments.rendered.plan import Size, Suite
from experiments.rendered.summary import LOOK, curves, names_of, over_seeds
from peclr.data.datamodules import LabeledHandDataModule
from peclr.data.datasets import LabeledHandDataset
from peclr.drawing.skeleton import draw_skeleton
from peclr.drawing.tiles import sheet
from peclr.geometry.planar import from_reduced, move
from peclr.inference.network import load_network

_ROWS: Final = 2
_COLUMNS: Final = 9
_TILE: Final = 176  # px
_METRIC: Final = "root_relative_epe_mm"


def montage(run: Path, hands: Path, view_size: int) -> NDArray[np.uint8]:
    """Draw what a fine-tuned network sees in hands of the evaluation split, evenly chosen; (H, W, 3), RGB."""
    network, tiles = load_network(run), []
    seen, shown = (_views(hands, side) for side in (view_size, _TILE))  # the image is sharper than what is seen of it
    for number in np.linspace(0, len(seen) - 1, _ROWS * _COLUMNS).astype(int).tolist():
        view = seen[number]
        joints = network.see([view["image"].permute(1, 2, 0).numpy()], [view["K"].numpy()]).keypoints_2d[0]
        image = shown[number]["image"].permute(1, 2, 0).numpy()
        tiles.append(draw_skeleton(image, move(from_reduced(*[_TILE / view_size] * 2), joints)))
    return sheet([tiles[row * _COLUMNS : (row + 1) * _COLUMNS] for row in range(_ROWS)], ())


def _views(hands: Path, side: int) -> LabeledHandDataset:
    data = LabeledHandDataModule(hands, side, border="reflect")
    data.setup("test")
    return data.test_set


def draw_figure(suite: Suite, size: Size, out: Path) -> Path:
    """Draw `out/real.png` of the comparisons in the folders of `out`, and return its path."""
    results = {path.parent.name: json.loads(path.read_text()) for path in sorted(out.glob("*/results.json"))[::-1]}
    labels, schedule = max(suite.finetune_labels), next(iter(size.finetune_steps))
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(11, 5.7 * len(results)), layout="constrained")
        top, bottom = figure.subfigures(2, 1, height_ratios=(2.3, 3.4))  # type: ignore[misc]  # an array of two
        images = top.subplots(len(results), 1, squeeze=False)[:, 0]
        axes = bottom.subplots(len(results), 2, squeeze=False)
        for image, line, (kind, result) in zip(images, axes, results.items(), strict=True):
            rows: list[dict[str, Any]] = result["rows"]
            scores = {
                name: over_seeds(rows, f"fine-tuned, {schedule}", labels, name, _METRIC) for name in names_of(rows)
            }
            best = min(scores, key=lambda name: scores[name][0])
            arm = next(arm for arm in suite.arms if arm.name == best)
            job = Job(arm, result["seeds"][0], size, out / "hands" / kind, out / kind)
            image.imshow(montage(job.finetune_run(labels, schedule), job.hands, size.view_px))
            image.set_axis_off()
            title = f"People never seen, {kind}: {best}, fine-tuned on {labels:,} pseudo-labels"
            image.set_title(title, loc="left", fontsize=10, fontweight="bold")
            for axis, protocol in zip(line, ("frozen probe", f"fine-tuned, {schedule}"), strict=True):
                curves(axis, rows, protocol, _METRIC)
                axis.set_title(f"{kind}, {protocol}", loc="left", fontsize=10)
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
        figure.savefig(out / "real.png")
    return out / "real.png"

"""The figure of a comparison on real hands: what a network sees of people it has not seen, and what probes read.

`python -m experiments.real.figure OUT --network RUN` draws it again, with the hands of another network.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from experiments.rendered.summary import LOOK, curves
from peclr.data.datamodules import LabeledHandDataModule
from peclr.data.datasets import LabeledHandDataset
from peclr.drawing.skeleton import draw_skeleton
from peclr.drawing.tiles import sheet
from peclr.geometry.planar import from_reduced, move
from peclr.inference.network import load_network

_COLUMNS: Final = 10
_TILE: Final = 176  # px
_METRIC: Final = "root_relative_epe_mm"
_PROBE: Final = "frozen probe"


def montage(run: Path, hands: Path) -> NDArray[np.uint8]:
    """Draw what a fine-tuned network sees in hands of the evaluation split, evenly chosen; a row (H, W, 3), RGB."""
    network, tiles = load_network(run), []
    # the image is sharper than what is seen of it
    seen, shown = (_views(hands, side) for side in (network.view_size, _TILE))
    for number in np.linspace(0, len(seen) - 1, _COLUMNS).astype(int).tolist():
        view = seen[number]
        joints = network.see([view["image"].permute(1, 2, 0).numpy()], [view["K"].numpy()]).keypoints_2d[0]
        image = shown[number]["image"].permute(1, 2, 0).numpy()
        tiles.append(draw_skeleton(image, move(from_reduced(*[_TILE / network.view_size] * 2), joints)))
    return sheet([tiles], ())


def _views(hands: Path, side: int) -> LabeledHandDataset:
    data = LabeledHandDataModule(hands, side, border="reflect")
    data.setup("test")
    return data.test_set


def best_run(folder: Path, rows: list[dict[str, Any]], seed: int) -> Path:
    """The fine-tuned network with the least error, of one seed."""
    tuned = [row for row in rows if row["protocol"] != _PROBE and row["seed"] == seed]
    best = min(tuned, key=lambda row: float(row[_METRIC]))
    name = "".join(letter if letter.isalnum() else "-" for letter in best["weights"].lower())
    return folder / f"seed{seed}" / name / f"finetune-{best['protocol'].removeprefix('fine-tuned, ')}-{best['labels']}"


def draw_figure(out: Path, network: Path | None = None) -> Path:
    """Draw `out/real.png` of the comparisons below `out`, with the hands of a network, and return its path."""
    results = {path.parent.name: json.loads(path.read_text()) for path in sorted(out.glob("*/results.json"))[::-1]}
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(11, 1.35 * len(results) + 3.7), layout="constrained")
        top, bottom = figure.subfigures(2, 1, height_ratios=(1.35 * len(results), 3.5))  # type: ignore[misc]  # an array of two
        images = top.subplots(len(results), 1, squeeze=False)[:, 0]
        axes = bottom.subplots(1, len(results) + 1)
        for image, axis, (kind, result) in zip(images, axes, results.items(), strict=False):
            rows = result["rows"]
            run = network or best_run(out / kind, rows, result["seeds"][0])
            image.imshow(montage(run, out / "hands" / kind))
            image.set_axis_off()
            curves(axis, rows, _PROBE, _METRIC)
            axis.set_title(f"{kind} hands, frozen", loc="left", fontsize=10)
        curves(axes[-1], next(iter(results.values()))["rows"], _PROBE, "class_accuracy_percent")
        axes[-1].set_title(f"{next(iter(results))} hands, frozen", loc="left", fontsize=10)
        seeds = len(next(iter(results.values()))["seeds"])
        top.suptitle("Photographs of people never seen", x=0.01, ha="left", fontsize=11, fontweight="bold")
        handles, labels = axes[0].get_legend_handles_labels()
        title = f"{seeds} seed{'s'[: seeds > 1]}"
        figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False, fontsize=9, title=title)
        figure.savefig(out / "real.png")
    return out / "real.png"


def main(arguments: list[str] | None = None) -> int:
    """Parse the options and draw."""
    parser = argparse.ArgumentParser(prog="python -m experiments.real.figure", description=__doc__)
    parser.add_argument("out", type=Path, help="folder of `python -m experiments.real.run`")
    parser.add_argument("--network", type=Path, help="run whose hands are shown (default: the best of the comparison)")
    options = parser.parse_args(arguments)
    print(draw_figure(options.out, options.network))
    return 0


if __name__ == "__main__":
    sys.exit(main())

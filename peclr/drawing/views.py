"""`peclr inspect`: the views that a config trains on, their keypoints, and both views brought back to the crop.

Where matrices and pixels agree, hand and skeleton lie on themselves, and both views on top of each other, the first in
red and the second in cyan, have no colored edges; from two versions of a hand, that holds for the hand alone, and views
of two cameras, between which there is no such map, stay as they are.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from peclr.data.sources.images import write_image
from peclr.data.views.geometric import ViewGeometry, render_view, warp
from peclr.drawing.skeleton import draw_skeleton
from peclr.drawing.tiles import Image, sheet
from peclr.geometry.planar import Matrix, move, view_from_box, view_from_image, whole_image
from peclr.options import CommandParser, UsageError, check_writable, did_you_mean, expand_values, own_errors, shortened
from peclr.shipped import shipped_configs
from peclr.untrusted.text import check_imports, read_yaml

if TYPE_CHECKING:
    from torch import Tensor

    from peclr.data.datamodules import LabeledHandDataModule, PairedViewDataModule
    from peclr.data.datasets import LabeledHandDataset, PairedViewDataset
    from peclr.data.samples import HandSample

_TILE: Final = 256  # px
_IMAGE_SHARE: Final = 0.7  # of a tile; views may show more than the image
_CROP_COLOR = (255, 255, 255)
VIEW_COLORS: Final = ((255, 70, 50), (0, 215, 235))  # red and cyan: together they are gray
_PAIR_TITLES: Final = ("image: crop, view 1, view 2", "view 1", "view 2", "view 1 back", "view 2 back", "1 red, 2 cyan")
_LABELED_TITLES: Final = ("image: crop, view", "view", "view back to the crop", "crop")


def inspect_main(arguments: list[str]) -> int:
    """Draw what a config trains on, and return 0; ValueError says what the user can fix."""
    parser = CommandParser(
        prog="peclr inspect",
        description="Draw the views that a config trains on: misaligned geometry shows as colored edges.",
        epilog="Other options override the config's, as in `peclr fit`: --data.root=PATH",
    )
    parser.add_argument("--config", type=Path, required=True, help="a config of `peclr fit`")
    parser.add_argument("--out", type=Path, default=Path("inspect.png"), help="image to write (default: %(default)s)")
    parser.add_argument("--count", type=int, default=6, metavar="N", help="rows (default: %(default)s)")
    parser.add_argument("--epoch", type=int, default=0, help="whose views and order (default: %(default)s)")
    trust = "whose classes a config may name, too"
    parser.add_argument("--trust", action="append", default=["peclr"], metavar="PACKAGE", help=trust)
    options, overrides = parser.parse_known_args(arguments)
    if options.count < 1 or options.epoch < 0:
        raise ValueError(f"--count {options.count} --epoch {options.epoch}: expected at least 1 and at least 0")
    if not options.out.parent.is_dir() or options.out.suffix.lower() not in {".png", ".jpg"}:
        raise ValueError(f"--out {options.out}: expected a .png or .jpg in a folder that exists")
    check_writable(options.out.parent)

    module = read_data_module(options.config, overrides, options.trust)
    write_image(options.out, draw_views(module, options.count, options.epoch))
    print(options.out)
    return 0


def read_data_module(
    config: Path, overrides: Sequence[str], trusted: Sequence[str] = ("peclr",)
) -> "PairedViewDataModule | LabeledHandDataModule":
    """Make the data module of a YAML config, and nothing else of it; only classes of trusted packages are imported.

    Of the overrides, such as "--data.view_size=64", what does not begin with --data is refused.
    """
    import pytorch_lightning as pl
    from jsonargparse import ArgumentParser

    from peclr.data import datamodules
    from peclr.data.loading.amounts import describe
    from peclr.runs.aliases import config_mode, renewed_arguments

    if not config.is_file():
        raise FileNotFoundError(f"{config}: no such config{did_you_mean(str(config), shipped_configs())}")
    contents = read_yaml(config)
    if not isinstance(contents, dict) or "data" not in contents:
        raise ValueError(f"{config}: expected a config with `data`")
    check_imports(contents["data"], trusted, config)
    for word in overrides:
        check_imports([word, word.partition("=")[2]], trusted, word)
    parser = ArgumentParser(prog="peclr inspect", parser_mode=config_mode(), exit_on_error=False)
    parser.add_subclass_arguments(pl.LightningDataModule, "data", required=True)
    words = [f"--data={json.dumps(contents['data'])}", *renewed_arguments(overrides, [contents])]
    try:
        parsed = expand_values(parser.parse_args(words))
    except argparse.ArgumentError as refusal:
        raise UsageError(f"{config}: {shortened(str(refusal))}") from refusal
    with own_errors(parser):
        module = parser.instantiate_classes(parsed).data
    if isinstance(module, datamodules.PairedViewDataModule):
        chosen = {f"data.{name}": value for name, value in module.chosen.items()}
        if line := describe(module.pairs, chosen):
            print(f"peclr: {line}", file=sys.stderr)
    if not isinstance(module, datamodules.PairedViewDataModule | datamodules.LabeledHandDataModule):
        raise ValueError(f"{config}: data is a {type(module).__name__}, of which there are no views to draw")
    return module


def draw_views(module: "PairedViewDataModule | LabeledHandDataModule", count: int, epoch: int = 0) -> Image:
    """Draw the first `count` items that training goes through in an epoch: (H, W, 3), RGB."""
    module.setup("fit")
    module.num_workers = 0
    sampler = module.train_dataloader().sampler
    sampler.set_epoch(epoch)
    return draw_items(module.train_set, [key for key, _ in zip(sampler, range(count), strict=False)])


def draw_items(dataset: "PairedViewDataset | LabeledHandDataset", keys: Sequence[tuple[int, int]]) -> Image:
    """Draw items of a data set, one row each, for keys (epoch, index): (H, W, 3), RGB."""
    from peclr.data.datasets import PairedViewDataset

    if isinstance(dataset, PairedViewDataset):
        return sheet([pair_tiles(dataset, key) for key in keys], [_PAIR_TITLES])
    return sheet([_labeled_row(dataset, key) for key in keys], [_LABELED_TITLES])


def pair_tiles(dataset: "PairedViewDataset", key: tuple[int, int]) -> list[Image]:
    """Draw a pair: the image with crop box and views, both views, both back in the crop, these on top of each other."""
    item = dataset[key]
    source, images = dataset.images_of((key[0], item["index"]))
    samples = [source[image] for image in images]
    size = dataset.view_size
    from_image, from_crop = (item[name].numpy().astype(np.float64) for name in ("view_from_image", "view_from_crop"))
    views = [_enlarge(view) for view in item["views"]]
    # normalized coordinates are the same whatever the number of pixels
    back_from_view = [view_from_image(matrix, whole_image(_TILE, _TILE), _TILE) for matrix in np.linalg.inv(from_crop)]
    back = [warp(view, matrix, _TILE) for view, matrix in zip(views, back_from_view, strict=True)]
    # through the view and back: these joints are where the matrices of the batch take them
    view_tiles = list(view_from_box(whole_image(size, size), _TILE) @ from_image)
    matrices = [*view_tiles, *(a @ b for a, b in zip(back_from_view, view_tiles, strict=True))]
    drawn = [_with_joints(*row) for row in zip([*views, *back], samples * 2, matrices, strict=True)]
    # on top of each other, gray levels equalized
    gray = [cv2.equalizeHist(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)) for image in back]
    return [_whole_image(samples[0], from_image, size), *drawn, np.stack([gray[0], gray[1], gray[1]], axis=-1)]


def _labeled_row(dataset: "LabeledHandDataset", key: tuple[int, int]) -> list[Image]:
    item = dataset[key]
    sample, size = dataset.source[item["index"]], dataset.view_size
    from_image = np.linalg.inv(item["image_from_view"].numpy().astype(np.float64))
    view, tile_from_view = _enlarge(item["image"]), view_from_box(whole_image(size, size), _TILE)
    crop, crop_from_image, _ = render_view(sample, ViewGeometry(), _TILE)
    crop_from_tile = crop_from_image @ np.linalg.inv(tile_from_view @ from_image)
    # the labels that the network learns, not those of the image
    known = np.where(item["joint_valid"][:, None], item["joints_25d"][:, :2].double(), np.nan)
    labels = move(tile_from_view, known)
    return [
        _whole_image(sample, from_image[None], size),
        draw_skeleton(view, labels),
        draw_skeleton(warp(view, crop_from_tile, _TILE), move(crop_from_tile, labels)),
        _with_joints(crop, sample, crop_from_image),
    ]


def _whole_image(sample: "HandSample", views_from_image: Matrix, size: int) -> Image:
    """Fit the image into a tile, and outline its crop box and views of that side."""
    height, width = sample["image"].shape[:2]
    middle, half = np.array([width - 1, height - 1]) / 2, max(width, height) / _IMAGE_SHARE / 2
    tile_from_image = view_from_box(np.concatenate((middle - half, middle + half)), _TILE)
    tile = _with_joints(warp(sample["image"], tile_from_image, _TILE), sample, tile_from_image)
    shown = [view_from_box(sample["crop_box"], size), *views_from_image]
    left, top, right, bottom = whole_image(size, size)
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    for color, shown_from_image in zip((_CROP_COLOR, *VIEW_COLORS), shown, strict=False):
        outline = move(tile_from_image @ np.linalg.inv(shown_from_image), corners)
        corners_16 = np.rint(outline * 16).astype(np.int32)
        cv2.polylines(tile, [corners_16], isClosed=True, color=color, lineType=cv2.LINE_AA, shift=4)
    return tile


def _with_joints(tile: Image, sample: "HandSample", tile_from_image: Matrix) -> Image:
    if sample["joints_2d"] is None:
        return tile.copy()
    return draw_skeleton(tile, move(tile_from_image, sample["joints_2d"].astype(np.float64)))


def _enlarge(view: "Tensor") -> Image:
    pixels = view.permute(1, 2, 0).contiguous().numpy()
    return cv2.resize(pixels, (_TILE, _TILE), interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)

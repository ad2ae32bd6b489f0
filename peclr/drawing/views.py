"""`peclr inspect`: the views that a config trains on, their keypoints, and both views brought back to the crop.

One row for each pair: the photograph with the outlines of crop box and views, view 1, view 2, both brought back to the
crop by `crop_from_view`, and both on top of each other, the first in red and the second in cyan. Where matrices and
pixels agree, hand and skeleton lie on themselves and the last picture has no colored edges; from two versions of a
hand, that holds for the hand alone.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from peclr.data.sources.images import write_image
from peclr.data.views.geometric import view_from_image, warp
from peclr.drawing.skeleton import draw_skeleton
from peclr.drawing.tiles import Image, Matrix, box_to_tile, move, sheet
from peclr.geometry.planar import whole_picture
from peclr.options import check_writable, expand_values, load_yaml, own_errors

if TYPE_CHECKING:
    from peclr.data.datamodules import LabeledHandDataModule, PairedViewDataModule
    from peclr.data.datasets import LabeledHandDataset, PairedViewDataset
    from peclr.data.samples import HandSample

_TILE: Final = 256  # px
_PHOTO_SHARE: Final = 0.7  # of a tile; views may show more than the photograph
_CROP_COLOR = (255, 255, 255)
VIEW_COLORS: Final = ((255, 70, 50), (0, 215, 235))  # red and cyan: together they are gray
_PAIR_TITLES: Final = (
    "photograph: crop, view 1, view 2",
    "view 1",
    "view 2",
    "view 1 back",
    "view 2 back",
    "1 red, 2 cyan",
)
_LABELED_TITLES: Final = ("photograph: crop, view", "view", "view back to the crop", "crop")


def inspect_main(arguments: list[str]) -> int:
    """Draws what a config trains on.

    Args:
        arguments: What follows `peclr inspect`.

    Returns:
        0; ValueError tells what the user can mend.
    """
    parser = argparse.ArgumentParser(
        prog="peclr inspect",
        description="Draw the views that a config trains on: misaligned geometry shows as colored edges.",
        epilog="Other options override the config's, as in `peclr fit`: --data.sources.init_args.root=PATH",
    )
    parser.add_argument("--config", type=Path, required=True, help="a config of `peclr fit`")
    parser.add_argument("--out", type=Path, default=Path("inspect.png"), help="picture to write (default: %(default)s)")
    parser.add_argument("--count", type=int, default=6, metavar="N", help="rows (default: %(default)s)")
    parser.add_argument("--epoch", type=int, default=0, help="whose views and order (default: %(default)s)")
    options, overrides = parser.parse_known_args(arguments)
    if options.count < 1 or options.epoch < 0:
        raise ValueError(f"--count {options.count} --epoch {options.epoch}: expected at least 1 and at least 0")
    if not options.out.parent.is_dir() or options.out.suffix.lower() not in {".png", ".jpg"}:
        raise ValueError(f"--out {options.out}: expected a .png or .jpg in a folder that exists")
    check_writable(options.out.parent)

    picture = draw_views(read_data_module(options.config, overrides), options.count, options.epoch)
    write_image(options.out, picture)
    print(options.out)
    return 0


def read_data_module(config: Path, overrides: Sequence[str]) -> "PairedViewDataModule | LabeledHandDataModule":
    """Makes the data module of a config, and nothing else of it.

    Args:
        config: A YAML file with `data`.
        overrides: Such as "--data.view_size=64"; what does not begin with --data is refused.
    """
    import pytorch_lightning as pl
    import yaml
    from jsonargparse import ArgumentParser

    from peclr.data import datamodules
    from peclr.runs.aliases import config_mode, renewed_argument

    try:
        contents = load_yaml(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{config} cannot be read: {error}") from error
    if not isinstance(contents, dict) or "data" not in contents:
        raise ValueError(f"{config}: expected a config with `data`")
    parser = ArgumentParser(prog="peclr inspect", parser_mode=config_mode())
    parser.add_subclass_arguments(pl.LightningDataModule, "data", required=True)
    words = [f"--data={json.dumps(contents['data'])}", *map(renewed_argument, overrides)]
    parsed = expand_values(parser.parse_args(words))
    with own_errors(parser):
        module = parser.instantiate_classes(parsed).data
    if not isinstance(module, datamodules.PairedViewDataModule | datamodules.LabeledHandDataModule):
        raise ValueError(f"{config}: data is a {type(module).__name__}, of which there are no views to draw")
    return module


def draw_views(module: "PairedViewDataModule | LabeledHandDataModule", count: int, epoch: int = 0) -> Image:
    """Draws the first items that training goes through in an epoch.

    Args:
        module: Of paired views, or of labeled hands.
        count: Number of rows; fewer are drawn where an epoch is shorter.
        epoch: From 0.

    Returns:
        (H, W, 3), RGB.
    """
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
    """The row of a pair: photograph, both views, both brought back to the crop, and these on top of each other."""
    item = dataset[key]
    source, images = dataset.images_of((key[0], item["index"]))
    samples = [source[image] for image in images]
    size = dataset.view_size
    whole = whole_picture(size, size)
    from_image = item["view_from_image"].numpy().astype(np.float64)
    from_crop = item["view_from_crop"].numpy().astype(np.float64)
    views = [_enlarge(view.permute(1, 2, 0).contiguous().numpy()) for view in item["views"]]
    # normalized coordinates are the same whatever the number of pixels
    back_from_view = [
        view_from_image(np.linalg.inv(matrix), whole_picture(_TILE, _TILE), _TILE) for matrix in from_crop
    ]
    back = [warp(view, matrix, _TILE) for view, matrix in zip(views, back_from_view, strict=True)]
    tiles_from_image = [box_to_tile(whole, _TILE) @ matrix for matrix in from_image]
    tiles = [*views, *back]
    # through the view and back: these joints are where the matrices of the batch take them
    matrices = [*tiles_from_image, *(a @ b for a, b in zip(back_from_view, tiles_from_image, strict=True))]
    drawn = [_with_joints(*row) for row in zip(tiles, samples * 2, matrices, strict=True)]
    return [_photograph(samples[0], from_image, size), *drawn, _anaglyph(*back)]


def _labeled_row(dataset: "LabeledHandDataset", key: tuple[int, int]) -> list[Image]:
    item = dataset[key]
    sample = dataset.source[item["index"]]
    size = dataset.view_size
    from_image = np.linalg.inv(item["image_from_view"].numpy().astype(np.float64))
    view = _enlarge(item["image"].permute(1, 2, 0).contiguous().numpy())
    tile_from_view = box_to_tile(whole_picture(size, size), _TILE)
    crop_from_photo = box_to_tile(sample["crop_box"], _TILE)
    crop_from_tile = crop_from_photo @ np.linalg.inv(tile_from_view @ from_image)
    # the labels that the network learns, not those of the photograph
    labels = move(tile_from_view, item["joints_25d"][:, :2].numpy().astype(np.float64))
    return [
        _photograph(sample, from_image[None], size),
        draw_skeleton(view, labels),
        draw_skeleton(warp(view, crop_from_tile, _TILE), move(crop_from_tile, labels)),
        _with_joints(warp(sample["image"], crop_from_photo, _TILE), sample, crop_from_photo),
    ]


def _photograph(sample: "HandSample", views_from_photo: Matrix, size: int) -> Image:
    """The photograph, fitted into a tile, with the outlines of the crop box and of views of that side."""
    height, width = sample["image"].shape[:2]
    middle, half = np.array([width - 1, height - 1]) / 2, max(width, height) / _PHOTO_SHARE / 2
    tile_from_photo = box_to_tile(np.concatenate((middle - half, middle + half)), _TILE)
    tile = _with_joints(warp(sample["image"], tile_from_photo, _TILE), sample, tile_from_photo)
    shown = [box_to_tile(sample["crop_box"], size), *views_from_photo]
    left, top, right, bottom = whole_picture(size, size)
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    for color, picture_from_photo in zip((_CROP_COLOR, *VIEW_COLORS), shown, strict=False):
        outline = move(tile_from_photo @ np.linalg.inv(picture_from_photo), corners)
        cv2.polylines(tile, [np.rint(outline * 16).astype(np.int32)], True, color, 1, cv2.LINE_AA, 4)
    return tile


def _anaglyph(first: Image, second: Image) -> Image:
    """Two pictures on top of each other, gray levels equalized: the first in red, the second in green and blue."""
    gray = [cv2.equalizeHist(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)) for picture in (first, second)]
    return cv2.merge([gray[0], gray[1], gray[1]]).astype(np.uint8, copy=False)


def _with_joints(picture: Image, sample: "HandSample", picture_from_photo: Matrix) -> Image:
    if sample["joints_2d"] is None:
        return picture.copy()
    return draw_skeleton(picture, move(picture_from_photo, sample["joints_2d"].astype(np.float64)))


def _enlarge(view: Image) -> Image:
    return cv2.resize(view, (_TILE, _TILE), interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)

"""`peclr inspect`: the views that a config trains on, their keypoints, and both views brought back to the crop.

One row for each pair: the photograph with the outlines of crop box and views, view 1, view 2, both brought back to the
crop by `crop_from_view`, and both on top of each other, the first in red and the second in cyan. Where matrices and
pixels agree, hand and skeleton lie on themselves and the last picture has no coloured edges; from two versions of a
hand, that holds for the hand alone.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from peclr.data.sources.images import write_image
from peclr.drawing.skeleton import draw_skeleton
from peclr.options import check_writable, expand_values, load_yaml, own_errors

if TYPE_CHECKING:
    from peclr.data.datamodules import LabelledHandDataModule, PairedViewDataModule
    from peclr.data.datasets import LabelledHandDataset, PairedViewDataset
    from peclr.data.samples import HandSample

Image = NDArray[np.uint8]
Matrix = NDArray[np.float64]

_TILE: Final = 256  # px
_PHOTO_SHARE: Final = 0.7  # of a tile; views may show more than the photograph
_GAP, _TITLE_HEIGHT = 6, 26
_PAPER, _INK = 255, (60, 60, 60)
_CROP_COLOUR = (255, 255, 255)
VIEW_COLOURS: Final = ((255, 70, 50), (0, 215, 235))  # red and cyan: together they are grey
_PAIR_TITLES: Final = (
    "photograph: crop, view 1, view 2",
    "view 1",
    "view 2",
    "view 1 back",
    "view 2 back",
    "1 red, 2 cyan",
)
_LABELLED_TITLES: Final = ("photograph: crop, view", "view", "view back to the crop", "crop")


def inspect_main(arguments: list[str]) -> int:
    """Draws what a config trains on.

    Args:
        arguments: What follows `peclr inspect`.

    Returns:
        0; ValueError tells what the user can mend.
    """
    parser = argparse.ArgumentParser(
        prog="peclr inspect",
        description="Draw the views that a config trains on: misaligned geometry shows as coloured edges.",
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


def read_data_module(config: Path, overrides: Sequence[str]) -> "PairedViewDataModule | LabelledHandDataModule":
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
    if not isinstance(module, datamodules.PairedViewDataModule | datamodules.LabelledHandDataModule):
        raise ValueError(f"{config}: data is a {type(module).__name__}, of which there are no views to draw")
    return module


def draw_views(module: "PairedViewDataModule | LabelledHandDataModule", count: int, epoch: int = 0) -> Image:
    """Draws the first items that training goes through in an epoch.

    Args:
        module: Of paired views, or of labelled hands.
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


def draw_items(dataset: "PairedViewDataset | LabelledHandDataset", keys: Sequence[tuple[int, int]]) -> Image:
    """Draws items of a data set, one row each, for keys (epoch, index): (H, W, 3), RGB."""
    from peclr.data.datasets import PairedViewDataset

    if isinstance(dataset, PairedViewDataset):
        return _sheet(_PAIR_TITLES, [pair_tiles(dataset, key) for key in keys])
    return _sheet(_LABELLED_TITLES, [_labelled_row(dataset, key) for key in keys])


def pair_tiles(dataset: "PairedViewDataset", key: tuple[int, int]) -> list[Image]:
    """The row of a pair: photograph, both views, both brought back to the crop, and these on top of each other."""
    item = dataset[key]
    source, images = dataset.images_of((key[0], item["index"]))
    samples = [source[image] for image in images]
    from_image = item["view_from_image"].numpy().astype(np.float64)
    from_crop = item["view_from_crop"].numpy().astype(np.float64)
    views = [view.permute(1, 2, 0).contiguous().numpy() for view in item["views"]]
    size = dataset.view_size
    back = [_back_to_crop(view, matrix, size) for view, matrix in zip(views, from_crop, strict=True)]
    crops = [_crop_from_photo(sample, _TILE) for sample in samples]
    skeleton = _tile_from(size)
    with_joints = [
        _with_joints(_enlarge(view), sample, skeleton @ matrix)
        for view, sample, matrix in zip(views, samples, from_image, strict=True)
    ]
    # through the view and back: these joints are where the matrices of the batch take them
    back_with_joints = [
        _with_joints(picture, sample, _crop_from_view(crop, _TILE) @ skeleton @ image)
        for picture, sample, crop, image in zip(back, samples, from_crop, from_image, strict=True)
    ]
    photo = _photograph(samples[0], [(_CROP_COLOUR, crops[0], _TILE)], from_image, size)
    return [photo, *with_joints, *back_with_joints, _anaglyph(*back)]


def _labelled_row(dataset: "LabelledHandDataset", key: tuple[int, int]) -> list[Image]:
    item = dataset[key]
    sample = dataset.source[item["index"]]
    size = dataset.view_size
    view_from_image = np.linalg.inv(item["image_from_view"].numpy().astype(np.float64))
    view = item["image"].permute(1, 2, 0).contiguous().numpy()
    tile_from_view = _tile_from(size)
    crop_from_photo = _crop_from_photo(sample, _TILE)
    labels = item["joints_25d"][:, :2].numpy().astype(np.float64)
    crop_from_tile = crop_from_photo @ np.linalg.inv(tile_from_view @ view_from_image)
    back = _warp(_enlarge(view), crop_from_tile, _TILE)
    return [
        _photograph(sample, [(_CROP_COLOUR, crop_from_photo, _TILE)], view_from_image[None], size),
        # the labels that the network learns, not those of the photograph
        draw_skeleton(_enlarge(view), _apply(tile_from_view, labels)),
        draw_skeleton(back, _apply(crop_from_tile @ tile_from_view, labels)),
        _with_joints(_warp(sample["image"], crop_from_photo, _TILE), sample, crop_from_photo),
    ]


def _back_to_crop(view: Image, view_from_crop: Matrix, size: int) -> Image:
    """A view (size, size, 3) as a picture of the un-augmented crop (_TILE, _TILE, 3)."""
    return _warp(_enlarge(view), _crop_from_view(view_from_crop, _TILE), _TILE)


def _crop_from_view(view_from_crop: Matrix, size: int) -> Matrix:
    """(3, 3), pixels of the crop ← pixels of the view, both of that side; the argument is normalised."""
    pixels = np.array([[size / 2, 0, (size - 1) / 2], [0, size / 2, (size - 1) / 2], [0, 0, 1]])
    matrix: Matrix = pixels @ np.linalg.inv(view_from_crop) @ np.linalg.inv(pixels)
    return matrix


def _crop_from_photo(sample: "HandSample", size: int) -> Matrix:
    """(3, 3), pixels of the un-augmented crop ← pixels of the photograph."""
    left, top, right, bottom = sample["crop_box"].tolist()
    x, y = size / (right - left), size / (bottom - top)
    return np.array([[x, 0, -x * left - 0.5], [0, y, -y * top - 0.5], [0, 0, 1]])


def _tile_from(size: int) -> Matrix:
    """(3, 3), pixels of a tile ← pixels of a picture of side `size` that is enlarged to it."""
    factor = _TILE / size
    return np.array([[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2], [0, 0, 1]])


def _photograph(
    sample: "HandSample", outlines: list[tuple[tuple[int, int, int], Matrix, int]], views: Matrix, size: int
) -> Image:
    """The photograph, fitted into a tile, with the outlines of what pictures of it show."""
    image = sample["image"]
    height, width = image.shape[:2]
    factor = _PHOTO_SHARE * _TILE / max(height, width)
    # edges stay edges, and the middle stays in the middle
    tile_from_photo = np.array(
        [
            [factor, 0, (factor - 1) / 2 + (_TILE - factor * width) / 2],
            [0, factor, (factor - 1) / 2 + (_TILE - factor * height) / 2],
            [0, 0, 1],
        ]
    )
    tile = _with_joints(_warp(image, tile_from_photo, _TILE), sample, tile_from_photo)
    shown = [*outlines, *((colour, view, size) for colour, view in zip(VIEW_COLOURS, views, strict=False))]
    for colour, picture_from_photo, side in shown:
        end = side - 0.5
        corners = np.array([[-0.5, -0.5], [end, -0.5], [end, end], [-0.5, end]])
        outline = _apply(tile_from_photo @ np.linalg.inv(picture_from_photo), corners)
        cv2.polylines(tile, [np.rint(outline * 16).astype(np.int32)], True, colour, 1, cv2.LINE_AA, 4)
    return tile


def _anaglyph(first: Image, second: Image) -> Image:
    """Two pictures on top of each other, grey levels equalised: the first in red, the second in green and blue."""
    grey = [cv2.equalizeHist(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)) for picture in (first, second)]
    return cv2.merge([grey[0], grey[1], grey[1]]).astype(np.uint8, copy=False)


def _with_joints(picture: Image, sample: "HandSample", picture_from_photo: Matrix) -> Image:
    if sample["joints_2d"] is None:
        return picture.copy()
    return draw_skeleton(picture, _apply(picture_from_photo, sample["joints_2d"].astype(np.float64)))


def _enlarge(view: Image) -> Image:
    return cv2.resize(view, (_TILE, _TILE), interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)


def _warp(picture: Image, matrix: Matrix, size: int) -> Image:
    from peclr.data.views.geometric import warp

    return warp(picture, matrix, size)


def _apply(matrix: Matrix, points: Matrix) -> Matrix:
    moved: Matrix = points @ matrix[:2, :2].T + matrix[:2, 2]
    return moved


def _sheet(titles: Sequence[str], rows: Sequence[Sequence[Image]]) -> Image:
    """Rows of tiles below their titles."""
    step = _TILE + _GAP
    canvas: Any = np.full((_TITLE_HEIGHT + len(rows) * step, len(titles) * step - _GAP, 3), _PAPER, np.uint8)
    for column, title in enumerate(titles):
        place = (column * step + 4, _TITLE_HEIGHT - 9)
        cv2.putText(canvas, title, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, _INK, 1, cv2.LINE_AA)
    for line, tiles in enumerate(rows):
        for column, tile in enumerate(tiles):
            top, left = _TITLE_HEIGHT + line * step, column * step
            canvas[top : top + _TILE, left : left + _TILE] = tile
    sheet: Image = canvas
    return sheet

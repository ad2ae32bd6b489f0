"""The label files of 2-D hands as arrays, see `peclr.data.sources.coco_hands`; does not import torch."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from peclr.data.samples import Side
from peclr.data.sources.coco_keypoints import CocoImage, by_id
from peclr.data.sources.layouts import label_files
from peclr.data.sources.packed_labels import Array
from peclr.geometry.joints import NUM_JOINTS
from peclr.untrusted.large_json import each, map_json
from peclr.untrusted.text import as_type, read_json, shown

DataSet2D = Literal["coco_wholebody", "halpe", "onehand10k", "panoptic", "hint"]

SIDES: Final[tuple[Side, ...]] = ("right", "left", "unknown")  # as numbers in arrays
_FARTHEST: Final = 1e6  # px; no image is as large
_SMALLEST: Final = 2.0  # px, of the longer side of a hand's box
_HALPE: Final[Mapping[Side, int]] = {"left": 94, "right": 115}  # the first of a hand's joints among 136
_HALPE_NUMBERS: Final = 3 * 136

_ONE_EACH: Final = msgspec.Meta(min_length=NUM_JOINTS, max_length=NUM_JOINTS)  # of the joints
_Points = Annotated[list[tuple[float, float, float]], _ONE_EACH]
_Triples = Annotated[list[float], msgspec.Meta(min_length=3 * NUM_JOINTS, max_length=3 * NUM_JOINTS)]
_Box = tuple[float, float, float, float]
_Side = Annotated[int, msgspec.Meta(gt=0, le=100_000)]  # px

_log = logging.getLogger(__name__)


class _Hand(NamedTuple):
    """A hand as its file has it; px whose origin is the center of the first pixel."""

    image: str  # file below the root
    size: tuple[int, int]  # width and height of the image, (0, 0) where the file does not say it
    side: Side
    joints: Array  # (21, 2), NaN where nobody labeled one
    box: Array | None  # (4,), left, top, right, bottom; None goes around the joints
    number: int  # of the annotation, in its file or among files
    where: str
    occluded: Array | None = None  # (21,) bool


class _WholeBody(msgspec.Struct):
    image_id: int | str
    lefthand_valid: bool | int
    righthand_valid: bool | int
    lefthand_kpts: _Triples
    righthand_kpts: _Triples
    lefthand_box: _Box
    righthand_box: _Box

    def hands(self) -> Iterator[tuple[Side, Sequence[float], _Box | None]]:
        if self.lefthand_valid:
            yield "left", self.lefthand_kpts, self.lefthand_box
        if self.righthand_valid:
            yield "right", self.righthand_kpts, self.righthand_box


class _Halpe(msgspec.Struct):
    image_id: int | str
    keypoints: list[float] = []  # some persons have none

    def hands(self) -> Iterator[tuple[Side, Sequence[float], _Box | None]]:
        if len(self.keypoints) not in (0, _HALPE_NUMBERS):
            raise ValueError(f"keypoints are {len(self.keypoints)} numbers; expected {_HALPE_NUMBERS}")
        for side, first in _HALPE.items():
            if numbers := self.keypoints[3 * first : 3 * (first + NUM_JOINTS)]:
                yield side, numbers, None


class _OneHand(msgspec.Struct):
    image_id: int | str
    bbox: _Box
    keypoints: _Triples

    def hands(self) -> Iterator[tuple[Side, Sequence[float], _Box | None]]:
        yield "unknown", self.keypoints, self.bbox


class _Image(CocoImage):
    width: _Side
    height: _Side


class _Document(msgspec.Struct):
    images: list[_Image]
    annotations: list[msgspec.Raw]


class _PanopticHand(msgspec.Struct):
    hand_pts: _Points
    is_left: bool | float  # 0 and 1, or false and true


class _DomeHand(msgspec.Struct):
    joint_self: _Points
    img_paths: str


class _Dome(msgspec.Struct):
    root: list[_DomeHand]


class _HIntHand(msgspec.Struct):
    keypoints: Annotated[list[tuple[float, float]], _ONE_EACH]
    occlusion: Annotated[list[float], _ONE_EACH]
    bbox: Annotated[list[_Box], msgspec.Meta(min_length=1, max_length=1)]


def read_labels(dataset: DataSet2D, root: Path, split: str, *, progress: bool = False) -> dict[str, Array]:
    """Read the labels of a split; ValueError names the file, the place and the value that is wrong.

    Of N hands, `joints_2d` (N, 21, 2), px, NaN where unknown; `box` (N, 4), left, top, right, bottom, px; `side` (N,),
    number in `SIDES`; `number` (N,), of the annotation; `image` (N,), which image; of HInt, `occluded` (N, 21) bool.
    Of M images, `image_name` (M,), below the root, and `image_size` (M, 2), width and height, px, 0 where the file does
    not say it. `left_out` (1,) hands, whose boxes are no box.
    """
    images, sizes = dict[str, int](), list[tuple[int, int]]()
    found: dict[str, list[Any]] = {name: [] for name in ("joints_2d", "box", "side", "number", "image", "occluded")}
    left_out = 0
    for hand in _READERS[dataset](label_files(dataset, root, split), root, split, progress=progress):
        known = np.isfinite(hand.joints).all(axis=1)
        if not known.any():
            continue
        around = hand.joints[known]
        box = np.concatenate([around.min(axis=0), around.max(axis=0)]) if hand.box is None else hand.box
        if not (box[2:] - box[:2]).max() >= _SMALLEST or not (box[2:] >= box[:2]).all():
            left_out += 1
            if left_out == 1:
                reason = f"its box is {box.tolist()}, left, top, right, bottom in px"
                _log.warning("%s: the %s hand is left out: %s", hand.where, hand.side, reason)
            continue
        number = images.setdefault(hand.image, len(images))
        sizes += [hand.size] * (number == len(sizes))
        row = (hand.joints, box, SIDES.index(hand.side), hand.number, number, hand.occluded)
        for values, value in zip(found.values(), row, strict=True):
            values.append(value)
    if not images:
        without = f"; {left_out:,} have no box" if left_out else ""
        raise ValueError(f"{label_files(dataset, root, split)[0]}: no hand is labeled{without}")
    kinds = {"joints_2d": np.float32, "box": np.float32, "side": np.uint8, "image": np.int32, "occluded": np.bool_}
    arrays: dict[str, Array] = {
        name: np.array(values, kinds.get(name, np.int64)) for name, values in found.items() if values[0] is not None
    }
    return arrays | {
        "image_name": np.array([name.encode(errors="surrogateescape") for name in images]),
        "image_size": np.array(sizes, np.int32),
        "left_out": np.array([left_out]),
    }


def _coco(
    files: Sequence[Path], root: Path, split: str, *, kind: Any, folders: Mapping[str, str], progress: bool
) -> Iterator[_Hand]:
    """The hands of a document of COCO, whose keypoints count pixels, and whose boxes begin at the image's corner."""
    path, folder = files[0], folders[split]
    document, release = map_json(path, _Document, "{images: […], annotations: […]}")
    images = by_id(document.images, path)
    for number, annotation in each(path, document.annotations, kind, release, progress=progress):
        where = f"{path}: annotation {number}"
        image = images.get(annotation.image_id)
        if image is None:
            raise ValueError(f"{where} is of image {annotation.image_id}, which is not listed")
        name = image.file_name if "/" in image.file_name else f"{folder}/{image.file_name}"
        try:
            for side, numbers, box in annotation.hands():
                edges = None if box is None else _finite(box, "the box")
                edges = None if edges is None else np.concatenate([edges[:2], edges[:2] + edges[2:]]) - 0.5
                joints = _joints(np.array(numbers).reshape(-1, 3))
                yield _Hand(name, (image.width, image.height), side, joints, edges, number, where)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None


def _panoptic(files: Sequence[Path], root: Path, split: str, *, progress: bool) -> Iterator[_Hand]:
    for number, path in enumerate(tqdm(files, f"hands of {split}", disable=not progress, mininterval=0.5)):
        name = path.relative_to(root)
        if name.parts[0] == "hand_labels":
            hand = as_type(read_json(path), _PanopticHand, path)
            image = name.with_suffix(".jpg").as_posix()
            yield _one_hand(path, image, "left" if hand.is_left else "right", hand.hand_pts, number)
        elif split == "train":
            for place, dome in enumerate(as_type(read_json(path), _Dome, path).root):
                where = f"{path}: hand {place}"
                yield _one_hand(where, f"{name.parent}/{dome.img_paths}", "unknown", dome.joint_self, place)


def _hint(files: Sequence[Path], root: Path, split: str, *, progress: bool) -> Iterator[_Hand]:
    for number, path in enumerate(tqdm(files, f"hands of {split}", disable=not progress, mininterval=0.5)):
        side: Side = "left" if path.stem.endswith("_l") else "right"
        if path.stem[-2:] not in ("_l", "_r"):
            raise ValueError(f"{path}: expected a name that ends in _l or _r, which is the hand's side")
        hands = as_type(read_json(path), list[_HIntHand], path)
        if len(hands) != 1:
            raise ValueError(f"{path}: {len(hands)} hands; expected one")
        hand = hands[0]
        points = [(x, y, 1.0) for x, y in hand.keypoints]
        one = _one_hand(path, path.relative_to(root).with_suffix(".jpg").as_posix(), side, points, number)
        occluded, box = np.array(hand.occlusion) > 0, _finite(hand.bbox[0], f"{path}: the box")
        yield one._replace(box=box, occluded=occluded)


def _one_hand(where: object, image: str, side: Side, points: Sequence[Sequence[float]], number: int) -> _Hand:
    try:
        return _Hand(image, (0, 0), side, _joints(np.array(points)), None, number, str(where))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _joints(triples: NDArray[np.float64]) -> Array:
    """Joints (21, 2) of their x, y and flags (21, 3), of which 0 is unknown."""
    points = _finite(triples, "a joint")
    return np.where(points[:, 2:] > 0, points[:, :2], np.nan)


def _finite(values: Any, what: str) -> NDArray[np.float64]:
    array = np.array(values, np.float64)
    if (wrong := ~(np.abs(array) < _FARTHEST)).any():
        row = array[wrong.any(axis=-1)][0] if array.ndim > 1 else array
        raise ValueError(f"{what} is {shown(row.tolist())}; expected px of an image")
    return array


_READERS: Final[Mapping[DataSet2D, Callable[..., Iterator[_Hand]]]] = {
    "coco_wholebody": partial(_coco, kind=_WholeBody, folders={"train": "train2017", "val": "val2017"}),
    "halpe": partial(_coco, kind=_Halpe, folders={"train": "hico_20160224_det/images/train2015", "val": "val2017"}),
    "onehand10k": partial(_coco, kind=_OneHand, folders={"train": "Train/source", "test": "Test/source"}),
    "panoptic": _panoptic,
    "hint": _hint,
}

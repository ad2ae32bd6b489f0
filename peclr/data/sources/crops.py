"""Hands cut out beforehand: a small JPEG for each, with its labels and the matrix back to its image.

Decoding a 1600×1200 frame costs 15 ms, a crop of 256×256 less than one. Crops show more than the crop box, by the
factor `context`, as views are rotated, shifted and widened; anything beyond is black.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import cv2
import msgspec
import numpy as np

from peclr.data.samples import HandSample, HandSource, hand_sample, hash_of
from peclr.data.sources.images import in_threads, read_image
from peclr.data.sources.layouts import MANIFEST
from peclr.data.sources.listing import some
from peclr.data.sources.packed_labels import PackedArrays, replacing, write_packed
from peclr.data.views.geometric import PUBLISHED_TRANSLATION, GeometryRange, ViewGeometry, render_view
from peclr.geometry.joints import NUM_JOINTS
from peclr.geometry.planar import Matrix, mirror, move
from peclr.options import naming
from peclr.untrusted.text import as_type

# What the default augmentation can show, in half sides of the crop box: a square's corner, rotated onto an axis and
# widened by the largest scale, and the shift, which is twice the fraction in these units.
DEFAULT_CONTEXT: Final = round(math.sqrt(2) * (GeometryRange().scale[1] + 2 * PUBLISHED_TRANSLATION), 2)
KIND: Final = "crops"
_SIDES: Final[tuple[Literal["right", "left", "unknown"], ...]] = ("right", "left", "unknown")
_FOLDER_SIZE: Final = 1000  # crops in one folder
# type and shape of each array, but for its first dimension
_ARRAYS: Final[dict[str, tuple[type[np.generic], tuple[int, ...]]]] = {
    **dict.fromkeys(("hand", "version", "hand_of_version"), (np.int64, ())),
    "image_from_crop": (np.float64, (3, 3)),
    "crop_box": (np.float64, (4,)),
    "K": (np.float32, (3, 3)),
    "joints_3d": (np.float32, (NUM_JOINTS, 3)),
    "joints_2d": (np.float32, (NUM_JOINTS, 2)),
    "scale_m": (np.float32, ()),
    "side": (np.uint8, ()),
    "id": (np.bytes_, ()),
}

Row = dict[str, Any]


class _Facts(msgspec.Struct):
    source: str
    skipped: dict[str, str]


class PreparedCrops(HandSource):
    """Crops that `peclr prepare … --crops` wrote, served like the data set they came from, in their own pixels."""

    def __init__(self, root: str | Path, split: str) -> None:
        """Map the labels of a split, a folder below `root`; ValueError if that is not a whole folder of crops."""
        self.root, self.split, self._folder = Path(root), split, Path(root) / split
        self._labels = PackedArrays(self._folder)
        if self._labels.manifest.kind != KIND:
            raise ValueError(f"{self._folder / MANIFEST}: kind is {self._labels.manifest.kind!r}, expected {KIND!r}")
        self._facts = as_type(self._labels.manifest.facts, _Facts, f"{self._folder / MANIFEST}, facts")
        self._check_labels()
        self._hand = self._labels["hand"]
        self.name = f"crops of {self._facts.source}"
        self.num_hands = int(self._hand.max()) + 1

    def _check_labels(self) -> None:
        count = len(hand) if (hand := self._labels.get("hand")) is not None and hand.ndim else 0
        for name, (kind, shape) in _ARRAYS.items():
            array = self._labels.get(name)
            if array is None or array.dtype.kind != np.dtype(kind).kind or array.shape != (count, *shape) or not count:
                found = "nothing" if array is None else f"{array.dtype} {array.shape}"
                raise ValueError(
                    f"{self._folder}: {name} is {found}, expected {kind.__name__} {(count or 'N', *shape)}"
                )
        hand, version, of_version, side = (self._labels[n] for n in ("hand", "version", "hand_of_version", "side"))
        numbers = np.unique(hand, return_inverse=True)[1]
        order = np.argsort(numbers, kind="stable")
        expected = [(hand, numbers), (version, order), (of_version, numbers[order]), (side, np.minimum(side, 2))]
        if not all(np.array_equal(*pair) for pair in expected):
            raise ValueError(f"{self._folder}: hand, version, hand_of_version and side contradict each other")

    def __len__(self) -> int:
        return len(self._hand)

    def hand_of(self, index: int) -> int:
        """The hand that crop `index` shows."""
        return int(self._hand[index])

    def versions_of(self, hand: int) -> Sequence[int]:
        """The crops that show `hand`."""
        first, last = np.searchsorted(self._labels["hand_of_version"], [hand, hand + 1])
        versions: list[int] = self._labels["version"][first:last].tolist()
        return versions

    def identity(self) -> str:
        """See `HandSource`: of what the crops were cut from."""
        return hash_of(self.name, np.asarray(self._labels["id"]), np.asarray(self._hand))

    def image_paths(self) -> list[Path]:
        """See `HasFiles`."""
        return [_crop_file(self._folder, index) for index in range(len(self))]

    def doubts(self) -> list[str]:
        """See `HasFiles`."""
        skipped = list(self._facts.skipped.values())
        return [f"{len(skipped):,} images could not be cut out: {some(skipped)}"] if skipped else []

    def image_from_crop(self, index: int) -> Matrix:
        """(3, 3), pixels of the source's image file ← pixels of crop `index`; for a left hand, it mirrors."""
        return np.array(self._labels["image_from_crop"][index])

    def __getitem__(self, index: int) -> HandSample:
        if not 0 <= index < len(self):
            raise IndexError(f"{self._folder} has crops 0 to {len(self) - 1}, not {index}")
        row = {name: labels[index] for name, labels in self._labels.items()}
        known = {name: None if np.isnan(row[name]).all() else row[name] for name in ("K", "joints_3d", "joints_2d")}
        scale_m = None if math.isnan(row["scale_m"]) else float(row["scale_m"])
        image, side = read_image(_crop_file(self._folder, index)), _SIDES[row["side"]]
        return hand_sample(image, row["crop_box"], row["id"].decode(), side, scale_m=scale_m, **known)


def write_crops(
    source: HandSource,
    folder: Path,
    size: int = 256,
    context: float = DEFAULT_CONTEXT,
    quality: int = 95,
    workers: int = 1,
    *,
    progress: bool = False,
) -> dict[str, str]:
    """Cut out the hands of a source into a new folder, which `PreparedCrops` reads, by threads.

    Args:
        source: Any reader.
        folder: A new one.
        size: Side of a crop, px.
        context: Side of the square that a crop shows over the side of the crop box.
        quality: Of the JPEGs, 1 to 100.
        workers: Number of threads.
        progress: Whether to show a bar.

    Returns:
        Reasons why images were left out, as they cannot be read, by their index in the source.
    """
    if size < 1 or not context > 0 or not 1 <= quality <= 100:
        raise ValueError(f"size {size}, context {context}, quality {quality}: expected ≥ 1, > 0 and 1 … 100")
    if folder.exists():
        raise FileExistsError(f"{folder} exists; crops are written to a new folder")

    def cut(index: int) -> tuple[bytes, Row] | str:
        try:
            return _cut(source[index], size, context, quality)
        except ValueError as error:
            return str(error)

    rows, skipped = list[Row](), dict[str, str]()
    with replacing(folder) as partial:
        for index, result in in_threads(cut, range(len(source)), workers, "crops", progress=progress):
            if isinstance(result, str):
                skipped[str(index)] = result
                continue
            file = _crop_file(partial, len(rows))
            file.parent.mkdir(exist_ok=True)
            with naming(file):
                file.write_bytes(result[0])
            rows.append(result[1] | {"hand": source.hand_of(index)})
        if not rows:
            raise ValueError(f"none of the {len(source)} images of {source.name} can be read: {skipped['0']}")
        columns = {name: np.array([row[name] for row in rows], _ARRAYS[name][0]) for name in rows[0]}
        # hands that lost all their images are numbered away
        columns["hand"] = np.unique(columns["hand"], return_inverse=True)[1]
        columns["version"] = np.argsort(columns["hand"], kind="stable")
        columns["hand_of_version"] = columns["hand"][columns["version"]]
        facts = {"source": source.name, "size": size, "context": context, "quality": quality, "skipped": skipped}
        write_packed(partial, KIND, columns, {}, facts)
    return skipped


def _cut(sample: HandSample, size: int, context: float, quality: int) -> tuple[bytes, Row]:
    """One crop as JPEG, and its labels: those of the sample in pixels of the crop, NaN where there are none."""
    crop, crop_from_image, _ = render_view(sample, ViewGeometry(scale=context), size)
    ok, encoded = cv2.imencode(".jpg", crop[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise ValueError(f"{sample['id']}: a crop of {crop.shape} could not be encoded")
    # readers mirror left hands
    file_from_image = mirror(sample["image"].shape[1]) if sample["hand"] == "left" else np.eye(3)
    K, joints_3d, joints_2d = sample["K"], sample["joints_3d"], sample["joints_2d"]
    return encoded.tobytes(), {
        "image_from_crop": file_from_image @ np.linalg.inv(crop_from_image),
        "K": np.full((3, 3), np.nan) if K is None else crop_from_image @ K,
        "joints_3d": np.full((NUM_JOINTS, 3), np.nan) if joints_3d is None else joints_3d,
        "joints_2d": np.full((NUM_JOINTS, 2), np.nan) if joints_2d is None else move(crop_from_image, joints_2d),
        "crop_box": move(crop_from_image, sample["crop_box"].reshape(2, 2)).ravel(),
        "scale_m": np.nan if sample["scale_m"] is None else sample["scale_m"],
        "side": _SIDES.index(sample["hand"]),
        "id": sample["id"].encode(),
    }


def _crop_file(folder: Path, index: int) -> Path:
    return folder / f"{index // _FOLDER_SIZE:05d}" / f"{index:08d}.jpg"

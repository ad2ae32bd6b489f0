"""Hands cut out beforehand: a small JPEG for each, with its labels and the matrix back to its photograph.

Decoding a 1600×1200 frame costs 15 ms, a crop of 256×256 less than one. Crops show more than the crop box, by the
factor `context`, as views are rotated, shifted and widened; anything beyond is black.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from peclr.data.identity import hash_of
from peclr.data.image_files import chunks
from peclr.data.images import read_image
from peclr.data.prepared import MANIFEST, PackedArrays, replacing, write_packed
from peclr.data.samples import HandSample, HandSource
from peclr.data.views import PUBLISHED_TRANSLATION, GeometryRange, view_from_image, warp
from peclr.geometry.joints import NUM_JOINTS

KIND: Final = "crops"
SIDES: Final[tuple[Literal["right", "left", "unknown"], ...]] = ("right", "left", "unknown")
_FOLDER_SIZE: Final = 1000  # crops in one folder

# What the default augmentation can show, in half sides of the crop box: a square's corner, rotated onto an axis and
# widened by the largest scale, and the shift, which is twice the fraction in these units.
DEFAULT_CONTEXT: Final = round(math.sqrt(2) * (GeometryRange().scale[1] + 2 * PUBLISHED_TRANSLATION), 2)

Matrix = NDArray[np.float64]
Row = dict[str, Any]


class PreparedCrops(HandSource):
    """What `peclr prepare … --crops` wrote, served like the data set it came from, in pixels of the crops."""

    def __init__(self, root: str | Path, split: str) -> None:
        """Maps the labels; crops are read one at a time.

        Args:
            root: What `--crops` named.
            split: A split of the data set: a folder below `root`.

        Raises:
            ValueError: If that is not a folder of crops, or not a whole one.
        """
        folder = Path(root) / split
        if not (folder / MANIFEST).is_file():
            raise ValueError(f"{folder} holds no {MANIFEST}; expected what `peclr prepare … --crops {root}` writes")
        self._labels = PackedArrays(folder)
        if self._labels.manifest["kind"] != KIND:
            kind = self._labels.manifest["kind"]
            raise ValueError(f"{folder / MANIFEST}: kind is {kind!r}, expected {KIND!r}")
        self.root, self.split, self._folder = Path(root), split, folder
        self.name = f"crops of {self._labels.manifest['facts']['source']}"
        self.num_hands = int(self._labels["hand"].max()) + 1

    def __len__(self) -> int:
        """Number of crops: one for each image of the source."""
        return len(self._labels["hand"])

    def hand_of(self, index: int) -> int:
        """The hand that crop `index` shows."""
        return int(self._labels["hand"][index])

    def versions_of(self, hand: int) -> Sequence[int]:
        """The crops that show `hand`."""
        first, last = np.searchsorted(self._labels["hand_of_version"], [hand, hand + 1])
        versions: list[int] = self._labels["version"][first:last].tolist()
        return versions

    def identity(self) -> str:
        """See `HandSource`: of what the crops were cut from."""
        return hash_of(self.name, np.asarray(self._labels["id"]), np.asarray(self._labels["hand"]))

    def image_from_crop(self, index: int) -> Matrix:
        """(3, 3), pixels of the source's image file ← pixels of crop `index`; for a left hand, it mirrors."""
        return np.array(self._labels["image_from_crop"][index])

    def __getitem__(self, index: int) -> HandSample:
        """Reads crop `index`."""
        if not 0 <= index < len(self):
            raise IndexError(f"{self._folder} has crops 0 to {len(self) - 1}, not {index}")
        labels = self._labels
        scale = float(labels["scale_m"][index])
        return {
            "image": read_image(crop_file(self._folder, index)),
            "K": _known(labels["K"][index]),
            "joints_3d": _known(labels["joints_3d"][index]),
            "joints_2d": _known(labels["joints_2d"][index]),
            "crop_box": labels["crop_box"][index],
            "scale_m": None if math.isnan(scale) else scale,
            "hand": SIDES[labels["side"][index]],
            "id": labels["id"][index].decode(),
        }


def crop_file(folder: Path, index: int) -> Path:
    """Where crop `index` is."""
    return folder / f"{index // _FOLDER_SIZE:05d}" / f"{index:08d}.jpg"


def write_crops(
    source: HandSource,
    folder: Path,
    size: int = 256,
    context: float = DEFAULT_CONTEXT,
    quality: int = 95,
    workers: int = 1,
    progress: bool = False,
) -> dict[str, str]:
    """Cuts out the hands of a source.

    Args:
        source: Any reader.
        folder: A new folder; `PreparedCrops` reads it.
        size: Side of a crop, px.
        context: Side of the square that a crop shows over the side of the crop box.
        quality: Of the JPEGs, 1 to 100.
        workers: Threads.
        progress: Whether to show a bar with the rate.

    Returns:
        Images that were left out because they cannot be read, and why; by their index in the source.
    """
    if size < 1 or not context > 0 or not 1 <= quality <= 100:
        raise ValueError(f"size {size}, context {context}, quality {quality}: expected ≥ 1, > 0 and 1 … 100")
    if folder.exists():
        raise FileExistsError(f"{folder} exists; crops are written to a new folder")
    with replacing(folder) as partial:
        rows, hands, skipped = [], [], {}
        for index, row in _cut_all(source, partial, size, context, quality, workers, progress):
            if isinstance(row, str):
                skipped[str(index)] = row
            else:
                rows.append(row)
                hands.append(source.hand_of(index))
        if not rows:
            raise ValueError(f"none of the {len(source)} images of {source.name} can be read: {skipped['0']}")
        facts = {"source": source.name, "size": size, "context": context, "quality": quality, "skipped": skipped}
        write_packed(partial, KIND, _columns(rows, hands), {}, facts)
    return skipped


def _cut_all(
    source: HandSource,
    folder: Path,
    size: int,
    context: float,
    quality: int,
    workers: int,
    progress: bool,
) -> Iterator[tuple[int, Row | str]]:
    """Writes the crops, numbered without gaps, and gives for each image its labels, or why it has no crop."""

    def cut(index: int) -> tuple[bytes, Row] | str:
        try:
            return _cut(source[index], size, context, quality)
        except ValueError as error:
            return str(error)

    written = 0
    bar = tqdm(desc="crops", total=len(source), unit=" crops", disable=not progress, mininterval=0.5)
    with bar, ThreadPoolExecutor(workers) as pool:
        for chunk in chunks(range(len(source)), 16 * workers):
            for index, result in zip(chunk, pool.map(cut, chunk), strict=True):
                if isinstance(result, str):
                    yield index, result
                    continue
                encoded, row = result
                file = crop_file(folder, written)
                file.parent.mkdir(exist_ok=True)
                file.write_bytes(encoded)
                written += 1
                yield index, row
            bar.update(len(chunk))


def _cut(sample: HandSample, size: int, context: float, quality: int) -> tuple[bytes, Row]:
    """One crop as JPEG, and its labels: those of the sample in pixels of the crop, NaN where there are none."""
    image = sample["image"]
    crop_from_image = view_from_image(np.diag([1 / context, 1 / context, 1]), sample["crop_box"], size)
    crop = warp(image, crop_from_image, size)
    ok, encoded = cv2.imencode(".jpg", crop[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise ValueError(f"{sample['id']}: a crop of {crop.shape} could not be encoded")
    K, joints_3d, joints_2d = sample["K"], sample["joints_3d"], sample["joints_2d"]
    row = {
        "image_from_crop": file_from_image(sample) @ np.linalg.inv(crop_from_image),
        "K": np.full((3, 3), np.nan) if K is None else crop_from_image @ K,
        "joints_3d": np.full((NUM_JOINTS, 3), np.nan) if joints_3d is None else joints_3d,
        "joints_2d": np.full((NUM_JOINTS, 2), np.nan) if joints_2d is None else _apply(crop_from_image, joints_2d),
        "crop_box": _apply(crop_from_image, sample["crop_box"].reshape(2, 2)).ravel(),
        "scale_m": np.nan if sample["scale_m"] is None else sample["scale_m"],
        "side": SIDES.index(sample["hand"]),
        "id": sample["id"].encode(),
    }
    return encoded.tobytes(), row


def file_from_image(sample: HandSample) -> Matrix:
    """(3, 3), pixels of the image file ← pixels of the sample's image: readers mirror left hands."""
    if sample["hand"] != "left":
        return np.eye(3)
    return np.array([[-1, 0, sample["image"].shape[1] - 1], [0, 1, 0], [0, 0, 1.0]])


def _columns(rows: Sequence[Row], hands: Sequence[int]) -> Mapping[str, NDArray[Any]]:
    """Arrays, one entry per crop; hands that lost all their images are numbered away."""
    _, hand = np.unique(hands, return_inverse=True)
    by_hand = np.argsort(hand, kind="stable")
    types = {"image_from_crop": np.float64, "crop_box": np.float64, "side": np.uint8, "id": np.bytes_}
    columns = {name: np.array([row[name] for row in rows], types.get(name, np.float32)) for name in rows[0]}
    return columns | {"hand": hand, "version": by_hand, "hand_of_version": hand[by_hand]}


def _apply(matrix: Matrix, points: NDArray[np.floating]) -> Matrix:
    return points @ matrix[:2, :2].T + matrix[:2, 2]


def _known(label: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """A label, or None where all of it is NaN."""
    return None if np.isnan(label).all() else label

"""Cuts the hands of a source out of its images: a small JPEG for each, with its labels."""

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from peclr.data.samples import HandSample, HandSource
from peclr.data.sources.crops import KIND, SIDES, Matrix, crop_file
from peclr.data.sources.headers import chunks
from peclr.data.sources.packed_labels import replacing, write_packed
from peclr.data.views.geometric import PUBLISHED_TRANSLATION, GeometryRange, ViewGeometry, render_view
from peclr.geometry.joints import NUM_JOINTS
from peclr.geometry.planar import mirror, move
from peclr.options import naming

# What the default augmentation can show, in half sides of the crop box: a square's corner, rotated onto an axis and
# widened by the largest scale, and the shift, which is twice the fraction in these units.
DEFAULT_CONTEXT: Final = round(math.sqrt(2) * (GeometryRange().scale[1] + 2 * PUBLISHED_TRANSLATION), 2)

Row = dict[str, Any]


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
                with naming(file):
                    file.write_bytes(encoded)
                written += 1
                yield index, row
            bar.update(len(chunk))


def _cut(sample: HandSample, size: int, context: float, quality: int) -> tuple[bytes, Row]:
    """One crop as JPEG, and its labels: those of the sample in pixels of the crop, NaN where there are none."""
    crop, crop_from_image, _ = render_view(sample, ViewGeometry(scale=context), size)
    ok, encoded = cv2.imencode(".jpg", crop[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise ValueError(f"{sample['id']}: a crop of {crop.shape} could not be encoded")
    K, joints_3d, joints_2d = sample["K"], sample["joints_3d"], sample["joints_2d"]
    row = {
        "image_from_crop": file_from_image(sample) @ np.linalg.inv(crop_from_image),
        "K": np.full((3, 3), np.nan) if K is None else crop_from_image @ K,
        "joints_3d": np.full((NUM_JOINTS, 3), np.nan) if joints_3d is None else joints_3d,
        "joints_2d": np.full((NUM_JOINTS, 2), np.nan) if joints_2d is None else move(crop_from_image, joints_2d),
        "crop_box": move(crop_from_image, sample["crop_box"].reshape(2, 2)).ravel(),
        "scale_m": np.nan if sample["scale_m"] is None else sample["scale_m"],
        "side": SIDES.index(sample["hand"]),
        "id": sample["id"].encode(),
    }
    return encoded.tobytes(), row


def file_from_image(sample: HandSample) -> Matrix:
    """(3, 3), pixels of the image file ← pixels of the sample's image: readers mirror left hands."""
    if sample["hand"] != "left":
        return np.eye(3)
    return mirror(sample["image"].shape[1])


def _columns(rows: Sequence[Row], hands: Sequence[int]) -> Mapping[str, NDArray[Any]]:
    """Arrays, one entry per crop; hands that lost all their images are numbered away."""
    _, hand = np.unique(hands, return_inverse=True)
    by_hand = np.argsort(hand, kind="stable")
    types = {"image_from_crop": np.float64, "crop_box": np.float64, "side": np.uint8, "id": np.bytes_}
    columns = {name: np.array([row[name] for row in rows], types.get(name, np.float32)) for name in rows[0]}
    return columns | {"hand": hand, "version": by_hand, "hand_of_version": hand[by_hand]}

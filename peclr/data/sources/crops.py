"""Hands cut out beforehand: a small JPEG for each, with its labels and the matrix back to its photograph.

Decoding a 1600×1200 frame costs 15 ms, a crop of 256×256 less than one. Crops show more than the crop box, by the
factor `context`, as views are rotated, shifted and widened; anything beyond is black.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from peclr.data.samples import HandSample, HandSource, hash_of
from peclr.data.sources.images import read_image
from peclr.data.sources.layouts import MANIFEST
from peclr.data.sources.packed_labels import PackedArrays

KIND: Final = "crops"
SIDES: Final[tuple[Literal["right", "left", "unknown"], ...]] = ("right", "left", "unknown")
_FOLDER_SIZE: Final = 1000  # crops in one folder
_NAMED: Final = 5  # images without a crop that a message names

Matrix = NDArray[np.float64]


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

    def image_paths(self) -> list[Path]:
        """See `HasFiles`."""
        return [crop_file(self._folder, index) for index in range(len(self))]

    def doubts(self) -> list[str]:
        """See `HasFiles`."""
        skipped = list(self._labels.manifest["facts"]["skipped"].values())
        more = f" and {len(skipped) - _NAMED:,} more" if len(skipped) > _NAMED else ""
        named = ", ".join(skipped[:_NAMED]) + more
        return [f"{len(skipped):,} images could not be cut out: {named}"] if skipped else []

    def image_from_crop(self, index: int) -> Matrix:
        """(3, 3), pixels of the source's image file ← pixels of crop `index`; for a left hand, it mirrors."""
        return np.array(self._labels["image_from_crop"][index])

    def __getitem__(self, index: int) -> HandSample:
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


def _known(label: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """A label, or None where all of it is NaN."""
    return None if np.isnan(label).all() else label

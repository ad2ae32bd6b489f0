"""Which images of HanCo there are, and whose: hands, cameras, versions and paths; see `peclr.data.sources.hanco`."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from peclr.data.sources.hanco_labels import CAMERAS, FOLDERS, folders_of
from peclr.data.sources.listing import some
from peclr.data.sources.packed_labels import Array

Split = Literal["train", "test"]
Frames = Literal["valid", "fit", "all"]

_MOST: Final = 10**8  # frames of a sequence and camera, by their names


class HanCoFiles:
    """The hands of a split, each in as many images as there are folders of its sequence; ValueError if there are none.

    Attributes:
        start: (hands + 1,), the first image of each hand, and how many there are.
        left_out: number of views that are there, of frames that are not wanted.
        changed: whether there are other folders than when the labels were read.
    """

    def __init__(self, root: Path, labels: Mapping[str, Array], split: Split, frames: Frames) -> None:
        self.root, self._labels = root, labels
        arrays = {name: np.asarray(labels[name]) for name in ("sequence", "is_train", "is_valid", "has_joints")}
        sequence, is_train = arrays["sequence"], arrays["is_train"]
        self._there = folders_of(root, len(labels["folders"]))
        self.changed = not np.array_equal(self._there, labels["folders"])
        if missing := sorted(set(np.flatnonzero(self._there.any(axis=1)).tolist()) - set(sequence.tolist())):
            raise ValueError(f"{root / 'calib' / f'{missing[0]:04d}'} is missing, and there are images of its sequence")
        self._folders = self._there.copy()
        if split == "test":
            self._folders[:, 1:] = False
        there = self._folders[sequence].any(axis=1) & (is_train == (split == "train"))
        wanted = there[:, None] & (arrays["has_joints"] | (frames == "all"))
        wanted &= arrays["is_valid"][:, None] | (frames != "valid")
        self._views = np.flatnonzero(wanted).astype(np.int32)  # number of the frame · 8 + camera
        self.left_out = int(there.sum()) * CAMERAS - len(self._views)
        if not len(self._views):
            others = "" if frames == "all" else "; frames: all takes the others, too"
            raise ValueError(f"{root}: {split} has no {frames} frame in the sequences that are there{others}")
        versions = self._folders[sequence[self._views // CAMERAS]].sum(axis=1)
        self.start: NDArray[np.int64] = np.concatenate([[0], np.cumsum(versions)])

    def __len__(self) -> int:
        return len(self._views)

    def view(self, hands: slice | NDArray[np.int64] = slice(None)) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Number of the frame in the labels, and of the camera, of hands."""
        row, camera = np.divmod(self._views[hands].astype(np.int64), CAMERAS)
        return row, camera

    def of_hands(self, name: str) -> NDArray[np.int64]:
        """(hands,), what a label says of each hand's frame."""
        return np.asarray(self._labels[name])[self._views // CAMERAS].astype(np.int64)

    def folders(self) -> list[str]:
        """Those that versions are from."""
        return [FOLDERS[column] for column in np.flatnonzero(self._folders.any(axis=0)).tolist()]

    def hand_of(self, image: int) -> int:
        """The hand that an image shows."""
        return int(np.searchsorted(self.start, image, side="right")) - 1

    def path(self, folder: str, hand: int) -> Path:
        """Path of a hand's image in a folder."""
        row, camera = divmod(int(self._views[hand]), CAMERAS)
        return self._path(folder, int(self._labels["sequence"][row]), camera, int(self._labels["frame"][row]))

    def image(self, image: int) -> Path:
        """Path of an image."""
        hand = self.hand_of(image)
        folders = np.flatnonzero(self._folders[self._labels["sequence"][self._views[hand] // CAMERAS]])
        return self.path(FOLDERS[folders[image - int(self.start[hand])]], hand)

    def all_images(self) -> list[Path]:
        """Paths of the images of both splits, of frames that are not wanted, too."""
        rows = zip(*(self._labels[name].tolist() for name in ("sequence", "frame", "is_train")), strict=True)
        names = [[FOLDERS[column] for column in np.flatnonzero(row).tolist()] for row in self._there]
        return [
            self._path(name, sequence, camera, frame)
            for sequence, frame, is_train in rows
            for name in names[sequence]
            if is_train or name == FOLDERS[0]
            for camera in range(CAMERAS)
        ]

    def check_listed(self, folder: str) -> None:
        """Look whether a folder lists a file of each hand; ValueError says of which not."""
        place, frame = self.of_hands("sequence") * CAMERAS + self.view()[1], self.of_hands("frame")
        listed = list[int]()
        for number in np.unique(place).tolist():
            files = self._path(folder, number // CAMERAS, number % CAMERAS, 0).parent
            names = os.listdir(files) if files.is_dir() else []  # noqa: PTH208 (names are enough)
            listed += [number * _MOST + int(name[:8]) for name in names if re.fullmatch(r"[0-9]{8}\.jpg", name)]
        missing = np.flatnonzero(~np.isin(place * _MOST + frame, listed)).tolist()
        if missing:
            first = some([str(self.path(folder, hand)) for hand in missing[:100]])
            raise ValueError(f"{len(missing):,} of {len(self):,} masks are missing, {first}; expected one of each hand")

    def _path(self, folder: str, sequence: int, camera: int, frame: int) -> Path:
        return self.root / folder / f"{sequence:04d}" / f"cam{camera}" / f"{frame:08d}.jpg"

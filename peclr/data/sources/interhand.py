"""InterHand2.6M and AssemblyHands: single and interacting hands, of both sides, some joints of which are unknown.

Moon et al., "InterHand2.6M", ECCV 2020, and Ohkawa et al., "AssemblyHands", CVPR 2023. Below the root of the first are

    images/{train,val,test}/CAPTURE/SEQUENCE/CAMERA/image10.jpg
    annotations/SPLIT/InterHand2.6M_SPLIT_{data,camera,joint_3d}.json

as the downloads of 5 and of 30 frames a second have them, and below that of the second

    images/ego_images_rectified/{train,val}/SEQUENCE/CAMERA/000010.jpg
    annotations/SPLIT/assemblyhands_SPLIT_{ego_data,ego_calib,joint_3d}_v1-1.json

A joint is known where the list of images calls it valid: annotated and, of InterHand2.6M, in the image.
"""

import math
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from peclr.data.samples import HandSample, HandSource, hash_of
from peclr.data.sources.image_faults import check_labeled_images
from peclr.data.sources.images import read_reduced
from peclr.data.sources.interhand_files import DataSetName
from peclr.data.sources.labeled_hand import check_some, labeled_hand, projected
from peclr.data.sources.layouts import data_set_at
from peclr.data.sources.packed_labels import Array, labels_of
from peclr.geometry.camera import check_intrinsics
from peclr.geometry.planar import PUBLISHED_CROP_MARGIN, check_margin

Split = Literal["train", "val", "test"]

_TITLES: Final[dict[DataSetName, str]] = {"interhand": "InterHand2.6M", "assemblyhands": "AssemblyHands"}
_FPS: Final = 30.0  # InterHand2.6M's of 5 frames a second number them as those of 30


class InterHand(HandSource):
    """One split of either set, whichever is there: each hand of an image is one, and left hands are mirrored.

    Unknown joints are NaN. Crops are around the known ones, or, of hands with few, the official box. Hands with the
    same `image` (num_hands,) are in the same one; they may `interact` (images,).
    """

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        crop_margin: float = PUBLISHED_CROP_MARGIN,
        fps: float = _FPS,
        *,
        use_prepared: bool = True,
    ) -> None:
        """Read and check the labels; ValueError names the file and value that is wrong.

        Args:
            root: The folder that holds `images` and `annotations`.
            split: "train", "val" or "test"; there are no labels for the test of AssemblyHands.
            crop_margin: Half side of the crop box over the distance of the farthest keypoint from their mean, or over
                half of the longer side of the official box.
            fps: Frames a second of which the numbers count, for pairs of nearby frames.
            use_prepared: Whether to use the labels that `peclr prepare` has packed, while they are fresh.
        """
        check_margin(crop_margin)
        if not 0 < fps < math.inf:
            raise ValueError(f"fps {fps}: expected a positive number")
        self.root, self.split, self.crop_margin, self.fps = Path(root), split, crop_margin, fps
        self.name: DataSetName = "assemblyhands" if data_set_at(self.root) == "assemblyhands" else "interhand"
        self._labels = labels_of(self.name, self.root, split, use_prepared=use_prepared)
        self.image, self.interact = self._labels["image"], self._labels["interact"]
        self.num_hands = len(self.image)
        check_intrinsics(torch.tensor(self._labels["K"]), f"{self.root}, cameras of {split}")
        self._notes = check_some(
            self.num_hands, self._labeled, lambda hand: self._image_file(self.image[hand]), f"{self.root}, {split}"
        )

    @property
    def joints_3d(self) -> NDArray[np.float32]:
        """(num_hands, 21, 3), metres, camera frame, of left hands as they are, NaN where unknown."""
        return self._labels["joints_3d"]

    @property
    def is_left(self) -> NDArray[np.bool_]:
        """(num_hands,), whether each hand is a left one, which samples show mirrored."""
        return self._labels["is_left"]

    @property
    def scale_m(self) -> NDArray[np.float32]:
        """(num_hands,), metres from middle MCP to PIP, NaN where it is not known of any hand of that person."""
        return self._labels["scale_m"]

    def image_paths(self) -> list[Path]:
        """See `HasFiles`."""
        return list(dict.fromkeys(self._image_file(image) for image in range(len(self.interact))))

    def doubts(self) -> list[str]:
        """See `HasFiles`."""
        listed, images = int(self._labels["listed"][0]), len(self.interact)
        partly = int(np.isnan(self.joints_3d).any(axis=(1, 2)).sum())
        return [
            f"{_TITLES[self.name]}: {self.num_hands:,} hands in {images:,} of {listed:,} images; others show none",
            f"{partly:,} of {self.num_hands:,} hands have joints that are unknown",
            *self._notes,
        ]

    def check_images(self) -> None:
        """See `HandSource`."""
        check_labeled_images(self._labels, self.image_paths)

    def identity(self) -> str:
        """See `HandSource`: of the images' names, and which hands are in them."""
        return hash_of(f"{self.name} {self.split}", self._labels["name"], self.image, self.is_left)

    def group_of_hands(self) -> NDArray[np.int64]:
        """See `HasGroups`: persons."""
        return self._of_images("person")

    def video_of_hands(self) -> NDArray[np.int64]:
        """See `HasVideos`: takes as one camera saw them."""
        return _pairs(self._of_images("take"), self.camera_of_hands())

    def track_of_hands(self) -> NDArray[np.int64]:
        """See `HasTracks`: one side in one video."""
        return 2 * self.video_of_hands() + self.is_left

    def time_of_hands(self) -> NDArray[np.float64]:
        """See `HasTracks`: by the numbers of frames."""
        return self._of_images("frame") / self.fps

    def frame_of_hands(self) -> NDArray[np.int64]:
        """See `HasCameras`: one side in one moment of a take, which all cameras see."""
        return 2 * _pairs(self._of_images("take"), self._of_images("frame")) + self.is_left

    def camera_of_hands(self) -> NDArray[np.int64]:
        """See `HasCameras`."""
        return self._of_images("camera")

    def joints_2d_of_hands(self) -> NDArray[np.float32]:
        """See `HasJoints2D`."""
        joints_2d = projected(*self._labeled(slice(None)))
        width = self._labels["size"][self.image, 0]
        joints_2d[..., 0] = np.where(self.is_left[:, None], width[:, None] - 1 - joints_2d[..., 0], joints_2d[..., 0])
        return joints_2d

    def __getitem__(self, index: int) -> HandSample:
        return self.read(index, math.inf)

    def read(self, index: int, min_side: float) -> HandSample:
        """Read the image of hand `index` for a view."""
        self.check_index(index)
        image, is_left = int(self.image[index]), bool(self.is_left[index])
        decoded = read_reduced(self._image_file(image), None, min_side)
        box, scale_m = self._labels["box"][index], float(self.scale_m[index])
        return labeled_hand(
            decoded,
            f"{self._labels['name'][image].decode()}, {'left' if is_left else 'right'} hand",
            *self._labeled(index),
            self.crop_margin,
            is_left=is_left,
            box=None if np.isnan(box).any() else box,
            scale_m=None if math.isnan(scale_m) else scale_m,
        )

    def _of_images(self, name: str) -> NDArray[np.int64]:
        return np.asarray(self._labels[name])[self.image].astype(np.int64)

    def _image_file(self, image: int) -> Path:
        name: bytes = self._labels["name"][image]
        return self.root / "images" / name.decode()

    def _labeled(self, hands: int | slice | NDArray[np.int64]) -> tuple[Array, Array]:
        """Joints (…, 21, 3), metres, camera frame, and cameras (…, 3, 3), px, of hands (…)."""
        return self.joints_3d[hands], self._labels["K"][self._labels["lens"][self.image[hands]]]


def _pairs(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,), a number for each pair of numbers."""
    return first * (int(second.max()) + 1) + second

"""HO-3D, versions 2 and 3, right hands that hold objects; H2O-3D, both hands, comes in the same layout.

Hampali et al., "HOnnotate: A method for 3D Annotation of Hand and Object Poses", CVPR 2020. Below its root are

    train.txt, evaluation.txt                       lines SEQUENCE/FRAME
    {train,evaluation}/SEQUENCE/rgb/FRAME.png       .png in version 2, .jpg in version 3
    {train,evaluation}/SEQUENCE/meta/FRAME.pkl      camera and joints; of evaluation, the hand's box
    evaluation_xyz.json                             joints of evaluation, held back until 2024

Joints come in order mano and with OpenGL's axes, y up and z to the viewer. Frames that nobody annotated are left out.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from peclr.data.samples import HandSample, HandSource, hash_of
from peclr.data.sources.image_faults import check_labeled_images
from peclr.data.sources.images import image_sizes, read_reduced
from peclr.data.sources.labeled_hand import labeled_hand, projected
from peclr.data.sources.packed_labels import labels_of
from peclr.data.sources.plausibility import doubt_boxes, doubt_joints, doubt_places, refuse_faults, sampled
from peclr.geometry.camera import check_intrinsics
from peclr.geometry.planar import PUBLISHED_CROP_MARGIN, check_margin

Split = Literal["train", "evaluation"]
Version = Literal["v2", "v3"]

_SUFFIXES: Final[Mapping[Version, str]] = {"v2": ".png", "v3": ".jpg"}
_FRAMES_PER_SECOND: Final = 30.0  # of its RealSense cameras


class HO3D(HandSource):
    """One split: every annotated hand is one image. Left hands, of H2O-3D, are mirrored.

    Of evaluation, the crop is around the official box, and there are joints where `evaluation_xyz.json` is: `joints_3d`
    (num_hands, 21, 3), metres, camera frame, of left hands as they are, or None.
    """

    name = "ho3d"

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        version: Version | None = None,
        crop_margin: float = PUBLISHED_CROP_MARGIN,
        *,
        use_prepared: bool = True,
    ) -> None:
        """Read and check the labels; ValueError names the file and value that is wrong.

        Args:
            root: The folder that holds `train.txt`, `train` and so on.
            split: "train" or "evaluation".
            version: "v2" or "v3"; by default the one that the images are of, where they are not of both.
            crop_margin: Half side of the crop box over the distance of the farthest keypoint from their mean; of
                evaluation, over half of the longer side of the official box.
            use_prepared: Whether to use the labels that `peclr prepare ho3d` has packed, while they are fresh.
        """
        check_margin(crop_margin)
        if version not in (None, *get_args(Version)):
            raise ValueError(f"version {version!r} does not exist; expected one of {get_args(Version)}")
        self.root, self.split, self.crop_margin = Path(root), split, crop_margin
        self._labels = labels_of("ho3d", self.root, split, use_prepared=use_prepared)
        self.num_hands, self.joints_3d = len(self._labels["frame"]), self._labels.get("joints_3d")
        self.has_labels = self.joints_3d is not None
        self.version = self._find_version(version)
        where = f"{self.root / split}/*/meta"
        check_intrinsics(torch.tensor(self._labels["K"]), f"{where}, camMat")
        self._notes = list[str]()
        if self.joints_3d is not None:
            doubts, hands = doubt_joints(self.joints_3d, where), sampled(self.num_hands)
            sizes = image_sizes(list(map(self.image_file, hands)))
            joints_2d = projected(self.joints_3d[hands], self._labels["K"][hands])
            places = [doubt_places(joints_2d, sizes, self.root / split, hands.step)]
            if split == "evaluation":
                places.append(doubt_boxes(self._labels["box"][hands], joints_2d, self.root / split, hands.step))
            refuse_faults(doubts, *places)
            self._notes += doubts.notes

    @property
    def is_left(self) -> NDArray[np.bool_]:
        """(num_hands,), whether each hand is a left one, which samples show mirrored."""
        return self._labels["is_left"]

    def image_file(self, hand: int) -> Path:
        """Path of the image of a hand."""
        return self._image(hand).with_suffix(_SUFFIXES[self.version])

    def image_paths(self) -> list[Path]:
        """See `HasFiles`."""
        return list(dict.fromkeys(self.image_file(hand) for hand in range(self.num_hands)))

    def doubts(self) -> list[str]:
        """See `HasFiles`."""
        listed, shown_in = int(self._labels["listed"][0]), len(np.unique(self._labels["frame"]))
        left_out = [f"{listed - shown_in:,} of {listed:,} frames have no annotation, and are left out"]
        unlabeled = [] if self.has_labels else ["no evaluation_xyz.json: for prediction only"]
        return [f"version {self.version[1]}", *(left_out if listed > shown_in else []), *unlabeled, *self._notes]

    def check_images(self) -> None:
        """See `HandSource`."""
        check_labeled_images(self._labels, self.image_paths)

    def identity(self) -> str:
        """See `HandSource`: of the frames' names and the hands' sides."""
        return hash_of(f"{self.name} {self.version} {self.split}", self._labels["frame"], self.is_left)

    def group_of_hands(self) -> NDArray[np.int64]:
        """See `HasGroups`: sequences whose names begin with the same letters, of one person with one object."""
        letters = [re.sub(rb"[0-9]*/.*", b"", name) for name in self._labels["frame"].tolist()]
        return np.unique(letters, return_inverse=True)[1].astype(np.int64)

    def video_of_hands(self) -> NDArray[np.int64]:
        """See `HasVideos`: sequences."""
        names = [name.partition(b"/")[0] for name in self._labels["frame"].tolist()]
        return np.unique(names, return_inverse=True)[1].astype(np.int64)

    def track_of_hands(self) -> NDArray[np.int64]:
        """See `HasTracks`: a hand of a sequence, where its frames are numbered."""
        track = 2 * self.video_of_hands() + self.is_left
        return np.where(np.isnan(self.time_of_hands()), -1, track)

    def time_of_hands(self) -> NDArray[np.float64]:
        """See `HasTracks`: by the number of the frame."""
        frames = [name.partition(b"/")[2] for name in self._labels["frame"].tolist()]
        return np.array([float(frame) if frame.isdigit() else math.nan for frame in frames]) / _FRAMES_PER_SECOND

    def joints_2d_of_hands(self) -> NDArray[np.float32] | None:
        """See `HasJoints2D`; None where a hand is mirrored, whose image would have to be opened."""
        if self.joints_3d is None or self.is_left.any():
            return None
        return projected(self.joints_3d, self._labels["K"])

    def __getitem__(self, index: int) -> HandSample:
        return self.read(index, math.inf)

    def read(self, index: int, min_side: float) -> HandSample:
        """Read the image of hand `index` for a view."""
        self.check_index(index)
        decoded = read_reduced(self.image_file(index), None, min_side)
        return labeled_hand(
            decoded,
            f"{self.split}/{self._labels['frame'][index].decode()}",
            None if self.joints_3d is None else self.joints_3d[index],
            self._labels["K"][index],
            self.crop_margin,
            is_left=bool(self.is_left[index]),
            box=self._labels["box"][index] if "box" in self._labels else None,
        )

    def _image(self, hand: int) -> Path:
        """Path of the image of a hand, without its suffix."""
        name: bytes = self._labels["frame"][hand]
        return self.root / self.split / name.decode().replace("/", "/rgb/")

    def _find_version(self, given: Version | None) -> Version:
        image, asked_for = self._image(0), get_args(Version) if given is None else (given,)
        there: list[Version] = [one for one in asked_for if image.with_suffix(_SUFFIXES[one]).is_file()]
        if len(there) == 1:
            return there[0]
        if there:
            raise ValueError(f"{image} is there as .png, of v2, and as .jpg, of v3; say which: version: v2, or v3")
        suffixes = " or ".join(f"{_SUFFIXES[one]} ({one})" for one in asked_for)
        raise ValueError(f"{image} is missing; expected it as {suffixes}")

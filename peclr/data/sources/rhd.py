"""RHD, version 1.1: rendered people before photographs, with both of their hands.

Zimmermann & Brox, "Learning to Estimate 3D Hand Pose from Single RGB Images", ICCV 2017. Below its root are

    {training,evaluation}/color/00000.png       320 × 320 px
    {training,evaluation}/mask/00000.png        0 background, 1 person, 2 to 17 left hand, 18 to 33 right hand
    training/anno_training.pickle, evaluation/anno_evaluation.pickle
"""

import math
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from peclr.data.samples import HandSample, HandSource, hash_of
from peclr.data.sources.image_faults import check_labeled_images
from peclr.data.sources.images import BadImageError, read_gray, read_reduced
from peclr.data.sources.labeled_hand import labeled_hand, projected
from peclr.data.sources.listing import some
from peclr.data.sources.packed_labels import labels_of
from peclr.data.sources.plausibility import doubt_joints, doubt_places, refuse_faults, sampled
from peclr.geometry import planar
from peclr.geometry.camera import check_intrinsics
from peclr.geometry.joints import NUM_JOINTS
from peclr.geometry.planar import PUBLISHED_CROP_MARGIN

Split = Literal["training", "evaluation"]
Hands = Literal["prominent", "both"]

_SIDE: Final = 320  # px, of all images
_IN_MASK: Final = {True: (2, 17), False: (18, 33)}  # by whether it is the left hand


class RHD(HandSource):
    """One split: of each image the hand of which more is to be seen, or both hands; left ones are mirrored."""

    name = "rhd"

    def __init__(
        self,
        root: str | Path,
        split: Split = "training",
        hands: Hands = "prominent",
        crop_margin: float = PUBLISHED_CROP_MARGIN,
        *,
        use_prepared: bool = True,
    ) -> None:
        """Read and check the labels; ValueError names the file and value that is wrong.

        Args:
            root: The folder that holds `training` and `evaluation`.
            split: "training" or "evaluation".
            hands: Of each image the "prominent" hand, of which more joints are visible, as papers evaluate; or "both",
                where most joints are.
            crop_margin: Half side of the crop box over the distance of the farthest keypoint from their mean.
            use_prepared: Whether to use the labels that `peclr prepare rhd` has packed, while they are fresh.
        """
        planar.check_margin(crop_margin)
        if hands not in get_args(Hands):
            raise ValueError(f"hands {hands!r} does not exist; expected one of {get_args(Hands)}")
        self.root, self.split, self.hands, self.crop_margin = Path(root), split, hands, crop_margin
        self._labels = labels_of("rhd", self.root, split, use_prepared=use_prepared)
        visible = self._labels["visible"].sum(axis=-1)  # (N, 2), left and right
        chosen = visible > NUM_JOINTS // 2
        if hands == "prominent":
            right = visible[:, 1] >= visible[:, 0]
            chosen = np.stack([~right, right], axis=1) & (visible > 0)
        self._frame, self._side = np.nonzero(chosen)
        self.num_hands, where = len(self._frame), f"{self.root / split}, anno_{split}.pickle"
        if not self.num_hands:
            raise ValueError(f"{where}: no hand is visible in {len(visible)} frames")
        check_intrinsics(torch.tensor(self._labels["K"]), f"{where}, K")
        doubts, few = doubt_joints(self.joints_3d, where), sampled(self.num_hands)
        sizes = np.full((len(few), 2), float(_SIDE))
        refuse_faults(doubts, doubt_places(self._projected()[few], sizes, where, few.step))
        self._notes = doubts.notes

    @property
    def joints_3d(self) -> NDArray[np.float32]:
        """(num_hands, 21, 3), metres, camera frame, of left hands as they are."""
        joints: NDArray[np.float32] = self._labels["joints_3d"][self._frame, self._side]
        return joints

    @property
    def visible(self) -> NDArray[np.bool_]:
        """(num_hands, 21), which joints are visible."""
        visible: NDArray[np.bool_] = self._labels["visible"][self._frame, self._side]
        return visible

    @property
    def is_left(self) -> NDArray[np.bool_]:
        """(num_hands,), whether each hand is a left one, which samples show mirrored."""
        return np.equal(self._side, 0)

    def image_file(self, hand: int) -> Path:
        """Path of the image of a hand."""
        return self._file("color", hand)

    def image_paths(self) -> list[Path]:
        """See `HasFiles`."""
        return list(dict.fromkeys(self.image_file(hand) for hand in range(self.num_hands)))

    def doubts(self) -> list[str]:
        """See `HasFiles`."""
        return self._notes

    def check_images(self) -> None:
        """See `HandSource`."""
        check_labeled_images(self._labels, self.image_paths, [f"{self.root}: {note}" for note in self._notes])

    def identity(self) -> str:
        """See `HandSource`: of the frames' numbers and the hands' sides."""
        return hash_of(f"{self.name} {self.split}", self._labels["frame"][self._frame], self._side)

    def group_of_hands(self) -> NDArray[np.int64]:
        """See `HasGroups`: images, of which some show two hands."""
        return self._frame.astype(np.int64)

    def joints_2d_of_hands(self) -> NDArray[np.float32]:
        """See `HasJoints2D`."""
        joints_2d = self._projected()
        joints_2d[self.is_left] = planar.move(planar.mirror(_SIDE), joints_2d[self.is_left])
        return joints_2d

    def check_masks(self) -> None:
        """See `HasMasks`."""
        masks = [self._file("mask", hand) for hand in range(self.num_hands)]
        if missing := [str(mask) for mask in masks if not mask.is_file()]:
            raise ValueError(f"missing masks, {some(missing)}; expected one of each image")
        for hand in sampled(self.num_hands):
            self.read_mask(hand)

    def read_mask(self, hand: int) -> NDArray[np.uint8]:
        """See `HasMasks`: of the hand alone, mirrored as its image."""
        path, is_left = self._file("mask", hand), bool(self.is_left[hand])
        mask, (first, last) = read_gray(path), _IN_MASK[is_left]
        shown = ((mask >= first) & (mask <= last)).astype(np.uint8)
        if mask.shape != (_SIDE, _SIDE) or not shown.any():
            side, size = ("left" if is_left else "right"), f"{mask.shape[1]} × {mask.shape[0]} px"
            expected = f"some pixel of {_SIDE} × {_SIDE} to be {first} to {last}"
            raise BadImageError(f"{path}: this mask, {size}, shows no {side} hand; expected {expected}")
        return np.ascontiguousarray(shown[:, ::-1]) if is_left else shown

    def __getitem__(self, index: int) -> HandSample:
        return self.read(index, math.inf)

    def read(self, index: int, min_side: float) -> HandSample:
        """Read the image of hand `index` for a view."""
        self.check_index(index)
        path, frame, is_left = self.image_file(index), self._frame[index], bool(self.is_left[index])
        decoded = read_reduced(path, None, min_side)
        if (decoded.width, decoded.height) != (_SIDE, _SIDE):
            raise BadImageError(f"{path} has {decoded.width} × {decoded.height} px; expected {_SIDE} × {_SIDE}")
        name = f"{self.split}/{path.stem}" + (f", {'left' if is_left else 'right'}" if self.hands == "both" else "")
        labels = self._labels["joints_3d"][frame, self._side[index]], self._labels["K"][frame]
        return labeled_hand(decoded, name, *labels, self.crop_margin, is_left=is_left)

    def _file(self, folder: str, hand: int) -> Path:
        return self.root / self.split / folder / f"{self._labels['frame'][self._frame[hand]]:05d}.png"

    def _projected(self) -> NDArray[np.float32]:
        """(num_hands, 21, 2), px of the images as they are."""
        return projected(self.joints_3d, self._labels["K"][self._frame])

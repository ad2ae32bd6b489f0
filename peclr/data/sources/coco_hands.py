"""Hands with 2-D labels alone: COCO-WholeBody, Halpe, OneHand10K, CMU Panoptic's hands, HInt.

    coco_wholebody  annotations/coco_wholebody_{train,val}_v1.0.json; train2017, val2017         Jin et al., ECCV 2020
    halpe           annotations/halpe_{train,val}_v1.json; hico_20160224_det/images/train2015, val2017
                                                                                             Fang et al., TPAMI 2022
    onehand10k      annotations/onehand10k_{train,test}.json, those of mmpose; {Train,Test}/source
                                                                                             Wang et al., TCSVT 2019
    panoptic        hand_labels/manual_{train,test}/NAME.{jpg,json}, and of train, where it is there,
                    hand143_panopticdb/hands_v143_14817.json and imgs                        Simon et al., CVPR 2017
    hint            {TRAIN,VAL,TEST}_{newdays,epick,ego4d}_img/NAME_{l,r}.{jpg,json}, …_seq  Pavlakos et al., CVPR 2024

All list joints in order freihand. OneHand10K and Panoptic's dome do not say which hand it is: it is taken for a right
one, and its side is "unknown". Coordinates count pixels, whose centers are integers, as far as anybody says.
"""

import math
import os
import re
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from peclr.data.samples import HandSample, HandSource, hash_of
from peclr.data.sources.box_files import boxed_hand
from peclr.data.sources.coco_hands_labels import SIDES, DataSet2D
from peclr.data.sources.image_faults import check_labeled_images
from peclr.data.sources.images import BadImageError, image_sizes, read_reduced
from peclr.data.sources.listing import are_there
from peclr.data.sources.packed_labels import labels_of
from peclr.data.sources.plausibility import doubt_boxes, doubt_places, refuse_faults, sampled
from peclr.geometry.planar import PUBLISHED_CROP_MARGIN, check_margin, enlarged_square


class CocoHands(HandSource):
    """One split of one of these sets: every labeled hand whose image is there; left ones are mirrored.

    Joints that nobody labeled are NaN; there are neither cameras nor 3-D.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        dataset: DataSet2D = "coco_wholebody",
        crop_margin: float = PUBLISHED_CROP_MARGIN,
        *,
        use_prepared: bool = True,
    ) -> None:
        """Read and check the labels; ValueError names the file and value that is wrong.

        Args:
            root: The folder that holds the set, see above.
            split: "train", "val" or "test", of which each set has those above.
            dataset: Which of the sets it is.
            crop_margin: Side of the crop box over the longer side of the hand's box, which without one of its own, in
                Halpe and Panoptic, goes around its joints.
            use_prepared: Whether to use the labels that `peclr prepare` has packed, while they are fresh.
        """
        check_margin(crop_margin)
        if dataset not in get_args(DataSet2D):
            raise ValueError(f"dataset {dataset!r} does not exist; expected one of {get_args(DataSet2D)}")
        self.root, self.split, self.name, self.crop_margin = Path(root), split, dataset, crop_margin
        self._labels = labels_of(dataset, self.root, split, use_prepared=use_prepared)
        there = are_there(self.root, self._labels["image_name"])
        self._hands = np.flatnonzero(there[self._labels["image"]]).astype(np.int32)
        self.num_hands, self._num_labeled = len(self._hands), len(self._labels["image"])
        if not self.num_hands:
            example = self._labels["image_name"][0].decode(errors="surrogateescape")
            raise ValueError(f"{self.root / example} is missing, and all other images of {split}")
        hands, where = sampled(self.num_hands), f"{self.root}, {split}"
        sizes, joints_2d = image_sizes(list(map(self.image_file, hands))), self._labels["joints_2d"][self._hands[hands]]
        boxed = doubt_boxes(self.boxes[hands], joints_2d, where, hands.step)
        refuse_faults(doubt_places(joints_2d, sizes, where, hands.step), boxed)

    @property
    def boxes(self) -> NDArray[np.float32]:
        """(num_hands, 4), left, top, right, bottom, px, the set's own or around joints, of left hands as they are."""
        boxes: NDArray[np.float32] = self._labels["box"][self._hands]
        return boxes

    @property
    def is_left(self) -> NDArray[np.bool_]:
        """(num_hands,), whether each hand is a left one, which samples show mirrored."""
        return np.equal(self._labels["side"][self._hands], SIDES.index("left"))

    @property
    def occluded(self) -> NDArray[np.bool_] | None:
        """(num_hands, 21), which joints are hidden; HInt alone says it."""
        return self._labels["occluded"][self._hands] if "occluded" in self._labels else None

    def image_name(self, hand: int) -> str:
        """Path of the image of a hand below the root."""
        name: bytes = self._labels["image_name"][self._labels["image"][self._hands[hand]]]
        return name.decode(errors="surrogateescape")

    def image_file(self, hand: int) -> Path:
        """Path of the image of a hand."""
        return self.root / self.image_name(hand)

    def image_paths(self) -> list[Path]:
        """See `HasFiles`."""
        return list(dict.fromkeys(self.image_file(hand) for hand in range(self.num_hands)))

    def doubts(self) -> list[str]:
        """See `HasFiles`; looks at all images, where making the reader looks at a few."""
        images = np.unique(self._labels["image"][self._hands])
        files = [self.root / os.fsdecode(name) for name in self._labels["image_name"][images].tolist()]
        annotated = self._labels["image_size"][images]
        sizes = image_sizes(files) if annotated.any() else annotated
        other = ((sizes != annotated) & np.isfinite(sizes)).any(axis=1)
        notes = self._notes()
        if other.any():
            example = f"{files[int(other.argmax())]} for example: training stops at them"
            found = f"{other.sum():,} images are of another size than annotated, {example}"
            notes.append(f"{found}, or with on_bad_image: skip does not")
        return notes

    def _notes(self) -> list[str]:
        labeled, sides = f"{self._num_labeled:,} hands", self._labels["side"][self._hands]
        counted = {
            "have no image, and are left out": self._num_labeled - self.num_hands,
            "more have a box without a size, and are left out": int(self._labels["left_out"][0]),
            "are of an unknown side, and taken for right ones": int((sides == SIDES.index("unknown")).sum()),
        }
        return [f"{count:,} of {labeled} {what}" for what, count in counted.items() if count]

    def check_images(self) -> None:
        """See `HandSource`."""
        check_labeled_images(self._labels, self.image_paths, [f"{self.root}: {note}" for note in self._notes()])

    def identity(self) -> str:
        """See `HandSource`: of the annotations' numbers and the joints."""
        labels = (np.asarray(self._labels[name])[self._hands] for name in ("number", "joints_2d"))
        return hash_of(f"{self.name} {self.split}", *labels)

    def group_of_hands(self) -> NDArray[np.int64]:
        """See `HasGroups`: images, and those of which one shows the left and one the right hand of a frame."""
        names = [re.sub(rb"_[lr]\.", b".", name) for name in self._labels["image_name"].tolist()]
        return np.unique(names, return_inverse=True)[1][self._labels["image"][self._hands]].astype(np.int64)

    def joints_2d_of_hands(self) -> NDArray[np.float32]:
        """See `HasJoints2D`."""
        return self.mirrored(self._labels["joints_2d"][self._hands])

    def mirrored(self, joints_2d: NDArray[np.floating]) -> NDArray[np.float32]:
        """Take joints (num_hands, 21, 2), px, of left hands from their images to the mirrored ones, or back.

        Where labels do not say how wide these images are, looks at them.
        """
        moved = joints_2d.astype(np.float32)
        left = np.flatnonzero(self.is_left)
        width = self._labels["image_size"][self._labels["image"][self._hands[left]], 0].astype(np.float64)
        unknown = np.flatnonzero(width == 0)
        width[unknown] = image_sizes([self.image_file(hand) for hand in left[unknown].tolist()])[:, 0]
        moved[left, :, 0] = width[:, None] - 1 - joints_2d[left, :, 0]
        return moved

    def __getitem__(self, index: int) -> HandSample:
        return self.read(index, math.inf)

    def read(self, index: int, min_side: float) -> HandSample:
        """Read the image of hand `index` for a view."""
        self.check_index(index)
        hand = int(self._hands[index])
        side = SIDES[self._labels["side"][hand]]
        square = enlarged_square(self._labels["box"][hand].astype(np.float64), self.crop_margin)
        decoded = read_reduced(self.image_file(index), float(square[2] - square[0]), min_side)
        width, height = self._labels["image_size"][self._labels["image"][hand]].tolist()
        if width and (width, height) != (decoded.width, decoded.height):
            sizes = f"{decoded.width} × {decoded.height} px, annotated with {width} × {height}"
            raise BadImageError(f"{self.image_file(index)}: {sizes}")
        name = f"{self.split}/{self._labels['number'][hand]} {side} in {self.image_name(index)}"
        return boxed_hand(decoded, square, name, side, self._labels["joints_2d"][hand])

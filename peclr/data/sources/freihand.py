"""FreiHAND, and any data set written in its layout: images, cameras and 3-D joints of right hands.

Zimmermann et al., "FreiHAND: A Dataset for Markerless Capture of Hand Pose and Shape", ICCV 2019. Below its root:

    training/rgb/00000000.jpg …      file number = hand + number of hands × version
    training/mask/00000000.jpg …     where the hand is, in all of its versions: one for each hand
    evaluation/rgb/00000000.jpg …    one version
    {training,evaluation}_K.json, …_xyz.json, …_scale.json      one entry per hand

A hand's versions differ in background. Older downloads have no evaluation_xyz.json. Layouts of others may also have

    {training,evaluation}_group.json, …_class.json      one name per hand: of its person or recording, of what it shows
"""

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from peclr.data.samples import HandSample, HandSource, hand_sample, hash_of
from peclr.data.sources.image_faults import check_labeled_images
from peclr.data.sources.images import BadImageError, image_sizes, read_header, read_mask, read_reduced
from peclr.data.sources.layouts import teacher_of
from peclr.data.sources.listing import some
from peclr.data.sources.packed_labels import labels_of
from peclr.data.sources.plausibility import Doubts, doubt_labels, doubt_places, refuse_faults, sampled
from peclr.geometry.planar import PUBLISHED_CROP_MARGIN, check_margin, square_around_keypoints, whole_image
from peclr.untrusted.text import read_json

Split = Literal["training", "evaluation"]
Crop = Literal["keypoints", "image"]


class FreiHAND(HandSource):
    """One split of a data set in FreiHAND's layout: any number of hands, any number of versions.

    `labels` are K (hands, 3, 3), scale (hands,) and, where `has_labels`, xyz (hands, 21, 3).
    """

    name = "freihand"

    def __init__(
        self,
        root: str | Path,
        split: Split = "training",
        crop_margin: float = PUBLISHED_CROP_MARGIN,
        crop: Crop = "keypoints",
        *,
        use_prepared: bool = True,
    ) -> None:
        """Check labels and count images, read one at a time; ValueError names the file and value that is wrong.

        Args:
            root: The folder that holds `training`, `training_K.json` and so on.
            split: "training" or "evaluation".
            crop_margin: Half side of the crop box over the distance of the farthest keypoint from their mean.
            crop: Around the 2-D "keypoints", as published, or the whole "image", always so without labels.
            use_prepared: Whether to use the labels that `peclr prepare freihand` has packed, while they are fresh.
        """
        import torch  # not needed by the processes that cut crops, which get an opened source

        from peclr.geometry.camera import check_intrinsics, project

        check_margin(crop_margin)
        if crop not in get_args(Crop):
            raise ValueError(f"crop {crop!r} does not exist; expected one of {get_args(Crop)}")
        self.root, self.split, self._folder = Path(root), split, Path(root) / split / "rgb"
        self.labels = labels_of("freihand", self.root, split, use_prepared=use_prepared)
        self._K, self._scale, self._joints_3d = self.labels["K"], self.labels["scale"], self.labels.get("xyz")
        self.has_labels, self.num_hands = self._joints_3d is not None, len(self._K)
        check_intrinsics(torch.tensor(self._K), str(self._label_file("K")))
        doubts = doubt_labels(self._joints_3d, self._scale, self._label_file)
        self._num_images = self._count_images()
        self._joints_2d = self._crop_boxes = None
        if self._joints_3d is not None:
            joints_2d = project(torch.tensor(self._joints_3d).double(), torch.tensor(self._K).double()).numpy()
            self._crop_boxes = square_around_keypoints(joints_2d, crop_margin) if crop == "keypoints" else None
            self._joints_2d = joints_2d.astype(np.float32)
        teacher = teacher_of(self.root)
        self._notes = [*([f"labels are pseudo, those of {teacher}"] if teacher else []), *doubts.notes]
        refuse_faults(doubts, self._doubt_places(sampled(self.num_hands)))

    def __len__(self) -> int:
        return self._num_images

    def hand_of(self, index: int) -> int:
        """The hand that image `index` shows."""
        return index % self.num_hands

    def versions_of(self, hand: int) -> Sequence[int]:
        """The images that show `hand`."""
        return range(hand, self._num_images, self.num_hands)

    def image_file(self, index: int) -> str:
        """Path of image `index`."""
        return f"{self._folder}/{index:08d}.jpg"

    def check_masks(self) -> None:
        """See `HasMasks`: the training split has them."""
        folder = self.root / self.split / "mask"
        if not folder.is_dir():
            raise ValueError(f"{folder} is not a folder; expected masks 00000000.jpg …, one of each hand")
        wanted = [f"{hand:08d}.jpg" for hand in range(self.num_hands)]
        if missing := sorted({*wanted}.difference(os.listdir(folder))):  # noqa: PTH208 (names are enough)
            raise ValueError(f"{folder}: missing masks, {some(missing)}; expected one of each hand")
        for hand in sampled(self.num_hands):
            self.read_mask(hand)

    def read_mask(self, hand: int) -> NDArray[np.uint8]:
        """See `HasMasks`."""
        path, header = self.root / self.split / "mask" / f"{hand:08d}.jpg", read_header(Path(self.image_file(hand)))
        mask = read_mask(path)
        if header is not None and mask.shape != (header.height, header.width):
            size, other = f"{mask.shape[1]} × {mask.shape[0]} px", f"{header.width} × {header.height}"
            raise BadImageError(f"{path} has {size}, and its image {other}; expected the same")
        return mask

    def joints_2d_of_hands(self) -> NDArray[np.float32] | None:
        """See `HasJoints2D`."""
        return self._joints_2d

    def group_of_hands(self) -> NDArray[np.int64] | None:
        """See `HasGroups`."""
        names = self.names_of_hands("group")
        return None if names is None else np.unique(names, return_inverse=True)[1].astype(np.int64)

    def names_of_hands(self, kind: Literal["group", "class"]) -> list[str] | None:
        """Each hand's group or class; None without a file of them, ValueError if it does not fit."""
        path = self._label_file(kind)
        if not path.exists():
            return None
        names = read_json(path)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{path}: expected a list of names, one per hand")
        if len(names) != self.num_hands:
            raise ValueError(f"{path} has {len(names)} names; expected one for each of {self.num_hands} hands")
        return names

    def identity(self) -> str:
        """See `HandSource`: of the cameras and scales, which every split has."""
        return hash_of(f"{self.name} {self.split}", np.asarray(self._K), np.asarray(self._scale))

    def __getitem__(self, index: int) -> HandSample:
        return self.read(index, math.inf)

    def read(self, index: int, min_side: float) -> HandSample:
        """Read image `index` for a view; images in this layout may be larger than FreiHAND's."""
        self.check_index(index)
        hand = self.hand_of(index)
        box = None if self._crop_boxes is None else self._crop_boxes[hand]
        decoded = read_reduced(self.image_file(index), None if box is None else box[2] - box[0], min_side)
        return hand_sample(
            decoded.image,
            whole_image(decoded.width, decoded.height) if box is None else box,
            f"{self.split}/{index:08d}",
            "right",
            K=self._K[hand],
            joints_3d=None if self._joints_3d is None else self._joints_3d[hand],
            joints_2d=None if self._joints_2d is None else self._joints_2d[hand],
            scale_m=float(self._scale[hand]),
            image_from_decoded=decoded.image_from_decoded,
        )

    def image_paths(self) -> list[Path]:
        """See `HasFiles`."""
        return [Path(self.image_file(index)) for index in range(len(self))]

    def doubts(self) -> list[str]:
        """See `HasFiles`."""
        unlabeled = [] if self.has_labels else [f"no {self._label_file('xyz').name}: for prediction only"]
        return [*unlabeled, *self._notes, *self._doubt_places(range(self.num_hands)).notes]

    def check_images(self) -> None:
        """See `HandSource`."""
        check_labeled_images(self.labels, self.image_paths, self._notes)

    def _doubt_places(self, hands: range) -> Doubts:
        """Look at some hands and their first images."""
        if self._joints_2d is None:
            return Doubts([], [])
        sizes = image_sizes([Path(self.image_file(hand)) for hand in hands])
        return doubt_places(self._joints_2d[hands], sizes, self._folder, hands.step)

    def _label_file(self, kind: str) -> Path:
        return self.root / f"{self.split}_{kind}.json"

    def _count_images(self) -> int:
        """Number of images, after checking that they are numbered without a gap and that the labels fit."""
        if not self._folder.is_dir():
            raise ValueError(f"{self._folder} is not a folder; expected images 00000000.jpg …")
        # one pass over names: 130,240 separate looks would take seconds
        names = {name for name in os.listdir(self._folder) if re.fullmatch(r"[0-9]{8}\.jpg", name)}  # noqa: PTH208
        if not names:
            raise ValueError(f"{self._folder}: no images; expected 00000000.jpg, 00000001.jpg, …")
        if gaps := sorted({f"{number:08d}.jpg" for number in range(int(max(names)[:8]))} - names):
            raise ValueError(f"{self._folder}: missing images, {some(gaps)}, while there are up to {max(names)}")
        if len(names) % self.num_hands:
            hands = f"the {self.num_hands} hands in {self._label_file('K')}"
            raise ValueError(f"{self._folder}: {len(names)} images are not a multiple of {hands}")
        return len(names)

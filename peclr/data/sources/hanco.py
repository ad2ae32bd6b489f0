"""HanCo: sequences of right hands in eight calibrated views, most of them with several backgrounds.

Zimmermann et al., "Contrastive Representation Learning for Hand Shape Estimation", GCPR 2021. Below its root are

    meta.json                           of each frame: is_train, before a green screen; is_valid; has_fit; subject_id
    rgb/SEQUENCE/camN/FRAME.jpg         0000/cam0/00000000.jpg, …: N from 0 to 7
    rgb_merged, rgb_homo, rgb_color_auto, rgb_color_sample      the same of training frames, with other backgrounds
    mask_hand/SEQUENCE/camN/FRAME.jpg   where the hand is
    calib/SEQUENCE/FRAME.json           K and M, camera ← world, of the cameras
    xyz/SEQUENCE/FRAME.json             joints in the world frame, of frames with a fit

Folders and sequences that were not downloaded are left out, as of its small sample, HanCo_tester.zip.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final, get_args

import numpy as np
from numpy.typing import NDArray

from peclr.data.samples import HandSample, HandSource, hand_sample, hash_of, images_in_a_row
from peclr.data.sources.hanco_files import Frames, HanCoFiles, Split
from peclr.data.sources.hanco_labels import CAMERAS, UNKNOWN
from peclr.data.sources.image_faults import check_image_files
from peclr.data.sources.images import read_mask, read_reduced
from peclr.data.sources.labeled_hand import check_some, labeled_hand, projected
from peclr.data.sources.packed_labels import Array, PackedArrays, labels_of
from peclr.data.sources.plausibility import sampled
from peclr.geometry.planar import PUBLISHED_CROP_MARGIN, check_margin, whole_image

_FRAMES_PER_SECOND: Final = 5.0  # of the recordings
_AT_ONCE: Final = 4_096  # hands whose joints are projected


class HanCo(HandSource):
    """One split: every view of a frame is a hand, and has as many versions as there are backgrounds."""

    name = "hanco"

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        frames: Frames = "valid",
        crop_margin: float = PUBLISHED_CROP_MARGIN,
        *,
        use_prepared: bool = True,
    ) -> None:
        """Read and check the labels; ValueError names the file and value that is wrong.

        Args:
            root: The folder that holds `meta.json`, `rgb` and so on.
            split: "train", before a green screen and with other backgrounds, or "test", before real ones alone.
            frames: "valid" are those whose joints somebody has looked at, "fit" all that have joints, and "all", for
                pre-training, those without, too, whose crop is the whole image.
            crop_margin: Half side of the crop box over the distance of the farthest keypoint from their mean.
            use_prepared: Whether to use the labels that `peclr prepare hanco` has packed, while they are fresh.
        """
        check_margin(crop_margin)
        if frames not in get_args(Frames):
            raise ValueError(f"frames {frames!r} does not exist; expected one of {get_args(Frames)}")
        self.root, self.split, self.frames, self.crop_margin = Path(root), split, frames, crop_margin
        self._labels = labels_of("hanco", self.root, split, use_prepared=use_prepared)
        self.files = HanCoFiles(self.root, self._labels, split, frames)
        self.num_hands = len(self.files)
        self._notes = check_some(
            self.num_hands,
            self._labeled,
            lambda hand: self.files.image(int(self.files.start[hand])),
            f"{self.root}, {split}",
        )

    def __len__(self) -> int:
        return int(self.files.start[-1])

    def hand_of(self, index: int) -> int:
        """The hand that image `index` shows."""
        return self.files.hand_of(index)

    def versions_of(self, hand: int) -> Sequence[int]:
        """The images that show `hand`."""
        return range(*self.files.start[hand : hand + 2].tolist())

    def images_of_hands(self, hands: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """See `HandSource`."""
        return images_in_a_row(self.files.start, hands)

    def image_paths(self) -> list[Path]:
        """See `HasFiles`: of both splits, and of frames without joints, too."""
        return self.files.all_images()

    def doubts(self) -> list[str]:
        """See `HasFiles`."""
        views, left_out = self.num_hands + self.files.left_out, self.files.left_out
        notes = [f"{left_out:,} of {views:,} views are of frames that are not {self.frames}, and are left out"]
        return [f"versions: {', '.join(self.files.folders())}", *(notes if left_out else []), *self._notes]

    def check_images(self) -> None:
        """See `HandSource`; of packed labels, folders that were downloaded since are looked at."""
        if self.files.changed or not isinstance(self._labels, PackedArrays):
            check_image_files([self.files.image(image) for image in range(len(self))])

    def check_masks(self) -> None:
        """See `HasMasks`."""
        self.files.check_listed("mask_hand")
        for hand in sampled(self.num_hands):
            self.read_mask(hand)

    def read_mask(self, hand: int) -> NDArray[np.uint8]:
        """See `HasMasks`."""
        return read_mask(self.files.path("mask_hand", hand))

    @property
    def joints_3d(self) -> NDArray[np.float32]:
        """(num_hands, 21, 3), metres, camera frame, NaN where unknown."""
        return np.concatenate([self._labeled(hands)[0].astype(np.float32) for hands in self._parts()])

    @property
    def is_left(self) -> NDArray[np.bool_]:
        """(num_hands,), whether each hand is a left one: none is."""
        return np.zeros(self.num_hands, np.bool_)

    def joints_2d_of_hands(self) -> NDArray[np.float32]:
        """See `HasJoints2D`."""
        return np.concatenate([projected(*self._labeled(hands)) for hands in self._parts()])

    def group_of_hands(self) -> NDArray[np.int64]:
        """See `HasGroups`: people; a sequence of which nobody said whose hand it is is a group of its own."""
        subject = self.files.of_hands("subject")
        return np.where(subject == UNKNOWN, UNKNOWN - 1 - self.video_of_hands(), subject)

    def video_of_hands(self) -> NDArray[np.int64]:
        """See `HasVideos`: sequences, by all cameras."""
        return self.files.of_hands("sequence")

    def track_of_hands(self) -> NDArray[np.int64]:
        """See `HasTracks`: the one hand of a sequence, by one camera."""
        return self.video_of_hands() * CAMERAS + self.camera_of_hands()

    def time_of_hands(self) -> NDArray[np.float64]:
        """See `HasTracks`: by the number of the frame."""
        return self.files.of_hands("frame") / _FRAMES_PER_SECOND

    def frame_of_hands(self) -> NDArray[np.int64]:
        """See `HasCameras`."""
        return self.files.view()[0]

    def camera_of_hands(self) -> NDArray[np.int64]:
        """See `HasCameras`: 0 to 7, as folders are named."""
        return self.files.view()[1]

    def identity(self) -> str:
        """See `HandSource`: of sequences, frames and cameras, and how many versions there are."""
        views = self.video_of_hands(), self.files.of_hands("frame"), self.camera_of_hands()
        return hash_of(f"{self.name} {self.split}", *views, self.files.start)

    def __getitem__(self, index: int) -> HandSample:
        return self.read(index, math.inf)

    def read(self, index: int, min_side: float) -> HandSample:
        """Read image `index` for a view."""
        self.check_index(index)
        path, hand = self.files.image(index), self.hand_of(index)
        name = f"{self.split}/{path.relative_to(self.root).as_posix()}"
        joints_3d, K = (array[0] for array in self._labeled(slice(hand, hand + 1)))
        decoded, known = read_reduced(path, None, min_side), bool(np.isfinite(joints_3d).all())
        if known:
            return labeled_hand(decoded, name, joints_3d, K, self.crop_margin, is_left=False)
        square, from_decoded = whole_image(decoded.width, decoded.height), decoded.image_from_decoded
        return hand_sample(decoded.image, square, name, "right", K.astype(np.float32), image_from_decoded=from_decoded)

    def _parts(self) -> list[slice]:
        """All hands, so many at a time."""
        return [slice(start, start + _AT_ONCE) for start in range(0, self.num_hands, _AT_ONCE)]

    def _labeled(self, hands: slice | NDArray[np.int64]) -> tuple[Array, Array]:
        """Joints (N, 21, 3), metres, camera frame, NaN where unknown, and cameras (N, 3, 3), px."""
        row, camera = self.files.view(hands)
        M, K = (self._labels[name][row, camera].astype(np.float64) for name in ("M", "K"))
        joints_3d = self._labels["xyz"][row] @ M[:, :, :3].swapaxes(1, 2) + M[:, None, :, 3]
        return np.where(self._labels["has_joints"][row, camera][:, None, None], joints_3d, np.nan), K

"""DexYCB: hands that grasp objects, in eight views; right and left ones.

Chao et al., "DexYCB: A Benchmark for Capturing Hand Grasping of Objects", CVPR 2021. Below its root are

    SUBJECT/SEQUENCE/meta.yml                         20200709-subject-01/20200709_141754, …: side, number of frames
    SUBJECT/SEQUENCE/CAMERA/color_000000.jpg          640 × 480 px
    SUBJECT/SEQUENCE/CAMERA/labels_000000.npz         joints, −1 where there is no hand
    calibration/intrinsics/CAMERA_640x480.yml

It is divided in four ways, s0 to s3, into train, val and test, and papers say which they use: so does a reader's split.
"""

import math
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from peclr.data.samples import HandSample, HandSource, hash_of
from peclr.data.sources.dexycb_labels import CAMERAS, NO_HAND, SEQUENCES, SUBJECTS, file_name, is_of
from peclr.data.sources.image_faults import check_labeled_images
from peclr.data.sources.images import read_reduced
from peclr.data.sources.labeled_hand import check_some, labeled_hand
from peclr.data.sources.packed_labels import Array, labels_of
from peclr.geometry.planar import PUBLISHED_CROP_MARGIN, check_margin

Split = Literal[
    "s0_train", "s0_val", "s0_test", "s1_train", "s1_val", "s1_test",
    "s2_train", "s2_val", "s2_test", "s3_train", "s3_val", "s3_test",
]  # fmt: skip

_FRAMES_PER_SECOND: Final = 30.0  # of its RealSense cameras


class DexYCB(HandSource):
    """One split: every frame that shows a hand is one image; left hands are mirrored.

    `items` (num_hands,) are the hands' numbers in the official list of the split, which counts frames without a hand,
    `num_items` its length. Of train, subjects that are not there are left out.
    """

    name = "dexycb"

    def __init__(
        self,
        root: str | Path,
        split: Split,
        crop_margin: float = PUBLISHED_CROP_MARGIN,
        *,
        use_prepared: bool = True,
    ) -> None:
        """Read and check the labels; ValueError names the file and value that is wrong.

        Args:
            root: The folder that holds the subjects and `calibration`.
            split: "s0_train" to "s3_test": s0 divides by sequence, s1 by subject, s2 by view, s3 by object.
            crop_margin: Half side of the crop box over the distance of the farthest keypoint from their mean.
            use_prepared: Whether to use the labels that `peclr prepare dexycb` has packed, while they are fresh.
        """
        check_margin(crop_margin)
        self.root, self.split, self.crop_margin = Path(root), split, crop_margin
        self._labels = labels_of("dexycb", self.root, split, use_prepared=use_prepared)
        sequence, joints_3d = np.asarray(self._labels["sequence"]), self._labels["joints_3d"]
        subject, number = (self._labels[name][sequence] for name in ("subject", "number"))
        chosen = np.flatnonzero(is_of(split, subject, number, self._labels["camera"])).astype(np.int32)
        self.items = np.flatnonzero((joints_3d[chosen, 0] != NO_HAND).any(axis=-1)).astype(np.int32)
        self._frames, self.num_items = chosen[self.items], len(chosen)
        self.num_hands = len(self._frames)
        self._notes = self._missing_subjects()
        if not self.num_hands:
            raise ValueError(f"{root}: {split} has no hand in the subjects that are there; {'; '.join(self._notes)}")
        self._notes += check_some(self.num_hands, self._labeled, self.image_file, f"{self.root}, {split}")

    @property
    def joints_3d(self) -> NDArray[np.float32]:
        """(num_hands, 21, 3), metres, camera frame, of left hands as they are."""
        joints: NDArray[np.float32] = self._labels["joints_3d"][self._frames]
        return joints

    @property
    def is_left(self) -> NDArray[np.bool_]:
        """(num_hands,), whether each hand is a left one, which samples show mirrored."""
        is_left: NDArray[np.bool_] = self._labels["is_left"][self._of_hands("sequence")]
        return is_left

    def image_file(self, hand: int) -> Path:
        """Path of the image of a hand."""
        return self.root / self._image_name(hand)

    def image_paths(self) -> list[Path]:
        """See `HasFiles`."""
        return [self.image_file(hand) for hand in range(self.num_hands)]

    def doubts(self) -> list[str]:
        """See `HasFiles`."""
        without = self.num_items - self.num_hands
        return [f"{without:,} of {self.num_items:,} frames show no hand, and are left out", *self._notes]

    def check_images(self) -> None:
        """See `HandSource`."""
        check_labeled_images(self._labels, self.image_paths, [f"{self.root}: {note}" for note in self._notes])

    def identity(self) -> str:
        """See `HandSource`: of the split, the sequences and the frames."""
        return hash_of(f"{self.name} {self.split}", np.asarray(self._labels["sequence_name"]), self._frames)

    def group_of_hands(self) -> NDArray[np.int64]:
        """See `HasGroups`: sequences, whose views and frames are alike."""
        return self._of_hands("sequence")

    def video_of_hands(self) -> NDArray[np.int64]:
        """See `HasVideos`: sequences, by all cameras."""
        return self.group_of_hands()

    def track_of_hands(self) -> NDArray[np.int64]:
        """See `HasTracks`: the one hand of a sequence, by one camera."""
        return self.video_of_hands() * len(CAMERAS) + self.camera_of_hands()

    def time_of_hands(self) -> NDArray[np.float64]:
        """See `HasTracks`: by the number of the frame."""
        return self._of_hands("frame") / _FRAMES_PER_SECOND

    def frame_of_hands(self) -> NDArray[np.int64]:
        """See `HasCameras`: sequences and their frames, which all cameras take at once."""
        frame = self._of_hands("frame")
        return self.group_of_hands() * (int(frame.max()) + 1) + frame

    def camera_of_hands(self) -> NDArray[np.int64]:
        """See `HasCameras`: by place in `CAMERAS`."""
        return self._of_hands("camera")

    def __getitem__(self, index: int) -> HandSample:
        return self.read(index, math.inf)

    def read(self, index: int, min_side: float) -> HandSample:
        """Read the image of hand `index` for a view."""
        self.check_index(index)
        decoded, name = read_reduced(self.image_file(index), None, min_side), f"{self.split}/{self._image_name(index)}"
        is_left = bool(self._labels["is_left"][self._labels["sequence"][self._frames[index]]])
        return labeled_hand(decoded, name, *self._labeled(index), self.crop_margin, is_left=is_left)

    def _of_hands(self, name: str) -> NDArray[np.int64]:
        """(num_hands,), what a label says of each hand's frame."""
        return np.asarray(self._labels[name])[self._frames].astype(np.int64)

    def _labeled(self, hands: int | NDArray[np.int64]) -> tuple[Array, Array]:
        """Joints (…, 21, 3), metres, camera frame, and cameras (…, 3, 3), px, of hands (…)."""
        frames = self._frames[hands]
        return self._labels["joints_3d"][frames], self._labels["K"][self._labels["camera"][frames]]

    def _image_name(self, hand: int) -> str:
        return file_name(self._labels, int(self._frames[hand]), "color_{:06d}.jpg")

    def _missing_subjects(self) -> list[str]:
        """Say which subjects of the split are not there; ValueError where scores would be of other hands."""
        subject, sequence, camera = np.indices((len(SUBJECTS), SEQUENCES, len(CAMERAS))).reshape(3, -1)
        needed = [SUBJECTS[number] for number in np.unique(subject[is_of(self.split, subject, sequence, camera)])]
        there = {name.decode().partition("/")[0] for name in self._labels["sequence_name"].tolist()}
        missing = [name for name in needed if name not in there]
        if missing and not self.split.endswith("train"):
            raise ValueError(f"{self.root / missing[0]} is missing; {self.split} needs {', '.join(needed)}")
        return [f"without {', '.join(missing)}, which are not there"] if missing else []

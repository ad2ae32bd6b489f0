"""YouTube3DHands: hands in videos, with the vertices of a MANO mesh fitted to each.

Kulon et al., "Weakly-Supervised Mesh-Convolutional Hand Reconstruction in the Wild", CVPR 2020. Below its root are

    youtube_{train,val,test}.json                        labels
    youtube/VIDEO/video/frames/NUMBER.png or .jpg        frames, which users extract from the videos themselves

Videos disappear, so hands whose frame is missing are left out, and counted. Two ids of the official list of videos are
fused to one of 22 letters, whose frames nobody has; Su0mLlax_0s and PQSjVMOaRGc are the same video.
"""

import logging
import math
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from peclr.data.samples import HandSample, HandSource, hand_sample, hash_of
from peclr.data.sources.images import BadImageError, read_reduced
from peclr.data.sources.layouts import label_files
from peclr.data.sources.mano import joints_from_vertices, load_joint_regressor
from peclr.data.sources.packed_labels import labels_of
from peclr.data.sources.youtube3d_labels import (
    MISSING,
    Split,
    find_frames,
    frame_path,
    is_stretched,
    stretched_frames,
)
from peclr.geometry import planar
from peclr.geometry.planar import PUBLISHED_CROP_MARGIN, Matrix

_FUSED = 22  # letters; ids of videos have 11, and one name in the official list is two of them

_log = logging.getLogger(__name__)


class YouTube3DHands(HandSource):
    """One split: every hand is one image, a frame that may show others, too.

    Labels are rescaled to frames of another resolution than annotated, which are common. Large JPEGs are decoded at the
    reduced scale that a view needs. Left hands are mirrored. There are no cameras and no metric labels. Of annotated
    hands, `num_missing` have no frame on disk, and `num_stretched` one of another aspect: both are left out.
    """

    name = "youtube3d"

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        mano: str | Path | None = None,
        crop_margin: float = PUBLISHED_CROP_MARGIN,
        *,
        use_prepared: bool = True,
    ) -> None:
        """Open the labels and look which frames there are; ValueError names the file that is missing or wrong.

        Args:
            root: The folder that holds `youtube_train.json` and so on, and `youtube`.
            split: "train", "val" or "test".
            mano: The joint regressor of MANO, see `peclr.data.sources.mano`. With it, samples have all 2-D joints and
                are cropped around them, as published; without it, five finger tips and a crop around the vertices.
            crop_margin: Half side of the crop box over the distance of the farthest joint from their mean, or over half
                the longer side of the vertices' bounding box.
            use_prepared: Whether to use the labels that `peclr prepare youtube3d` has packed, while they are fresh.
        """
        planar.check_margin(crop_margin)
        self.root, self.split, self.crop_margin = Path(root), split, crop_margin
        [path] = label_files("youtube3d", self.root, split)
        self._regressor = None if mano is None else load_joint_regressor(mano)
        self._labels = labels_of("youtube3d", self.root, split, use_prepared=use_prepared)
        images, names = self._labels["image"], self._labels["image_name"]
        self._suffix = find_frames(self.root, names)
        stretched = stretched_frames(self.root, self._labels, self._suffix)
        self.num_stretched = int(stretched[images].sum())
        self._suffix[stretched] = MISSING
        self._hands = np.flatnonzero(self._suffix[images] != MISSING)
        self.num_hands = len(self._hands)
        self.num_missing = len(images) - self.num_hands - self.num_stretched
        if not self.num_hands:
            example = f"{names[0].decode()} (or .jpg) for example"
            stretches = f" in the annotated aspect ({self.num_stretched} hands in another)" if stretched.any() else ""
            raise ValueError(f"{self.root}: none of the frames in {path.name} exist{stretches}, {example}")
        for number, reason in ((self.num_missing, "missing"), (self.num_stretched, "of another aspect than annotated")):
            if number:
                _log.warning("%s: the frames of %d hands are %s, %d are left", path, number, reason, self.num_hands)

    def image_paths(self) -> list[Path]:
        """See `HasFiles`."""
        frames = np.unique(self._labels["image"][self._hands]).tolist()
        return [self.root / frame_path(self._labels["image_name"][n], self._suffix[n]) for n in frames]

    def doubts(self) -> list[str]:
        """See `HasFiles`; looks at all frames, where making the reader looks at one of each video."""
        notes, names, images = list[str](), self._labels["image_name"], self._labels["image"]
        suffix = find_frames(self.root, names)
        if repeated := len(images) - len(np.unique(self._labels["annotation_id"])):
            notes.append(f"{repeated:,} annotations share their id with another; all are kept")
        if self.num_missing:
            notes.append(f"{self.num_missing:,} of {len(images):,} hands have no frame; missing frames by video:")
            videos = Counter(name.decode().split("/")[1] for name in names[suffix == MISSING].tolist())
            for video, count in videos.most_common():
                notes.append(f"  {video}: {count:,}" + (" (two ids fused into one)" if len(video) == _FUSED else ""))
        stretched = stretched_frames(self.root, self._labels, suffix, every=True)
        if stretched.any():
            example = int(stretched.argmax())
            named = f"{stretched.sum():,} frames: {frame_path(names[example], suffix[example])} for example"
            notes.append(f"{stretched[images].sum():,} hands are left out, of another aspect than annotated; {named}")
        return ["\n".join(notes)] if notes else []

    def identity(self) -> str:
        """See `HandSource`: of the hands whose frames there are."""
        return hash_of(f"{self.name} {self.split}", np.asarray(self._labels["annotation_id"])[self._hands])

    def video_of_hands(self) -> NDArray[np.int64]:
        """See `HasVideos`: by the folder of the frame, youtube/VIDEO/video/frames."""
        names = np.asarray(self._labels["image_name"])[self._labels["image"][self._hands]]
        return np.unique([name.split(b"/")[1] for name in names.tolist()], return_inverse=True)[1].astype(np.int64)

    def __getitem__(self, index: int) -> HandSample:
        return self.read(index, math.inf)

    def read(self, index: int, min_side: float) -> HandSample:
        """Read the frame of hand `index` for a view."""
        self.check_index(index)
        labels, annotation = self._labels, self._hands[index]
        number = labels["image"][annotation]
        name = frame_path(labels["image_name"][number], self._suffix[number])
        annotated = labels["image_size"][number].tolist()
        vertices = labels["vertices"][annotation, :, :2].astype(np.float64)
        joints_2d = joints_from_vertices(vertices, self._regressor)
        # what the crop box is drawn around: joints, or corners of the vertices' bounding box
        around = np.stack([vertices.min(axis=0), vertices.max(axis=0)]) if self._regressor is None else joints_2d

        def side(width: int, height: int) -> float:
            box = self._crop_box(planar.move(planar.from_reduced(width / annotated[0], height / annotated[1]), around))
            return float(box[2] - box[0])

        decoded = read_reduced(f"{self.root}/{name}", side, min_side)
        matrix = planar.from_reduced(decoded.width / annotated[0], decoded.height / annotated[1])
        if is_stretched(decoded.width, decoded.height, *annotated):
            sizes = f"{decoded.width} × {decoded.height} px, annotated with {annotated[0]} × {annotated[1]}"
            raise BadImageError(f"{self.root}/{name}: {sizes}; expected the same aspect")
        if is_left := bool(labels["is_left"][annotation]):
            decoded, matrix = decoded.mirrored(), planar.mirror(decoded.width) @ matrix
        return hand_sample(
            decoded.image,
            self._crop_box(planar.move(matrix, around)),
            f"{self.split}/{labels['annotation_id'][annotation]} in {name}",
            "left" if is_left else "right",
            joints_2d=planar.move(matrix, joints_2d).astype(np.float32),
            image_from_decoded=decoded.image_from_decoded,
        )

    def _crop_box(self, around: Matrix) -> Matrix:
        """The box (4,) around joints (21, 2), or around two corners (2, 2), px."""
        if self._regressor is not None:
            return planar.square_around_keypoints(around, self.crop_margin)
        low, high = around.min(axis=0), around.max(axis=0)  # a mirror exchanges left and right
        center, half_side = (low + high) / 2, self.crop_margin * (high - low).max() / 2
        return np.concatenate([center - half_side, center + half_side])

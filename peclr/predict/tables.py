"""All hands of a prediction in one file: CSV, COCO keypoints or NumPy arrays."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from peclr.data.sources.coco_keypoints import CocoKeypoints
from peclr.data.sources.inputs import Frame
from peclr.geometry.joints import JOINT_NAMES
from peclr.inference.hands import HandPrediction, Scene
from peclr.options import write_whole
from peclr.predict.document import DEPTH_DIGITS, PIXEL_DIGITS, SCHEMA, SCORE_DIGITS, Method

Format = Literal["csv", "coco", "npz"]
NAMES: Final[dict[str, str]] = {"csv": "hands.csv", "coco": "hands.coco.json", "npz": "hands.npz"}


class _Image(NamedTuple):
    file: str  # of a frame with # and its number, as box files name it
    frame: int | None
    time_s: float | None
    size: tuple[int, int]  # width, height, px
    K: NDArray[np.float64]
    hands: tuple[HandPrediction, ...]


class TableFile:
    """Gathers hands, about a kilobyte each, and writes them whole at the end; nothing if there was no image."""

    def __init__(self, folder: Path, kind: Format, method: Method) -> None:
        self.path = folder / NAMES[kind]
        self._make = _MAKERS[kind]
        self._method = method
        self._images: list[_Image] = []

    def add(self, file: str, frame: Frame, scene: Scene, hands: tuple[HandPrediction, ...]) -> None:
        """Add the hands of an image, which the file calls `file`."""
        name = file if frame.number is None else f"{file}#{frame.number}"
        self._images.append(_Image(name, frame.number, frame.time_s, scene.size, scene.camera, hands))

    def close(self) -> None:
        """Write the file; OSError names it."""
        if self._images:
            write_whole(self.path, self._make(self._images, self._method))


def _each_hand(images: Sequence[_Image]) -> Iterator[tuple[_Image, HandPrediction]]:
    return ((image, hand) for image in images for hand in image.hands)


def _to_csv(images: Sequence[_Image], method: Method) -> bytes:
    """A row a hand, with the columns of a box file first, so that it is one; empty cells are unknown."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    joints = [f"{name}_{axis}" for name in JOINT_NAMES for axis in ("x", "y", "score", "x_3d", "y_3d", "z_3d")]
    box = ("left", "top", "right", "bottom")
    about = ("hand_origin", "box_origin", "found_by", "frame", "time_s", "track", "score", "score_kind")
    camera = ("width", "height", "fx", "fy", "cx", "cy", "unit_3d", "scale_m")
    table.writerow(["file", *box, "hand", *about, *camera, *joints])
    for image, hand in _each_hand(images):
        scores = [""] * len(JOINT_NAMES) if hand.joint_scores is None else hand.joint_scores.round(SCORE_DIGITS)
        places = zip(hand.keypoints_2d.round(PIXEL_DIGITS), scores, hand.joints_3d.round(DEPTH_DIGITS), strict=True)
        score = None if hand.score is None else round(hand.score, SCORE_DIGITS)
        K = image.K[[0, 1, 0, 1], [0, 1, 2, 2]]
        table.writerow(
            [
                *(image.file, *hand.box.round(PIXEL_DIGITS), hand.hand, hand.hand_origin, hand.box_origin),
                *(method.found_by, image.frame, image.time_s, hand.track, score, method.score_kind["hand"]),
                *(*image.size, *K.round(PIXEL_DIGITS), hand.unit_3d, hand.scale_m),
                *(cell for in_image, of_joint, in_space in places for cell in (*in_image, of_joint, *in_space)),
            ]
        )
    return text.getvalue().encode(errors="backslashreplace")


def _to_coco(images: Sequence[_Image], method: Method) -> bytes:
    """COCO keypoints; what COCO has no keys for is in further ones of each annotation."""
    about = {"schema": SCHEMA, "found_by": method.found_by, "score_kind": method.score_kind}
    document = CocoKeypoints({"description": "hands predicted by peclr"} | about)
    for image in images:
        number = document.add_image(image.file, *image.size)
        for hand in image.hands:
            more: dict[str, Any] = {"track_id": hand.track, "unit_3d": hand.unit_3d}
            more["joints_3d_camera"] = hand.joints_3d.round(DEPTH_DIGITS).tolist()
            if hand.joint_scores is not None:
                more["keypoint_scores"] = hand.joint_scores.round(SCORE_DIGITS).tolist()
            document.add_hand(number, hand.hand, hand.keypoints_2d, hand.score, **more)
    return document.to_bytes()


def _to_npz(images: Sequence[_Image], method: Method) -> bytes:
    """Arrays with a row for each of N hands, and for each of M images; −1 and NaN are unknown. No pickles."""
    hands = [hand for _, hand in _each_hand(images)]
    count = [len(image.hands) for image in images]
    of_hand = np.repeat(np.arange(len(images)), count)

    def rows(values: Sequence[Any], shape: tuple[int, ...], dtype: Any = np.float32) -> NDArray[Any]:
        unknown = np.full(shape, -1 if np.issubdtype(dtype, np.integer) else np.nan)
        return np.array([unknown if value is None else value for value in values], dtype).reshape(-1, *shape)

    arrays: dict[str, NDArray[Any]] = {
        "image": of_hand,
        "hand": np.array([hand.hand for hand in hands], "<U5"),
        "hand_origin": np.array([hand.hand_origin for hand in hands], "<U8"),
        "box": rows([hand.box for hand in hands], (4,)),
        "box_origin": np.array([hand.box_origin for hand in hands], "<U8"),
        "track": rows([hand.track for hand in hands], (), np.int64),
        "score": rows([hand.score for hand in hands], ()),
        "keypoints_2d": rows([hand.keypoints_2d for hand in hands], (21, 2)),
        "joint_scores": rows([hand.joint_scores for hand in hands], (21,)),
        "joints_3d_camera": rows([hand.joints_3d for hand in hands], (21, 3)),
        "scale_m": rows([hand.scale_m for hand in hands], ()),
        "image_file": np.array([image.file for image in images]),
        "image_frame": rows([image.frame for image in images], (), np.int64),
        "image_time_s": rows([image.time_s for image in images], (), np.float64),
        "image_size": rows([image.size for image in images], (2,), np.int64),
        "image_K": rows([image.K for image in images], (3, 3), np.float64),
        "joint_names": np.array(JOINT_NAMES),
        "found_by": np.array(method.found_by),
        "score_kind_hand": np.array(method.score_kind["hand"] or ""),
        "score_kind_joints": np.array(method.score_kind["joints"] or ""),
        "schema": np.array(SCHEMA),
    }
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


_MAKERS: Final[dict[str, Callable[[Sequence[_Image], Method], bytes]]] = {
    "csv": _to_csv,
    "coco": _to_coco,
    "npz": _to_npz,
}

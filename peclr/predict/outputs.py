"""What a prediction leaves behind: JSON, images with skeletons, a video; in a folder of its own."""

import errno
import json
import os
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import chain, count
from pathlib import Path
from typing import Any, Final, Self

import cv2
import numpy as np

from peclr.data.sources.images import is_utf8, write_image
from peclr.data.sources.inputs import Frame, Input
from peclr.drawing.skeleton import draw_skeleton, draw_skeleton_3d
from peclr.geometry.joints import JOINT_NAMES, SCALE_BONE, WRIST
from peclr.inference.crop_search import Image
from peclr.inference.hands import HandPrediction, Scene
from peclr.inference.network import TrainedNetwork
from peclr.options import check_new_folder, naming, write_whole

SCHEMA: Final = "peclr.prediction/1"  # of the JSON; the number grows when a key changes its meaning or goes away
_PIXEL_DIGITS, _DEPTH_DIGITS = 3, 6  # thousandths of a pixel, micrometres
_VIDEO_CODECS = {".mp4": "mp4v", ".avi": "MJPG"}  # what OpenCV's wheels can write
_BACKLOG = 16  # images that wait to be written: their memory is bounded


def to_text(frame: Frame, scene: Scene, hands: tuple[HandPrediction, ...], trained: TrainedNetwork) -> str:
    """Every hand of an image, in the order in which they were asked for, as one line of JSON.

    It is readable where UTF-8 has the names of files; others are escaped.
    """
    width, height = scene.size
    content = {
        "schema": SCHEMA,
        "source": frame.input.source,
        "frame": frame.number,
        "time_s": None if frame.time_s is None else round(frame.time_s, 6),
        "image": {"width": width, "height": height},
        "network": {"checkpoint": str(trained.checkpoint), "view_size": trained.view_size},
        "joints": {"order": "freihand", "names": list(JOINT_NAMES), "root": JOINT_NAMES[WRIST]},
        "frames": {
            "2d": "pixels of the upright image; the center of its first pixel is (0, 0), y points down",
            "3d": "camera: x right, y down, z forward; in unit_3d",
        },
        "camera": {"K": scene.camera.tolist(), "origin": scene.camera_origin},
        "hands": [_hand_to_json(hand) for hand in hands],
    }
    ascii_only = not (is_utf8(frame.input.source) and is_utf8(trained.checkpoint))
    return json.dumps(content, ensure_ascii=ascii_only) + "\n"


def _hand_to_json(hand: HandPrediction) -> dict[str, Any]:
    return {
        "hand": hand.hand,
        "box": hand.box.round(_PIXEL_DIGITS).tolist(),
        "box_origin": hand.box_origin,
        "scale": {"bone": [JOINT_NAMES[joint] for joint in SCALE_BONE], "metres": hand.scale_m},
        "unit_3d": hand.unit_3d,
        "keypoints_2d": hand.keypoints_2d.round(_PIXEL_DIGITS).tolist(),
        "joints_3d_camera": hand.joints_3d.round(_DEPTH_DIGITS).tolist(),
        "joints_3d_root_relative": hand.joints_3d_relative.round(_DEPTH_DIGITS).tolist(),
    }


class VideoFile:
    """A video that opens with its first image; images of another size are fitted into the first one's.

    Its path, new and ending in .mp4 or .avi, or FileExistsError or ValueError, is there when the video is whole. OpenCV
    says nothing when a disk is full: the last frame is read back.
    """

    def __init__(self, path: Path, rate: float) -> None:
        if path.suffix.lower() not in _VIDEO_CODECS:
            raise ValueError(f"{path}: expected a video ending in {' or '.join(_VIDEO_CODECS)}")
        if path.exists():
            raise FileExistsError(f"{path} exists already; give another path or remove it")
        if not is_utf8(path):
            raise ValueError(f"{str(path)!r}: OpenCV writes videos of names in UTF-8 only")
        self.path, self.rate = path, rate
        self._partial = path.with_name(f".partial-{path.name}")  # OpenCV goes by the suffix
        self._writer: cv2.VideoWriter | None = None
        self._size, self._frames = (0, 0), 0

    def write(self, image: Image) -> None:
        """Append an image (H, W, 3) RGB; OSError if the video cannot be begun."""
        if self._writer is None:
            self._size = (image.shape[1] // 2 * 2, image.shape[0] // 2 * 2)  # codecs of 4:2:0 color want even sides
            with naming(self.path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._partial.touch()  # OpenCV would not say why it cannot
            codec = cv2.VideoWriter.fourcc(*_VIDEO_CODECS[self.path.suffix.lower()])
            writer = cv2.VideoWriter(str(self._partial), codec, self.rate, self._size)
            if not writer.isOpened():
                self._partial.unlink()
                reason = f"OpenCV cannot write {self._size[0]} × {self._size[1]} px at {self.rate:g} frames/s"
                raise OSError(errno.EINVAL, reason, str(self.path))
            self._writer = writer
        self._writer.write(cv2.cvtColor(_fitted(image, self._size), cv2.COLOR_RGB2BGR))
        self._frames += 1

    def close(self) -> None:
        """Finish the file; OSError if not all of its frames could be written."""
        if self._writer is None:
            return
        self._writer.release()
        written = cv2.VideoCapture(str(self._partial))
        written.set(cv2.CAP_PROP_POS_FRAMES, self._frames - 1)
        last_is_there, _ = written.read()
        written.release()
        if not last_is_there:
            self._partial.unlink(missing_ok=True)
            reason = f"not all of its {self._frames} frames could be written, the disk may be full"
            raise OSError(errno.EIO, reason, str(self.path))
        self._partial.replace(self.path)


class OutputFolder:
    """Writes predictions in order, in a thread of its own, while the network computes.

    A still image gets `NAME.json`, a video or camera one line per frame in `NAME.jsonl`. An image's overlay is
    `NAME.overlay.jpg`, its hands in 3-D from two sides `NAME.sides.png`; overlays of all frames go to the video. On a
    full disk there are whole files and whole lines only. FileExistsError if there is something in the folder.
    """

    def __init__(
        self, folder: Path, trained: TrainedNetwork, *, overlay: bool, sides: bool, video: VideoFile | None
    ) -> None:
        check_new_folder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._trained, self._overlay, self._sides, self._video = trained, overlay, sides, video
        self._names: dict[Input, Path] = {}
        self._taken: set[Path] = set()
        self._thread = ThreadPoolExecutor(1, "peclr-writer")
        self._waiting: deque[Future[None]] = deque()
        self._end = ExitStack()  # in the order from last to first
        self._end.callback(self._remove_if_empty)
        if video is not None:
            self._end.callback(video.close)
        self._end.callback(self._thread.shutdown)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._end.close()
        for written in self._waiting if kind is None else ():
            written.result()

    def _remove_if_empty(self) -> None:
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    def write(self, frame: Frame, scene: Scene, hands: tuple[HandPrediction, ...]) -> None:
        """Write a prediction, soon; what went wrong with an earlier one is raised here, or at the end."""
        self._waiting.append(self._thread.submit(self._write, frame, scene, hands))
        if len(self._waiting) > _BACKLOG:
            self._waiting.popleft().result()

    def _write(self, frame: Frame, scene: Scene, hands: tuple[HandPrediction, ...]) -> None:
        name, still = self._name(frame.input), frame.number is None
        line = to_text(frame, scene, hands, self._trained).encode()
        if still:
            write_whole(Path(f"{name}.json"), line)
        else:
            _append_whole(Path(f"{name}.jsonl"), line)
        if (self._overlay and still) or self._video is not None:
            drawn = draw_hands(scene.image, hands)
            if self._overlay and still:
                write_image(Path(f"{name}.overlay.jpg"), drawn)
            if self._video is not None:
                self._video.write(drawn)
        if self._sides and still and hands:
            sides = [draw_skeleton_3d(hand.joints_3d, hand.unit_3d) for hand in hands]
            write_image(Path(f"{name}.sides.png"), np.concatenate(sides))

    def _name(self, found: Input) -> Path:
        """A path without suffix that no other input has."""
        if found not in self._names:
            stem = (self.folder / found.file).with_suffix("")  # a camera's has none
            numbered = (stem.with_name(f"{stem.name}-{number}") for number in count(2))
            self._names[found] = next(name for name in chain([stem], numbered) if name not in self._taken)
            self._taken.add(self._names[found])
            self._names[found].parent.mkdir(parents=True, exist_ok=True)
        return self._names[found]


def draw_hands(image: Image, hands: Iterable[HandPrediction]) -> Image:
    """Draw the skeletons of hands over a copy of their image (H, W, 3) RGB."""
    for hand in hands:
        image = draw_skeleton(image, hand.keypoints_2d)
    return image


def _append_whole(path: Path, line: bytes) -> None:
    """Append a line, or leave the file as it is."""
    before = path.stat().st_size if path.exists() else 0
    try:
        with naming(path), path.open("ab") as file:
            file.write(line)
    except OSError:
        if before:
            os.truncate(path, before)
        else:
            path.unlink(missing_ok=True)
        raise


def _fitted(image: Image, size: tuple[int, int]) -> Image:
    """Scale an image into width × height, centered on black."""
    height, width = image.shape[:2]
    if width - size[0] in (0, 1) and height - size[1] in (0, 1):  # an odd side
        return np.ascontiguousarray(image[: size[1], : size[0]])
    scale = min(size[0] / width, size[1] / height)
    fitted = (max(1, round(width * scale)), max(1, round(height * scale)))
    inside = cv2.resize(image, fitted, interpolation=cv2.INTER_AREA)
    across, down = size[0] - fitted[0], size[1] - fitted[1]
    edges = (down // 2, down - down // 2, across // 2, across - across // 2)
    return cv2.copyMakeBorder(inside, *edges, cv2.BORDER_CONSTANT).astype(np.uint8, copy=False)

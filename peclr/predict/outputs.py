"""What a prediction leaves behind: JSON, images with skeletons, a video; in a folder of its own."""

import os
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from importlib.util import find_spec
from itertools import chain, count
from pathlib import Path
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from peclr.data.sources.images import write_image
from peclr.data.sources.inputs import Frame, Input, frame_rate
from peclr.drawing.skeleton import draw_skeleton, draw_skeleton_3d
from peclr.geometry.joints import WRIST
from peclr.geometry.planar import from_reduced, move
from peclr.inference.crop_search import Image
from peclr.inference.hands import HandPrediction, Scene
from peclr.options import check_new_folder, naming, write_whole
from peclr.predict.document import Method, to_document, to_line
from peclr.predict.tables import Format, TableFile
from peclr.predict.video_file import VideoFile

_READABLE = 512  # px, of an overlay's longer side: smaller images are enlarged by whole factors to about this
CAMERA_RATE = 30.0  # frames per second of a video of what a camera sees
_WHITE, _BLACK = (255, 255, 255), (20, 20, 20)
_BACKLOG = 16  # images that wait to be written: their memory is bounded


class OutputFolder:
    """Writes predictions in order, in a thread of its own, while the network computes.

    A still image gets `NAME.json`, a video or camera one line per frame in `NAME.jsonl`; with a `table`, all get one
    file, as `TableFile` writes it, when they are done or interrupted. Overlays are `NAME.overlay.jpg`, or
    `NAME.overlay.mp4` where PyAV is installed; an image's hands in 3-D from two sides are `NAME.sides.png`. Overlays of
    all inputs together go to `video`. On a full disk there are whole files and whole lines only. FileExistsError if
    there is something in the folder.
    """

    def __init__(
        self,
        folder: Path,
        method: Method,
        *,
        overlay: bool,
        sides: bool,
        video: VideoFile | None = None,
        table: Format | None = None,
    ) -> None:
        check_new_folder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._method, self._overlay, self._sides, self._video = method, overlay, sides, video
        self._names: dict[Input, Path] = {}
        self._taken: set[Path] = set()
        self._called: dict[str, Input] = {}  # by what a table calls them
        self._table = None if table is None else TableFile(folder, table, method)
        self._can_write_videos = find_spec("av") is not None
        self._overlay_video: VideoFile | None = None  # of the last video that had a frame
        self._thread = ThreadPoolExecutor(1, "peclr-writer")
        self._waiting: deque[Future[None]] = deque()
        self._end = ExitStack()  # in the order from last to first
        self._end.callback(self._remove_if_empty)
        if self._table is not None:
            self._end.callback(self._table.close)
        if video is not None:
            self._end.callback(video.close)
        self._end.callback(self._close_overlay)
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
        if self._table is not None:
            found = frame.input
            unique = self._called.setdefault(found.file, found) == found
            self._table.add(found.file if unique else found.source, frame, scene, hands)
        else:
            line = to_line(to_document(frame, scene, hands, self._method)).encode()
            if still:
                write_whole(Path(f"{name}.json"), line)
            else:
                _append_whole(Path(f"{name}.jsonl"), line)
        overlay = self._overlay and (still or self._can_write_videos)
        if overlay or self._video is not None:
            drawn = draw_hands(scene.image, hands)
            if overlay and still:
                write_image(Path(f"{name}.overlay.jpg"), drawn)
            elif overlay:
                self._overlay_of(frame.input, Path(f"{name}.overlay.mp4")).write(drawn)
            if self._video is not None:
                self._video.write(drawn)
        if self._sides and still and hands:
            sides = [draw_skeleton_3d(hand.joints_3d, hand.unit_3d) for hand in hands]
            write_image(Path(f"{name}.sides.png"), np.concatenate(sides))

    def _overlay_of(self, found: Input, path: Path) -> VideoFile:
        if self._overlay_video is None or self._overlay_video.path != path:
            self._close_overlay()
            self._overlay_video = VideoFile(path, frame_rate(found) or CAMERA_RATE)
        return self._overlay_video

    def _close_overlay(self) -> None:
        if self._overlay_video is not None:
            self._overlay_video.close()

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
    """Draw hands, each with its side, over a copy of their image: (n · H, n · W, 3) RGB, enlarged n times if small.

    Tracks of a video are numbered after the side.
    """
    factor = max(1, round(_READABLE / max(image.shape[:2])))
    enlarged_from_image = from_reduced(factor, factor)
    drawn = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC).astype(np.uint8, copy=False)
    names = []
    for hand in hands:
        points = move(enlarged_from_image, hand.keypoints_2d)
        drawn = draw_skeleton(drawn, points)
        names.append((hand.hand if hand.track is None else f"{hand.hand} {hand.track}", points))
    _write_names(drawn, names)
    return drawn


def _write_names(image: Image, names: Iterable[tuple[str, NDArray[np.float64]]]) -> None:
    """Write each hand's name beyond its wrist, where no bone is, in the image, and not over an earlier one."""
    height, width = image.shape[:2]
    scale = max(height, width) / 1000
    thickness = max(1, round(2 * scale))
    taken: list[tuple[float, float, int]] = []
    for name, points in names:
        (wide, high), below = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
        away = points[WRIST] - points.mean(axis=0)
        x, y = points[WRIST] + away / max(float(np.linalg.norm(away)), 1.0) * (wide + high) / 2
        x, y = np.clip((x - wide / 2, y + high / 2), (0, high), (max(0, width - wide), height - below)).round()
        step = high + below if y < height / 2 else -high - below  # once: both ways in turn might never end
        while any(abs(x - left) < max(wide, other) and abs(y - line) < high for left, line, other in taken):
            y += step
        taken.append((x, y, wide))
        for ink, wider in ((_BLACK, 2 * thickness), (_WHITE, 0)):
            place = (int(x), int(y))
            cv2.putText(image, name, place, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, thickness + wider, cv2.LINE_AA)


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

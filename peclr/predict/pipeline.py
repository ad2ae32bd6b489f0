"""Reading, cropping and the network at the same time: threads prepare what the network looks at next.

OpenCV decodes and warps, and PyTorch computes, without holding Python's lock, so threads are enough. Three
batches are under way: while the network looks again at the hands of one, threads cut their second views out of
the next, whose hands it has just found, and decode the one after that.
"""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from peclr.data.views import warp
from peclr.models.pose_net import PoseOutput
from peclr.predict.annotations import Annotations, HandQuery
from peclr.predict.inputs import Frame, Image
from peclr.predict.network import TrainedNetwork
from peclr.predict.schema import Camera, FramePrediction, HandPrediction, Matrix, Side
from peclr.predict.two_pass import Box, box_of_keypoints, central_box, run_network, view_from_box

_THREADS = 4  # decoding 12 megapixels takes a network's time on a GPU


@dataclass(frozen=True)
class Predicted:
    """A picture with its prediction; `image` is the picture itself, (H, W, 3) RGB."""

    frame: Frame
    image: Image
    prediction: FramePrediction


@dataclass(frozen=True)
class Unreadable:
    """A picture that could not be read, and why."""

    frame: Frame
    reason: str


@dataclass(frozen=True)
class _View:
    """One look at a hand: a box in the image, and its view."""

    box: Box
    view_from_image: Matrix
    pixels: Image


@dataclass
class _Hand:
    """A right hand under way; a left one has been mirrored together with its image and its camera."""

    query: HandQuery
    image: Image
    K: Matrix
    view: _View
    second: Future[_View] | None = None


@dataclass
class _Work:
    """A picture under way."""

    frame: Frame
    image: Image
    camera: Camera
    scale_m: float | None
    hands: list[_Hand]


def predict_frames(
    trained: TrainedNetwork, frames: Iterable[Frame], annotations: Annotations, batch_size: int
) -> Iterator[Predicted | Unreadable]:
    """Predict a stream of pictures, in order.

    Args:
        trained: the network.
        frames: pictures; an iterator is advanced from another thread, some batches ahead.
        annotations: what is known about them.
        batch_size: hands that the network looks at together.
    """
    if batch_size < 1:
        raise ValueError(f"a batch has at least one hand, got batch size {batch_size}")

    return _predict_stream(trained, frames, annotations, batch_size)


def _predict_stream(
    trained: TrainedNetwork, frames: Iterable[Frame], annotations: Annotations, batch_size: int
) -> Iterator[Predicted | Unreadable]:
    def prepare(frame: Frame) -> _Work:
        return _prepare(frame, annotations, trained.view_size)

    with (
        ThreadPoolExecutor(_THREADS, "peclr-crops") as pool,
        _ReadAhead(frames, pool, prepare, batch_size) as works,
    ):
        found: list[_Work | Unreadable] | None = None
        for batch in _batches(works, batch_size):
            _find_hands(trained, batch, pool)
            if found is not None:
                yield from _finish(trained, found)
            found = batch
        if found is not None:
            yield from _finish(trained, found)


class _ReadAhead:
    """Applies a function in a pool to the items of an iterator, in order, a bounded number of them ahead."""

    def __init__(
        self, frames: Iterable[Frame], pool: ThreadPoolExecutor, prepare: Callable[[Frame], _Work], depth: int
    ) -> None:
        self._frames, self._pool, self._prepare = frames, pool, prepare
        self._queue: queue.Queue[tuple[Frame, Future[_Work]] | BaseException | None] = queue.Queue(depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name="peclr-reader", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        while self._thread.is_alive():  # it may wait for room in the queue
            _drain(self._queue)
            self._thread.join(timeout=0.05)

    def __iter__(self) -> Iterator[_Work | Unreadable]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            frame, future = item
            try:
                yield future.result()
            except ValueError as error:
                yield Unreadable(frame, str(error))

    def _read(self) -> None:
        """Runs in a thread of its own, as a video is decoded while its iterator is advanced."""
        try:
            for frame in self._frames:
                if self._stop.is_set():
                    return
                self._queue.put((frame, self._pool.submit(self._prepare, frame)))
            self._queue.put(None)
        except Exception as error:  # noqa: BLE001  (raised again where the items are consumed)
            self._queue.put(error)


def _drain(waiting: queue.Queue[Any]) -> None:
    with suppress(queue.Empty):
        while True:
            waiting.get_nowait()


def _batches(works: Iterable[_Work | Unreadable], size: int) -> Iterator[list[_Work | Unreadable]]:
    """Group pictures until they show `size` hands; one without hands counts as well, as it takes memory."""
    batch: list[_Work | Unreadable] = []
    room = size
    for work in works:
        batch.append(work)
        room -= max(1, len(work.hands)) if isinstance(work, _Work) else 1
        if room <= 0:
            yield batch
            batch, room = [], size
    if batch:
        yield batch


def _prepare(frame: Frame, annotations: Annotations, view_size: int) -> _Work:
    """Read a picture and cut out the first view of each hand."""
    image = frame.load()
    height, width = image.shape[:2]
    camera = annotations.camera_of(frame.input, width, height)
    queries = annotations.hands_in(frame.input)
    upright = {"right": image}
    if any(query.side == "left" for query in queries):
        upright["left"] = np.ascontiguousarray(image[:, ::-1])
    hands = []
    for query in queries:
        picture = upright[query.side]
        box = central_box(picture) if query.box is None else _mirrored_box(query.box, query.side, width)
        K = _mirrored_camera(camera.K, query.side, width)
        hands.append(_Hand(query, picture, K, _look(picture, box, view_size)))
    return _Work(frame, image, camera, annotations.scale_of(frame.input), hands)


def _look(image: Image, box: Box, view_size: int) -> _View:
    matrix = view_from_box(box, view_size)
    return _View(box, matrix, warp(image, matrix, view_size))


def _look_again(hand: _Hand, keypoints_2d: NDArray[np.float32], view_size: int) -> _View:
    return _look(hand.image, box_of_keypoints(keypoints_2d, hand.view.view_from_image), view_size)


def _find_hands(trained: TrainedNetwork, batch: list[_Work | Unreadable], pool: ThreadPoolExecutor) -> None:
    """The first pass, for hands without a box; their second views are being cut out when this returns."""
    hands = [hand for hand in _hands_of(batch) if hand.query.box is None]
    if hands:
        found = _predict(trained, hands)["raw"]["keypoints_2d"].numpy()
        for hand, keypoints_2d in zip(hands, found, strict=True):
            hand.second = pool.submit(_look_again, hand, keypoints_2d, trained.view_size)


def _finish(trained: TrainedNetwork, batch: list[_Work | Unreadable]) -> Iterator[Predicted | Unreadable]:
    """The last pass, in which every hand is seen in its own box."""
    hands = _hands_of(batch)
    for hand in hands:
        if hand.second is not None:
            hand.view = hand.second.result()
    predicted: Iterator[tuple[Matrix, Matrix]] = iter(())
    if hands:
        output = _predict(trained, hands)
        predicted = zip(output["keypoints_2d"].double().numpy(), output["joints_3d"].double().numpy(), strict=True)
    for work in batch:
        if isinstance(work, Unreadable):
            yield work
            continue
        size = (work.image.shape[1], work.image.shape[0])
        results = tuple(_in_picture(hand, *next(predicted), work.scale_m, size[0]) for hand in work.hands)
        frame = work.frame
        prediction = FramePrediction(frame.input.source, size, frame.number, frame.time_s, work.camera, results)
        yield Predicted(frame, work.image, prediction)


def _hands_of(batch: list[_Work | Unreadable]) -> list[_Hand]:
    return [hand for work in batch if isinstance(work, _Work) for hand in work.hands]


def _predict(trained: TrainedNetwork, hands: list[_Hand]) -> PoseOutput:
    # a view's camera as of peclr.geometry.camera.crop_camera: 3-D stays in the frame of the image's camera
    cameras = [hand.view.view_from_image @ hand.K for hand in hands]
    return run_network(trained.network, [hand.view.pixels for hand in hands], cameras)


def _in_picture(
    hand: _Hand, keypoints_2d: Matrix, joints_3d: Matrix, scale_m: float | None, width: int
) -> HandPrediction:
    """Take a right hand in its view (21, 2) and in bone lengths (21, 3) back to the picture that it is from."""
    scale, shift = hand.view.view_from_image[[0, 1], [0, 1]], hand.view.view_from_image[:2, 2]
    keypoints_2d = (keypoints_2d - shift) / scale
    joints_3d = joints_3d * (1.0 if scale_m is None else scale_m)
    side = hand.query.side
    if side == "left":
        keypoints_2d = keypoints_2d * [-1, 1] + [width - 1, 0]
        joints_3d = joints_3d * [-1, 1, 1]
    return HandPrediction(
        hand=side,
        box=_mirrored_box(hand.view.box, side, width),
        box_origin="two_pass" if hand.query.box is None else "given",
        keypoints_2d=keypoints_2d,
        joints_3d=joints_3d,
        scale_m=scale_m,
    )


def _mirrored_box(box: Box, side: Side, width: int) -> Box:
    """Between a picture and the one in which the hand is a right one; its own inverse."""
    if side == "right":
        return box
    left, top, right, bottom = box
    return np.array([width - 1 - right, top, width - 1 - left, bottom])


def _mirrored_camera(K: Matrix, side: Side, width: int) -> Matrix:
    """Pixels and the camera's x axis are mirrored both: K of the other picture and of the mirrored hand."""
    if side == "right":
        return K
    mirror = np.array([[-1.0, 0, width - 1], [0, 1, 0], [0, 0, 1]])
    return mirror @ K @ np.diag([-1.0, 1, 1])

"""Reading, cropping and the network at the same time: threads prepare what the network looks at next.

OpenCV decodes and warps, and PyTorch computes, without holding Python's lock, so threads are enough. Three
batches are under way: while the network looks again at the hands of one, threads cut their last views out of
the next, whose hands it has just found, and decode the one after that.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from peclr.inference.crop_search import Looking, View, average, look
from peclr.inference.network import TrainedNetwork
from peclr.inference.read_ahead import ReadAhead
from peclr.inference.two_pass import Box, run_network
from peclr.predict.annotations import Annotations, HandQuery
from peclr.predict.inputs import Frame, Image
from peclr.predict.schema import BoxOrigin, Camera, FramePrediction, HandPrediction, Matrix, Side

_THREADS = 4  # decoding 12 megapixels takes a network's time on a GPU
_SEARCH = Looking()


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


@dataclass
class _Hand:
    """A right hand under way; a left one has been mirrored together with its image and its camera."""

    query: HandQuery
    image: Image
    K: Matrix
    first: list[View] = field(default_factory=list)  # none if there is a box
    cutting: Future[list[View]] | None = None
    last: list[View] = field(default_factory=list)


class _Seen(NamedTuple):
    """What the network sees in V views of one hand.

    Attributes:
        regressed_2d: (V, 21, 2), pixels of the views, with the palm in the wrist's place.
        keypoints_2d: (V, 21, 2), the same with the wrist.
        joints_3d: (V, 21, 3), bone lengths, frame of the camera.
    """

    regressed_2d: NDArray[np.float32]
    keypoints_2d: NDArray[np.float32]
    joints_3d: NDArray[np.float32]


@dataclass
class _Work:
    """A picture under way."""

    frame: Frame
    image: Image
    camera: Camera
    scale_m: float | None
    hands: list[_Hand]


def predict_frames(
    trained: TrainedNetwork,
    frames: Iterable[Frame],
    annotations: Annotations,
    batch_size: int,
    looking: Looking = _SEARCH,
) -> Iterator[Predicted | Unreadable]:
    """Predict a stream of pictures, in order.

    Args:
        trained: the network.
        frames: pictures; an iterator is advanced from another thread, some batches ahead.
        annotations: what is known about them.
        batch_size: views that the network looks at together.
        looking: where it looks at hands without a box, and how often.
    """
    if batch_size < 1:
        raise ValueError(f"a batch has at least one hand, got batch size {batch_size}")
    return _Stream(trained, annotations, batch_size, looking).predict(frames)


class _Stream:
    """What stays the same from picture to picture."""

    def __init__(self, trained: TrainedNetwork, annotations: Annotations, batch_size: int, looking: Looking) -> None:
        self.trained, self.annotations = trained, annotations
        self.batch_size, self.looking = batch_size, looking

    def predict(self, frames: Iterable[Frame]) -> Iterator[Predicted | Unreadable]:
        """One result per frame, in order."""
        with (
            ThreadPoolExecutor(_THREADS, "peclr-crops") as pool,
            ReadAhead(frames, pool, self._prepare, self.batch_size) as works,
        ):
            found: list[_Work | Unreadable] | None = None
            for batch in _batches(map(_readable, works), self.batch_size):
                self._find_hands(batch, pool)
                if found is not None:
                    yield from self._finish(found)
                found = batch
            if found is not None:
                yield from self._finish(found)

    def _prepare(self, frame: Frame) -> _Work:
        """Read a picture and cut out the first views of each hand; the last ones, too, where there is a box."""
        image = frame.load()
        height, width = image.shape[:2]
        camera = self.annotations.camera_of(frame.input, width, height)
        self.annotations.check_boxes(frame.input, width, height)
        queries = self.annotations.hands_in(frame.input)
        upright = {"right": image}
        if any(query.side == "left" for query in queries):
            upright["left"] = np.ascontiguousarray(image[:, ::-1])
        hands = []
        for query in queries:
            hand = _Hand(query, upright[query.side], _mirrored_camera(camera.K, query.side, width))
            if query.box is None:
                boxes = self.looking.first_boxes(hand.image)
                hand.first = [look(hand.image, box, self.trained.view_size) for box in boxes]
            else:
                hand.last = self._last_views(hand, _mirrored_box(query.box, query.side, width))
            hands.append(hand)
        return _Work(frame, image, camera, self.annotations.scale_of(frame.input), hands)

    def _last_views(self, hand: _Hand, box: Box) -> list[View]:
        return [look(hand.image, box, self.trained.view_size, angle) for angle in self.looking.angles]

    def _look_again(self, hand: _Hand, keypoints_2d: NDArray[np.float32]) -> list[View]:
        return self._last_views(hand, self.looking.second_box(hand.first, keypoints_2d))

    def _find_hands(self, batch: list[_Work | Unreadable], pool: ThreadPoolExecutor) -> None:
        """The first pass, for hands without a box; their last views are being cut out when this returns."""
        hands = [hand for hand in _hands_of(batch) if hand.first]
        found = self._see([hand.first for hand in hands], hands)
        for hand, seen in zip(hands, found, strict=True):
            hand.cutting = pool.submit(self._look_again, hand, seen.regressed_2d)

    def _finish(self, batch: list[_Work | Unreadable]) -> Iterator[Predicted | Unreadable]:
        """The last pass, in which every hand is seen in its own box."""
        hands = _hands_of(batch)
        for hand in hands:
            if hand.cutting is not None:
                hand.last = hand.cutting.result()
        predicted = iter(self._see([hand.last for hand in hands], hands))
        for work in batch:
            if isinstance(work, Unreadable):
                yield work
                continue
            size = (work.image.shape[1], work.image.shape[0])
            results = tuple(self._in_picture(hand, next(predicted), work.scale_m, size[0]) for hand in work.hands)
            frame = work.frame
            prediction = FramePrediction(frame.input.source, size, frame.number, frame.time_s, work.camera, results)
            yield Predicted(frame, work.image, prediction)

    def _see(self, views: Sequence[Sequence[View]], hands: Sequence[_Hand]) -> list[_Seen]:
        """What the network sees in the views of each hand, batch by batch."""
        # a view's camera as of peclr.geometry.camera.crop_camera: 3-D stays in the frame of the image's camera
        flat = [(view, view.view_from_image @ hand.K) for own, hand in zip(views, hands, strict=True) for view in own]
        parts = []
        for start in range(0, len(flat), self.batch_size):
            pixels, cameras = zip(*((view.pixels, K) for view, K in flat[start : start + self.batch_size]), strict=True)
            output = run_network(self.trained.network, pixels, cameras)
            parts.append((output["raw"]["keypoints_2d"], output["keypoints_2d"], output["joints_3d"]))
        if not parts:
            return []
        arrays = [np.concatenate([part.numpy() for part in kind]) for kind in zip(*parts, strict=True)]
        ends = np.cumsum([len(own) for own in views])[:-1]
        return [_Seen(*seen) for seen in zip(*(np.split(array, ends) for array in arrays), strict=True)]

    def _in_picture(self, hand: _Hand, seen: _Seen, scale_m: float | None, width: int) -> HandPrediction:
        """Take a right hand in its views back to the picture that it is from."""
        keypoints_2d, joints_3d = average(
            seen.keypoints_2d, seen.joints_3d, [view.view_from_image for view in hand.last]
        )
        joints_3d = joints_3d * (1.0 if scale_m is None else scale_m)
        side = hand.query.side
        if side == "left":
            keypoints_2d = keypoints_2d * [-1, 1] + [width - 1, 0]
            joints_3d = joints_3d * [-1, 1, 1]
        found: BoxOrigin = "two_pass" if self.looking.find == "published" else "search"
        return HandPrediction(
            hand=side,
            box=_mirrored_box(hand.last[0].box, side, width),
            box_origin=found if hand.query.box is None else "given",
            keypoints_2d=keypoints_2d,
            joints_3d=joints_3d,
            scale_m=scale_m,
        )


def _readable(entry: tuple[Frame, Future[_Work]]) -> _Work | Unreadable:
    frame, work = entry
    try:
        return work.result()
    except ValueError as error:
        return Unreadable(frame, str(error))


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


def _hands_of(batch: list[_Work | Unreadable]) -> list[_Hand]:
    return [hand for work in batch if isinstance(work, _Work) for hand in work.hands]


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

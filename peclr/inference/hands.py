"""The one way from images to hands: read, cut out views, ask the network, map back.

OpenCV decodes and warps, and PyTorch computes, without holding Python's lock, so threads are enough. Three
batches are under way: while the network looks again at the hands of one, threads cut their last views out of
the next, whose hands it has just found, and decode the one after that.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from peclr.data.samples import HandSource
from peclr.data.views.geometric import pixels_to_keep, warp
from peclr.detection.detector import DetectedHand
from peclr.geometry import planar
from peclr.geometry.joints import WRIST
from peclr.geometry.planar import DEFAULT_FOCAL_RATIO, Matrix, centered_camera, mirror, move
from peclr.inference.crop_search import SEARCH, Box, CropSearch, Image, View, agreement, average, view_from_box
from peclr.inference.network import Seen, TrainedNetwork

Side = Literal["right", "left"]
BoxOrigin = Literal["given", "detector", "search", "two_pass"]
SideOrigin = Literal["given", "detector", "assumed"]
Item = TypeVar("Item")
Result = tuple[Item, "Scene | ValueError", tuple["HandPrediction", ...]]

_THREADS = 4  # decoding 12 megapixels takes a network's time on a GPU


@dataclass(frozen=True)
class HandQuery:
    """One hand to look for."""

    side: Side = "right"
    box: Box | None = None  # (4,), left, top, right, bottom, px, tight around the hand; None looks for it
    whole: bool = False  # the box is a square that the view shows whole, as crops of training
    side_origin: SideOrigin = "assumed"
    detected: DetectedHand | None = None  # what the box is from, where it was not given
    track: int | None = None  # of a hand that was followed through a video


@dataclass(frozen=True)
class Scene:
    """An image, and what is known about it; boxes, cameras and predictions are in its pixels at full size."""

    image: Image  # (H, W, 3), RGB, upright
    hands: Sequence[HandQuery] = (HandQuery(),)
    K: NDArray[np.floating] | None = None  # (3, 3), px; None goes by the focal length
    scale_m: float | None = None  # from middle MCP to middle PIP; None leaves 3-D in lengths of that bone
    image_from_decoded: Matrix = field(default_factory=partial(np.eye, 3))  # of an `image` decoded at a reduced scale
    focal: float | None = None  # px, of a camera that looks through the middle; None: 28/36 of the longer side

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the image at full size."""
        height, width = self.image.shape[:2]
        return round(width * self.image_from_decoded[0, 0]), round(height * self.image_from_decoded[1, 1])

    @property
    def camera(self) -> Matrix:
        """(3, 3), pixels: `K`, or one that looks through the middle."""
        if self.K is not None:
            return np.asarray(self.K, np.float64)
        focal = DEFAULT_FOCAL_RATIO * max(self.size) if self.focal is None else self.focal
        return centered_camera(focal, *self.size)

    @property
    def camera_origin(self) -> Literal["given", "focal", "default"]:
        """Whether the camera was given, its focal length, or neither."""
        return "given" if self.K is not None else "default" if self.focal is None else "focal"


@dataclass(frozen=True)
class HandPrediction:
    """One hand, in order freihand; a left one is mirrored back and fits the image."""

    hand: Side
    box: Box  # (4,), left, top, right, bottom, pixels of the image: where the network looked
    box_origin: BoxOrigin  # "search" if it was found by a search, "two_pass" if by the published first pass
    keypoints_2d: NDArray[np.float64]  # (21, 2), pixels of the image
    joints_3d: NDArray[np.float64]  # (21, 3), camera frame, in `unit_3d`
    scale_m: float | None  # from middle MCP to middle PIP; None where it was not given
    hand_origin: SideOrigin = "assumed"
    score: float | None = None  # 0 to 1: the detector's, or the mean of the joints'; None without either
    joint_scores: NDArray[np.float64] | None = None  # (21,), 0 to 1, as `agreement`; None if not asked for
    track: int | None = None  # the same for one hand from frame to frame of a video; None if it was not followed

    @property
    def unit_3d(self) -> Literal["m", "bone"]:
        """The unit of 3-D positions: metres, or lengths of the bone from middle MCP to middle PIP."""
        return "bone" if self.scale_m is None else "m"

    @property
    def joints_3d_relative(self) -> NDArray[np.float64]:
        """(21, 3), relative to the wrist, axes of the camera frame, in the unit of `joints_3d`."""
        relative: NDArray[np.float64] = self.joints_3d - self.joints_3d[WRIST]
        return relative


def predict_hands(
    trained: TrainedNetwork,
    items: Iterable[Item],
    read: Callable[[Item], Scene],
    batch_size: int,
    search: CropSearch = SEARCH,
) -> Iterator[Result[Item]]:
    """Predict the hands of many images, in order: each item, its scene, and a hand for each of the scene's queries.

    An iterator of items is advanced from another thread, some batches ahead. `read` gives the scene of an item, in one
    of several threads; a ValueError comes in the scene's place. `batch_size` is the number of views that the network
    looks at together, or ValueError; predictions do not depend on it.
    """
    if batch_size < 1:
        raise ValueError(f"batch size must be at least 1, got {batch_size}")
    return _Stream(trained, batch_size, search).predict(items, read)


def predict_source(
    trained: TrainedNetwork,
    source: HandSource,
    batch_size: int,
    search: CropSearch = SEARCH,
    *,
    crop_boxes: bool = True,
    progress: bool = True,
) -> Iterator[HandPrediction]:
    """Predict the first version of each hand of a source, in order; all are taken for right ones, as readers mirror.

    With `crop_boxes`, the network sees what fine-tuning without augmentation shows; otherwise it looks for the hands.
    ValueError if an image cannot be read.
    """
    min_side = pixels_to_keep(trained.view_size, 1.0)

    def read(hand: int) -> Scene:
        index = source.versions_of(hand)[0]
        sample = source.read(index, min_side) if crop_boxes else source[index]
        query = HandQuery(box=sample["crop_box"], whole=True) if crop_boxes else HandQuery()
        reduced = sample.get("image_from_decoded", np.eye(3))
        return Scene(sample["image"], (query,), sample["K"], sample["scale_m"], reduced)

    results = predict_hands(trained, range(source.num_hands), read, batch_size, search)
    name = f"hands of {source.name}"
    for _, scene, hands in tqdm(results, name, source.num_hands, unit=" hands", mininterval=0.5, disable=not progress):
        if isinstance(scene, ValueError):
            raise scene
        yield hands[0]


@dataclass
class _Hand:
    """A hand under way, as a right one: boxes, cameras and views are of the mirrored image if it is a left one."""

    scene: Scene
    query: HandQuery
    first: list[View] = field(default_factory=list)  # none if there is a box
    cutting: Future[list[View]] | None = None
    last: list[View] = field(default_factory=list)

    @property
    def flip(self) -> NDArray[np.float64]:
        """(3,), what a right hand's 3-D is multiplied by."""
        return np.array([-1.0 if self.query.side == "left" else 1.0, 1, 1])

    @property
    def right_from_image(self) -> Matrix:
        """(3, 3), pixels of the image in which it is a right hand ← pixels of the image; its own inverse."""
        return mirror(self.scene.size[0]) if self.query.side == "left" else np.eye(3)

    def mirrored(self, box: Box) -> Box:
        """A box from one of the two images to the other."""
        corners = move(self.right_from_image, box.reshape(2, 2))
        return np.concatenate((corners.min(axis=0), corners.max(axis=0)))


_Work = tuple[Item, Scene | ValueError, Sequence[_Hand]]  # a result under way


@dataclass(frozen=True)
class _Stream:
    """All that stays the same from image to image."""

    trained: TrainedNetwork
    batch_size: int
    search: CropSearch

    def predict(self, items: Iterable[Item], read: Callable[[Item], Scene]) -> Iterator[Result[Item]]:
        def prepare(item: Item) -> _Work[Item]:
            try:
                scene = read(item)
                return item, scene, self._begin(scene)
            except ValueError as error:
                return item, error, ()

        with (
            ThreadPoolExecutor(_THREADS, "peclr-crops") as pool,
            closing(_read_ahead(items, prepare, pool, self.batch_size)) as works,
        ):
            found: list[_Work[Item]] = []
            for batch in _batches(works, self.batch_size):
                self._find_hands(batch, pool)
                yield from self._finish(found)
                found = batch
            yield from self._finish(found)

    def _begin(self, scene: Scene) -> list[_Hand]:
        """Cut out the first views of each hand, or, where there is a box, the last ones."""
        hands = [_Hand(scene, query) for query in scene.hands]
        for hand in hands:
            if hand.query.box is not None:
                hand.last = self._look(hand, hand.mirrored(hand.query.box), self.search.last_views)
            else:
                for box in self.search.first_boxes(*scene.size):
                    hand.first += self._look(hand, box, _straight)
        return hands

    def _look(self, hand: _Hand, box: Box, views: Callable[[Matrix, int], list[Matrix]]) -> list[View]:
        """Cut out the views of a box that `views` makes of the one that shows it straight."""
        size, scene = self.trained.view_size, hand.scene
        straight = planar.view_from_box(box, size) if hand.query.whole else view_from_box(box, size)
        # mirroring flips both pixels and the camera's x axis: the camera of a right hand
        K = hand.right_from_image @ scene.camera * hand.flip
        right_from_decoded = hand.right_from_image @ scene.image_from_decoded
        # a view's camera, see peclr.geometry.camera: 3-D stays in the frame of the image's camera
        return [
            View(box, matrix, matrix @ K, warp(scene.image, matrix @ right_from_decoded, size, self.trained.border))
            for matrix in views(straight, size)
        ]

    def _find_hands(self, batch: Sequence[_Work[Item]], pool: ThreadPoolExecutor) -> None:
        """Make the first pass, for hands without a box; their last views are being cut out when this returns."""
        hands = [hand for _, _, own in batch for hand in own if hand.first]
        for hand, seen in zip(hands, self._see([hand.first for hand in hands]), strict=True):
            box = self.search.second_box(hand.first, seen.regressed_2d)
            hand.cutting = pool.submit(self._look, hand, box, self.search.last_views)

    def _finish(self, batch: Sequence[_Work[Item]]) -> Iterator[Result[Item]]:
        """Make the last pass, in which every hand is seen in its own box."""
        hands = [hand for _, _, own in batch for hand in own]
        for hand in hands:
            if hand.cutting is not None:
                hand.last = hand.cutting.result()
        seen = iter(self._see([hand.last for hand in hands]))
        for item, scene, own in batch:
            yield item, scene, tuple(self._in_image(hand, next(seen)) for hand in own)

    def _see(self, views: Sequence[Sequence[View]]) -> list[Seen]:
        """Ask the network about the views of each hand, batch by batch."""
        flat = [view for own in views for view in own]
        if not flat:
            return []
        batches = (flat[start : start + self.batch_size] for start in range(0, len(flat), self.batch_size))
        parts = [self.trained.see([view.pixels for view in some], [view.K for view in some]) for some in batches]
        ends = np.cumsum([len(own) for own in views])[:-1]
        joined = (np.split(np.concatenate(kind), ends) for kind in zip(*parts, strict=True))
        return [Seen(*seen) for seen in zip(*joined, strict=True)]

    def _in_image(self, hand: _Hand, seen: Seen) -> HandPrediction:
        """Take a right hand in its views back to the image that it is from."""
        query, search = hand.query, self.search
        matrices = [view.view_from_image @ hand.right_from_image for view in hand.last]
        joint_scores = agreement(seen.keypoints_2d, matrices) if search.scored else None
        count = len(search.angles)
        keypoints_2d, joints_3d = average(seen.keypoints_2d[:count], seen.joints_3d[:count], matrices[:count])
        scale_m = hand.scene.scale_m
        joints_3d = joints_3d * hand.flip * (1.0 if scale_m is None else scale_m)
        if query.box is None:
            origin: BoxOrigin = "two_pass" if search.find == "published" else "search"
        else:
            origin = "given" if query.detected is None else "detector"
        score = None if joint_scores is None else float(joint_scores.mean())
        if query.detected is not None:
            score = query.detected.score
        return HandPrediction(
            *(query.side, hand.mirrored(hand.last[0].box), origin, keypoints_2d, joints_3d, scale_m),
            *(query.side_origin, score, joint_scores, query.track),
        )


def _straight(view_from_image: Matrix, view_size: int) -> list[Matrix]:
    return [view_from_image]


def _batches(works: Iterable[_Work[Item]], size: int) -> Iterator[list[_Work[Item]]]:
    """Group images until they show `size` hands; one without hands counts too. The last group may be empty."""
    batch: list[_Work[Item]] = []
    room = size
    for work in works:
        batch.append(work)
        room -= max(1, len(work[2]))  # without hands, it takes memory as well
        if room <= 0:
            yield batch
            batch, room = [], size
    yield batch


def _read_ahead(
    items: Iterable[Item], prepare: Callable[[Item], _Work[Item]], pool: ThreadPoolExecutor, depth: int
) -> Generator[_Work[Item], None, None]:
    """Yield what the pool makes of each item, in order, at most `depth` items ahead; errors come where results would.

    The iterator is advanced in a thread of its own: a video is decoded while it is.
    """
    iterator = iter(items)

    def advance() -> Future[_Work[Item]] | None:
        for item in iterator:
            return pool.submit(prepare, item)
        return None

    reader = ThreadPoolExecutor(1, "peclr-reader")
    try:
        ahead = deque(reader.submit(advance) for _ in range(depth))
        while (future := ahead.popleft().result()) is not None:
            ahead.append(reader.submit(advance))
            yield future.result()
    finally:
        reader.shutdown(cancel_futures=True)

"""Videos of hands, without labels: every frame, or every n-th, is an image. Needs PyAV: `pip install peclr[video]`.

A frame is decoded from the last key frame before it, which costs as much as all frames between. To train on videos for
long, cut their frames out once, by `peclr prepare any FOLDER --shards OUT` or with any other tool.
"""

import logging
import math
import os
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from peclr.data.samples import HandSample, HandSource, hash_of
from peclr.data.sources.box_files import HandBox, PackedBoxes, boxed_hand, read_boxes
from peclr.data.sources.images import BadImageError, DecodedImage
from peclr.data.sources.listing import VIDEOS, list_files
from peclr.geometry.planar import enclosing_square, whole_image

_MOST_OPEN = 8  # videos of a process: open files are few

_log = logging.getLogger(__name__)


class Videos(HandSource):
    """Frames of videos, in order of the videos' names; each is one version of one hand.

    Without boxes, the hand fills the frame. Several boxes of one frame are several hands; with boxes, frames without
    one are left out.
    """

    name = "videos"

    def __init__(self, root: str | Path, every: int = 1, boxes: str | Path | None = None) -> None:
        """List the frames; ValueError if there are none, a video cannot be read, or boxes do not fit.

        Args:
            root: A folder, below which videos are looked for, or a pattern as of a shell.
            every: Takes every n-th frame of a video, with boxes or without; neighbors hardly differ.
            boxes: File that says where the hands are, see `peclr.data.sources.box_files`; names of videos are relative
                to the folder. Left hands are mirrored.
        """
        if every < 1:
            raise ValueError(f"every {every} is not a positive number of frames")
        self.root, self._files, _ = list_files(root, VIDEOS, "videos")
        self._times = [index_frames(self.root / file) for file in self._files]
        counts = [len(times) for times, _, _ in self._times]
        # of each hand; packed, as objects would be copied in every worker that counts references to them
        self._video = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        self._frame = np.concatenate([np.arange(count, dtype=np.int32) for count in counts])
        for video, (times, _, announced) in enumerate(self._times):
            if len(times) < announced:
                _log.warning("%s: cut short, %d of %d frames are there", self._files[video], len(times), announced)
        chosen, found = np.flatnonzero(self._frame % every == 0).tolist(), list[HandBox]()
        if boxes is not None:
            boxed, frames = read_boxes(Path(boxes)), {self._name(*self._at(n)): n for n in range(len(self._frame))}
            if unknown := sorted(boxed.keys() - frames.keys()):
                raise ValueError(f"{boxes}: {unknown[0]} is not one of the frames {min(frames)} …")
            of_frame = [boxed.get(self._name(*self._at(frame)), []) for frame in chosen]
            chosen = np.repeat(chosen, list(map(len, of_frame))).tolist()
            found = [box for some in of_frame for box in some]
        self._boxes = PackedBoxes(found)
        self._video, self._frame = self._video[chosen], self._frame[chosen]
        self.num_hands = len(chosen)
        self._open: dict[tuple[int, int], _Decoder] = {}  # by process and video

    def identity(self) -> str:
        """See `HandSource`: of the frames' names and boxes."""
        names = [os.fsencode(self._name(*self._at(hand))) for hand in range(self.num_hands)]
        return hash_of(self.name, np.array(names), self._boxes.squares(self.num_hands))

    def video_of_hands(self) -> NDArray[np.int64]:
        """See `HasVideos`."""
        return self._video.astype(np.int64)

    def __getitem__(self, index: int) -> HandSample:
        (video, number), box = self._at(index), self._boxes[index]
        image, name = self._decoder(video).frame(number), self._name(video, number)
        decoded = DecodedImage(image, image.shape[1], image.shape[0])
        if box is None:
            return boxed_hand(decoded, whole_image(decoded.width, decoded.height), name, "unknown")
        return boxed_hand(decoded, enclosing_square(box.edges), name, box.side or "unknown")

    def _at(self, hand: int) -> tuple[int, int]:
        """The video and the frame of a hand."""
        return int(self._video[hand]), int(self._frame[hand])

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": {}}

    def _name(self, video: int, number: int) -> str:
        return f"{self._files[video]}#{number}"

    def _decoder(self, video: int) -> "_Decoder":
        # A worker has its own place in a file. Its parent's videos are kept, as closing them would wait for threads
        # that the worker does not have.
        process = os.getpid()
        if (process, video) not in self._open:
            own = [key for key in self._open if key[0] == process]
            if len(own) == _MOST_OPEN:
                self._open.pop(own[0]).container.close()
            self._open[process, video] = _Decoder(self.root / self._files[video], self._times[video])
        return self._open[process, video]


class FrameTimes(NamedTuple):
    """Times at which the frames of a video are shown, in its own unit, ascending."""

    times: Sequence[int]  # of all frames; those that an edit list cuts away are none
    keys: Sequence[int]  # of those that can be decoded without others, one that is cut away included
    announced: int  # number of frames by the file's own account; more than `times` if it was cut short


def index_frames(path: str | Path) -> FrameTimes:
    """Read through a video without decoding it; ValueError if it is none."""
    av, times, keys, end = import_av(), set[int](), set[int](), 0
    try:
        with _opened(path) as container:
            stream = container.streams.video[0]
            for packet in container.demux(stream):
                if packet.pts is None:
                    continue
                if packet.is_keyframe:
                    keys.add(packet.pts)
                if packet.size and not packet.is_discard:  # neither a repetition nor cut away
                    times.add(packet.pts)
                    end = max(end, packet.pts + (packet.duration or 0))
            # of what an edit list leaves; the number of frames in the header is that of all
            duration = stream.duration or 0
            per_frame = 1 / (stream.average_rate * stream.time_base) if stream.average_rate else math.inf
    except (av.FFmpegError, OSError) as error:
        raise ValueError(f"{path} cannot be read as a video: {error}") from error
    if not times:
        raise ValueError(f"{path} has no frames")
    announced = round(duration / per_frame) if duration - (end - min(times)) > per_frame else 0
    return FrameTimes(array("q", sorted(times)), array("q", sorted(keys)), max(len(times), announced))


def read_frames(
    path: str | Path, chosen: Callable[[int, float], bool] | None = None
) -> Iterator[tuple[int, float, NDArray[np.uint8]]]:
    """Decode frame after frame: numbers as `index_frames` counts, seconds from the beginning, and images as `Videos`.

    Frames that are not `chosen`, by number and seconds, are passed over; to convert one costs as much as to decode it.
    ValueError at once if it is no video, and after the last frame if some could not be decoded.
    """
    video = _Decoder(Path(path), index_frames(path))
    times, _, announced = video.times
    decoded, damaged = 0, len(times) < announced
    with video.container:
        video.stream.thread_type = "AUTO"
        for packet in video.container.demux(video.stream):
            damaged |= packet.is_corrupt
            try:
                frames = packet.decode()
            except import_av().FFmpegError:  # the next may be whole
                damaged = True
                continue
            for frame in frames:
                number = decoded if frame.pts is None else bisect_left(times, frame.pts)
                seconds = float((times[min(number, len(times) - 1)] - times[0]) * video.stream.time_base)
                if chosen is None or chosen(number, seconds):
                    yield number, seconds, video.upright(frame)
                decoded += 1
    if damaged:
        raise ValueError(f"{path}: cut short or damaged, {decoded} of {announced} frames could be decoded")


class _Decoder:
    """An open video.

    The display matrix (ISO/IEC 14496-12, 6.2.2) holds where the stored image's x and y axes point, (a, b) and (c, d).
    It is read from the first frame alone: looking at it makes PyAV keep the frame until the next garbage collection,
    which in a worker would wait for threads of a frame's converter that were left behind by the fork.
    """

    def __init__(self, path: Path, times: FrameTimes) -> None:
        from av.video.reformatter import VideoReformatter  # type: ignore[import-not-found, unused-ignore]  # an extra

        self.path, self.times, self.container = path, times, _opened(path)
        self.stream, self._reformatter = self.container.streams.video[0], VideoReformatter()
        self._axes: list[int] | None = None
        self._frames: Iterator[Any] = iter(())
        self._last: int | None = None  # time of the last frame that was decoded

    def frame(self, number: int) -> NDArray[np.uint8]:
        """Frame (H, W, 3), RGB, upright."""
        reason = ""
        try:
            if (frame := self._find(self.times.times[number])) is not None:
                return self.upright(frame)
        except import_av().FFmpegError as error:
            self._last, reason = None, f": {error}"
        raise BadImageError(f"{self.path}: frame {number} of {len(self.times.times)} cannot be decoded{reason}")

    def upright(self, frame: Any) -> NDArray[np.uint8]:
        """Turn and mirror a decoded frame as the display matrix says: (H, W, 3), RGB."""
        if self._axes is None:
            matrices = (np.frombuffer(data, np.int32) for data in frame.side_data if data.type.name == "DISPLAYMATRIX")
            self._axes = next(matrices, np.array([1, 0, 0, 0, 1]))[[0, 1, 3, 4]].tolist()
        a, b, c, d = self._axes
        image = np.asarray(self._reformatter.reformat(frame, format="rgb24").to_ndarray(), np.uint8)
        if abs(b) > abs(a):
            image, a, d = image.transpose(1, 0, 2), c, b
        return np.ascontiguousarray(image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])

    def _find(self, time: int) -> Any:
        """The frame that is shown at a time; None if there is none."""
        keys = self.times.keys[: bisect_right(self.times.keys, time)]
        goes_on = self._last is not None and self._last < time and (not keys or keys[-1] <= self._last)
        # Containers seek in the order of decoding, in which a key frame may come before frames that are shown earlier
        # and need the one before: then the one before is tried.
        for key in [*([None] if goes_on else []), *reversed(keys or [0])]:
            if key is not None:
                self.container.seek(key, stream=self.stream)
                self._frames, self._last = self.container.decode(self.stream), None
            for frame in self._frames:
                self._last = frame.pts
                if frame.pts == time:
                    return frame
                if frame.pts is not None and frame.pts > time:
                    break
        return None


def _opened(path: str | Path) -> Any:
    """A container with a video stream; absolute, as FFmpeg takes a path that begins with `http:` for an address."""
    container = import_av().open(str(Path(path).absolute()), metadata_errors="replace")  # of any encoding
    if not container.streams.video:
        container.close()
        raise ValueError(f"{path} has no images")
    return container


def import_av() -> Any:
    """PyAV's module; ValueError says what brings it."""
    try:
        import av  # type: ignore[import-not-found, unused-ignore]  # an extra
    except ImportError as error:
        raise ValueError("videos need PyAV, which is not installed; `pip install peclr[video]` brings it") from error
    return av

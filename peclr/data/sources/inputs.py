"""What to look at: images, folders, patterns, videos and cameras become frames, in order."""

import glob
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from peclr.data.sources.images import is_utf8, read_image
from peclr.data.sources.listing import IMAGES, VIDEOS, list_files, natural_order
from peclr.data.sources.videos import read_frames

Image = NDArray[np.uint8]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Input:
    """One still image, one video or one camera."""

    source: str  # the path or "camera:0": what messages and predictions call it
    file: str  # its path relative to the folder that it was found in, with / between folders; its name otherwise
    kind: Literal["image", "video", "camera"]

    @property
    def names(self) -> tuple[str, str, str]:
        """What annotations may call it: as the user gave it, its path relative to the folder given, its name."""
        return self.source, self.file, Path(self.file).name


@dataclass(frozen=True)
class Frame:
    """One image."""

    input: Input
    load: Callable[[], Image]  # gives (H, W, 3), RGB, upright; a ValueError says why it cannot be read
    number: int | None = None  # of the frame, from 0; None of a still image
    time_s: float | None = None  # from the beginning; None of a still image


def find_inputs(words: Sequence[str]) -> list[Input]:
    """Inputs that words name, each once; FileNotFoundError if a word means nothing.

    Words are files; folders, of which all images and videos are taken, those of the folders below included; patterns
    as of a shell, ** included; or "camera:0" for the first camera.
    """
    return list(dict.fromkeys(found for word in words for found in _find(word)))


def frames_of(
    inputs: Iterable[Input], limit: int | None = None, chosen: Callable[[int, float], bool] | None = None
) -> Iterator[Frame]:
    """The images of all inputs, in order, no more than `limit` of each video and camera; still ones are read later.

    Frames that are not `chosen`, by number and seconds from the beginning, are passed over; None chooses all.
    """
    for found in inputs:
        if found.kind == "image":
            yield Frame(found, partial(read_image, found.source))
        else:
            by_pyav = found.kind == "video" and find_spec("av") is not None
            yield from islice((_frames_by_pyav if by_pyav else _frames_by_opencv)(found, chosen), limit)


def count_frames(inputs: Iterable[Input], limit: int | None = None) -> int | None:
    """Number of frames that there will be, as far as the files say; None with a camera."""
    total = 0
    for found in inputs:
        if found.kind == "camera":
            return None
        count = 1 if found.kind == "image" else max(int(_property_of(found, cv2.CAP_PROP_FRAME_COUNT)), 0)
        total += count if limit is None or found.kind == "image" else min(count, limit)
    return total


def frame_rate(found: Input) -> float | None:
    """Frames per second of a video, as its file says; None of anything else."""
    rate = _property_of(found, cv2.CAP_PROP_FPS) if found.kind == "video" else 0.0
    return rate if rate > 0 else None


def _find(word: str) -> list[Input]:
    path = Path(word)
    if path.is_file():
        return [_file(path, path.name)]
    if word.startswith("camera:") and word.removeprefix("camera:").isdecimal():
        return [Input(word, word.replace(":", "-"), "camera")]
    if not (path.is_dir() or glob.has_magic(word)):
        raise FileNotFoundError(f"{word}: no such file or folder, no pattern, and no camera:NUMBER")
    try:
        folder, files, _ = list_files(word, (*IMAGES, *VIDEOS), "images or videos")
    except ValueError as error:
        raise FileNotFoundError(str(error)) from None
    return [_file(folder / file, file) for file in sorted(files, key=natural_order)]


def _file(path: Path, relative: str) -> Input:
    return Input(str(path), relative, "video" if path.suffix.lower() in VIDEOS else "image")


@contextmanager
def _opened(found: Input) -> Iterator[cv2.VideoCapture]:
    with ExitStack() as stack:
        source: str | int = str(Path(found.source).absolute())  # FFmpeg takes `http:…` for an address
        if found.kind == "camera":
            source = int(found.source.removeprefix("camera:"))
        elif not is_utf8(found.source):  # OpenCV would end the process
            source = f"/dev/fd/{stack.enter_context(Path(found.source).open('rb')).fileno()}"
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # quiet: what cannot be read is said here, once
        capture = cv2.VideoCapture(source)
        stack.callback(capture.release)
        yield capture


def _property_of(video: Input, name: int) -> float:
    with _opened(video) as capture:
        return capture.get(name)


def _frames_by_pyav(video: Input, chosen: Callable[[int, float], bool] | None) -> Iterator[Frame]:
    """Decode one frame after the other; at the end of a damaged video, one that cannot be loaded says so."""
    try:
        for number, time_s, image in read_frames(video.source, chosen):
            yield Frame(video, partial(np.asarray, image), number, time_s)
    except ValueError as error:
        yield Frame(video, partial(_refuse, str(error)))


def _frames_by_opencv(found: Input, chosen: Callable[[int, float], bool] | None) -> Iterator[Frame]:
    """The same of a camera, or of a video where PyAV is not installed."""
    live, number, started = found.kind == "camera", 0, time.monotonic()
    if not live:
        instead = "pip install 'peclr[video]' brings PyAV, which shows them as they are meant"
        _log.warning("%s: read by OpenCV, which shows mirrored videos wrongly; %s", found.source, instead)
    with _opened(found) as capture:
        while True:
            there, pixels = capture.read()
            if not there:
                break
            # most cameras know no position
            time_s = time.monotonic() - started if live else capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if chosen is None or chosen(number, time_s):
                image = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
                yield Frame(found, partial(np.asarray, image), number, time_s)
            number += 1
        if not live and 0 < number < (promised := round(capture.get(cv2.CAP_PROP_FRAME_COUNT))):
            _log.warning("%s: trimmed or cut short, %d of %d frames could be read", found.source, number, promised)
    if number == 0:
        yield Frame(found, partial(_refuse, f"{found.source}: not a {found.kind} that OpenCV can read"))


def _refuse(message: str) -> Image:
    raise ValueError(message)

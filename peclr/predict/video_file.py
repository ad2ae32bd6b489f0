"""Write a video: H.264 where FFmpeg has an encoder of it, MPEG-4 otherwise. Needs PyAV: `pip install peclr[video]`."""

import errno
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, Final

import cv2
import numpy as np

from peclr.data.sources.videos import import_av
from peclr.inference.crop_search import Image
from peclr.options import check_new, naming

# players in browsers know H.264 in MP4 and little else; frames of an .avi are JPEGs, for old programs
_CODECS: Final = {".mp4": (("libx264", "yuv420p"), ("mpeg4", "yuv420p")), ".avi": (("mjpeg", "yuvj420p"),)}
_OPTIONS: Final = {"libx264": {"preset": "veryfast", "crf": "20"}, "mpeg4": {"qscale": "3"}, "mjpeg": {"qscale": "3"}}


class VideoFile:
    """A video that opens with its first image; images of another size are fitted into the first one's.

    Its path, new and ending in .mp4 or .avi, or FileExistsError or ValueError, is there when the video is whole.
    """

    def __init__(self, path: Path, rate: float) -> None:
        if path.suffix.lower() not in _CODECS:
            raise ValueError(f"{path}: expected a video ending in {' or '.join(_CODECS)}")
        check_new(path)
        self._av = import_av()
        self.path, self.rate = path, rate
        self._partial = path.with_name(f".{path.name}.partial")
        self._size = (0, 0)
        self._file: BinaryIO | None = None
        self._container: Any = None
        self._stream: Any = None

    def write(self, image: Image) -> None:
        """Append an image (H, W, 3) RGB; OSError if the video cannot be begun or the disk is full."""
        try:
            with naming(self.path):
                if self._file is None:
                    self._begin(image.shape[1] // 2 * 2, image.shape[0] // 2 * 2)  # 4:2:0 color wants even sides
                frame = self._av.VideoFrame.from_ndarray(_fitted(image, self._size), format="rgb24")
                self._container.mux(self._stream.encode(frame))
        except OSError:
            self._give_up()
            raise

    def close(self) -> None:
        """Finish the file; OSError if it cannot be written whole."""
        if self._file is None:
            return
        try:
            with naming(self.path):
                self._container.mux(self._stream.encode())
                self._container.close()
                self._file.close()
                self._partial.replace(self.path)
        except OSError:
            self._give_up()
            raise
        self._file = None

    def _begin(self, width: int, height: int) -> None:
        if not (width and height):
            raise OSError(errno.EINVAL, "a video cannot be less than 2 × 2 px", str(self.path))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._partial.unlink(missing_ok=True)  # it may be a link
        self._size, suffix = (width, height), self.path.suffix.lower()
        # a file of ours rather than a path: names may be any bytes, and FFmpeg hides why it could not write
        self._file = self._partial.open("xb+")
        self._container = self._av.open(self._file, "w", format=suffix.removeprefix("."))
        codec, pixels = next(pair for pair in _CODECS[suffix] if self._can_encode(pair[0]))
        rate = Fraction(self.rate).limit_denominator(1001)  # 30000/1001 and the like
        self._stream = self._container.add_stream(codec, rate=rate, options=_OPTIONS[codec])
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, pixels

    def _can_encode(self, codec: str) -> bool:
        try:
            self._av.codec.Codec(codec, "w")
        except self._av.codec.codec.UnknownCodecError:
            return False
        return True

    def _give_up(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None
        self._partial.unlink(missing_ok=True)


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

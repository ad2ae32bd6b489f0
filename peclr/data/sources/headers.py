"""Headers of image files: size and orientation, and whether they are present, named and ended like images, decodable.

Three depths, as full certainty costs as much as an epoch: "present" only lists, "headers" also reads each file's
beginning and end (about 0.1 ms), "decode" also decodes it (1 to 15 ms). Of the usual damage, empty files, pages of HTML
saved as images and downloads cut short, "headers" finds all. The decoder has the last word: what it reads is fine.
"""

import struct
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError
from tqdm import tqdm

from peclr.data.sources.layouts import Depth

Item = TypeVar("Item")
Result = TypeVar("Result")

_END: Final = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND"}  # ITU T.81 B.1.1.3, ISO/IEC 15948 11.2.5
_MANY: Final = 20_000  # takes seconds
_WORKERS: Final = 4
_TAIL: Final = 1024  # bytes; some writers put padding behind the end
_DECODED: Final = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "DIB", "PPM", "TIFF", "GIF", "AVIF", "JPEG2000")
_TRANSPOSING: Final = (5, 6, 7, 8)  # orientations of Exif that exchange width and height
_UNREADABLE: Final = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)

# OpenCV decodes up to 2³⁰ px. Pillow, which reads headers only, refuses an image of 180 megapixels by default.
Image.MAX_IMAGE_PIXELS = 1 << 30
# Exif that cannot be followed is no one's concern: the image is taken as it is stored.
warnings.filterwarnings("ignore", module=r"PIL\.TiffImagePlugin")


class Header(NamedTuple):
    """The header of an image file: Pillow's name of the format, and the upright image's size, px.

    The orientation is that of Exif, 1 to 8; 1 is stored upright. It is read from JPEGs only.
    """

    format: str
    width: int
    height: int
    orientation: int


def read_header(file: BinaryIO | Path) -> Header | None:
    """Size and orientation of an image file; None if it is no image."""
    try:
        with Image.open(file) as image:
            size, orientation = image.size, 1
            if image.format in ("JPEG", "MPO") and "exif" in image.info:
                # what is cut short, or nonsense, is taken as it is stored
                with suppress(*_UNREADABLE, TypeError, KeyError, struct.error):
                    orientation = int(image.getexif().get(ExifTags.Base.Orientation, 1))
            size = size[::-1] if orientation in _TRANSPOSING else size
            return Header(image.format or "", *size, orientation if orientation in range(1, 9) else 1)
    except _UNREADABLE:
        return None


def image_sizes(paths: Sequence[Path]) -> NDArray[np.float64]:
    """Width and height (N, 2) of the upright image in each file, px; NaN where there is none."""
    headers = in_threads(read_header, paths, _WORKERS, "images", progress=False)
    sizes = [(header.width, header.height) if header else (np.nan, np.nan) for _, header in headers]
    return np.array(sizes, np.float64).reshape(-1, 2)


def image_problem(path: Path, depth: Depth = "headers") -> str | None:
    """The fault of an image file, without its name; None if there is none."""
    from peclr.data.sources.images import read_image

    if depth == "present":
        return None if path.is_file() else "is missing"
    suspicion = _suspicion(path)
    if depth == "decode" or suspicion:
        try:
            read_image(path)
        except ValueError as error:
            return suspicion or str(error).removeprefix(f"{path}: ")
    return None


def find_problems(paths: Sequence[Path], depth: Depth, workers: int = 1, *, progress: bool = False) -> dict[Path, str]:
    """Faults of image files, in the files' order."""
    progress = progress and depth != "present" and len(paths) > 0
    looked_at = in_threads(partial(image_problem, depth=depth), paths, workers, "images", progress=progress)
    return {path: problem for path, problem in looked_at if problem}


def in_threads(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int, name: str, *, progress: bool
) -> Iterator[tuple[Item, Result]]:
    """Yield items with their results in order, of which few wait in memory, perhaps with a bar.

    By threads, as neither reading nor decoding nor encoding holds the interpreter's lock.
    """
    at_once = 64 * workers
    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm(desc=name, total=len(items), unit=f" {name}", disable=not progress, mininterval=0.5) as bar,
    ):
        for start in range(0, len(items), at_once):
            chunk = items[start : start + at_once]
            yield from zip(chunk, pool.map(work, chunk), strict=True)
            bar.update(len(chunk))


def check_image_files(paths: Sequence[Path]) -> None:
    """Look at the headers of image files, with a bar if they are many; ValueError names the first that is none."""
    if problems := find_problems(paths, "headers", _WORKERS, progress=len(paths) > _MANY):
        path, problem = next(iter(problems.items()))
        more = f", and {len(problems) - 1} more like it" if len(problems) > 1 else ""
        raise ValueError(f"{path} {problem}{more}; get it again, or train with on_bad_image: skip")


def _suspicion(path: Path) -> str | None:
    """The objection that the beginning and the end of a file raise."""
    try:
        with path.open("rb") as file:
            with Image.open(file) as image:
                if image.format not in _DECODED:
                    return f"is of format {image.format}, which is not read"
                end, begin = _END.get(image.format or ""), file.tell()
            length = file.seek(0, 2)
            # phones put a video behind an image's end, which may then be anywhere
            for start in (max(0, length - _TAIL), begin):
                file.seek(start)
                if end is None or end in file.read():
                    return None
            return f"is cut short after {length} bytes"
    except FileNotFoundError:
        return "is missing"
    except UnidentifiedImageError:
        length = path.stat().st_size
        return f"is not an image ({length} bytes)" if length else "is empty"
    except _UNREADABLE as error:
        reason = isinstance(error, OSError) and error.strerror  # without the path, which the message has already
        return f"cannot be opened: {reason or error}"

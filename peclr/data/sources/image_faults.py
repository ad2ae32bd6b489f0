"""Faults of image files, at three depths, as full certainty costs as much as an epoch.

"present" only lists, "headers" also reads each file's beginning and end (about 0.1 ms), "decode" also decodes it (1 to
15 ms). Of the usual damage, empty files, pages of HTML saved as images and downloads cut short, "headers" finds all.
What the decoder reads is fine.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final

from PIL import Image, UnidentifiedImageError

from peclr.data.sources.images import BOXES, UNREADABLE, WORKERS, in_threads, not_an_image, read_image
from peclr.data.sources.layouts import Depth
from peclr.data.sources.packed_labels import Array, PackedArrays

_END: Final = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND"}  # ITU T.81 B.1.1.3, ISO/IEC 15948 11.2.5
_MANY: Final = 20_000  # takes seconds
_TAIL: Final = 1024  # bytes; some writers put padding behind the end
_DECODED: Final = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "DIB", "PPM", "TIFF", "GIF", "AVIF", "HEIF", "JPEG2000")
_MOST_BOXES: Final = 64  # to look at; HEIC has three or four
# tags of TIFF, offsets and numbers of bytes: of strips, and of tiles
_TIFF_PARTS: Final = ((273, 279), (324, 325))

_log = logging.getLogger(__name__)


def image_problem(path: Path, depth: Depth = "headers") -> str | None:
    """The fault of an image file, without its name; None if there is none."""
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


def check_labeled_images(
    labels: Mapping[str, Array], paths: Callable[[], Sequence[Path]], notes: Iterable[str] = ()
) -> None:
    """Log what is odd with labels, and look at their images, unless `peclr prepare`, which packs labels, has done so.

    ValueError as of `check_image_files`.
    """
    for note in notes:
        _log.warning("%s", note)
    if not isinstance(labels, PackedArrays):
        check_image_files(paths())


def check_image_files(paths: Sequence[Path]) -> None:
    """Look at the headers of image files, with a bar if they are many; ValueError names the first that is none."""
    refuse_problems(find_problems(paths, "headers", WORKERS, progress=len(paths) > _MANY))


def refuse_problems(problems: Mapping[Any, str]) -> None:
    """Raise the ValueError that names the first of some files with problems."""
    if problems:
        path, problem = next(iter(problems.items()))
        more = f", and {len(problems) - 1} more like it" if len(problems) > 1 else ""
        raise ValueError(f"{path} {problem}{more}; get it again, or train with on_bad_image: skip")


def _suspicion(path: Path) -> str | None:
    """The objection that the beginning and the end of a file raise."""
    try:
        with path.open("rb") as file:
            length = path.stat().st_size
            if _length_of_boxes(file) > length:
                return f"is cut short after {length} bytes"
            file.seek(0)
            with Image.open(file) as image:
                if image.format not in _DECODED:
                    return f"is of format {image.format}, which is not read"
                end, begin = _END.get(image.format or ""), file.tell()
                if image.format == "TIFF" and _length_of_parts(image) > length:
                    return f"is cut short after {length} bytes"
            # phones put a video behind an image's end, which may then be anywhere
            for start in (max(0, length - _TAIL), begin):
                file.seek(start)
                if end is None or end in file.read():
                    return None
            return f"is cut short after {length} bytes"
    except FileNotFoundError:
        return "is missing"
    except UnidentifiedImageError:
        with path.open("rb") as file:
            return not_an_image(file.read(12), path.stat().st_size)
    except UNREADABLE as error:
        reason = isinstance(error, OSError) and error.strerror  # without the path, which the message has already
        return f"cannot be opened: {reason or error}"


def _length_of_boxes(file: BinaryIO) -> int:
    """Bytes that the boxes of an ISO base media file (HEIC, AVIF) need; 0 of any other."""
    end = 0
    for _ in range(_MOST_BOXES):
        begin = file.read(16)
        if len(begin) < 8 or not (end or begin[4:8] == BOXES):
            break
        size = int.from_bytes(begin[:4]) if begin[:4] != b"\0\0\0\1" else int.from_bytes(begin[8:])
        if size < 8:  # 0: to the end of the file
            break
        end += size
        file.seek(end)
    return end


def _length_of_parts(image: Image.Image) -> int:
    """Bytes that a TIFF needs for its strips and tiles."""
    tags = image.tag_v2  # type: ignore[attr-defined]  # of Pillow's class for TIFF
    parts = ((tags.get(offsets, ()), tags.get(counts, ())) for offsets, counts in _TIFF_PARTS)
    with suppress(TypeError):  # nonsense, which the decoder will find
        return max((int(sum(part)) for listed in parts for part in zip(*listed, strict=False)), default=0)
    return 0

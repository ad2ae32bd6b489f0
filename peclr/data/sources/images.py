"""Image files to RGB arrays, large JPEGs at the reduced scale that is needed."""

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from peclr.data.sources.headers import Header, read_header
from peclr.geometry.planar import Matrix, similarity
from peclr.options import write_whole
from peclr.untrusted.text import check_megapixels

# OpenCV turns images upright by their Exif tag, makes gray, CMYK, 16-bit and transparent ones RGB with 8 bits, and
# since 4.13 refuses JPEGs that are cut short, where it used to fill up with gray.
_FLAGS: Final = {
    0: cv2.IMREAD_GRAYSCALE,  # at full size
    1: cv2.IMREAD_COLOR_RGB,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2 | cv2.IMREAD_COLOR_RGB,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4 | cv2.IMREAD_COLOR_RGB,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8 | cv2.IMREAD_COLOR_RGB,
}
_JPEG_OPTIONS: Final = (
    *(cv2.IMWRITE_JPEG_QUALITY, 95),
    # full color resolution: bones are few pixels wide
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
)
_PLAIN_BYTES: Final = 400_000  # no format packs too many pixels into fewer
# Exif orientations that show at the right or bottom what is stored at the left or top, or at the top or left where
# width and height are exchanged.
_RIGHT_TO_LEFT: Final = (2, 3, 6, 7)
_BOTTOM_TO_TOP: Final = (3, 4, 7, 8)


class BadImageError(ValueError):
    """An image file that cannot be read; the message names it and says why."""


class DecodedImage(NamedTuple):
    """An image (H, W, 3), uint8, RGB, perhaps at a reduced scale; width and height at full size, px.

    `image_from_decoded` is (3, 3), px at full size ← pixels of `image`; None where they are the same.
    """

    image: NDArray[np.uint8]
    width: int
    height: int
    image_from_decoded: Matrix | None = None


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Read a JPEG, PNG or whatever else OpenCV decodes, upright: (H, W, 3), uint8, RGB; BadImageError if none is."""
    return _decode(path, _read_bytes(path), 1)


def read_reduced(
    path: str | Path, side: float | Callable[[int, int], float] | None = None, min_side: float = math.inf
) -> DecodedImage:
    """Read an image file as `read_image` does, a JPEG at a reduced scale where that leaves pixels enough.

    Args:
        path: Of the file.
        side: Of the part that will be looked at, px at full size, or how to compute it from the image's width and
            height; None for the longer side of all of it.
        min_side: Number of pixels that this side must keep; infinite for the image as it is.
    """
    encoded, side = _read_bytes(path), max if side is None else side
    # most crops are small: then nothing has to be known about the file
    header = read_header(io.BytesIO(encoded)) if callable(side) or side >= 2 * min_side else None
    if header is not None and header.format in ("JPEG", "MPO"):
        length = side(header.width, header.height) if callable(side) else side
        # at these libjpeg skips part of the inverse cosine transform
        reduction = next((factor for factor in (8, 4, 2) if factor <= length / min_side), 1)
        image = _decode(path, encoded, reduction) if reduction > 1 else None
        # lossless JPEGs, for example, are not reduced
        if image is not None and image.shape[:2] == (-(-header.height // reduction), -(-header.width // reduction)):
            return DecodedImage(image, header.width, header.height, _image_from_reduced(header, reduction))
    image = _decode(path, encoded, 1)
    return DecodedImage(image, image.shape[1], image.shape[0])


def read_mask(path: str | Path) -> NDArray[np.uint8]:
    """Read a mask: (H, W), 1 where it is brighter than middle gray or, in a mask of 0 and 1, than black; else 0.

    BadImageError as for `read_image`, or if the mask shows nothing.
    """
    gray = _decode(path, _read_bytes(path), 0)
    brightest = int(gray.max())
    mask = gray > (0 if brightest == 1 else 127)
    if not mask.any():
        raise BadImageError(f"{path}: this mask shows no hand; its brightest pixel is {brightest}, expected 255 or 1")
    return mask.astype(np.uint8)


def write_image(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an RGB image (H, W, 3) into a file that ends in .jpg or .png, whole or not at all; OSError says why."""
    # cv2.imwrite cannot open every path, says nothing of why, and ends the process at names that are not UTF-8
    options = _JPEG_OPTIONS if path.suffix.lower() == ".jpg" else ()
    _, encoded = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    write_whole(path, encoded.tobytes())


def is_utf8(path: str | Path) -> bool:
    """Whether a file's name is text: on Linux, it may be any bytes, and Python escapes those that are not UTF-8."""
    return str(path).isascii() or not any("\ud800" <= letter <= "\udfff" for letter in str(path))


def _image_from_reduced(header: Header, reduction: int) -> Matrix:
    """(3, 3), pixels of the upright image ← pixels of it decoded at a reduced scale.

    Reduced pixels are means of blocks, which begin at the stored image's top left corner. Incomplete ones are at its
    right and bottom, and may be at the left and top of the upright image.
    """
    first = (reduction - 1) / 2  # the center of the first block
    x = first - (-header.width % reduction if header.orientation in _RIGHT_TO_LEFT else 0)
    y = first - (-header.height % reduction if header.orientation in _BOTTOM_TO_TOP else 0)
    return similarity(reduction, shift=(x, y))


def _read_bytes(path: str | Path) -> bytes:
    # Python opens the file and OpenCV decodes the bytes: cv2.imread cannot open every non-ASCII path on every
    # system, and says nothing about why it failed.
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 (Path.read_bytes costs 10 µs more)
            return file.read()
    except OSError as error:
        raise BadImageError(f"{path}: cannot be read ({error.strerror})") from error


def _decode(path: str | Path, encoded: bytes, reduction: int) -> NDArray[np.uint8]:
    if len(encoded) > _PLAIN_BYTES and (header := read_header(io.BytesIO(encoded))) is not None:
        try:
            check_megapixels(header.width, header.height, path)
        except ValueError as error:
            raise BadImageError(str(error)) from None
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), _FLAGS[reduction]) if encoded else None
    except cv2.error as error:  # a header that promises more pixels than OpenCV allows, for example
        raise BadImageError(f"{path}: cannot be decoded ({error.err or 'out of memory'})") from error
    if image is None:
        raise BadImageError(f"{path}: {len(encoded)} bytes that are not a readable image")
    return image.astype(np.uint8, copy=False)

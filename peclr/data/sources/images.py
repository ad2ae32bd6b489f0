"""Image files: their headers, and their pixels as RGB arrays, large JPEGs at the reduced scale needed.

OpenCV decodes; HEIC, which it does not know, and AVIF, which it does not turn upright, are Pillow's, the former by the
plug-in of the extra `images`.
"""

import io
import math
import struct
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, Self, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from tqdm import tqdm

from peclr.data.sources.listing import HAS_HEIF, HEIF_EXTRA
from peclr.geometry.planar import Matrix, mirror, similarity
from peclr.options import write_whole
from peclr.untrusted.text import check_megapixels

Item = TypeVar("Item")
Result = TypeVar("Result")

WORKERS: Final = 4
_TURNED: Final = ("JPEG", "MPO", "PNG", "WEBP", "AVIF")  # by their Exif tag; Pillow gives TIFF's size upright
BOXES: Final = b"ftyp"  # the type of the first box of HEIC and AVIF files, ISO/IEC 14496-12
_HEIC_BRANDS: Final = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")  # ISO/IEC 23008-12
_JPEG, _BEGIN = b"\xff\xd8", 1 << 16  # Exif comes first in a JPEG, or after JFIF's few bytes
_TRANSPOSING: Final = (5, 6, 7, 8)  # orientations of Exif that exchange width and height
# the last is of libavif
UNREADABLE: Final = (OSError, ValueError, SyntaxError, Image.DecompressionBombError, RuntimeError)
_NONSENSE: Final = (*UNREADABLE, TypeError, KeyError, struct.error)  # raised by Exif

if HAS_HEIF:
    import pillow_heif  # type: ignore[import-not-found, unused-ignore]  # an extra

    pillow_heif.register_heif_opener()
# OpenCV decodes up to 2³⁰ px. Pillow, which reads headers only, refuses an image of 180 megapixels by default.
Image.MAX_IMAGE_PIXELS = 1 << 30
# Exif that cannot be followed is no one's concern: the image is taken as it is stored.
warnings.filterwarnings("ignore", module=r"PIL\.TiffImagePlugin")
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


class Header(NamedTuple):
    """The header of an image file: Pillow's name of the format, and the upright image's size, px.

    The orientation is that of Exif, 1 to 8; 1 is stored upright.
    """

    format: str
    width: int
    height: int
    orientation: int


class DecodedImage(NamedTuple):
    """An image (H, W, 3), uint8, RGB, perhaps at a reduced scale; width and height at full size, px.

    `image_from_decoded` is (3, 3), px at full size ← pixels of `image`; None where they are the same.
    """

    image: NDArray[np.uint8]
    width: int
    height: int
    image_from_decoded: Matrix | None = None

    def mirrored(self) -> Self:
        """The same, left and right exchanged."""
        image, from_decoded = cv2.flip(self.image, 1).astype(np.uint8, copy=False), self.image_from_decoded
        if from_decoded is not None:
            from_decoded = mirror(self.width) @ from_decoded @ mirror(image.shape[1])
        return self._replace(image=image, image_from_decoded=from_decoded)


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Read a JPEG, PNG or whatever else can be decoded, upright: (H, W, 3), uint8, RGB; BadImageError if none is."""
    return decode_image(_read_bytes(path), path)


def decode_image(encoded: bytes, where: object) -> NDArray[np.uint8]:
    """Decode the bytes of an image file as `read_image` does; BadImageError names `where` they are from."""
    return _decode(where, encoded, 1)


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


def read_gray(path: str | Path) -> NDArray[np.uint8]:
    """Read an image as gray levels, (H, W); of one that is stored so, its numbers."""
    return _decode(path, _read_bytes(path), 0)


def read_mask(path: str | Path) -> NDArray[np.uint8]:
    """Read a mask: (H, W), 1 where it is brighter than middle gray or, in a mask of 0 and 1, than black; else 0."""
    gray = read_gray(path)
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


def _decode(path: object, encoded: bytes, reduction: int) -> NDArray[np.uint8]:
    if encoded[4:8] == BOXES:
        return _decode_by_pillow(path, encoded, "RGB" if reduction else "L")
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


def _decode_by_pillow(path: object, encoded: bytes, mode: str) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            check_megapixels(*image.size, path)
            upright: Image.Image = image
            with suppress(*_NONSENSE):  # is taken as it is stored
                upright = ImageOps.exif_transpose(image)
            return np.array(upright.convert(mode))
    except UnidentifiedImageError:
        raise BadImageError(f"{path}: {not_an_image(encoded[:12], len(encoded))}") from None
    except (*UNREADABLE, EOFError) as error:  # some name the file
        raise BadImageError(f"{path}: cannot be decoded ({str(error).removeprefix(f'{path}: ')})") from error


def not_an_image(begin: bytes, length: int) -> str:
    """Say what is wrong with a file that Pillow cannot identify, by its first bytes and its length."""
    if begin[4:8] == BOXES and begin[8:12] in _HEIC_BRANDS:
        return f"is HEIC, {'and damaged' if HAS_HEIF else f'which {HEIF_EXTRA} reads'}"
    return f"is not an image ({length} bytes)" if length else "is empty"


def read_header(file: BinaryIO | Path) -> Header | None:
    """Size and orientation of an image file; None if it is no image."""
    try:
        with Image.open(file) as image:
            size, orientation = image.size, 1
            if image.format in _TURNED and "exif" in image.info:
                # what is cut short, or nonsense, is taken as it is stored
                with suppress(*_NONSENSE):
                    orientation = int(image.getexif().get(ExifTags.Base.Orientation, 1))
            size = size[::-1] if orientation in _TRANSPOSING else size
            return Header(image.format or "", *size, orientation if orientation in range(1, 9) else 1)
    except UNREADABLE:
        return None


def read_focal_35mm(path: Path) -> float | None:
    """Focal length by Exif as on film of 36 × 24 mm, in mm; None where it is not said, or no image."""
    with suppress(*_NONSENSE), path.open("rb") as file:
        begin = file.read(_BEGIN)
        if begin.startswith(_JPEG) and b"Exif\0" not in begin:
            return None  # to open an image takes half a millisecond
        file.seek(0)
        with Image.open(file) as image:
            focal = float(image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.FocalLengthIn35mmFilm, 0))
            return focal if 1 <= focal < 10_000 else None  # 0 is "unknown", Exif 2.32
    return None


def image_sizes(paths: Sequence[Path]) -> NDArray[np.float64]:
    """Width and height (N, 2) of the upright image in each file, px; NaN where there is none."""
    headers = in_threads(read_header, paths, WORKERS, "images", progress=False)
    sizes = [(header.width, header.height) if header else (np.nan, np.nan) for _, header in headers]
    return np.array(sizes, np.float64).reshape(-1, 2)


def in_threads(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int, name: str, *, progress: bool
) -> Iterator[tuple[Item, Result]]:
    """Yield items with their results in order, of which few wait in memory, perhaps with a bar."""
    at_once = 64 * workers  # neither reading nor decoding nor encoding holds the interpreter's lock
    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm(desc=name, total=len(items), unit=f" {name}", disable=not progress, mininterval=0.5) as bar,
    ):
        for start in range(0, len(items), at_once):
            chunk = items[start : start + at_once]
            yield from zip(chunk, pool.map(work, chunk), strict=True)
            bar.update(len(chunk))

"""Size and orientation from the first bytes of a JPEG file: what must be known before decoding at a reduced scale.

ITU T.81 Annex B (markers), CIPA DC-008 4.6.4 (the orientation tag of Exif). This takes microseconds, where opening the
file with an image library costs as much as decoding a small picture.
"""

import struct
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

REDUCTIONS: Final = (8, 4, 2, 1)  # at which libjpeg skips part of the inverse cosine transform, as OpenCV offers it

_START, _EXIF, _SCAN, _END = 0xD8, 0xE1, 0xDA, 0xD9
# Start-of-frame markers, which hold the size; among their numbers are three tables: DHT, JPG and DAC.
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE: Final = frozenset(range(0xD0, 0xD8)) | {0x01}  # markers without a length
_ORIENTATION_TAG: Final = 0x0112
# Orientations that exchange width and height, and those that show what is stored at the left or top, or after the
# exchange at the top or left, at the right or bottom.
_TRANSPOSING: Final = frozenset({5, 6, 7, 8})
_RIGHT_TO_LEFT: Final = frozenset({2, 3, 6, 7})
_BOTTOM_TO_TOP: Final = frozenset({3, 4, 7, 8})


class JpegHeader(NamedTuple):
    """What a viewer shows.

    Attributes:
        width: Of the upright picture, px.
        height: Of the upright picture, px.
        orientation: Of Exif, 1 to 8; 1 is stored upright.
    """

    width: int
    height: int
    orientation: int

    def reduction(self, at_most: float) -> int:
        """The largest factor, not above `at_most`, by which the picture can be decoded smaller."""
        return next(factor for factor in REDUCTIONS if factor <= max(at_most, 1))

    def photo_from_reduced(self, reduction: int) -> NDArray[np.float64]:
        """(3, 3), pixels of the upright picture ← pixels of the picture decoded at a reduced scale.

        Reduced pixels are means of blocks, which begin at the stored picture's top left corner. Incomplete ones are at
        its right and bottom, and may be at the left and top of the upright picture.
        """
        first = (reduction - 1) / 2  # the centre of the first block
        x = first - (-self.width % reduction if self.orientation in _RIGHT_TO_LEFT else 0)
        y = first - (-self.height % reduction if self.orientation in _BOTTOM_TO_TOP else 0)
        return np.array([[reduction, 0, x], [0, reduction, y], [0, 0, 1.0]])


def read_header(encoded: bytes) -> JpegHeader | None:
    """Reads the header of a JPEG file; None if this is no JPEG, or none that can be followed."""
    if encoded[:2] != bytes((0xFF, _START)):
        return None
    orientation, place = 1, 2
    while place + 4 <= len(encoded) and encoded[place] == 0xFF:
        marker = encoded[place + 1]
        if marker == 0xFF:  # padding
            place += 1
            continue
        if marker in _ALONE:
            place += 2
            continue
        if marker in (_SCAN, _END):
            return None
        length = int.from_bytes(encoded[place + 2 : place + 4], "big")
        if marker in _FRAMES:
            if place + 9 > len(encoded):
                return None
            height, width = struct.unpack_from(">HH", encoded, place + 5)
            if orientation in _TRANSPOSING:
                height, width = width, height
            return JpegHeader(width, height, orientation)
        if marker == _EXIF and orientation == 1:
            orientation = _orientation(encoded[place + 4 : place + 2 + length])
        place += 2 + length
    return None


def _orientation(segment: bytes) -> int:
    """The orientation that an Exif segment tells; 1 if it tells none, or none that exists."""
    if segment[:6] != b"Exif\0\0":
        return 1
    tiff = segment[6:]
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, directory)
        for entry in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", tiff, entry)
            if tag == _ORIENTATION_TAG:
                return value if 1 <= value <= 8 else 1
    except struct.error:  # cut short, or nonsense: then the picture is taken as it is stored
        return 1
    return 1

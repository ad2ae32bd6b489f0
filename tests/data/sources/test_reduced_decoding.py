import io
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from peclr.data.sources.images import read_header, read_image, read_reduced
from peclr.data.views.geometric import ViewGeometry, warp
from peclr.geometry.planar import view_from_image

ORIENTATION = 0x0112


def encode(size: tuple[int, int], orientation: int | None = None, **options: Any) -> bytes:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x010F] = "a maker, so that the directory has more than one entry"
    if orientation is not None:
        exif[ORIENTATION] = orientation
    Image.new("RGB", size).save(buffer, "JPEG", exif=exif, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("orientation", [None, *range(1, 9)])
def test_the_header_has_the_size_of_the_upright_image(orientation: int | None, *, progressive: bool) -> None:
    header = read_header(io.BytesIO(encode((60, 34), orientation, progressive=progressive)))
    expected = (34, 60) if orientation in (5, 6, 7, 8) else (60, 34)
    assert header is not None
    assert (header.width, header.height, header.orientation) == (*expected, orientation or 1)


def test_other_files_have_no_header() -> None:
    for content in (
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff\xe0\x00",
        b"\x89PNG\r\n",
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8" + bytes(99),
    ):
        assert read_header(io.BytesIO(content)) is None


WHOLE = encode((60, 34), 6)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of Exif that cannot be followed, as the module does
@given(st.binary(max_size=64), st.integers(0, len(WHOLE)))
@example(b"\xff" * 40, 2)
def test_no_bytes_make_it_fail(noise: bytes, place: int) -> None:
    read_header(io.BytesIO(noise))
    header = read_header(io.BytesIO(WHOLE[:place] + noise + WHOLE[place + len(noise) :]))
    assert header is None or header.orientation in range(1, 9)


@cache
def blurred_noise(width: int, height: int, sigma: float) -> NDArray[np.uint8]:
    noise = np.random.default_rng(0).normal(size=(height, width, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), sigma)
    decoded: NDArray[np.uint8] = np.clip(128 + 40 * smooth / smooth.std(), 0, 255).astype(np.uint8)
    return decoded


@pytest.mark.parametrize("orientation", [None, *range(1, 9)])
@pytest.mark.parametrize("reduction", [2, 4, 8])
@pytest.mark.parametrize("size", [(331, 258), (336, 263)])
def test_a_reduced_image_shows_the_same_in_the_same_place(
    tmp_path: Path, orientation: int | None, reduction: int, size: tuple[int, int]
) -> None:
    """Odd sizes, every orientation: incomplete blocks, which may come to lie at any side, must not shift it."""
    file = tmp_path / "image.jpg"
    exif = Image.Exif()
    if orientation is not None:
        exif[ORIENTATION] = orientation
    Image.fromarray(blurred_noise(*size, sigma=3 * reduction)).save(file, "JPEG", exif=exif, quality=95)
    whole = read_image(file)
    height, width = whole.shape[:2]
    decoded = read_reduced(file, None, max(width, height) / reduction)
    assert (decoded.width, decoded.height) == (width, height)
    assert decoded.image.shape[:2] == (-(-height // reduction), -(-width // reduction))
    assert decoded.image_from_decoded is not None
    # the middle, at the reduced scale, not aligned with its blocks
    box = np.array([40.3, 41.7, 220.3, 221.7])
    view_size = 180 // reduction
    matrix = view_from_image(ViewGeometry(0.2).view_from_crop(1.0), box, view_size)
    ours = warp(decoded.image, matrix @ decoded.image_from_decoded, view_size)
    expected = warp(whole, matrix, view_size)
    # the shift that explains the difference best, pixels of the image
    down, right = (slope.ravel() for slope in np.gradient(expected.astype(float), axis=(0, 1)))
    shift = np.linalg.lstsq(np.stack([right, down], 1), (expected.astype(float) - ours).ravel(), rcond=None)[0]
    assert np.abs(shift * reduction).max() < 0.25


def test_pixels_that_are_needed_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "image.jpg"
    cv2.imwrite(str(file), np.zeros((300, 400, 3), np.uint8))
    sides = {keep: max(read_reduced(file, None, keep).image.shape) for keep in (400, 201, 200, 100, 50, 10)}
    assert sides == {400: 400, 201: 400, 200: 200, 100: 100, 50: 50, 10: 50}
    # of a crop, which is smaller than the image
    assert read_reduced(file, 100, 51).image_from_decoded is None
    assert max(read_reduced(file, 100, 50).image.shape) == 200


def test_other_formats_are_not_reduced(tmp_path: Path) -> None:
    file = tmp_path / "image.png"
    cv2.imwrite(str(file), np.zeros((300, 400, 3), np.uint8))
    decoded = read_reduced(file, None, 10)
    assert (decoded.image.shape, decoded.width, decoded.height) == ((300, 400, 3), 400, 300)
    assert decoded.image_from_decoded is None

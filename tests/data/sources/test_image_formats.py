"""HEIC, AVIF and TIFF: upright, with headers that agree, checked without decoding; HEIC by an extra."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from peclr.data.sources.image_faults import image_problem
from peclr.data.sources.image_files import ImageFiles
from peclr.data.sources.images import BadImageError, read_header, read_image, read_mask, read_reduced

FORMATS = {".heic": "HEIF", ".avif": "AVIF", ".tif": "TIFF", ".png": "PNG", ".webp": "WEBP"}


@pytest.fixture(scope="module")
def picture() -> NDArray[np.uint8]:
    """(40, 60, 3), four areas of one color each."""
    colors = np.array([[[220, 30, 30], [30, 200, 30]], [[30, 30, 230], [200, 200, 200]]], np.uint8)
    return colors.repeat(20, axis=0).repeat(30, axis=1)


def areas(image: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(2, 2, 3), the colors in the middles of the areas; chroma is blurred between them."""
    height, width = image.shape[:2]
    return image[height // 4 :: height // 2, width // 4 :: width // 2].astype(np.int64)


def encode(picture: NDArray[np.uint8], kind: str, orientation: int = 1) -> bytes:
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x112] = orientation
    Image.fromarray(picture).save(file, kind, exif=exif, **({} if kind == "TIFF" else {"quality": 95}))
    return file.getvalue()


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_reader_reads_it(picture: NDArray[np.uint8], tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(encode(picture, FORMATS[suffix]))
    assert image_problem(path, "decode") is None
    np.testing.assert_allclose(areas(read_image(path)), areas(picture), atol=10)
    assert read_reduced(path, min_side=8).image.shape == (40, 60, 3)
    source = ImageFiles(tmp_path)
    source.check_images()
    assert source[0]["image"].shape == (40, 60, 3)


# pillow_heif writes none: phones say it by a property of the image, which it follows as it decodes
@pytest.mark.parametrize("kind", ["AVIF", "TIFF", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_upright_and_headers_say_so(
    picture: NDArray[np.uint8], tmp_path: Path, kind: str, orientation: int
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encode(picture, kind, orientation))
    upright = [picture, picture[:, ::-1], picture[::-1, ::-1], picture[::-1]]
    upright += [part.transpose(1, 0, 2) for part in (picture, picture[::-1], picture[::-1, ::-1], picture[:, ::-1])]
    image, header = read_image(path), read_header(path)
    np.testing.assert_allclose(areas(image), areas(upright[orientation - 1]), atol=10)
    assert header is not None
    assert image.shape[:2] == (header.height, header.width)


@pytest.mark.parametrize("kind", ["HEIF", "AVIF", "TIFF"])
@pytest.mark.parametrize("kept", [0.4, 0.9, 0.99])
def test_files_cut_short_are_found_without_decoding(tmp_path: Path, kind: str, kept: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    path, content = tmp_path / "a.jpg", encode(noise, kind)
    path.write_bytes(content[: int(kept * len(content))])
    assert str(image_problem(path)).startswith("is cut short after")
    with pytest.raises(BadImageError, match=r"a\.jpg"):
        read_image(path)


def test_damaged_pixels_are_found_by_decoding(picture: NDArray[np.uint8], tmp_path: Path) -> None:
    content, path = bytearray(encode(picture, "HEIF")), tmp_path / "a.heic"
    start = content.index(b"mdat") + 4
    content[start:] = bytes(len(content) - start)
    path.write_bytes(content)
    assert image_problem(path, "decode") is not None


def test_a_mask_may_be_of_any_format(tmp_path: Path) -> None:
    mask = np.zeros((40, 60, 3), np.uint8)
    mask[10:30, 20:40] = 255
    (tmp_path / "a.avif").write_bytes(encode(mask, "AVIF"))
    assert read_mask(tmp_path / "a.avif")[5::10, 10::20].tolist() == [[0, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 0]]


WITHOUT = """
import sys
sys.modules["pillow_heif"] = None
from importlib import util
find = util.find_spec
util.find_spec = lambda name: None if name == "pillow_heif" else find(name)
from pathlib import Path
from peclr.data.sources.image_faults import image_problem
from peclr.data.sources.images import read_image
from peclr.data.sources.listing import IMAGES, list_files
folder = Path(sys.argv[1])
print(list_files(folder, IMAGES, "images").files)
print(image_problem(folder / "a.heic"))
print(image_problem(folder / "b.jpg"))
try:
    read_image(folder / "a.heic")
except ValueError as error:
    print(error)
"""


def test_without_the_plug_in_a_line_names_the_extra(picture: NDArray[np.uint8], tmp_path: Path) -> None:
    for name in ("a.heic", "b.jpg"):  # whatever it is called
        (tmp_path / name).write_bytes(encode(picture, "HEIF"))
    (tmp_path / "c.avif").write_bytes(encode(picture, "AVIF"))
    done = subprocess.run([sys.executable, "-c", WITHOUT, tmp_path], capture_output=True, text=True, check=True)
    listed, *problems = done.stdout.splitlines()
    assert listed == "['b.jpg', 'c.avif']"
    assert "left out 1 .heic (pip install 'peclr[images]' reads them)" in done.stderr
    extra = "is HEIC, which pip install 'peclr[images]' reads"
    assert problems == [extra, extra, f"{tmp_path / 'a.heic'}: {extra}"]

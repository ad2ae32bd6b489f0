import io
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from peclr.data.sources.images import BadImageError, read_image


def test_channels_are_rgb(tmp_path: Path) -> None:
    file = tmp_path / "red.png"
    cv2.imwrite(str(file), np.full((4, 6, 3), (0, 0, 200), np.uint8))  # OpenCV writes BGR
    image = read_image(file)
    assert image.dtype == np.uint8
    assert image.shape == (4, 6, 3)
    assert (image == (200, 0, 0)).all()


def test_gray_images_become_rgb(tmp_path: Path) -> None:
    file = tmp_path / "gray.jpg"
    cv2.imwrite(str(file), np.full((8, 8), 90, np.uint8))
    assert (read_image(file) == 90).all()


def test_paths_need_not_be_ascii(tmp_path: Path) -> None:
    file = tmp_path / "手 – Hände.png"
    file.write_bytes(cv2.imencode(".png", np.zeros((2, 2, 3), np.uint8))[1].tobytes())
    assert read_image(file).shape == (2, 2, 3)


@pytest.mark.parametrize("contents", [b"", b"not an image at all"])
def test_files_that_are_no_images_are_named(tmp_path: Path, contents: bytes) -> None:
    file = tmp_path / "broken.jpg"
    file.write_bytes(contents)
    with pytest.raises(ValueError, match=f"broken.jpg: {len(contents)} bytes that are not a readable image"):
        read_image(file)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gone\.jpg: cannot be read"):
        read_image(tmp_path / "gone.jpg")
    with pytest.raises(ValueError, match=f"{tmp_path.name}: cannot be read"):
        read_image(tmp_path)


def smooth_image() -> NDArray[np.uint8]:
    """Smooth colors, (40, 60, 3), brightest at the top left."""
    y, x = np.mgrid[:40, :60]
    return np.stack([250 - 3 * x, 200 - 3 * y, 90 + 0 * x], axis=-1).astype(np.uint8)


def encoded(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(smooth_image()).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["image.png", "image.txt", "image"])
def test_a_wrong_name_does_not_matter(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(encoded("JPEG", quality=95))
    assert np.abs(read_image(tmp_path / name).astype(int) - smooth_image()).max() < 8


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    file = tmp_path / "print.jpg"
    Image.fromarray(smooth_image()).convert("CMYK").save(file, quality=95)
    assert np.abs(read_image(file).astype(int) - smooth_image()).mean() < 8


def test_sixteen_bits_and_transparency_become_rgb(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "deep.png"), smooth_image()[..., ::-1].astype(np.uint16) * 257)
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png"), smooth_image())
    Image.fromarray(smooth_image()).convert("RGBA").save(tmp_path / "clear.png")
    np.testing.assert_array_equal(read_image(tmp_path / "clear.png"), smooth_image())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_upright(tmp_path: Path, orientation: int) -> None:
    upright = Image.fromarray(smooth_image())
    undo = [None, None, 0, 3, 1, 5, 2, 6, 4][orientation]  # PIL's name of what stores it that way
    stored = upright if undo is None else upright.transpose(Image.Transpose(undo))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "phone.jpg", exif=exif, quality=95)
    read = read_image(tmp_path / "phone.jpg")
    assert read.shape == (40, 60, 3)
    assert np.abs(read.astype(int) - smooth_image()).max() < 10


FILES = {kind: encoded(kind) for kind in ("JPEG", "PNG", "WEBP", "BMP")} | {
    "progressive JPEG": encoded("JPEG", progressive=True)
}


@pytest.mark.parametrize("kind", FILES)
def test_no_part_of_a_file_is_taken_for_all_of_it(tmp_path: Path, kind: str) -> None:
    whole, file = FILES[kind], tmp_path / "cut.jpg"
    # nothing is lost with the last bytes of a PNG, its end mark, or of a padded BMP
    last = len(whole) - 16
    for length in sorted({*range(0, last, max(1, last // 60)), last}):
        file.write_bytes(whole[:length])
        with pytest.raises(BadImageError, match=r"cut\.jpg: "):
            read_image(file)


@given(
    st.sampled_from(sorted(FILES)), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4)
)
def test_damaged_files_are_refused_or_read_and_nothing_else(kind: str, damage: list[tuple[float, int]]) -> None:
    content = bytearray(FILES[kind])
    for place, value in damage:
        content[round(place * (len(content) - 1))] = value
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "damaged.jpg")
        file.write_bytes(content)
        try:
            image = read_image(file)
        except BadImageError as error:
            assert "damaged.jpg: " in str(error)  # noqa: PT017 (either outcome is fine)
        else:
            assert image.dtype == np.uint8
            assert image.ndim == image.shape[2] == 3


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (500, 600, 3), np.uint8))
    assert read_image(path).shape == (500, 600, 3)
    monkeypatch.setenv("PECLR_MAX_MEGAPIXELS", "0.2")
    with pytest.raises(BadImageError, match=r"large\.png: 600 × 500 px are more than 0\.2 megapixels"):
        read_image(path)

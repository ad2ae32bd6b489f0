from pathlib import Path

import cv2
import numpy as np
import pytest

from peclr.data.images import read_image


def test_channels_are_rgb(tmp_path: Path) -> None:
    file = tmp_path / "red.png"
    cv2.imwrite(str(file), np.full((4, 6, 3), (0, 0, 200), np.uint8))  # OpenCV writes BGR
    image = read_image(file)
    assert image.dtype == np.uint8
    assert image.shape == (4, 6, 3)
    assert (image == (200, 0, 0)).all()


def test_grey_images_become_rgb(tmp_path: Path) -> None:
    file = tmp_path / "grey.jpg"
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

from __future__ import annotations

import logging
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from peclr.data.prepare.doctor import Look, examine
from peclr.data.sources.image_files import ImageFiles
from peclr.data.sources.inputs import find_inputs
from peclr.data.sources.listing import IMAGES, list_files, natural_order

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images at several places, links to folders and to nothing, and what does not count."""
    image = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    root, elsewhere = tmp_path / "hands", tmp_path / "elsewhere"
    for file in ("10.jpg", "2.JPG", "deep/er/3.jpg", ".ipynb_checkpoints/2-checkpoint.jpg", "._2.JPG", "IMG.HEIC"):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(image)
    (root / "scan.tiff").write_bytes(image)
    (root / "loop.gif").write_bytes(image)
    (root / "labels.json").write_text("[]")
    elsewhere.mkdir()
    (elsewhere / "4.jpg").write_bytes(image)
    (root / "linked").symlink_to(elsewhere)
    (root / "again").symlink_to(root / "deep")  # is there by its own name
    (root / "round").symlink_to(root)
    (root / "gone.jpg").symlink_to(root / "nowhere")
    (root / "one.jpg").symlink_to(elsewhere / "4.jpg")
    return root


EXPECTED = ["10.jpg", "2.JPG", "IMG.HEIC", "deep/er/3.jpg", "linked/4.jpg", "one.jpg", "scan.tiff"]
LEFT_OUT = {"hidden": 1, "links to nothing": 1, ".gif": 1}


@pytest.mark.parametrize("pattern", ["", "**/*", "**"])
def test_folders_and_patterns_follow_one_rule(folder: Path, pattern: str) -> None:
    listing = list_files(f"{folder}/{pattern}".rstrip("/"), IMAGES, "images")
    assert (listing.folder, listing.files) == (folder, EXPECTED)
    assert listing.left_out == LEFT_OUT


def test_patterns_look_no_deeper_than_they_reach(folder: Path) -> None:
    assert list_files(f"{folder}/*.jpg", IMAGES, "images").files == ["10.jpg", "one.jpg"]
    assert list_files(f"{folder}/d*/*/*.jpg", IMAGES, "images").files == ["deep/er/3.jpg"]
    assert list_files(f"{folder}/**/er/*", IMAGES, "images").files == ["deep/er/3.jpg"]
    assert list_files(f"{folder}/.ipynb_checkpoints/*", IMAGES, "images").files == ["2-checkpoint.jpg"]  # named


def test_training_predicting_and_checking_take_the_same(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        images = ImageFiles(folder)
        inputs = find_inputs([str(folder)])
        assert [found.file for found in find_inputs([f"{folder}/**/*"])] == [found.file for found in inputs]
    assert [images[index]["id"] for index in range(len(images))] == EXPECTED
    assert [found.file for found in inputs] == ["2.JPG", "10.jpg", *EXPECTED[2:]]  # frames by their numbers
    reasons = "left out 1 .gif, 1 hidden, 1 links to nothing"
    assert caplog.text.count(reasons) == 3
    table = [finding.what for finding in examine(folder, Look())]
    assert table == ["7 images", reasons]


def test_folders_without_images_say_what_was_left_out(tmp_path: Path) -> None:
    (tmp_path / "IMG_1.DNG").write_bytes(b"")
    with pytest.raises(ValueError, match=r"no images; expected files ending in \.jpg.*; left out 1 \.dng"):
        list_files(tmp_path, IMAGES, "images")


def test_masks_are_no_images_of_hands(tmp_path: Path) -> None:
    names = ["rgb/1.jpg", "mask/1.jpg", "a/Masks/b/2.png", "3.jpg", "3_mask.png", "surgical_mask.jpg", "masked/4.jpg"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    listing = list_files(tmp_path, IMAGES, "images")
    assert listing.files == ["3.jpg", "masked/4.jpg", "rgb/1.jpg", "surgical_mask.jpg"]
    assert listing.left_out == {"masks": 3}
    assert list_files(tmp_path / "mask", IMAGES, "images").files == ["1.jpg"], "asked for"


def test_numbers_in_names_are_sorted_by_value() -> None:
    names = ["f10.png", "f2.png", "f1.png", "f02.png", "a/2/1.png", "a/10/1.png", "11", "f", "²1"]
    expected = ["11", "a/2/1.png", "a/10/1.png", "f", "f1.png", "f02.png", "f2.png", "f10.png", "²1"]
    assert sorted(names, key=natural_order) == expected

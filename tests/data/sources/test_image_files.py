import gc
import json
import math
import tracemalloc
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from peclr.data.samples import HandSample
from peclr.data.sources import image_files
from peclr.data.sources.image_files import ImageFiles
from peclr.data.sources.listing import Listing
from peclr.data.views.geometric import ViewGeometry, render_view


def everything(images: ImageFiles) -> list[HandSample]:
    return [images[index] for index in range(len(images))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images of 30 × 20 px, one below another folder, and what is no image."""
    root = tmp_path / "images"
    (root / "deeper").mkdir(parents=True)
    for name in ("b.JPG", "a.png", "deeper/c.webp"):
        file = root / name
        encoded = cv2.imencode(file.suffix.lower(), np.full((20, 30, 3), 99, np.uint8))[1]
        file.write_bytes(encoded.tobytes())
    (root / "notes.txt").write_text("no image")
    (root / "._b.JPG").write_text("no image either")
    return root


def test_images_are_found_in_order_at_any_depth(folder: Path) -> None:
    images = ImageFiles(folder)
    assert len(images) == images.num_hands == 3
    assert [images[index]["id"] for index in range(3)] == ["a.png", "b.JPG", "deeper/c.webp"]
    assert [(images.hand_of(i), list(images.versions_of(i))) for i in range(3)] == [(i, [i]) for i in range(3)]


def test_patterns_take_what_they_match(folder: Path, tmp_path: Path) -> None:
    names = {
        pattern: [image["id"] for image in everything(ImageFiles(folder / pattern))]
        for pattern in ("*.JPG", "**/*", "d*/*")
    }
    assert names == {"*.JPG": ["b.JPG"], "**/*": ["a.png", "b.JPG", "deeper/c.webp"], "d*/*": ["deeper/c.webp"]}
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("file,left,top,right,bottom\ndeeper/c.webp,0,0,8,8\n")
    np.testing.assert_allclose(ImageFiles(folder / "**" / "*.webp", boxes)[0]["crop_box"], [0, 0, 8, 8])
    for pattern in ("*.txt", "*.gif", "nowhere/**"):
        with pytest.raises(ValueError, match="no images"):
            ImageFiles(folder / pattern)


def test_large_images_are_decoded_smaller_where_a_view_needs_less(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "large.jpg"), np.zeros((601, 803, 3), np.uint8))
    (tmp_path / "boxes.csv").write_text("file,left,top,right,bottom\nlarge.jpg,100,100,300,300\n")
    whole, hand = ImageFiles(tmp_path), ImageFiles(tmp_path, tmp_path / "boxes.csv")
    assert whole.read(0, 200.0)["image"].shape == (151, 201, 3)
    assert hand.read(0, 200.0)["image"].shape == (601, 803, 3)
    assert hand.read(0, 100.0)["image"].shape == (301, 402, 3)
    for images in (whole, hand):
        # everything but the pixels is that of the image at full size
        np.testing.assert_allclose(images.read(0, 50.0)["crop_box"], images[0]["crop_box"])
        assert "image_from_decoded" in images.read(0, 50.0)
        assert "image_from_decoded" not in images[0]


def test_without_boxes_the_crop_holds_the_whole_image(folder: Path) -> None:
    sample = ImageFiles(folder)[1]
    np.testing.assert_allclose(sample["crop_box"], [-0.5, -5.5, 29.5, 24.5])
    assert sample["image"].shape == (20, 30, 3)
    assert sample["hand"] == "unknown"
    assert all(sample[key] is None for key in ("K", "joints_3d", "joints_2d", "scale_m"))


@pytest.mark.parametrize("suffix", ["json", "csv"])
def test_boxes_may_be_several_and_become_square(folder: Path, tmp_path: Path, suffix: str) -> None:
    boxes = tmp_path / f"boxes.{suffix}"
    rows = [("b.JPG", 1, 2, 5, 10), ("deeper/c.webp", 0, 0, 4, 4), ("b.JPG", 10, 10, 20, 20)]
    keys = ("file", "left", "top", "right", "bottom")
    if suffix == "json":
        boxes.write_text(json.dumps([dict(zip(keys, row, strict=True)) for row in rows]))
    else:
        boxes.write_text("\n".join(",".join(map(str, row)) for row in [keys, *rows]))
    images = ImageFiles(folder, boxes)
    found = [(images[i]["id"], images[i]["crop_box"].tolist()) for i in range(len(images))]
    assert found == [
        ("a.png", [-0.5, -5.5, 29.5, 24.5]),
        ("b.JPG", [-1, 2, 7, 10]),
        ("b.JPG", [10, 10, 20, 20]),
        ("deeper/c.webp", [0, 0, 4, 4]),
    ]


def test_left_hands_are_mirrored_at_every_scale(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    image = np.zeros((200, 301, 3), np.uint8)
    image[50:90, 30:70] = 255
    cv2.imwrite(str(tmp_path / "images" / "a.jpg"), image)
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("file,left,top,right,bottom,hand\na.jpg,20,40,80,100,left\na.jpg,20,40,80,100,right\n")
    for min_side in (math.inf, 30.0):
        left, right = (ImageFiles(tmp_path / "images", boxes).read(hand, min_side) for hand in (0, 1))
        assert (left["hand"], right["hand"]) == ("left", "right")
        np.testing.assert_allclose(left["crop_box"], [220, 40, 280, 100])
        np.testing.assert_array_equal(left["image"], right["image"][:, ::-1])
        views = [render_view(sample, ViewGeometry(), 32)[0].astype(int) for sample in (left, right)]
        np.testing.assert_allclose(views[0], views[1][:, ::-1], atol=40)


def test_a_file_that_boxes_list_without_one_is_left_out(folder: Path, tmp_path: Path) -> None:
    hand = {"box": [1, 2, 9, 10], "hand": "right"}
    for name, hands in (("a.png", []), ("b.JPG", [hand, hand])):
        said = {"schema": "peclr.prediction/1", "source": name, "file": name, "frame": None, "hands": hands}
        (tmp_path / f"{name}.json").write_text(json.dumps(said))
    (tmp_path / "out").mkdir()
    for path in tmp_path.glob("*.json"):
        path.rename(tmp_path / "out" / path.name)
    images = ImageFiles(folder, tmp_path / "out")
    assert [images[index]["id"] for index in range(len(images))] == ["b.JPG", "b.JPG", "deeper/c.webp"]
    assert images.doubts() == [f"left out 1 hidden, 1 without a hand by {tmp_path / 'out'}"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("z.png,1,2,3,4", "z.png is not an image"),
        ("a.png,3,2,1,4", r"a.png: \[3.0, 2.0, 1.0, 4.0\] is not left < right"),
        ("a.png,1,2,nan,4", "a.png: .*nan"),
        ("a.png,1,2,,4", r"Expected `float`, got `str` - at `\$\[0\]\.right`"),
        ("a.png,1,2", "line 2 has 3 columns, the first line 5"),
    ],
)
def test_boxes_that_do_not_fit_are_named(folder: Path, tmp_path: Path, row: str, message: str) -> None:
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("file,left,top,right,bottom\n" + row)
    with pytest.raises(ValueError, match=rf"boxes\.csv: .*{message}"):
        ImageFiles(folder, boxes)


def test_broken_and_missing_box_files_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.csv: no such file"):
        ImageFiles(folder, tmp_path / "gone.csv")
    (tmp_path / "boxes.json").write_text("[{")
    with pytest.raises(ValueError, match=r"boxes\.json: not valid JSON"):
        ImageFiles(folder, tmp_path / "boxes.json")


def test_missing_and_empty_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="gone is not a folder"):
        ImageFiles(tmp_path / "gone")
    (tmp_path / "hand.txt").touch()
    with pytest.raises(ValueError, match=rf"hand.txt is not a folder; expected the folder that holds it, {tmp_path}$"):
        ImageFiles(tmp_path / "hand.txt")
    with pytest.raises(ValueError, match="no images"):
        ImageFiles(tmp_path)


def test_real_images_are_read(real_hands: Path) -> None:
    images = ImageFiles(real_hands / "photos")
    assert len(images) == 18
    assert images[17]["image"].shape == (224, 224, 3)


def test_boxes_beyond_the_image_are_refused(folder: Path, tmp_path: Path) -> None:
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("file,left,top,right,bottom\na.png,40,2,50,12\nb.JPG,20,10,35,25\n")
    images = ImageFiles(folder, boxes)
    for look in (images.check_images, lambda: images[0]):  # before training, and whenever it is read
        with pytest.raises(ValueError, match=r"a\.png: the box .* lies beyond the 30 × 20 px"):
            look()
    assert images[1]["id"] == "b.JPG"  # a part of it is enough


def test_the_identity_is_that_of_names_and_boxes(folder: Path, tmp_path: Path) -> None:
    expected = ImageFiles(folder).identity()
    assert ImageFiles(folder.rename(tmp_path / "elsewhere")).identity() == expected
    folder = tmp_path / "elsewhere"
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("file,left,top,right,bottom\na.png,0,0,8,8\n")
    assert ImageFiles(folder, boxes).identity() != expected
    (folder / "a.png").rename(folder / "z.png")
    assert ImageFiles(folder).identity() != expected


def test_a_hand_takes_the_bytes_of_its_name_and_box(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = [f"{number // 100:03d}/{number:05d}.jpg" for number in range(20_000)]  # 13 bytes each
    listing = Listing(tmp_path, names, Counter())
    monkeypatch.setattr(image_files, "list_files", lambda *_: listing)
    (tmp_path / "boxes.csv").write_text("file,left,top,right,bottom\n000/00000.jpg,1,1,30,30\n000/00000.jpg,2,2,9,9\n")
    for boxes, most in ((None, 30), (tmp_path / "boxes.csv", 80)):
        tracemalloc.start()
        source = ImageFiles(tmp_path, boxes)
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert source.num_hands == 20_000 + (boxes is not None)
        assert taken < most * source.num_hands

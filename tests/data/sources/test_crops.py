from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from peclr.data.datasets import LabeledHandDataset, PairedViewDataset
from peclr.data.prepare.cutting import DEFAULT_CONTEXT, Cutting
from peclr.data.prepare.sharding import shard_source
from peclr.data.samples import HandSource, hash_of
from peclr.data.sources.freihand import FreiHAND
from peclr.data.sources.images import read_image
from peclr.data.sources.shards import PreparedCrops
from peclr.data.sources.youtube3d import YouTube3DHands
from peclr.data.views.geometric import GeometryRange, ViewGeometry, render_view
from peclr.geometry.joints import TIPS
from tests.data.sources.old_crops import write_old_crops

if TYPE_CHECKING:
    from tests.data.conftest import Layout, YouTube


def cut(source: HandSource, tmp_path: Path, size: int = 192) -> PreparedCrops:
    facts = shard_source(source, tmp_path / "crops" / "train", Cutting(size, quality=98), per_task=5)
    assert facts is not None
    assert facts.problems == []
    return PreparedCrops(tmp_path / "crops", "train")


def test_hands_and_versions_are_those_of_the_source(source: HandSource, tmp_path: Path) -> None:
    crops = cut(source, tmp_path, 16)
    assert (len(crops), crops.num_hands) == (len(source), source.num_hands)
    for index in range(len(source)):
        assert crops.hand_of(index) == source.hand_of(index)
        original, crop = source[index], crops[index]
        assert (crop["hand"], crop["id"], crop["scale_m"]) == (
            original["hand"],
            original["id"],
            original["scale_m"] and pytest.approx(original["scale_m"], rel=1e-6),
        )
    for hand in range(source.num_hands):
        assert list(crops.versions_of(hand)) == list(source.versions_of(hand))


def test_views_are_those_of_the_source(source: HandSource, tmp_path: Path) -> None:
    crops = cut(source, tmp_path)
    for index in (1, 3):
        views = []
        for sample in (source[index], crops[index]):
            view = render_view(sample, ViewGeometry(0.4, (0.05, -0.03), scale=1.1), 64).image
            views.append(cv2.GaussianBlur(view, (5, 5), 1).astype(float))
        assert np.abs(views[0] - views[1]).mean() < 3
        # and not because there is nothing to see
        assert views[0].max() > 100


def test_joints_are_carried_to_the_same_pixels(source: HandSource, tmp_path: Path) -> None:
    crops = cut(source, tmp_path)
    for index in range(len(source)):
        sample, original = crops[index], source[index]
        assert sample["joints_2d"] is not None
        assert original["joints_2d"] is not None
        matrix = crops.image_from_crop(index)
        back = sample["joints_2d"] @ matrix[:2, :2].T + matrix[:2, 2]
        expected = original["joints_2d"].astype(float)
        if original["hand"] == "left":
            expected[:, 0] = original["image"].shape[1] - 1 - expected[:, 0]
        np.testing.assert_allclose(back, expected, atol=1e-3)


def test_the_matrix_goes_back_to_the_file_as_it_is_on_disk(youtube: YouTube, tmp_path: Path) -> None:
    crops = cut(YouTube3DHands(youtube.root), tmp_path)
    for index in range(len(crops)):
        sample = crops[index]
        assert sample["joints_2d"] is not None
        matrix = crops.image_from_crop(index)
        file = read_image(youtube.root / sample["id"].split(" in ")[1])
        tips = sample["joints_2d"][list(TIPS)]
        x, y = np.round(tips @ matrix[:2, :2].T + matrix[:2, 2]).astype(int).T
        assert (file[y, x] > 200).all()
        assert (np.linalg.det(matrix) < 0) == (sample["hand"] == "left")
        x, y = np.round(tips).astype(int).T
        assert (sample["image"][y, x] > 150).all()


def test_cameras_follow(layout: Layout, tmp_path: Path) -> None:
    source = FreiHAND(layout.root)
    labeled = LabeledHandDataset(cut(source, tmp_path), view_size=64)
    for index in (0, 17):
        expected, item = LabeledHandDataset(source, view_size=64)[index], labeled[index]
        for key in ("K", "joints_25d", "joints_3d", "scale_m"):
            np.testing.assert_allclose(item[key], expected[key], rtol=2e-4, atol=1e-3)


def test_what_a_source_does_not_know_stays_unknown(youtube: YouTube, tmp_path: Path) -> None:
    sample = cut(YouTube3DHands(youtube.root), tmp_path, 32)[0]
    assert (sample["K"], sample["joints_3d"], sample["scale_m"]) == (None, None, None)
    assert sample["joints_2d"] is not None
    assert np.isfinite(sample["joints_2d"]).all(axis=1).sum() == 5


def test_crops_show_the_crop_box_in_its_context(source: HandSource, tmp_path: Path) -> None:
    shard_source(source, tmp_path / "c" / "train", Cutting(size=100, context=2.0))
    sample = PreparedCrops(tmp_path / "c", "train")[0]
    left, top, right, bottom = sample["crop_box"]
    assert (right - left, bottom - top) == pytest.approx((50, 50), abs=0.1)  # of whole pixels of the image
    image = source[0]["image"]
    pixel = np.linalg.norm(PreparedCrops(tmp_path / "c", "train").image_from_crop(0)[:2, 0])
    for length, full in zip(sample["image"].shape[:2], image.shape[:2], strict=True):
        assert length <= min(100, np.ceil(full / pixel))  # what is beyond the image is cut off


def test_the_default_context_is_all_that_the_default_augmentation_can_show() -> None:
    corners = np.array([[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]]).T
    ranges = GeometryRange()
    matrices = [
        ViewGeometry(np.radians(angle), (x, y), scale=scale).view_from_crop(1.0)
        for angle in np.linspace(*ranges.rotation, 91)
        for x in ranges.translation
        for y in ranges.translation
        for scale in ranges.scale
    ]
    reach = np.abs(np.linalg.inv(matrices) @ corners)[:, :2].max()
    assert reach == pytest.approx(DEFAULT_CONTEXT, abs=0.01)


def test_images_that_cannot_be_read_are_left_out_and_listed(layout: Layout, tmp_path: Path) -> None:
    for version in range(3):  # all that show hand 1, and one of hand 2
        (layout.root / f"training/rgb/{1 + 6 * version:08d}.jpg").write_bytes(b"no image")
    (layout.root / "training/rgb/00000008.jpg").write_bytes(b"")
    facts = shard_source(FreiHAND(layout.root), tmp_path / "c" / "training", Cutting(size=16), per_task=5)
    assert facts is not None
    assert [int(re.findall(r"(\d+)\.jpg", problem)[0]) for problem in facts.problems] == [1, 7, 8, 13]
    crops = PreparedCrops(tmp_path / "c", "training")
    assert (len(crops), crops.num_hands) == (14, 5)
    assert [crops[index]["id"][-8:] for index in crops.versions_of(1)] == ["00000002", "00000014"]
    assert crops[crops.versions_of(4)[0]]["id"].endswith("00000005")
    assert PairedViewDataset([crops], "across_versions", view_size=16)[1]["views"].shape == (2, 3, 16, 16)


def test_mistakes_are_named(layout: Layout, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="context 0"):
        shard_source(FreiHAND(layout.root), tmp_path / "c", Cutting(context=0))
    write_old_crops(FreiHAND(layout.root), tmp_path / "c" / "training", Cutting(8))
    with pytest.raises(ValueError, match=r"c/evaluation/manifest\.json is missing"):
        PreparedCrops(tmp_path / "c", "evaluation")
    crops = PreparedCrops(tmp_path / "c", "training")
    with pytest.raises(IndexError, match="images 0 to 17, not 18"):
        crops[18]
    (tmp_path / "c/training/00000/00000003.jpg").unlink()
    with pytest.raises(ValueError, match=r"00000003\.jpg"):
        crops[3]
    with pytest.raises(ValueError, match=r"00000003\.jpg is missing"):
        crops.check_images()


def test_crops_of_older_versions_are_read_and_converted(layout: Layout, tmp_path: Path) -> None:
    cutting = Cutting(size=32)
    write_old_crops(FreiHAND(layout.root), tmp_path / "old" / "training", cutting)
    old = PreparedCrops(tmp_path / "old", "training")
    assert old.doubts() == ["1 images could not be cut out: a.jpg is empty"]
    shard_source(FreiHAND(layout.root), tmp_path / "new" / "training", cutting)
    shard_source(old, tmp_path / "converted" / "training")
    for folder in ("new", "converted"):
        crops = PreparedCrops(tmp_path / folder, "training")
        assert (crops.name, crops.num_hands) == (old.name, old.num_hands)
        for index in range(18):
            for key, value in old[index].items():
                np.testing.assert_array_equal(dict(crops[index])[key], value)
            np.testing.assert_array_equal(crops.image_from_crop(index), old.image_from_crop(index))
            assert list(crops.versions_of(index % 6)) == list(old.versions_of(index % 6))
    # pairs that were mined stay theirs
    hands, ids = np.arange(18) % 6, np.array([old[index]["id"].encode() for index in range(18)])
    assert old.identity() == hash_of("crops of freihand", ids, hands)


def test_there_is_no_set_if_no_image_can_be_read(youtube: YouTube, tmp_path: Path) -> None:
    source = YouTube3DHands(youtube.root)
    for frame in youtube.root.glob("youtube/*/video/frames/*"):
        frame.write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"no crop was made; [^,].*frames/1\.png"):
        shard_source(source, tmp_path / "c" / "train")
    assert not (tmp_path / "c" / "train" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"facts": {}}, "source"),
        ({"facts": {"source": "x", "skipped": 3}}, "skipped"),
        ({"K": None}, "K is nothing, expected float32"),
        ({"K": np.zeros((2, 3, 3), np.float32)}, "K is float32"),
        ({"id": np.array(["a"])}, "id is <U1"),
        ({"hand": np.zeros(0, np.int64)}, "is .*expected"),
        ({"hand": 10**15}, "contradict each other"),
        ({"hand": -5}, "contradict each other"),
        ({"version": 10**6}, "contradict each other"),
        ({"side": 9}, "contradict each other"),
    ],
)
def test_labels_that_are_not_those_of_crops_are_refused(
    layout: Layout, tmp_path: Path, changed: dict[str, Any], reason: str
) -> None:
    folder = tmp_path / "c" / "training"
    write_old_crops(FreiHAND(layout.root), folder, Cutting(8))
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, value in changed.items():
        if name == "facts":
            manifest["facts"] = value
            continue
        manifest["arrays"].pop(name)
        if value is not None:
            array = np.load(folder / f"{name}.npy")
            if isinstance(value, int):
                array[-1] = value
            np.save(folder / f"{name}.npy", array if isinstance(value, int) else value)
            manifest["arrays"][name] = None
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=reason):
        PreparedCrops(tmp_path / "c", "training")

"""InterHand2.6M and AssemblyHands in their official layouts: sides, unknown joints, what is wrong with files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from peclr.data.loading.pairing import AcrossCameras, NearbyFrames
from peclr.data.prepare.command import prepare_main
from peclr.data.prepare.doctor import doctor_main
from peclr.data.sources import open_source
from peclr.data.sources.interhand import InterHand
from peclr.data.sources.selection import split_source
from peclr.data.sources.some_hands import listed
from tests.data.sources.labeled_sets import WIDTH, BothHands, pixels, write_assemblyhands, write_interhand
from tests.data.sources.same_hands import assert_same_hands
from tests.json_files import set_at

Write = Callable[[Path], BothHands]
# of the hands that count: their image, and whether they are left; AssemblyHands leaves out the fifth, of 5 joints
HANDS = [(0, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1), (4, 0), (6, 1)]


@pytest.fixture(params=[write_interhand, write_assemblyhands], ids=["interhand", "assemblyhands"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> BothHands:
    write: Write = request.param
    return write(tmp_path / "hands")


@pytest.fixture
def interhand(tmp_path: Path) -> BothHands:
    return write_interhand(tmp_path / "hands")


def hands_of(both: BothHands) -> list[tuple[int, int]]:
    return [hand for hand in HANDS if np.isfinite(both.joints[hand]).sum() >= 30 or "interhand" in source_name(both)]


def source_name(both: BothHands) -> str:
    return InterHand(both.root).name


def test_labels_are_as_written_and_left_hands_mirrored(both: BothHands) -> None:
    source = InterHand(both.root)
    hands = hands_of(both)
    assert (source.num_hands, len(source)) == (len(hands), len(hands))
    assert source.is_left.tolist() == [side == 1 for _, side in hands]
    np.testing.assert_allclose(source.joints_3d, [both.joints[hand] for hand in hands], atol=1e-5)
    in_images = source.joints_2d_of_hands()
    for number, (image, side) in enumerate(hands):
        sample: Any = source[number]
        joints = both.joints[image, side]
        flip = [-1, 1, 1] if side else [1, 1, 1]
        assert sample["hand"] == ("left" if side else "right")
        np.testing.assert_allclose(sample["joints_3d"], joints * flip, atol=1e-5)
        seen = pixels(joints)
        expected = [WIDTH - 1, 0] + seen * [-1, 1] if side else seen
        np.testing.assert_allclose(sample["joints_2d"], expected, atol=5e-3)
        np.testing.assert_allclose(in_images[number], expected, atol=5e-3)
        projected = sample["joints_3d"] @ sample["K"].T
        np.testing.assert_allclose(projected[:, :2] / projected[:, 2:], sample["joints_2d"], atol=5e-3)
        known = np.round(expected[np.isfinite(expected[:, 0])]).astype(int)
        assert sample["image"][known[:, 1], known[:, 0]].mean() > 150
        left, top, right, bottom = sample["crop_box"]
        assert right - left == pytest.approx(bottom - top)
        assert (known > [left, top]).all()
        assert (known < [right, bottom]).all()
    with pytest.raises(IndexError, match=f"images 0 to {len(hands) - 1}, not {len(hands)}"):
        source[len(hands)]


def test_hands_of_few_joints_are_cropped_by_their_box_and_scaled_by_the_persons(interhand: BothHands) -> None:
    source = InterHand(interhand.root, crop_margin=1.0)
    few: Any = source[6]
    assert np.isfinite(few["joints_2d"][:, 0]).sum() == 5
    x, y, width, height = json.loads(interhand.files()[0].read_text())["annotations"][4]["bbox"]
    middle, half = np.array([x + width / 2, y + height / 2]) - 0.5, max(width, height) / 2
    np.testing.assert_allclose(few["crop_box"], np.concatenate([middle - half, middle + half]), atol=1e-3)
    # right hands of the same subject, whose bone is known
    lengths = [np.linalg.norm(np.subtract(*interhand.joints[image, 0][[9, 10]])) for image in (0, 2)]
    assert few["scale_m"] == pytest.approx(np.median(lengths), rel=1e-4)
    assert source.doubts() == [
        "InterHand2.6M: 8 hands in 6 of 7 images; others show none",
        "4 of 8 hands have joints that are unknown",
    ]


def test_a_scale_that_nothing_says_is_unknown(interhand: BothHands) -> None:
    def no_bones(data: Any) -> None:
        for annotation in data["annotations"]:
            annotation["joint_valid"][11] = [0]  # middle MCP of right hands

    interhand.edit(0, no_bones)
    source = InterHand(interhand.root)
    assert [source[n]["scale_m"] is None for n in range(8)] == [not left for left in source.is_left.tolist()]


def test_hands_of_one_image_are_two_items_of_two_tracks(both: BothHands) -> None:
    source = InterHand(both.root, fps=10)
    hands = hands_of(both)
    images = [image for image, _ in hands]
    assert [images[source.image.tolist().index(n)] for n in source.image] == images
    assert source.interact[source.image].tolist() == [image in (2, 3) for image in images]
    assert source.time_of_hands().tolist() == [(10 + 6 * image) / 10 for image in images]
    tracks = {(image % 2, image // 2 % 2, side) for image, side in hands}
    assert len(set(source.track_of_hands().tolist())) == len(tracks)
    assert len(set(source.frame_of_hands().tolist())) == len(hands)  # no two cameras at one moment
    assert source.camera_of_hands().tolist() == [image // 2 % 2 for image in images]
    assert source.group_of_hands().tolist() == [image % 2 for image in images]
    train, val = map(listed, split_source(source, 0.5, seed=0))
    groups = source.group_of_hands()
    assert set(groups[train]).isdisjoint(groups[val])
    # 24 frames apart: images 2 and 6 are of one camera, and of other sides
    assert len(NearbyFrames(5.0).within(source)) == source.num_hands


def test_cameras_that_saw_one_moment_are_paired(interhand: BothHands) -> None:
    def two_cameras(data: Any) -> None:
        seen, shown = data["images"][0], data["annotations"][0]
        data["images"] = [seen, seen | {"id": 99, "camera": "400001"}]
        data["annotations"] = [shown, shown | {"image_id": 99}]

    def same_place(cameras: Any) -> None:
        for values in cameras["0"].values():
            values["400001"] = values["400000"]

    interhand.edit(0, two_cameras)
    interhand.edit(1, same_place)
    source = InterHand(interhand.root)
    assert (len({*source.frame_of_hands().tolist()}), source.camera_of_hands().tolist()) == (1, [0, 1])
    assert len({*source.video_of_hands().tolist()}) == len({*source.track_of_hands().tolist()}) == 2
    assert AcrossCameras().within(source).draw(0, np.random.default_rng(0)) == (0, 1)


def test_packed_labels_are_the_same_and_known_to_doctor(both: BothHands, capsys: pytest.CaptureFixture[str]) -> None:
    read: Any = open_source(both.root)
    assert isinstance(read, InterHand)
    assert prepare_main([read.name, str(both.root)]) == 0
    assert doctor_main([str(both.root), "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert f"InterHand train: {read.num_hands} hands, {read.num_hands} images" in said
    assert f"{read.name}_train: packed, fresh" in said
    packed: Any = InterHand(both.root)
    assert_same_hands(packed, read)
    path = both.edit(0, lambda data: data["annotations"].pop())
    with pytest.warns(UserWarning, match=rf"is stale: .*{path.name} is missing, new or has changed"):
        assert InterHand(both.root).num_hands == read.num_hands - 1


def test_the_split_is_one_that_is_there(interhand: BothHands, tmp_path: Path) -> None:
    missing = r"InterHand2\.6M_test_data\.json is missing; .*annotations/test/InterHand2\.6M_test_data\.json, …_camera"
    with pytest.raises(ValueError, match=missing):
        open_source(interhand.root, "test")
    with pytest.raises(ValueError, match=r"has no split test; there are train"):
        open_source(write_assemblyhands(tmp_path / "worn").root, "test")  # whose labels nobody has
    with pytest.raises(ValueError, match=r"fps 0\.0: expected a positive number"):
        InterHand(interhand.root, fps=0.0)


def _first(key: str, value: Any) -> Callable[[Any], None]:
    kind, _, name = key.partition(".")
    return set_at(value, kind, 0, name)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_first("images.capture", 9), r"camera\.json: capture 9, which an image is of, is not there; it has 0, 1"),
        (_first("images.camera", "7"), r"camera\.json: camera 7, which an image is of, is not there; it has 400000"),
        (_first("images.frame_idx", 11), r"joint_3d\.json: frame 11, which an image is of, is not there; it has 10, "),
        (_first("images.subject", "ann"), r"data\.json: image 0: .*`int`, got `str`.*subject"),
        (_first("images.file_name", "../a.jpg"), r"data\.json: image 0 is '\.\./a\.jpg'; expected a file below"),
        (_first("images.id", 51), r"data\.json: image id 51 is both .*image10\.jpg and .*image16\.jpg"),
        (_first("annotations.image_id", 1), r"data\.json: annotation 0 is of image 1, not listed"),
        (_first("annotations.joint_valid", [[1]] * 41), r"data\.json: annotation 0: .*length >= 42.*joint_valid"),
        (_first("annotations.joint_valid", [0.5] * 42), r"annotation 0: joint_valid has 0\.5 at 0; expected 0 and 1"),
        (_first("annotations.hand_type", "both"), r"data\.json: annotation 0: Invalid enum value 'both'"),
        (_first("annotations.bbox", [1, 2, 3]), r"data\.json: annotation 0: .*bbox"),
        (lambda data: data["annotations"].clear(), r"data\.json: none of 7 images has a hand"),
    ],
)
def test_lists_that_are_wrong_are_named(interhand: BothHands, change: Callable[[Any], None], reason: str) -> None:
    interhand.edit(0, change)
    with pytest.raises(ValueError, match=reason):
        InterHand(interhand.root)


def test_joints_that_are_not_valid_may_be_anything(both: BothHands) -> None:
    def spoil(contents: Any) -> None:
        by_frame = contents.get("annotations", contents)
        for frames in by_frame.values():
            for points in frames.values():
                valid = np.array(points["joint_valid"])
                points["world_coord"] = np.where(valid, points["world_coord"], np.nan).tolist()

    before = InterHand(both.root).joints_3d
    assert "NaN" in both.edit(2, spoil).read_text()
    np.testing.assert_array_equal(InterHand(both.root).joints_3d, before)


def test_cameras_and_joints_that_are_wrong_are_named(both: BothHands) -> None:
    cameras = both.files()[1].read_text()
    image, worn = json.loads(both.files()[0].read_text())["images"][0], source_name(both) == "assemblyhands"
    camera = f"{image['camera']}_mono10bit" if worn else image["camera"]

    def turn(contents: Any) -> None:
        if worn:
            contents["calibration"][image["seq_name"]]["extrinsics"][f"{image['frame_idx']:06d}"][camera][0] = [9] * 4
        else:
            contents["0"]["camrot"][camera][0] = [9, 9, 9]

    def refused(number: int, change: Callable[[Any], object], reason: str) -> None:
        path = both.edit(number, change)
        with pytest.raises(ValueError, match=rf"{path.name}: {reason}"):
            InterHand(both.root)

    refused(1, turn, r".*000010\.jpg|.*image10\.jpg: its camera is turned by .*no rotation")
    both.files()[1].write_text(cameras)
    joints = both.files()[2].read_text()

    def moved(shift: Any) -> Callable[[Any], None]:
        def change(contents: Any) -> None:
            frames = contents["annotations"][image["seq_name"]] if worn else contents["0"]
            frames["000010" if worn else "10"]["world_coord"] = shift

        return change

    refused(2, moved([[1, 2, 3]] * 41), r".*frame (0000)?10: .*length >= 42")
    refused(2, moved([[1, 2, "3"]] * 42), r".*frame (0000)?10: .*got `str`")
    both.files()[2].write_text(joints.replace('"world_coord": [[', '"world_coord": [[NaN, -', 1))
    refused(2, lambda contents: None, r".*frame (0000)?10: .*length 3 - at")
    unknown = moved([[np.nan, 2, 3]] * 42)
    both.edit(2, unknown)
    with pytest.raises(ValueError, match=r"annotation 0: joint 0 is valid, and at \[nan, nan, nan\] mm"):
        InterHand(both.root)
    cameras_with_nan = cameras.replace("150.0", "NaN", 1)
    both.files()[2].write_text(joints)
    both.files()[1].write_text(cameras_with_nan)
    with pytest.raises(ValueError, match=rf"{both.files()[1].name}: .*in '.*NaN, .*expected \{{"):
        InterHand(both.root)
    both.files()[1].write_text(cameras)
    both.files()[2].write_text(joints)
    behind = both.edit(2, moved([[0, 0, -1e5]] * 21 + [[0, 0, 1e5]] * 21))
    with pytest.raises(ValueError, match=r"data.*\.json: annotation 0: joint \d+ is valid, and at \[.*in front of"):
        InterHand(both.root)
    behind.unlink()
    with pytest.raises(ValueError, match=rf"{behind.name} is missing; .* is expected to hold"):
        InterHand(both.root)


def test_units_orders_and_formulas_of_others_are_noticed(interhand: BothHands) -> None:
    def meters(contents: Any) -> None:
        for frames in contents.values():
            for points in frames.values():
                points["world_coord"] = (np.array(points["world_coord"]) / 1000).tolist()

    interhand.edit(2, meters)
    with pytest.raises(ValueError, match=r"annotation 0: joint|metres|in front of"):
        InterHand(interhand.root)


def test_official_samples_are_read(photographs: Path, tmp_path: Path) -> None:
    """Four images of the test split, six hands: skeletons lie in their boxes, and bones measure what hands do."""
    samples = photographs / "official_samples" / "interhand2.6m"
    (tmp_path / "annotations" / "test").mkdir(parents=True)
    (tmp_path / "images" / "test").mkdir(parents=True)
    for kind in ("data", "camera", "joint_3d"):
        name = f"InterHand2.6M_test_{kind}.json"
        shutil.copy(samples / f"test_interhand2.6m_{kind}.json", tmp_path / "annotations" / "test" / name)
    for image in samples.glob("*.jpg"):
        shutil.copy(image, tmp_path / "images" / "test")
    source = InterHand(tmp_path, "test")
    source.check_images()
    assert (source.num_hands, len(source.interact), len(source.doubts())) == (6, 4, 2)
    assert source.is_left.tolist() == [False, True, False, True, True, False]
    assert sorted(source.interact.tolist()) == [False, False, True, True]
    data = json.loads((samples / "test_interhand2.6m_data.json").read_text())
    listed = {image["id"]: image for image in data["images"]}
    for annotation in data["annotations"]:
        image = listed[annotation["image_id"]]
        hands = [n for n in range(6) if image["file_name"] in source[n]["id"]]
        joints = np.concatenate([np.asarray(source[n]["joints_2d"]) for n in hands])
        mirrored = np.concatenate([np.full(21, source.is_left[n]) for n in hands])
        joints[mirrored, 0] = image["width"] - 1 - joints[mirrored, 0]
        x, y, width, height = annotation["bbox"]
        # the official box is that of the joints, enlarged
        assert (joints > [x, y]).all()
        assert (joints < [x + width, y + height]).all()
        assert np.ptp(joints, axis=0).max() > max(width, height) / 2
    scales = [source[n]["scale_m"] or 0 for n in range(6)]
    assert min(scales) > 0.035
    assert max(scales) < 0.05

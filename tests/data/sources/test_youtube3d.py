from __future__ import annotations

import logging
import pickle
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from peclr.data.datasets import PairedViewDataset
from peclr.data.prepare.command import pack_labels
from peclr.data.prepare.doctor import Look, examine
from peclr.data.samples import HandSample
from peclr.data.sources.images import BadImageError, read_image
from peclr.data.sources.youtube3d import YouTube3DHands
from peclr.data.sources.youtube3d_labels import find_frames, read_labels
from peclr.geometry.joints import JOINT_NAMES, MIDDLE_MCP, TIPS, WRIST
from tests.data.sources.same_hands import assert_same_hands

if TYPE_CHECKING:
    from pathlib import Path

    from tests.data.conftest import YouTube

ANNOTATIONS = [0, 1, 2, 4]  # of the usable hands


def assert_tips_are_shown(sample: HandSample, threshold: int = 200) -> None:
    """The image is bright where the labels say that finger tips are."""
    assert sample["joints_2d"] is not None
    x, y = np.round(sample["joints_2d"][list(TIPS)]).astype(int).T
    assert (sample["image"][y, x] > threshold).all()


def test_hands_without_their_frame_are_left_out_and_counted(youtube: YouTube, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        hands = YouTube3DHands(youtube.root)
    assert (len(hands), hands.num_hands, hands.num_missing) == (4, 4, 1)
    assert "frames of 1 hands are missing" in caplog.text
    assert [list(hands.versions_of(hand)) for hand in range(4)] == [[0], [1], [2], [3]]
    assert [hands.hand_of(index) for index in range(4)] == [0, 1, 2, 3]


@pytest.mark.parametrize("index", range(4))
def test_finger_tips_are_where_the_image_shows_them(youtube: YouTube, index: int) -> None:
    assert_tips_are_shown(YouTube3DHands(youtube.root)[index])


def test_png_and_jpg_are_read_and_named(youtube: YouTube) -> None:
    hands = YouTube3DHands(youtube.root)
    assert hands[0]["id"] == "train/100 in youtube/filmA/video/frames/1.png"
    assert hands[3]["id"] == "train/104 in youtube/filmA/video/frames/2.jpg"


def test_left_hands_are_mirrored(youtube: YouTube) -> None:
    hands = YouTube3DHands(youtube.root)
    right, left = hands[0], hands[1]
    assert (right["hand"], left["hand"]) == ("right", "left")
    np.testing.assert_array_equal(left["image"], right["image"][:, ::-1])
    assert left["joints_2d"] is not None
    x = youtube.vertices[1, 744, 0]
    assert left["joints_2d"][TIPS[0], 0] == pytest.approx(119 - x, abs=1e-4)


def enlarge(youtube: YouTube, name: str, size: tuple[int, int]) -> None:
    path = youtube.root / "youtube/filmA/video/frames" / name
    cv2.imwrite(str(path), cv2.resize(read_image(path), size, interpolation=cv2.INTER_LINEAR))


@pytest.mark.parametrize("size", [(360, 240), (359, 240)])
def test_labels_follow_a_frame_of_another_resolution(youtube: YouTube, size: tuple[int, int]) -> None:
    enlarge(youtube, "1.png", size)
    sample = YouTube3DHands(youtube.root)[0]
    assert_tips_are_shown(sample, 150)
    left, top, right, bottom = sample["crop_box"]
    assert right - left == pytest.approx(bottom - top)


def test_frames_of_another_aspect_are_left_out_and_counted(youtube: YouTube, caplog: pytest.LogCaptureFixture) -> None:
    enlarge(youtube, "1.png", (360, 160))
    with caplog.at_level(logging.WARNING):
        hands = YouTube3DHands(youtube.root)
    assert (len(hands), hands.num_missing, hands.num_stretched) == (2, 1, 2)
    assert "the frames of 2 hands are of another aspect than annotated, 2 are left" in caplog.text
    assert {hands[index]["id"].split()[0] for index in range(2)} == {"train/102", "train/104"}
    [note] = [finding for finding in examine(youtube.root, Look()) if "aspect" in finding.what]
    assert "2 hands are left out, of another aspect" in note.what
    assert "1 frames: youtube/filmA/video/frames/1.png" in note.what


def test_a_single_frame_of_another_aspect_is_a_bad_image(youtube: YouTube) -> None:
    """The first of a video stands for all when the reader is made."""
    enlarge(youtube, "2.jpg", (360, 160))
    with pytest.raises(BadImageError, match=r"2\.jpg: 360 × 160 px, annotated with 240 × 160"):
        YouTube3DHands(youtube.root)[2]
    assert any("1 frames" in finding.what for finding in examine(youtube.root, Look()))


@pytest.mark.parametrize("index", range(4))
def test_without_mano_the_crop_is_the_box_of_the_vertices_with_a_margin(youtube: YouTube, index: int) -> None:
    sample = YouTube3DHands(youtube.root, crop_margin=1.5)[index]
    vertices = youtube.vertices[ANNOTATIONS[index], :, :2].copy()
    if index >= 2:
        vertices = (vertices + 0.5) / 2 - 0.5
    if sample["hand"] == "left":
        vertices[:, 0] = 119 - vertices[:, 0]
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    side = 1.5 * (high - low).max()
    expected = np.concatenate([(low + high - side) / 2, (low + high + side) / 2])
    np.testing.assert_allclose(sample["crop_box"], expected, atol=1e-4)


def test_without_mano_only_tips_are_known(youtube: YouTube) -> None:
    joints = YouTube3DHands(youtube.root)[0]["joints_2d"]
    assert joints is not None
    known = np.isfinite(joints).all(axis=1)
    assert sorted(np.flatnonzero(known)) == sorted(TIPS)


def test_with_mano_all_joints_are_known_in_order_freihand(youtube: YouTube, regressor: Path) -> None:
    sample = YouTube3DHands(youtube.root, mano=regressor)[0]
    joints, weights = sample["joints_2d"], np.load(regressor)
    assert joints is not None
    assert np.isfinite(joints).all()
    assert_tips_are_shown(sample)
    expected = weights @ youtube.vertices[0, :, :2]  # MANO: wrist; index, middle, little, ring, thumb
    for row, name in {0: "wrist", 1: "index_mcp", 4: "middle_mcp", 5: "middle_pip", 9: "little_dip"}.items():
        np.testing.assert_allclose(joints[JOINT_NAMES.index(name)], expected[row], atol=1e-3)
    # as published: around the mean joint, to 1.25 times the farthest
    center = joints.mean(axis=0)
    half = 1.25 * np.linalg.norm(joints - center, axis=1).max()
    np.testing.assert_allclose(sample["crop_box"], [*(center - half), *(center + half)], atol=1e-3)


def test_mirroring_commutes_with_the_regressor(youtube: YouTube, regressor: Path) -> None:
    left = YouTube3DHands(youtube.root, mano=regressor)[1]["joints_2d"]
    youtube.edit(lambda labels: labels["annotations"][1].update(is_left=False))
    right = YouTube3DHands(youtube.root, mano=regressor)[1]["joints_2d"]
    assert left is not None
    assert right is not None
    for joint in (WRIST, MIDDLE_MCP):
        np.testing.assert_allclose(left[joint], [119 - right[joint, 0], right[joint, 1]], atol=1e-3)


def test_it_has_no_camera_and_no_metric_labels_and_makes_pairs(youtube: YouTube) -> None:
    hands = YouTube3DHands(youtube.root)
    sample = hands[0]
    assert (sample["K"], sample["joints_3d"], sample["scale_m"]) == (None, None, None)
    assert PairedViewDataset([hands], view_size=32)[2]["views"].shape == (2, 3, 32, 32)


def test_prepared_labels_give_the_same_samples(youtube: YouTube) -> None:
    read = YouTube3DHands(youtube.root)
    pack_labels("youtube3d", youtube.root, "train")
    youtube.labels.with_name("youtube_val.json").write_text("not looked at")
    hands = YouTube3DHands(youtube.root)
    assert_same_hands(hands, read)


@pytest.mark.parametrize("name", ["youtube/../../x.png", "/etc/x.png"])
def test_prepared_labels_name_no_frames_elsewhere(youtube: YouTube, name: str) -> None:
    names = read_labels("youtube3d", youtube.root, "train")["image_name"].copy()
    names[0] = name.encode()
    with pytest.raises(ValueError, match="which is not below it"):
        find_frames(youtube.root, names)


def test_prepared_labels_do_not_travel_to_workers(youtube: YouTube) -> None:
    pack_labels("youtube3d", youtube.root, "train")
    hands = YouTube3DHands(youtube.root)
    pickled = pickle.dumps(hands)
    assert len(pickled) < 2000  # the vertices of one hand alone are 9 kB
    np.testing.assert_array_equal(pickle.loads(pickled)[3]["image"], hands[3]["image"])  # noqa: S301 (our own)


def test_stale_labels_are_reported_and_not_used(youtube: YouTube) -> None:
    pack_labels("youtube3d", youtube.root, "train")
    youtube.edit(lambda labels: labels["annotations"].pop())
    with pytest.warns(
        UserWarning, match=r"youtube_train\.json is missing, new or has changed.*prepare youtube3d .*youtube"
    ):
        assert len(YouTube3DHands(youtube.root)) == 3
    assert len(YouTube3DHands(youtube.root, use_prepared=False)) == 3  # and no warning


def test_frames_that_appear_later_are_found(youtube: YouTube) -> None:
    pack_labels("youtube3d", youtube.root, "train")
    frame = youtube.root / "youtube/filmB/video/frames/1.jpeg"
    frame.parent.mkdir(parents=True)
    cv2.imwrite(str(frame), np.zeros((80, 120, 3), np.uint8))
    assert YouTube3DHands(youtube.root).num_missing == 0


def test_what_cannot_be_read_is_named(youtube: YouTube, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"split 'training' does not exist; expected one of"):
        YouTube3DHands(youtube.root, "training")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"youtube_train\.json is missing"):
        YouTube3DHands(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="crop_margin 0: expected a positive number"):
        YouTube3DHands(youtube.root, crop_margin=0)
    with pytest.raises(IndexError, match="images 0 to 3, not 4"):
        YouTube3DHands(youtube.root)[4]
    (youtube.root / "youtube").rename(youtube.root / "frames")
    with pytest.raises(ValueError, match=r"none of the frames in youtube_train\.json exist"):
        YouTube3DHands(youtube.root)


def test_a_broken_frame_is_named(youtube: YouTube) -> None:
    (youtube.root / "youtube/filmA/video/frames/1.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"frames/1\.png"):
        YouTube3DHands(youtube.root)[0]


def test_the_identity_is_that_of_the_hands_there_are(youtube: YouTube, regressor: Path) -> None:
    expected = YouTube3DHands(youtube.root).identity()
    assert YouTube3DHands(youtube.root, mano=regressor).identity() == expected
    pack_labels("youtube3d", youtube.root, "train")
    assert YouTube3DHands(youtube.root).identity() == expected
    (youtube.root / "youtube/filmA/video/frames/2.jpg").unlink()
    assert YouTube3DHands(youtube.root).identity() != expected

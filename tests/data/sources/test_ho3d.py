"""HO-3D in its official layout: order, axes, frames without annotation, sides, versions, what is wrong with files."""

from __future__ import annotations

import json
import math
import pickle
import shutil
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from peclr.data.loading.pairing import NearbyFrames
from peclr.data.prepare.command import pack_labels, prepare_main
from peclr.data.prepare.doctor import doctor_main
from peclr.data.sources import open_source
from peclr.data.sources.ho3d import HO3D, Version
from peclr.data.sources.ho3d_labels import from_project, to_project
from peclr.data.sources.selection import split_source
from peclr.data.sources.some_hands import listed
from peclr.geometry.joints import JOINT_NAMES, convert
from tests.data.sources.labeled_sets import AXES, WIDTH, pixels, write_dots, write_ho3d, write_meta
from tests.data.sources.same_hands import assert_same_hands


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_ho3d(tmp_path / "ho3d")
    return tmp_path / "ho3d"


@pytest.fixture
def joints(tmp_path: Path) -> NDArray[np.float64]:
    return write_ho3d(tmp_path / "again")


def brightness(sample: Any) -> float:
    """The mean brightness of the image at the sample's 2-D joints."""
    x, y = np.round(sample["joints_2d"]).astype(int).T
    return float(sample["image"][y, x].mean())


def test_joints_are_metres_in_order_freihand_and_opencv_s_camera(root: Path, joints: NDArray[np.float64]) -> None:
    source = HO3D(root)
    assert (source.num_hands, len(source), source.version) == (5, 5, "v2")
    for number in range(5):
        sample: Any = source[number]
        np.testing.assert_allclose(sample["joints_3d"], joints[number], atol=1e-6)
        np.testing.assert_allclose(sample["joints_2d"], pixels(joints[number]), atol=1e-3)
        assert brightness(sample) > 150
        assert sample["scale_m"] == pytest.approx(np.linalg.norm(joints[number, 9] - joints[number, 10]), rel=1e-5)
        left, top, right, bottom = sample["crop_box"]
        assert right - left == pytest.approx(bottom - top)
        assert (left < sample["joints_2d"][:, 0].min(), right > sample["joints_2d"][:, 0].max()) == (True, True)
    assert [source[0]["hand"], source[0]["id"], source[1]["id"]] == ["right", "train/ABF10/0000", "train/MC1/0002"]
    with pytest.raises(IndexError, match="images 0 to 4, not 5"):
        source[5]


def test_order_and_axes_are_the_official_ones_written_out() -> None:
    """HO-3D lists wrist, index, middle, little, ring, thumb, palm outwards, then the tips; y is up, z to the viewer."""
    official = ["wrist"] + [
        f"{f}_{p}" for f in ("index", "middle", "little", "ring", "thumb") for p in ("mcp", "pip", "dip")
    ]
    official += [f"{finger}_tip" for finger in ("thumb", "index", "middle", "ring", "little")]
    points = np.random.default_rng(0).normal(size=(2, 21, 3))
    moved = to_project(points)
    for index, name in enumerate(official):
        np.testing.assert_array_equal(moved[:, JOINT_NAMES.index(name)], points[:, index] * AXES)
    np.testing.assert_array_equal(from_project(moved), points)


def test_evaluation_has_boxes_and_joints_where_they_are_published(root: Path, joints: NDArray[np.float64]) -> None:
    unlabeled = HO3D(root, "evaluation")
    assert (unlabeled.has_labels, unlabeled[0]["joints_3d"], unlabeled[0]["scale_m"]) == (False, None, None)
    corners = pixels(joints[5])
    low, high = corners.min(axis=0).round(1), corners.max(axis=0).round(1)
    half = 1.25 * (high - low).max() / 2
    np.testing.assert_allclose(unlabeled[0]["crop_box"], [*((low + high) / 2 - half), *((low + high) / 2 + half)])
    stored = convert(joints[5:], "freihand", "mano") * AXES
    (root / "evaluation_xyz.json").write_text(json.dumps(stored.tolist()))
    labeled = HO3D(root, "evaluation")
    np.testing.assert_allclose(labeled[2]["joints_3d"], joints[7], atol=1e-6)  # type: ignore[arg-type]
    np.testing.assert_allclose(labeled[2]["crop_box"], unlabeled[2]["crop_box"])  # labels do not help to look
    for number, name in enumerate(("ABF10/0006", "ABF11/0007", "MC1/0008")):
        write_meta(root, "evaluation", name, handJoints3D=stored[number, 0], handBoundingBox=[0, 0, 9, 9])
    with pytest.raises(ValueError, match=r"ho3d/evaluation: 3 of 3 hands, hand 0 has \d+% of its joints in its box \["):
        HO3D(root, "evaluation")
    (root / "evaluation_xyz.json").write_text(json.dumps(stored[:2].tolist()))
    with pytest.raises(ValueError, match=r"evaluation_xyz\.json has 2 hands, but .*evaluation\.txt lists 3"):
        HO3D(root, "evaluation")


def test_left_hands_are_mirrored_with_image_camera_and_joints(tmp_path: Path, joints: NDArray[np.float64]) -> None:
    """H2O-3D names both hands of a frame."""
    root, left = tmp_path / "h2o", joints[0] * [-1, 1, 1] + [0.05, 0, 0]
    for name in ("A1/0000", "A1/0001"):
        write_dots(root / "train" / f"{name.replace('/', '/rgb/')}.jpg", joints[0], left)
        stored = [convert(hand, "freihand", "mano") * AXES for hand in (joints[0], left)]
        write_meta(root, "train", name, rightHandJoints3D=stored[0], leftHandJoints3D=stored[1])
    (root / "train.txt").write_text("A1/0000\nA1/0001\n")
    source = HO3D(root)
    assert [source[n]["hand"] for n in range(4)] == ["right", "left"] * 2
    sample: Any = source[1]
    np.testing.assert_allclose(sample["joints_3d"], left * [-1, 1, 1], atol=1e-6)
    np.testing.assert_allclose(sample["joints_2d"], [WIDTH - 1, 0] + pixels(left) * [-1, 1], atol=1e-3)
    assert brightness(sample) > 150
    np.testing.assert_allclose(sample["K"], [[150, 0, WIDTH - 1 - 60], [0, 150, 44], [0, 0, 1]])
    assert (source.joints_2d_of_hands(), len(source.image_paths())) == (None, 2)


def test_the_version_is_that_of_the_images_and_asked_for_where_both_are(root: Path) -> None:
    with pytest.raises(ValueError, match=r"train/ABF10/rgb/0000 is missing; expected it as \.jpg \(v3\)"):
        HO3D(root, version="v3")
    for image in list(root.rglob("*.png")):
        cv2.imwrite(str(image.with_suffix(".jpg")), np.zeros((90, 120, 3), np.uint8))
    with pytest.raises(ValueError, match=r"as \.png, of v2, and as \.jpg, of v3; say which: version: v2, or v3"):
        HO3D(root)
    assert [HO3D(root, version=v).image_file(0).suffix for v in get_args(Version)] == [".png", ".jpg"]
    shutil.rmtree(root / "train" / "ABF10" / "rgb")
    with pytest.raises(ValueError, match=r"0000 is missing; expected it as \.png \(v2\) or \.jpg \(v3\)"):
        HO3D(root)


def test_recordings_of_one_person_with_one_object_are_never_divided(root: Path) -> None:
    source = HO3D(root)
    training, held_out = map(listed, split_source(source, 0.6, 0))
    assert len(held_out)
    groups = source.group_of_hands()
    assert not set(groups[training]) & set(groups[held_out])
    assert len(set(groups.tolist())) == 2  # ABF, MC


def test_packed_labels_are_the_same_and_are_packed_again_when_the_list_changes(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare_main(["ho3d", str(root)]) == 0
    said = capsys.readouterr().out
    assert "HO3D train: 5 hands, 5 images" in said
    assert "1 of 6 frames have no annotation, and are left out" in said
    packed, read = HO3D(root), HO3D(root, use_prepared=False)
    assert isinstance(packed.joints_3d, np.ndarray)
    assert isinstance(packed.joints_3d.base, np.memmap)
    assert_same_hands(packed, read)
    assert len(pickle.dumps(packed)) < 2000  # workers map the labels
    assert doctor_main([str(root), "--workers", "1"]) == 0
    assert "prepared/ho3d_train: packed, fresh" in capsys.readouterr().out
    (root / "train.txt").write_text("ABF10/0000\nMC1/0002\n")
    with pytest.warns(UserWarning, match=r"is stale: .*train\.txt is missing, new or has changed"):
        assert len(HO3D(root)) == 2


def test_the_folder_is_recognized_and_others_with_a_train_txt_are_not(root: Path, tmp_path: Path) -> None:
    assert isinstance(open_source(root), HO3D)
    assert len(open_source(root, "evaluation")) == 3
    (tmp_path / "mine" / "train").mkdir(parents=True)
    shutil.copy(next(root.rglob("*.png")), tmp_path / "mine" / "train" / "a.png")
    (tmp_path / "mine" / "train.txt").write_text("a.png")
    assert open_source(tmp_path / "mine").name == "photos"


def change(root: Path, **values: Any) -> None:
    write_meta(root, "train", "MC1/0002", **{"handJoints3D": np.ones((21, 3)), "objRot": np.zeros(3), **values})


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"handJoints3D": np.full((21, 3), np.nan)}, r"MC1/meta/0002\.pkl: handJoints3D has NaN or infinity"),
        ({"handJoints3D": np.ones((20, 3))}, r"0002\.pkl: handJoints3D is float64 \(20, 3\); expected .* \(21, 3\)"),
        ({"handJoints3D": np.full((21, 3), -1e300)}, r"0002\.pkl: handJoints3D has NaN or infinity: \[\[-1e\+300"),
        ({"camMat": [[1], [2, 3]]}, r"0002\.pkl: camMat is list; expected numbers"),
        ({"handJoints3D": "none"}, r"0002\.pkl: handJoints3D is str; expected numbers"),
        ({"handJoints3D": None}, r"0002\.pkl has no handJoints3D, but .*camMat"),
        ({"camMat": None}, r"0002\.pkl: camMat is NoneType"),
        ({"camMat": np.zeros((3, 3))}, r"train/\*/meta, camMat: expected finite, invertible .*entry 1"),
    ],
)
def test_labels_that_are_wrong_are_named_with_file_and_value(root: Path, values: dict[str, Any], reason: str) -> None:
    change(root, **values)
    with pytest.raises(ValueError, match=reason):
        HO3D(root)


def test_files_that_are_missing_or_wrong_are_named_before_training(root: Path) -> None:
    (root / "train" / "MC1" / "meta" / "0002.pkl").unlink()
    with pytest.raises(ValueError, match=r"0002\.pkl is missing, and its frame is listed"):
        HO3D(root)
    for lines, found in (("", "found ''"), ("../../etc/passwd", "found '../../etc/passwd'")):
        (root / "train.txt").write_text(lines)
        with pytest.raises(ValueError, match=rf"train\.txt: expected lines SEQUENCE/FRAME, {found}"):
            HO3D(root)
    (root / "train.txt").write_text("ABF10/0000\nABF10/0003\nABF10/0000\n")
    with pytest.raises(ValueError, match=r"train\.txt lists frames more than once: ABF10/0000$"):
        HO3D(root)
    (root / "train.txt").unlink()
    with pytest.raises(ValueError, match=r"train\.txt is missing; .* is expected to hold train\.txt"):
        open_source(root)
    with pytest.raises(ValueError, match="split 'test' does not exist"):
        HO3D(root, "test")  # type: ignore[arg-type]
    for margin in (0.0, math.inf, math.nan):
        with pytest.raises(ValueError, match=f"crop_margin {margin}: expected a positive number"):
            HO3D(root, crop_margin=margin)
    (root / "evaluation" / "ABF11" / "rgb" / "0007.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"0007\.png"):
        HO3D(root, "evaluation").check_images()
    (root / "evaluation_xyz.json").write_text("[[[1]]]")
    with pytest.raises(ValueError, match=r"evaluation_xyz\.json"):
        pack_labels("ho3d", root, "evaluation")
    assert not (root / "prepared").exists()


def test_joints_with_axes_of_opencv_are_refused(root: Path, joints: NDArray[np.float64]) -> None:
    for number, name in enumerate(("ABF10/0000", "MC1/0002", "ABF10/0003", "ABF11/0004", "MC1/0005")):
        write_meta(root, "train", name, handJoints3D=convert(joints[number], "freihand", "mano"), objRot=np.zeros(3))
    with pytest.raises(ValueError, match="is not in front of the camera"):
        HO3D(root)


def test_hands_are_followed_through_their_sequences(root: Path, joints: NDArray[np.float64]) -> None:
    source = HO3D(root)  # ABF10/0000, MC1/0002, ABF10/0003, ABF11/0004, MC1/0005
    assert source.track_of_hands().tolist() == [0, 4, 0, 2, 4]
    np.testing.assert_allclose(source.time_of_hands() * 30, [0, 2, 3, 4, 5])
    assert NearbyFrames(0.2).within(source).draw(0, np.random.default_rng(0)) == (0, 2)
    stored = convert(joints[0], "freihand", "mano") * AXES
    for name in ("MC1/0002", "MC1/last"):
        write_meta(root, "train", name, rightHandJoints3D=stored, leftHandJoints3D=stored, objRot=np.zeros(3))
        write_dots(root / "train" / f"{name.replace('/', '/rgb/')}.png", joints[0])
    (root / "train.txt").write_text("MC1/0002\nABF10/0003\nMC1/last")
    two = HO3D(root)
    assert two.track_of_hands().tolist() == [2, 3, 0, -1, -1]  # one has no time
    assert two.video_of_hands().tolist() == [1, 1, 0, 1, 1]
    assert np.isnan(two.time_of_hands()).tolist() == [False] * 3 + [True] * 2

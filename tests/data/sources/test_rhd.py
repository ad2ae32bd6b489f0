"""RHD in its official layout: order, sides, the prominent hand, masks, what is wrong with the pickle."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from peclr.data.prepare.command import prepare_main
from peclr.data.prepare.doctor import doctor_main
from peclr.data.sources import open_source
from peclr.data.sources.images import BadImageError
from peclr.data.sources.rhd import RHD
from peclr.data.sources.selection import split_source
from peclr.data.sources.some_hands import listed
from peclr.geometry.joints import JOINT_NAMES
from peclr.untrusted.pickles import read_pickle
from tests.data.sources.labeled_sets import write_rhd
from tests.data.sources.same_hands import assert_same_hands

SAMPLES = Path(os.environ.get("PECLR_PHOTOGRAPHS", "")) / "official_samples" / "rhd"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_rhd(tmp_path / "rhd")
    return tmp_path / "rhd"


@pytest.fixture
def joints(tmp_path: Path) -> NDArray[np.float64]:
    return write_rhd(tmp_path / "again")


def edit(root: Path, change: Callable[[Any], object]) -> None:
    path = root / "training" / "anno_training.pickle"
    content = read_pickle(path)
    change(content)
    path.write_bytes(pickle.dumps(content, 2))


def test_the_prominent_hand_of_each_image_is_a_right_one(root: Path, joints: NDArray[np.float64]) -> None:
    source = RHD(root)
    assert [source[frame]["hand"] for frame in range(len(source))] == ["right", "left"] * 2
    for frame in range(4):
        sample: Any = source[frame]
        side = 1 - frame % 2
        expected = joints[frame, side] * [1 if side else -1, 1, 1]
        np.testing.assert_allclose(sample["joints_3d"], expected, atol=1e-6)
        x, y = np.round(sample["joints_2d"]).astype(int).T
        assert sample["image"][y, x].mean() > 150
        mask = source.read_mask(frame)
        assert mask[y.clip(0, 319), x.clip(0, 319)].mean() > 0.7
        assert mask.mean() < 0.2
        assert sample["K"][0, 2] == (160 if side else 159)
        assert sample["scale_m"] == pytest.approx(np.linalg.norm(expected[9] - expected[10]), rel=1e-5)
        np.testing.assert_allclose(source.joints_2d_of_hands()[frame], sample["joints_2d"], atol=1e-3)
    source.check_masks()
    with pytest.raises(IndexError, match="images 0 to 3, not 4"):
        source[4]


def test_the_order_is_the_official_one_written_out(root: Path) -> None:
    """The left hand comes first; a hand is its wrist, then thumb to little finger, each from the tip to the palm."""
    official = ["wrist"] + [
        f"{finger}_{part}"
        for finger in ("thumb", "index", "middle", "ring", "little")
        for part in ("tip", "dip", "pip", "mcp")
    ]
    content = read_pickle(root / "training" / "anno_training.pickle")
    source = RHD(root)
    for row, name in enumerate(official):
        index = JOINT_NAMES.index(name)
        np.testing.assert_array_equal(source.joints_3d[1][index], content[1]["xyz"][row])  # a left hand
        np.testing.assert_array_equal(source.joints_3d[2][index], content[2]["xyz"][21 + row])
        assert source.visible[2][index] == content[2]["uv_vis"][21 + row, 2]


def test_both_hands_are_those_of_which_most_is_visible_and_stay_together(root: Path) -> None:
    source = RHD(root, hands="both")
    assert [source[hand]["hand"] for hand in range(8)] == ["left", "right"] * 4
    assert (source[1]["id"], len(source.image_paths())) == ("training/00000, right", 4)
    training, held_out = map(listed, split_source(source, 0.25, 0))
    assert not {*source.group_of_hands()[training]} & {*source.group_of_hands()[held_out]}
    edit(root, lambda content: content[0]["uv_vis"].__setitem__((slice(10, 21), 2), 0))
    assert source.num_hands - RHD(root, hands="both").num_hands == 1


def test_packed_labels_are_the_same_and_masks_are_known(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare_main(["rhd", str(root)]) == 0
    packed, read = RHD(root), RHD(root, use_prepared=False)
    assert_same_hands(packed, read)
    assert packed.identity() != RHD(root, hands="both").identity()
    assert isinstance(open_source(root), RHD)
    assert doctor_main([str(root), "--workers", "1"]) == 0
    assert "masks of all hands" in capsys.readouterr().out


def set_joint(value: float) -> Callable[[Any], object]:
    return lambda content: content[2]["xyz"].__setitem__((3, 0), value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (set_joint(np.nan), r"frame 2: xyz has NaN or infinity"),
        (lambda content: content[1].pop("K"), r"frame 1: K is NoneType; expected numbers of shape \(3, 3\)"),
        (lambda content: content[1].update(xyz=np.zeros((21, 3))), r"frame 1: xyz is float64 \(21, 3\); .*\(42, 3\)"),
        (lambda content: content.update(a=content[0]), r"a frame is called 'a'; expected a number of five digits"),
        (lambda content: content.clear(), r"expected frames by their numbers, found \{\}"),
        (
            lambda content: [one.update(xyz=one["xyz"] * [1, -1, 1]) for one in content.values()],
            r"frame 0 has xyz \d+\.\d px from its uv_vis by K, as most; expected at most 1\.0 px",
        ),
        (
            lambda content: [one["uv_vis"].__setitem__((slice(None), 2), 0) for one in content.values()],
            "no hand is visible in 4 frames",
        ),
        (
            lambda content: [one.update(xyz=np.repeat(one["xyz"], 1, 0) * 1000) for one in content.values()],
            r"expected metres",
        ),
    ],
)
def test_labels_that_are_wrong_are_named_with_file_and_value(
    change: Callable[[Any], object], reason: str, root: Path
) -> None:
    edit(root, change)
    with pytest.raises(ValueError, match=rf"training.*anno_training\.pickle.*{reason}"):
        RHD(root)


class Malicious:
    """What Python's unpickler would run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


def test_nothing_in_the_pickle_runs(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    edit(root, lambda content: content.update({4: Malicious()}))
    with pytest.raises(ValueError, match=r"anno_training\.pickle: .*asks for 'posix mkdir' to be called"):
        RHD(root)
    assert not (tmp_path / "ran").exists()


def test_files_that_are_missing_or_wrong_are_named(root: Path) -> None:
    source = RHD(root)
    cv2.imwrite(str(source.image_file(1)), np.zeros((160, 160, 3), np.uint8))
    with pytest.raises(BadImageError, match=r"color/00001\.png has 160 × 160 px; expected 320 × 320"):
        source[1]
    cv2.imwrite(str(root / "training" / "mask" / "00001.png"), np.full((320, 320), 18, np.uint8))
    with pytest.raises(BadImageError, match=r"mask/00001\.png: this mask.* shows no left hand; .* to be 2 to 17"):
        source.read_mask(1)
    shutil.rmtree(root / "training" / "mask")
    with pytest.raises(ValueError, match=r"missing masks, .*mask/00000\.png"):
        source.check_masks()
    source.image_file(0).unlink()
    with pytest.raises(ValueError, match=r"color/00000\.png"):
        source.check_images()
    with pytest.raises(ValueError, match=r"anno_evaluation\.pickle is missing"):
        RHD(root, "evaluation")
    with pytest.raises(ValueError, match="hands 'all' does not exist; expected one of"):
        RHD(root, hands="all")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="split 'test' does not exist"):
        RHD(root, "test")  # type: ignore[arg-type]


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="PECLR_PHOTOGRAPHS names no folder with official_samples")
def test_official_samples_are_read(tmp_path: Path) -> None:
    """Images and labels of mmpose's tests, one hand each, in RHD's own order; put into its layout."""
    said = json.loads((SAMPLES / "test_rhd.json").read_text())
    content = {}
    for image, label in zip(said["images"], said["annotations"], strict=True):
        camera = np.eye(3)
        camera[[0, 1], [0, 1]], camera[:2, 2] = image["cam_param"]["focal"], image["cam_param"]["princpt"]
        xyz, uv = np.ones((42, 3)), np.zeros((42, 3))
        rows = slice(0, 21) if label["hand_type"] == "left" else slice(21, 42)
        xyz[rows], uv[rows] = np.array(label["joint_cam"]) / 1000, label["keypoints"]
        content[image["id"]] = {"xyz": xyz, "uv_vis": uv, "K": camera}
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "color").symlink_to(SAMPLES)
    (tmp_path / "evaluation" / "anno_evaluation.pickle").write_bytes(pickle.dumps(content, 2))
    source = RHD(tmp_path, "evaluation")
    assert [source[hand]["hand"] for hand in range(3)] == ["left", "left", "right"]
    for hand in range(3):
        assert 0.02 < source[hand]["scale_m"] < 0.05  # type: ignore[operator]

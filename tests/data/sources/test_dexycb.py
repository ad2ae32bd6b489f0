"""DexYCB in its official layout: divisions, order, frames without a hand, sides, and what is wrong with files."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from peclr.data.datasets import PairedViewDataset
from peclr.data.prepare.command import prepare_main
from peclr.data.prepare.doctor import doctor_main
from peclr.data.sources import open_source
from peclr.data.sources.dexycb import DexYCB
from peclr.data.sources.dexycb_labels import CAMERAS, SUBJECTS, is_of
from peclr.data.sources.layouts import LAYOUTS
from peclr.data.sources.selection import cameras_of, same_hand, tracks_of
from tests.data.sources.labeled_sets import WIDTH, K, few_sequences, pixels, write_dexycb, write_joints


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, NDArray[np.float64]]:
    root = tmp_path_factory.mktemp("written") / "dexycb"
    return root, write_dexycb(root)


@pytest.fixture
def root(tmp_path: Path, written: tuple[Path, NDArray[np.float64]]) -> Iterator[Path]:
    shutil.copytree(written[0], tmp_path / "dexycb")
    with few_sequences():
        yield tmp_path / "dexycb"


def test_divisions_are_the_official_ones() -> None:
    """The toolkit's lists, written out; every frame is in one part of each."""
    grid = [(s, q, c) for s in range(10) for q in range(100) for c in range(8)]
    arrays = np.array(grid).T
    parts = {split: set(np.flatnonzero(is_of(split, *arrays)).tolist()) for split in LAYOUTS["dexycb"].splits}
    for setup in ("s0", "s1", "s2", "s3"):
        assert Counter(n for part in ("train", "val", "test") for n in parts[f"{setup}_{part}"]) == dict.fromkeys(
            range(len(grid)), 1
        )

    def official(keep: Any) -> set[int]:
        return {number for number, at in enumerate(grid) if keep(*at)}

    assert parts["s0_train"] == official(lambda s, q, c: q % 5 != 4)
    assert parts["s0_val"] == official(lambda s, q, c: s in (0, 1) and q % 5 == 4)
    assert parts["s1_train"] == official(lambda s, q, c: s in (0, 1, 2, 3, 4, 5, 9))
    assert parts["s1_test"] == official(lambda s, q, c: s in (7, 8))
    assert parts["s2_train"] == official(lambda s, q, c: c < 6)
    assert parts["s2_val"] == official(lambda s, q, c: c == 6)
    assert parts["s3_test"] == official(lambda s, q, c: q // 5 in (7, 11, 15))
    assert parts["s3_val"] == official(lambda s, q, c: q // 5 in (3, 19))


def test_hands_come_in_the_official_order_without_frames_that_show_none(root: Path) -> None:
    source = DexYCB(root, "s0_train")
    sequences = 3 * 4  # the fifth of each subject is held out
    assert (source.num_items, source.num_hands) == (sequences * 16, sequences * 15)
    # frames of a camera, cameras of a sequence, sequences; frame 1 of camera 0 shows no hand
    assert source.items.tolist() == [n for n in range(sequences * 16) if n % 16 != 1]
    assert source[0]["id"] == f"s0_train/{SUBJECTS[0]}/20200709_141700/{CAMERAS[0]}/color_000000.jpg"
    assert source[1]["id"] == f"s0_train/{SUBJECTS[0]}/20200709_141700/{CAMERAS[1]}/color_000000.jpg"
    assert source[2]["id"] == f"s0_train/{SUBJECTS[0]}/20200709_141700/{CAMERAS[1]}/color_000001.jpg"
    assert source[15]["id"].startswith(f"s0_train/{SUBJECTS[0]}/20200709_141701/")
    assert len(set(source.group_of_hands().tolist())) == sequences
    with pytest.raises(IndexError, match="images 0 to 179, not 180"):
        source[180]


def test_labels_are_as_written_and_left_hands_mirrored(root: Path, written: tuple[Path, NDArray[np.float64]]) -> None:
    source, joints = DexYCB(root, "s2_train"), written[1]
    for number, sequence in enumerate(np.ndindex(3, 5)):
        sample: Any = source[11 * number]  # frames of six views, but for one without a hand
        is_left = sequence[1] % 2 == 1
        flip = [-1, 1, 1] if is_left else [1, 1, 1]
        assert sample["hand"] == ("left" if is_left else "right")
        np.testing.assert_allclose(sample["joints_3d"], joints[sequence] * flip, atol=1e-6)
        seen = pixels(joints[sequence])
        np.testing.assert_allclose(sample["joints_2d"], [WIDTH - 1, 0] + seen * [-1, 1] if is_left else seen, atol=1e-3)
        projected = sample["joints_3d"] @ sample["K"].T
        np.testing.assert_allclose(projected[:, :2] / projected[:, 2:], sample["joints_2d"], atol=1e-3)
        x, y = np.round(sample["joints_2d"]).astype(int).T
        assert sample["image"][y, x].mean() > 150
        if not is_left:
            np.testing.assert_allclose(sample["K"], K)


def test_packed_labels_serve_all_splits_and_are_the_same(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(root / SUBJECTS[0], root / SUBJECTS[3])
    for name in SUBJECTS[4:]:
        shutil.copytree(root / SUBJECTS[0], root / name)
    assert prepare_main(["dexycb", str(root), "--images", "present"]) == 0
    said = capsys.readouterr().out
    assert [said.count(f"DexYCB {split}: ") for split in LAYOUTS["dexycb"].splits] == [1, 1, 1] + [0] * 9
    assert [path.name for path in (root / "prepared").iterdir()] == ["dexycb_all"]
    assert doctor_main([str(root), "--images", "present", "--workers", "1"]) == 0
    hands = {split: DexYCB(root, split).num_hands for split in ("s0_test", "s1_val", "s2_test", "s3_train")}
    assert hands == {"s0_test": 8 * 15, "s1_val": 5 * 15, "s2_test": 50 * 2, "s3_train": 50 * 15}
    packed: Any = DexYCB(root, "s1_val")
    read: Any = DexYCB(root, "s1_val", use_prepared=False)
    assert packed.identity() == read.identity()
    assert all(np.array_equal(packed[5][key], read[5][key]) for key in read[5])
    meta = root / SUBJECTS[0] / "20200709_141700" / "meta.yml"
    meta.write_text(meta.read_text().replace("num_frames: 2", "num_frames: 1"))
    with pytest.warns(UserWarning, match=r"is stale: .*subject-01/20200709_141700/meta\.yml is missing, new"):
        DexYCB(root, "s0_train")


def test_the_split_is_asked_for_by_name(root: Path) -> None:
    with pytest.raises(ValueError, match=r"is dexycb, choose a split .*s0_train, s0_val.*DexYCB"):
        open_source(root)
    assert isinstance(open_source(root, "s2_train"), DexYCB)
    with pytest.raises(ValueError, match=r"has no split evaluation; there are s0_train"):
        open_source(root, "evaluation")
    with pytest.raises(ValueError, match=r"split 'train' does not exist; expected one of .*s0_train"):
        DexYCB(root, "train")  # type: ignore[arg-type]


def test_subjects_that_are_missing_are_left_out_of_training_alone(root: Path) -> None:
    assert DexYCB(root, "s1_train").doubts()[1].startswith("without 20200903-subject-04, 20200908-subject-05")
    with pytest.raises(ValueError, match="subject-08 is missing; s1_test needs 20201002-subject-08, "):
        DexYCB(root, "s1_test")


FIRST = f"{SUBJECTS[0]}/20200709_141700/{CAMERAS[2]}/labels_000000.npz"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"joint_3d": np.full((1, 21, 3), np.nan, np.float32)}, "joint_3d has NaN or infinity"),
        ({"joint_3d": np.ones((21, 3), np.float32)}, r"joint_3d is float32 \(21, 3\); expected numbers of shape"),
        ({"joint_2d": np.zeros((1, 21, 2), np.float32)}, r"joints are .* px from its joint_2d"),
        ({"joint_3d": -np.ones((1, 21, 3), np.float32) * 2}, "joints are not all in front of the camera"),
        ({"joint_3d": np.array([{}], dtype=object)}, "Python objects"),
    ],
)
def test_labels_that_are_wrong_are_named_with_file_and_value(root: Path, changed: dict[str, Any], reason: str) -> None:
    with np.load(root / FIRST) as arrays:
        joints = arrays["joint_3d"][0].astype(float)
    write_joints(root / FIRST, joints, **changed)
    with pytest.raises(ValueError, match=rf"{CAMERAS[2]}/labels_000000\.npz: .*{reason}"):
        DexYCB(root, "s0_train")


def test_files_that_are_missing_or_wrong_are_named_before_training(root: Path) -> None:
    def refused(reason: str) -> None:
        with pytest.raises(ValueError, match=reason):
            DexYCB(root, "s0_train")

    (root / FIRST).unlink()
    refused(r"labels_000000\.npz is missing, and its sequence has a frame of that number")
    meta = root / SUBJECTS[0] / "20200709_141700" / "meta.yml"
    good = meta.read_text()
    meta.write_text(good.replace("num_frames: 2", "num_frames: -2"))
    refused(r"meta\.yml: num_frames is -2")
    meta.write_text(good.replace("- right", "- both"))
    refused(r"meta\.yml: mano_sides is \['both'\]; expected \[left\] or \[right\]")
    meta.write_text(good.replace(CAMERAS[0], "123"))
    refused(r"meta\.yml: serials differ from the 8 cameras of DexYCB: .*123")
    meta.unlink()
    refused(r"20200709_141700/meta\.yml is missing")
    intrinsics = root / "calibration" / "intrinsics" / f"{CAMERAS[3]}_640x480.yml"
    intrinsics.write_text("color: {fx: 1.0, fy: .nan, ppx: 2.0, ppy: 3.0}")
    refused(rf"{CAMERAS[3]}_640x480\.yml: color has fx, fy, ppx, ppy .*nan")
    intrinsics.unlink()
    refused(rf"{CAMERAS[3]}_640x480\.yml is missing")


def test_unknown_subjects_and_missing_sequences_are_named(root: Path) -> None:
    (root / "20200101-subject-11").mkdir()
    with pytest.raises(ValueError, match="20200101-subject-11: no subject of DexYCB"):
        DexYCB(root, "s0_train")
    (root / "20200101-subject-11").rmdir()
    shutil.rmtree(root / SUBJECTS[1] / "20200709_141703")
    with pytest.raises(ValueError, match=r"subject-02 has 4 sequences; expected 5: splits count them"):
        DexYCB(root, "s0_train")


def test_frames_are_followed_through_each_view_and_seen_by_all_at_once(root: Path) -> None:
    source = DexYCB(root, "s0_train")
    tracks, cameras = tracks_of(source), cameras_of(source)
    assert tracks is not None
    assert cameras is not None
    names = [source[hand]["id"].split("/")[1:] for hand in range(source.num_hands)]  # subject, sequence, camera, image
    assert len(set(tracks.track.tolist())) == len({tuple(name[:3]) for name in names}) == 12 * 8
    np.testing.assert_allclose(tracks.time, [int(name[3][6:12]) / 30 for name in names])
    assert cameras.camera.tolist() == [CAMERAS.index(name[2]) for name in names]
    moments = Counter(zip(cameras.frame.tolist(), ((*name[:2], name[3]) for name in names), strict=True))
    assert len(moments) == len(set(cameras.frame.tolist())) == 12 * 2
    assert set(moments.values()) == {7, 8}  # one view of the second frame shows no hand
    assert len(set(same_hand(source).tolist())) == 12  # type: ignore[union-attr]
    dataset = PairedViewDataset([source], "across_cameras", view_size=16)
    first, second = dataset.images_of(9)[1]
    assert (first, names[first][:2], names[first][3]) == (9, names[second][:2], names[second][3])
    assert names[first][2] != names[second][2]

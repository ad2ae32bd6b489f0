"""HanCo in its official layout: versions, views, frames without joints, masks, pairs, what is wrong with files."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from peclr.data.datasets import Augmentation, PairedViewDataset
from peclr.data.loading.pairing import AcrossCameras, NearbyFrames
from peclr.data.prepare.command import prepare_main
from peclr.data.prepare.doctor import doctor_main
from peclr.data.sources import open_source
from peclr.data.sources.hanco import HanCo
from peclr.data.sources.hanco_labels import FOLDERS
from peclr.data.sources.selection import same_hand, split_source
from peclr.data.sources.some_hands import listed
from peclr.data.views.backgrounds import ReplaceBackground
from tests.data.sources.hanco_set import BACKGROUNDS, write_hanco
from tests.data.sources.same_hands import assert_same_hands
from tests.json_files import edit_json, set_at, write_json


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, NDArray[np.float64]]:
    root = tmp_path_factory.mktemp("written") / "hanco"
    return root, write_hanco(root)


@pytest.fixture
def root(tmp_path: Path, written: tuple[Path, NDArray[np.float64]]) -> Path:
    shutil.copytree(written[0], tmp_path / "hanco")
    return tmp_path / "hanco"


def test_every_view_of_a_frame_is_a_hand_in_its_camera(written: tuple[Path, NDArray[np.float64]]) -> None:
    source, joints = HanCo(written[0], frames="fit"), written[1]
    assert (source.num_hands, len(source)) == (2 * 2 * 8, 2 * 2 * 8 * 3)
    for hand, (sequence, frame, view) in enumerate(np.ndindex(2, 2, 8)):
        for image, folder in zip(source.versions_of(hand), BACKGROUNDS, strict=True):
            sample: Any = source[image]
            assert source.hand_of(image) == hand
            assert sample["id"] == f"train/{folder}/{2 * sequence:04d}/cam{view}/{frame:08d}.jpg"
            np.testing.assert_allclose(sample["joints_3d"], joints[sequence, frame, view], atol=1e-6)
            projected = sample["joints_3d"] @ sample["K"].T
            np.testing.assert_allclose(projected[:, :2] / projected[:, 2:], sample["joints_2d"], atol=1e-3)
            assert sample["K"][0, 0] == 150 + view
            x, y = np.round(sample["joints_2d"]).astype(int).T
            assert sample["image"][y, x].mean() > 150, "its own camera and frame"
            assert sample["image"][-1, 0].argmax() == np.argmax(BACKGROUNDS[folder]), "its own background"
            bone = np.subtract(*joints[sequence, frame, view, 9:11])
            assert sample["scale_m"] == pytest.approx(np.linalg.norm(bone), rel=1e-5)
            np.testing.assert_array_equal(source.read_mask(hand)[y, x], 1)
    np.testing.assert_array_equal(source.hand_of_images(), [source.hand_of(image) for image in range(len(source))])
    images, versions = source.images_of_hands(np.array([3, 0]))
    assert (images.tolist(), versions.tolist()) == ([9, 10, 11, 0, 1, 2], [3, 3])
    np.testing.assert_allclose(source.joints_2d_of_hands()[31], source[93]["joints_2d"], atol=1e-4)  # type: ignore[arg-type]
    with pytest.raises(IndexError, match="images 0 to 95, not 96"):
        source[96]


def test_frames_are_those_that_were_looked_at_and_others_on_demand(root: Path) -> None:
    valid, everything = HanCo(root), HanCo(root, frames="all")
    assert (valid.num_hands, everything.num_hands) == (16, 48)
    assert valid.doubts() == [
        "versions: rgb, rgb_merged, rgb_homo",
        "32 of 48 views are of frames that are not valid, and are left out",
    ]
    sample: Any = everything[16 * 3]  # of the frame without a fit
    assert sample["id"] == "train/rgb/0000/cam0/00000002.jpg"
    assert [sample[name] for name in ("joints_3d", "joints_2d", "scale_m")] == [None] * 3
    np.testing.assert_allclose(sample["crop_box"], [-0.5, -15.5, 119.5, 104.5])  # all of the image
    np.testing.assert_array_equal(np.isnan(everything.joints_2d_of_hands()[:24, 0, 0]), [False] * 16 + [True] * 8)
    assert len({valid.identity(), everything.identity(), HanCo(root, frames="fit").identity()}) == 3
    edit_json(root / "meta.json", lambda meta: meta.update(has_fit=[[False] * 3] * 5, is_valid=[[False] * 3] * 5))
    [note] = HanCo(root, frames="all").doubts()[1:]
    assert note.endswith("hands that were looked at none has all joints: labels cannot be checked")
    with pytest.raises(ValueError, match="train has no valid frame in the sequences that are there; frames: all takes"):
        HanCo(root)


def test_a_hand_behind_a_camera_has_no_joints_in_it(root: Path) -> None:
    def farther(calibration: Any) -> None:
        calibration["M"][2][2][3] -= 5  # m, of the camera

    edit_json(root / "calib" / "0000" / "00000000.json", farther)
    source = HanCo(root)
    assert 2 not in source.camera_of_hands()[source.frame_of_hands() == 0]
    assert source.num_hands == 15


def test_test_frames_have_one_version_and_are_no_person_that_is_known(root: Path) -> None:
    shutil.copytree(root / "rgb" / "0004", root / "rgb_merged" / "0004")  # would be nonsense
    source = open_source(root, "test")
    assert isinstance(source, HanCo)
    assert (source.num_hands, len(source)) == (8, 8)
    assert source[7]["id"] == "test/rgb/0004/cam7/00000000.jpg"
    assert len(set(source.group_of_hands().tolist())) == 1
    assert not set(source.group_of_hands().tolist()) & set(HanCo(root).group_of_hands().tolist())


def test_folders_and_sequences_that_are_not_there_are_left_out(root: Path) -> None:
    shutil.rmtree(root / "rgb")  # only merged images were downloaded
    shutil.rmtree(root / "rgb_homo" / "0002")
    source = HanCo(root)
    assert [list(source.versions_of(hand)) for hand in (0, 7, 8, 15)] == [[0, 1], [14, 15], [16], [23]]
    assert source[16]["id"] == "train/rgb_merged/0002/cam0/00000000.jpg"
    assert isinstance(open_source(root), HanCo)
    images, versions = source.images_of_hands(np.array([8, 1, 9]))
    assert (images.tolist(), versions.tolist()) == ([16, 2, 3, 17], [1, 2, 1])


def test_pairs_across_backgrounds_time_and_cameras(root: Path) -> None:
    source = HanCo(root, frames="all")
    names = [source[image]["id"].split("/") for image in range(len(source))]  # train, folder, sequence, camera, file
    config = Path(__file__).parents[3] / "experiments" / "pretrain_hanco.yaml"
    neighbors = yaml.safe_load(re.search(r"\{0: \[.*\}", config.read_text())[0])  # type: ignore[index]
    assert all(one in neighbors[other] for one in range(8) for other in neighbors[one])

    def drawn(pairing: Any) -> list[tuple[list[str], list[str]]]:
        dataset = PairedViewDataset([source], pairing, view_size=16)
        pairs = [dataset.images_of((epoch, item))[1] for epoch in range(4) for item in range(len(dataset))]
        return [(names[first], names[second]) for first, second in pairs]

    for first, second in drawn("across_versions"):
        assert (first[2:], first[1] != second[1]) == (second[2:], True)
    for first, second in drawn(NearbyFrames(0.2)):
        assert (first[2:4], abs(int(first[4][:8]) - int(second[4][:8]))) == (second[2:4], 1)
    for first, second in drawn(AcrossCameras(neighbors)):
        assert (first[2], first[4], int(second[3][3:]) in neighbors[int(first[3][3:])]) == (second[2], second[4], True)
    assert set(same_hand(source).tolist()) == {0, 24}  # type: ignore[union-attr]
    training, held = map(listed, split_source(source, 0.5, 0))
    assert {source.group_of_hands()[hands[0]] for hands in (training, held)} == {0, 1}
    assert len(training) == len(held) == 24


def test_backgrounds_are_replaced_by_its_masks(root: Path) -> None:
    source = HanCo(root)
    augmentation = Augmentation(background=ReplaceBackground(1.0, str(root / "rgb_merged")))
    dataset = PairedViewDataset([source], view_size=48, augmentation=augmentation)
    view: Any = dataset[0]["views"][0].float().mean(dim=(1, 2))
    assert view[0] > view[1] + 20, "red as merged images, not green"
    (root / "mask_hand" / "0002" / "cam3" / "00000000.jpg").unlink()
    with pytest.raises(
        ValueError, match=r"1 of 16 masks are missing, .*mask_hand/0002/cam3/00000000\.jpg; expected one"
    ):
        source.check_masks()


def test_packed_labels_are_the_same_and_look_at_images_once(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "rgb" / "0004" / "cam2" / "00000001.jpg").write_bytes(b"")
    assert prepare_main(["hanco", str(root)]) == 1
    said = capsys.readouterr().out
    assert "HanCo train: 16 hands, 48 images" in said
    assert "0004/cam2/00000001.jpg is empty" in said, "of the other split, too"
    shutil.copy(root / "rgb" / "0004" / "cam2" / "00000000.jpg", root / "rgb" / "0004" / "cam2" / "00000001.jpg")
    assert prepare_main(["hanco", str(root)]) == 0
    assert [path.name for path in (root / "prepared").iterdir()] == ["hanco_all"]
    assert doctor_main([str(root), "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert "prepared/hanco_all: packed, fresh" in said
    assert "masks of all hands: pre-training can replace" in said
    packed, read = HanCo(root, frames="all"), HanCo(root, frames="all", use_prepared=False)
    assert_same_hands(packed, read, every=7)
    assert len(pickle.dumps(packed)) < 4000  # workers map the labels
    looked = list[int]()
    monkeypatch.setattr("peclr.data.sources.hanco.check_image_files", lambda paths: looked.append(len(paths)))
    packed.check_images()
    read.check_images()
    assert looked == [144]
    shutil.copytree(root / "rgb_homo", root / "rgb_color_auto")  # downloaded since
    more = HanCo(root)
    assert len(more) == 64
    more.check_images()
    assert looked == [144, 64]
    meta = root / "meta.json"
    meta.write_text(meta.read_text() + " ")
    with pytest.warns(UserWarning, match=r"is stale: .*meta\.json is missing, new or has changed.*prepare hanco"):
        HanCo(root)


CALIBRATION, JOINTS = "calib/0002/00000001.json", "xyz/0002/00000001.json"


@pytest.mark.parametrize(
    ("file", "keys", "value", "reason"),
    [
        ("meta.json", ("is_valid", 2), [True], r"meta\.json: sequence 2 has 3 frames in is_train, but 1 in is_valid"),
        ("meta.json", ("has_fit",), [[True]], r"meta\.json: is_train has 5 sequences, but has_fit 1"),
        ("meta.json", ("is_train", 1, 2), "maybe", r"meta\.json: .*is_train\[\.\.\.\]\[\.\.\.\]|Expected `bool`"),
        ("meta.json", ("subject_id", 0, 1), 2**31, r"meta\.json: Expected `int` <= 2147483647 .*subject_id"),
        ("meta.json", ("subject_id", 0, 1), -5, r"meta\.json: Expected `int` >= 0 .*subject_id"),
        ("meta.json", ("subject_id",), None, r"meta\.json: Expected `array`, got `null` - at `\$\.subject_id`"),
        (CALIBRATION, ("K",), [[[1]]], r"00000001\.json: K is \[\[\[1\]\]\]; expected one of each of 8 cameras"),
        (CALIBRATION, ("K", 3, 0, 0), 0, r"00000001\.json: K of camera 3 is .*; expected an intrinsic matrix"),
        (CALIBRATION, ("M", 5, 0, 0), 2, r"00000001\.json: M of camera 5 is .*; expected a rigid motion"),
        (CALIBRATION, ("M", 5, 0, 3), float("nan"), r"00000001\.json, M.* 5 has NaN or infinity"),
        (JOINTS, (3, 1), float("nan"), r"xyz/0002/00000001\.json.* 3 has NaN or infinity"),
        (JOINTS, (3, 1), "1", r"xyz/0002/00000001\.json.* 3 is not numbers"),
    ],
)
def test_labels_that_are_wrong_are_named_with_file_and_value(
    root: Path, file: str, keys: tuple[Any, ...], value: object, reason: str
) -> None:
    edit_json(root / file, set_at(value, *keys))
    with pytest.raises(ValueError, match=reason):
        HanCo(root)


def test_files_that_are_missing_or_in_other_units_are_named(root: Path) -> None:
    with pytest.raises(ValueError, match="frames 'best' does not exist; expected one of"):
        HanCo(root, frames="best")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="split 'val' does not exist"):
        HanCo(root, "val")  # type: ignore[arg-type]
    (root / "rgb" / "0007").mkdir()
    with pytest.raises(ValueError, match=r"rgb has sequences 0007; .*meta\.json lists 0000 to 0004"):
        HanCo(root)
    (root / "rgb" / "0007").rename(root / "rgb" / "0001")
    with pytest.raises(ValueError, match=r"calib/0001 is missing, and there are images of its sequence"):
        HanCo(root)
    (root / "rgb" / "0001").rmdir()
    (root / "rgb" / "0002" / "cam7" / "00000000.jpg").unlink()
    with pytest.raises(ValueError, match=r"rgb/0002/cam7/00000000\.jpg is missing"):
        HanCo(root).check_images()
    write_json(root / JOINTS, json.loads((root / JOINTS).read_text())[:20])
    with pytest.raises(ValueError, match=r"0002/00000001\.json: .*expected 21 joints"):
        HanCo(root)
    (root / JOINTS).unlink()
    with pytest.raises(ValueError, match=r"xyz/0002/00000001\.json is missing.* there is a fit; get HanCo_xyz\.zip"):
        HanCo(root)
    (root / CALIBRATION).unlink()
    with pytest.raises(ValueError, match=r"calib/0002/00000001\.json is missing.*; get HanCo_calib_meta\.zip"):
        HanCo(root)
    shutil.rmtree(root / "calib")
    with pytest.raises(ValueError, match=r"calib/\*/00000000\.json is missing"):
        HanCo(root)
    (root / "meta.json").unlink()
    with pytest.raises(ValueError, match=r"meta\.json is missing; .* is expected to hold rgb/0000/cam0"):
        open_source(root)


def test_joints_in_millimetres_are_refused(root: Path) -> None:
    for path in (root / "xyz").rglob("*.json"):
        write_json(path, (1000 * np.array(json.loads(path.read_text()))).tolist())
    with pytest.raises(ValueError, match="expected metres"):
        HanCo(root, frames="fit")


PHOTOGRAPHS = os.environ.get("PECLR_PHOTOGRAPHS", "")


@pytest.mark.skipif(not Path(PHOTOGRAPHS, "hanco_sample").is_dir(), reason="PECLR_PHOTOGRAPHS names no images of HanCo")
def test_real_images_in_other_backgrounds_are_versions(tmp_path: Path) -> None:
    """They are without labels, in a layout of their own: SEQUENCE/camN/FRAME_VARIANT.jpg."""
    folder = Path(PHOTOGRAPHS, "hanco_sample", "rgb_variants", "0108", "cam4")
    variants = [folder / f"00000017_{number}.jpg" for number in (0, 1, 5, 6, 7)]
    cameras = {"K": [np.diag([300, 300, 1]).tolist()] * 8, "M": [np.eye(4).tolist()] * 8}
    write_json(tmp_path / "calib" / "0000" / "00000000.json", cameras)
    for (name, variant), camera in itertools.product(zip(FOLDERS, variants, strict=True), range(8)):
        path = tmp_path / name / "0000" / f"cam{camera}" / "00000000.jpg"
        path.parent.mkdir(parents=True)
        path.symlink_to(variant)
    known = {"is_train": [[True]], "is_valid": [[False]], "has_fit": [[False]], "subject_id": [[3]]}
    write_json(tmp_path / "meta.json", known)
    source = HanCo(tmp_path, frames="all")
    source.check_images()
    dataset = PairedViewDataset([source], "across_versions", view_size=64)
    assert [len(source.versions_of(hand)) for hand in range(8)] == [5] * 8
    view, other = dataset[0]["views"].float()
    hand = np.s_[:, 30:40, 25:35]
    assert (view[hand] - other[hand]).abs().mean() < 10 < (view - other).abs().mean(), "the hand alone is the same"

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from peclr.data.prepare.cutting import Cutting
from peclr.data.prepare.sharding import shard_source
from peclr.data.sources import open_source
from peclr.data.sources.freihand import FreiHAND
from peclr.data.sources.ho3d import HO3D
from peclr.data.sources.image_files import ImageFiles
from peclr.data.sources.interhand import InterHand
from peclr.data.sources.layouts import present_splits, splits_of
from peclr.data.sources.shards import Shards
from peclr.data.sources.youtube3d import YouTube3DHands
from peclr.parallel import Part
from tests.data.sources.labeled_sets import write_assemblyhands, write_ho3d, write_interhand

if TYPE_CHECKING:
    from tests.data.conftest import Layout, YouTube


def test_data_sets_are_recognized_and_opened_to_train_on(layout: Layout, youtube: YouTube, regressor: Path) -> None:
    hands = open_source(layout.root, crop="image")
    assert isinstance(hands, FreiHAND)
    assert (len(hands), hands[0]["crop_box"].tolist()) == (18, [-0.5, -0.5, 111.5, 111.5])
    assert len(open_source(str(layout.root), "evaluation")) == 2
    with_joints = open_source(youtube.root, mano=regressor)
    assert isinstance(with_joints, YouTube3DHands)
    assert np.isfinite(with_joints[0]["joints_2d"]).all()  # type: ignore[arg-type]


def test_two_data_sets_in_one_folder_are_known_apart_by_the_split(layout: Layout, youtube: YouTube) -> None:
    for path in youtube.root.iterdir():
        shutil.move(path, layout.root / path.name)
    assert isinstance(open_source(layout.root, "training"), FreiHAND)
    assert isinstance(open_source(layout.root, "train"), YouTube3DHands)
    with pytest.raises(ValueError, match="holds freihand and youtube3d; expected one of them: a folder each"):
        open_source(layout.root)
    with pytest.raises(ValueError, match="holds freihand and youtube3d"):
        splits_of(layout.root)


def test_two_data_sets_with_one_split_in_one_folder_are_refused(tmp_path: Path) -> None:
    write_interhand(tmp_path)
    write_assemblyhands(tmp_path)
    for read in (open_source, splits_of, InterHand):
        with pytest.raises(ValueError, match="holds interhand and assemblyhands; expected one of them"):
            read(tmp_path)
    with pytest.raises(ValueError, match="holds interhand and assemblyhands"):
        open_source(tmp_path, "val")


def test_joints_of_evaluation_make_no_freihand_of_ho3d(layout: Layout, tmp_path: Path) -> None:
    write_ho3d(tmp_path / "ho3d")
    shutil.copy(layout.root / "evaluation_xyz.json", tmp_path / "ho3d")
    assert present_splits("freihand", tmp_path / "ho3d") == []
    assert isinstance(open_source(tmp_path / "ho3d"), HO3D)


def test_crops_are_opened_by_their_root_or_split(layout: Layout, tmp_path: Path) -> None:
    for split in ("evaluation", "training"):
        shard_source(open_source(layout.root, split), tmp_path / "crops" / split, Cutting(size=8))
    expected = {("crops", None): 18, ("crops", "evaluation"): 2, ("crops/evaluation", None): 2}
    for (path, of), length in expected.items():
        source = open_source(tmp_path / path, of)
        assert isinstance(source, Shards)
        assert len(source) == length


def test_crops_that_are_not_whole_are_named(layout: Layout, tmp_path: Path) -> None:
    shard_source(open_source(layout.root), tmp_path / "s", Cutting(size=8), per_task=9, part=Part(1, 2))
    with pytest.raises(ValueError, match="s was begun, and is not yet whole"):
        open_source(tmp_path / "s")


def test_images_and_videos_are_opened(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.JPG"), np.zeros((8, 8, 3), np.uint8))
    assert isinstance(open_source(tmp_path), ImageFiles)
    assert len(open_source(f"{tmp_path}/**/*.JPG")) == 1
    (tmp_path / "a.mp4").write_bytes(b"")
    assert isinstance(open_source(tmp_path), ImageFiles)
    (tmp_path / "a.JPG").unlink()
    with pytest.raises(ValueError, match=r"a\.mp4 cannot be read as a video|need PyAV"):
        open_source(tmp_path)


def test_what_is_not_there_is_named(layout: Layout, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no split val; there are training, evaluation"):
        open_source(layout.root, "val")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: no images or videos;.*; data sets are freihand: training/rgb/"):
        open_source(tmp_path / "empty")
    with pytest.raises(ValueError, match="absent is not a folder"):
        open_source(tmp_path / "absent")


def test_every_set_has_a_split_to_test_on(layout: Layout, youtube: YouTube, tmp_path: Path) -> None:
    assert splits_of(layout.root) == (None, "evaluation")
    assert splits_of(youtube.root) == (None, "test")
    interhand = write_interhand(tmp_path / "interhand", ("train", "test")).root
    assert splits_of(interhand) == (None, "test")
    for split in ("train", "test"):
        shard_source(open_source(interhand, split), tmp_path / "crops" / split, Cutting(size=8))
    assert splits_of(tmp_path / "crops") == (None, "test")
    assert splits_of(tmp_path / "anything else") == (None, "evaluation")


def test_sets_that_are_divided_in_several_ways_are_asked_which(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "dexycb" / "calibration" / "intrinsics").mkdir(parents=True)
    assert splits_of(tmp_path / "dexycb", "s2") == ("s2_train", "s2_test")
    for wrong in (None, "s4", "s0_train"):
        with pytest.raises(ValueError, match=rf"data\.split is {wrong}; expected one of s0, s1, s2, s3; s0 divides by"):
            splits_of(tmp_path / "dexycb", wrong)
    with pytest.raises(ValueError, match=r"data\.split is s0; expected null"):
        splits_of(layout.root, "s0")

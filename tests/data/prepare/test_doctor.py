from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from peclr.data.prepare.command import prepare_main
from peclr.data.prepare.cutting import Cutting
from peclr.data.prepare.doctor import Look, doctor_main, examine
from peclr.data.prepare.sharding import shard_source
from peclr.data.sources.image_files import ImageFiles
from peclr.data.sources.youtube3d import YouTube3DHands
from peclr.parallel import Part
from tests.data.sources.old_crops import write_old_crops
from tests.hand_video import write_clip

if TYPE_CHECKING:
    from tests.data.conftest import Layout, YouTube

    TableOf = Callable[..., tuple[int, str]]


@pytest.fixture
def table_of(capsys: pytest.CaptureFixture[str]) -> TableOf:
    """Runs the doctor and gives exit status and table."""

    def run(*arguments: object) -> tuple[int, str]:
        capsys.readouterr()
        status = doctor_main([str(argument) for argument in arguments])
        return status, capsys.readouterr().out

    return run


def levels(root: Path) -> list[str]:
    return [finding.level for finding in examine(root, Look())]


def test_whole_data_sets_are_fine(layout: Layout, youtube: YouTube, table_of: TableOf) -> None:
    status, table = table_of(layout.root, youtube.root)
    assert status == 0
    assert "ok     FreiHAND training: 6 hands, 18 images" in table
    assert "ok     FreiHAND evaluation: 2 hands, 2 images" in table
    assert "ok     YouTube3DHands train: 4 hands, 4 images" in table
    assert f"→ peclr prepare youtube3d {youtube.root} --split train" in table
    assert "filmB: 1" in table


def test_the_commands_fix_what_is_reported(layout: Layout, youtube: YouTube) -> None:
    for root in (layout.root, youtube.root):
        commands = [finding.fix for finding in examine(root, Look()) if finding.fix]
        assert commands
        for command in commands:
            program, subcommand, *arguments = command.split()
            assert (program, subcommand) == ("peclr", "prepare")
            prepare_main(arguments)
        assert [finding.fix for finding in examine(root, Look()) if finding.fix] == []


def test_missing_images_and_labels_are_named(layout: Layout, table_of: TableOf) -> None:
    for number in (3, 4):
        (layout.root / f"training/rgb/{number:08d}.jpg").unlink()
    (layout.root / "evaluation_K.json").unlink()
    status, table = table_of(layout.root)
    assert status == 1
    assert "training/rgb: missing images, 00000003.jpg, 00000004.jpg, while" in table
    assert "evaluation_K.json is missing" in table
    assert f"→ unzip -o FreiHAND_pub_v2_eval.zip -d {layout.root}" in table


def test_images_without_end_and_folders_without_images_are_reported(layout: Layout, table_of: TableOf) -> None:
    (layout.root / "training/rgb/00000017.jpg").unlink()
    shutil.rmtree(layout.root / "evaluation")
    status, table = table_of(layout.root)
    assert status == 1
    assert "17 images are not a multiple of the 6 hands" in table
    assert "evaluation/rgb is not a folder" in table


def test_wrong_labels_are_reported(layout: Layout, youtube: YouTube, table_of: TableOf) -> None:
    layout.edit("training_scale.json", lambda scale: scale.__setitem__(2, -1))
    youtube.edit(lambda labels: labels["annotations"][2].pop("vertices"))
    status, table = table_of(layout.root, youtube.root)
    assert status == 1
    assert "training_scale.json: hand 2" in table
    assert "youtube_train.json: annotation 2" in table


def test_broken_images_are_named_while_they_are_few(layout: Layout, table_of: TableOf) -> None:
    for number in range(8):
        (layout.root / f"training/rgb/{number:08d}.jpg").write_bytes(b"")
    status, table = table_of(layout.root)
    assert status == 1
    assert table.count("is empty") == 5
    assert "and 3 more" in table
    assert table_of(layout.root, "--images", "present")[0] == 0


def test_broken_frames_are_named_and_no_removal_is_advised(youtube: YouTube) -> None:
    frame = youtube.root / "youtube/filmA/video/frames/2.jpg"
    frame.write_bytes(frame.read_bytes()[:300])
    [wrong] = [finding for finding in examine(youtube.root, Look()) if finding.level == "wrong"]
    assert wrong.what.startswith(f"{frame} c")
    assert wrong.fix == "get them again, or train with on_bad_image: skip"
    frame.unlink()
    assert "wrong" not in levels(youtube.root)


def test_videos_without_a_single_frame_are_wrong(youtube: YouTube, table_of: TableOf) -> None:
    shutil.rmtree(youtube.root / "youtube")
    status, table = table_of(youtube.root)
    assert status == 1
    assert "none of the frames in youtube_train.json exist" in table


def test_stale_and_damaged_labels_are_wrong(layout: Layout, youtube: YouTube, table_of: TableOf) -> None:
    prepare_main(["freihand", str(layout.root)])
    prepare_main(["youtube3d", str(youtube.root)])
    assert "note" not in levels(layout.root)
    layout.edit("training_scale.json", lambda scale: scale.__setitem__(2, 0.125))
    array = youtube.root / "prepared/youtube3d_train/vertices.npy"
    array.write_bytes(array.read_bytes()[:-4])
    status, table = table_of(layout.root, youtube.root)
    assert status == 1
    assert "freihand_training is stale" in table
    assert "vertices.npy cannot be mapped" in table
    assert f"→ peclr prepare freihand {layout.root} --split training" in table


def test_crops_are_recognized_and_checked(youtube: YouTube, tmp_path: Path, table_of: TableOf) -> None:
    out = tmp_path / "crops"
    prepare_main(["youtube3d", str(youtube.root), "--crops", str(out), "--size", "16", "--workers", "1"])
    assert table_of(out) == (0, f"{out}\n  ok     {out / 'train'}: 4 crops of youtube3d, 1 shard\n")
    (out / "train" / "shards" / "000000-00.tar").unlink()
    status, table = table_of(out / "train")
    assert status == 1
    assert "000000-00.tar is missing" in table
    write_old_crops(YouTube3DHands(youtube.root), out / "old", Cutting(16))
    (out / "old/00000/00000002.jpg").unlink()
    assert "00000002.jpg is missing" in table_of(out / "old")[1]


def test_work_in_parts_that_is_not_whole_is_pointed_out(layout: Layout, tmp_path: Path, table_of: TableOf) -> None:
    out = tmp_path / "s"
    shard_source(ImageFiles(layout.root / "training" / "rgb"), out, Cutting(16), per_task=9, part=Part(1, 2))
    assert f"{out}: begun, and not yet whole" in table_of(out)[1]


def test_what_an_interrupted_run_has_left_is_pointed_out(youtube: YouTube) -> None:
    left = youtube.root / "prepared" / ".youtube3d_train.partial-7"
    left.mkdir(parents=True)
    assert f"rm -r {left}" in [finding.fix for finding in examine(youtube.root, Look())]


def test_images_are_recognized(tmp_path: Path, table_of: TableOf) -> None:
    (tmp_path / "deep/er").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "deep/er/a.JPG"), np.zeros((8, 8, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((8, 8, 3), np.uint8))
    assert table_of(tmp_path) == (0, f"{tmp_path}\n  ok     2 images\n")
    (tmp_path / "c.jpg").write_text("<html>")
    status, table = table_of(tmp_path)
    assert status == 1
    assert f"{tmp_path / 'c.jpg'} is not an image (6 bytes)" in table


def test_what_is_no_data_set_is_wrong(tmp_path: Path, table_of: TableOf) -> None:
    (tmp_path / "notes.txt").write_text("")
    status, table = table_of(tmp_path, tmp_path / "absent")
    assert status == 1
    assert "no data set that is known" in table
    assert "absent is not a folder" in table


def test_a_folder_of_data_sets_lists_them(
    layout: Layout, youtube: YouTube, tmp_path: Path, table_of: TableOf, make_image: Callable[..., NDArray[np.uint8]]
) -> None:
    root = tmp_path / "data"
    shutil.copytree(layout.root, root / "hands" / "freihand")
    shutil.copytree(youtube.root, root / "youtube3d")
    shard_source(ImageFiles(root / "hands" / "freihand"), root / "crops" / "training", Cutting(size=16))
    for folder in ("hands/photos", "empty", ".cache"):
        (root / folder).mkdir()
    for folder in ("hands/photos", ".cache"):
        cv2.imwrite(str(root / folder / "a.png"), make_image())
    status, table = table_of(root)
    assert status == 0
    titles = [line for line in table.splitlines() if not line.startswith(" ")]
    assert titles == [str(root / name) for name in ("crops", "hands/freihand", "youtube3d", "hands/photos")]
    assert "FreiHAND training: 6 hands, 18 images" in table
    assert "YouTube3DHands train: 4 hands" in table
    assert "ok     1 images" in table
    (root / "youtube3d" / "youtube_train.json").write_text("{")
    assert table_of(root)[0] == 1


def test_masks_are_no_images(tmp_path: Path, make_image: Callable[..., NDArray[np.uint8]], table_of: TableOf) -> None:
    for name in ("rgb", "mask"):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "0.png"), make_image())
    _, table = table_of(tmp_path)
    assert "ok     1 images" in table
    assert "note   left out 1 masks" in table


def test_a_folder_of_videos_is_known_with_what_is_wrong_in_it(
    tmp_path: Path, make_image: Callable[..., NDArray[np.uint8]], table_of: TableOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.avi", "b.avi", "c.avi"):
        write_clip(tmp_path / name, [make_image(seed=number) for number in range(5)])
    (tmp_path / "b.avi").write_bytes((tmp_path / "a.avi").read_bytes()[:200])
    (tmp_path / "d.gif").write_bytes(b"")
    status, table = table_of(tmp_path)
    assert status == 1
    assert "ok     2 videos, 10 frames" in table
    assert f"wrong  {tmp_path / 'b.avi'}" in table
    assert "note   left out 1 .gif" in table
    monkeypatch.setattr("peclr.data.prepare.doctor.find_spec", lambda name: None)
    status, table = table_of(tmp_path)
    assert status == 1
    assert "→ pip install 'peclr[video]'" in table


def test_images_and_videos_side_by_side_are_both_listed(
    tmp_path: Path, make_image: Callable[..., NDArray[np.uint8]], table_of: TableOf
) -> None:
    for name in ("photos", "videos", ".hidden"):
        (tmp_path / name).mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "0.png"), make_image())
    write_clip(tmp_path / "videos" / "a.avi", [make_image(seed=number) for number in range(5)])
    assert table_of(tmp_path) == (
        0,
        f"{tmp_path / 'photos'}\n  ok     1 images\n{tmp_path / 'videos'}\n  ok     1 videos, 5 frames\n",
    )
    cv2.imwrite(str(tmp_path / "0.png"), make_image())
    assert table_of(tmp_path)[1] == f"{tmp_path}\n  ok     2 images\n  note   left out 1 .avi\n"

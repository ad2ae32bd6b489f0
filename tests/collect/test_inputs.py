"""Cameras, groups and frames of what is collected."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from peclr.collect.cameras import camera_of, read_cameras
from peclr.collect.frames import Every, every_of
from peclr.collect.groups import Group, groups_of
from peclr.collect.work import with_unique_files
from peclr.data.sources.inputs import Input


def image(folder: Path, focal: Any = None) -> Input:
    exif = Image.Exif()
    if focal is not None:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = focal
    Image.new("RGB", (400, 300)).save(folder / "a.jpg", exif=exif)
    return Input(str(folder / "a.jpg"), "a.jpg", "image")


def test_a_camera_is_given_or_has_the_focal_length_of_exif_or_is_assumed(tmp_path: Path) -> None:
    K, origin = camera_of(image(tmp_path, focal=26), 400, 300, {})
    assert origin == "exif"
    diagonal = 2 * np.arctan(np.hypot(400, 300) / 2 / K[0, 0])
    assert diagonal == pytest.approx(2 * np.arctan(np.hypot(36, 24) / 2 / 26))  # sees as much as on film
    assert K[:2, 2].tolist() == [199.5, 149.5]
    for unknown in (None, 0):
        K, origin = camera_of(image(tmp_path, unknown), 400, 300, {})
        assert (origin, K[0, 0], K[1, 1]) == ("assumed", 480, 480)
    K, origin = camera_of(image(tmp_path, focal=26), 400, 300, read_cameras("500,510,200,150", INPUTS))
    assert (origin, K.tolist()) == ("given", [[500, 0, 200], [0, 510, 150], [0, 0, 1]])


def test_cameras_are_read_from_a_file_for_all_or_by_file(tmp_path: Path) -> None:
    path, K = tmp_path / "K.json", "[[500,0,200],[0,500,150],[0,0,1]]"
    one, other = image(tmp_path), INPUTS[0]
    path.write_text(K)
    assert camera_of(one, 400, 300, read_cameras(str(path), [one])).origin == "given"
    path.write_text(f'{{"1.jpg": {K}}}')
    cameras = read_cameras(str(path), [one, other])
    assert [camera_of(found, 400, 300, cameras).origin for found in (one, other)] == ["assumed", "given"]
    with pytest.raises(ValueError, match=r"K\.json: none of its 1 names is that of an input, such as a\.jpg"):
        read_cameras(str(path), [one])
    for text in ("[[1,2],[3,4]]", K.replace("500", "-5"), '{"a": 7}'):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"K\.json"):
            read_cameras(str(path), INPUTS)
    with pytest.raises(ValueError, match="expected FX,FY,CX,CY"):
        read_cameras("1,2,3,x", INPUTS)


INPUTS = [
    Input("/d/a/1.jpg", "a/1.jpg", "image"),
    Input("/d/2.jpg", "2.jpg", "image"),
    Input("v.mp4", "v.mp4", "video"),
]


def test_groups_are_folders_and_videos_unless_a_table_says_otherwise(tmp_path: Path) -> None:
    assert [group.name for group in groups_of(INPUTS, None)] == ["a", ".", "v.mp4"]
    table = tmp_path / "groups.csv"
    table.write_text("file,group,class\n1.jpg,ann,fist\n/d/2.jpg,ann,\nv.mp4,bob,\nother.jpg,eve,\n")
    assert groups_of(INPUTS, table) == [Group("ann", "fist"), Group("ann"), Group("bob")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("file,group\n1.jpg,ann\n", r"2 of 3 files have no group: 2\.jpg, v\.mp4"),
        ("file,person\n1.jpg,ann\n", "expected file, group"),
        ("file,group\n1.jpg,\n", "expected a file and its group"),
        ("file,group\n1.jpg,ann\n1.jpg,bob\n", "has the groups"),
    ],
)
def test_a_table_of_groups_that_does_not_fit_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "groups.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"groups\.csv.*{reason}"):
        groups_of(INPUTS, tmp_path / "groups.csv")


def chosen(every: Every, rate: float, count: int) -> list[int]:
    choose = every.chooser()
    return [number for number in range(count) if choose(number, number / rate)]


@pytest.mark.parametrize(("text", "kept"), [("1", [0, 1, 2, 3, 4, 5]), ("4", [0, 4]), ("0.1s", [0, 3]), ("9s", [0])])
def test_frames_are_chosen_by_number_or_time(text: str, kept: list[int]) -> None:
    assert chosen(every_of(text), 30, 6) == kept
    assert str(every_of(text)) == text


def test_frames_are_chosen_by_time_whatever_the_rate() -> None:
    for rate in (7, 25, 29.97, 60):
        times = np.array(chosen(Every(seconds=0.5), rate, 200)) / rate
        assert np.abs(times - 0.5 * np.arange(len(times))).max() < 1 / rate


@pytest.mark.parametrize("text", ["0", "-1", "0s", "s", "1.5", "infs", "nans"])
def test_no_frames_are_no_choice(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"such as 0\.5s"):
        every_of(text)


def test_files_of_one_name_in_two_folders_are_told_apart() -> None:
    inputs = [Input(f"{folder}/1.jpg", "1.jpg", "image") for folder in ("a", "b")]
    assert [one.file for one in with_unique_files([*inputs, INPUTS[1]])] == ["a/1.jpg", "b/1.jpg", "2.jpg"]

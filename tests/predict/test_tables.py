"""All hands in one file: each format holds what the predictions say, and is read by those who know it."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from peclr.__main__ import main
from peclr.data.sources.box_files import read_boxes
from peclr.data.sources.coco_keypoints import CocoKeypoints
from peclr.data.sources.inputs import Frame, Input
from peclr.geometry.joints import JOINT_NAMES
from peclr.inference.hands import HandPrediction, Scene
from peclr.inference.network import TrainedNetwork
from peclr.predict.document import Method
from peclr.predict.outputs import OutputFolder
from peclr.predict.tables import NAMES, Format
from tests.full_disk import full_disk
from tests.predict.test_outputs import spread_hand

MakeImage = Callable[..., NDArray[np.uint8]]


def written(out: Path, trained: TrainedNetwork, kind: Format) -> tuple[Path, list[HandPrediction]]:
    """Two images of one name, one without hands, and a frame of a video; two hands in the first."""
    right = replace(spread_hand((10, 10)), score=0.9, joint_scores=np.linspace(0, 1, 21))
    left = replace(right, hand="left", hand_origin="given", track=4, scale_m=None, score=0.25)
    image, video = np.zeros((60, 80, 3), np.uint8), Input("clip.mp4", "clip.mp4", "video")
    rows: list[tuple[Frame, tuple[HandPrediction, ...]]] = [
        (Frame(Input("a/x.jpg", "x.jpg", "image"), lambda: image), (right, left)),
        (Frame(Input("b/x.jpg", "x.jpg", "image"), lambda: image), (right,)),
        (Frame(Input("c.jpg", "c.jpg", "image"), lambda: image), ()),
        (Frame(video, lambda: image, 7, 0.7), (left,)),
    ]
    method = Method(trained, "search", scored=True)
    with OutputFolder(out, method, overlay=False, sides=False, table=kind) as outputs:
        for frame, hands in rows:
            outputs.write(frame, Scene(image), hands)
    assert [path.name for path in out.iterdir()] == [NAMES[kind]]
    return out / NAMES[kind], [hand for _, hands in rows for hand in hands]


FILES = ["x.jpg", "x.jpg", "b/x.jpg", "clip.mp4#7"]


def test_csv(trained: TrainedNetwork, tmp_path: Path) -> None:
    path, hands = written(tmp_path / "out", trained, "csv")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == FILES
    for row, hand in zip(rows, hands, strict=True):
        assert (row["hand"], row["unit_3d"], row["found_by"], row["score_kind"]) == (
            *(hand.hand, hand.unit_3d, "search", "spread"),
        )
        assert row["track"] == ("" if hand.track is None else "4")
        values = [[float(row[f"{name}_{axis}"]) for axis in ("x", "y", "score", "x_3d", "y_3d", "z_3d")]
                  for name in JOINT_NAMES]  # fmt: skip
        assert hand.joint_scores is not None
        expected = np.c_[hand.keypoints_2d, hand.joint_scores, hand.joints_3d]
        np.testing.assert_allclose(values, expected, atol=1e-3)


def test_coco(trained: TrainedNetwork, tmp_path: Path) -> None:
    path, hands = written(tmp_path / "out", trained, "coco")
    content = json.loads(path.read_text())
    assert [image["file_name"] for image in content["images"]] == ["x.jpg", "b/x.jpg", "c.jpg", "clip.mp4#7"]
    assert content["info"]["score_kind"] == {"hand": "spread", "joints": "spread"}
    categories = {category["id"]: category for category in content["categories"]}
    names = {image["id"]: image["file_name"] for image in content["images"]}
    assert [names[one["image_id"]] for one in content["annotations"]] == FILES
    assert len({one["id"] for one in content["annotations"]}) == 4
    for one, hand in zip(content["annotations"], hands, strict=True):
        category = categories[one["category_id"]]
        assert category["name"] == f"{hand.hand}_hand"
        assert category["keypoints"] == list(JOINT_NAMES)
        assert all(1 <= joint <= 21 for bone in category["skeleton"] for joint in bone)
        points = np.array(one["keypoints"]).reshape(21, 3)
        np.testing.assert_allclose(points, np.c_[hand.keypoints_2d + 0.5, np.full(21, 2)])
        left, top, width, height = one["bbox"]
        np.testing.assert_allclose([left, top], points[:, :2].min(axis=0))
        np.testing.assert_allclose([left + width, top + height], points[:, :2].max(axis=0))
        assert (one["num_keypoints"], one["iscrowd"], one["area"]) == (21, 0, width * height)
        assert one["score"] == hand.score


def test_coco_leaves_out_joints_that_nobody_knows() -> None:
    document = CocoKeypoints({})
    joints = np.tile([4.0, 5.0], (21, 1))
    joints[3] = np.nan
    document.add_hand(document.add_image("caf\udce9.jpg", 8, 8), "left", joints)
    document.add_hand(1, "right", np.full((21, 2), np.nan))
    known, unknown = json.loads(document.to_bytes())["annotations"]
    assert known["keypoints"][9:12] == [0, 0, 0]
    assert (known["num_keypoints"], unknown["num_keypoints"], unknown["bbox"]) == (20, 0, [0, 0, 0, 0])
    assert r"caf\udce9.jpg" in json.loads(document.to_bytes())["images"][0]["file_name"]


def test_npz(trained: TrainedNetwork, tmp_path: Path) -> None:
    path, hands = written(tmp_path / "out", trained, "npz")
    with np.load(path) as arrays:
        files = arrays["image_file"]
        assert list(files) == ["x.jpg", "b/x.jpg", "c.jpg", "clip.mp4#7"]
        assert list(files[arrays["image"]]) == FILES
        assert list(arrays["image_frame"]) == [-1, -1, -1, 7]
        assert list(arrays["hand"]) == [hand.hand for hand in hands]
        assert list(arrays["track"]) == [-1, 4, -1, 4]
        np.testing.assert_allclose(arrays["keypoints_2d"], [hand.keypoints_2d for hand in hands])
        np.testing.assert_allclose(arrays["joints_3d_camera"], [hand.joints_3d for hand in hands], rtol=1e-6)
        np.testing.assert_allclose(arrays["joint_scores"], np.tile(np.linspace(0, 1, 21), (4, 1)), rtol=1e-6)
        np.testing.assert_allclose(arrays["scale_m"], [0.03, np.nan, 0.03, np.nan], rtol=1e-6)
        assert arrays["image_K"].shape == (4, 3, 3)
        assert (str(arrays["found_by"]), str(arrays["score_kind_hand"])) == ("search", "spread")


def test_no_hand_at_all_is_a_file_all_the_same(trained: TrainedNetwork, tmp_path: Path) -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    for kind in get_args(Format):
        with OutputFolder(tmp_path / kind, Method(trained), overlay=False, sides=False, table=kind) as outputs:
            outputs.write(Frame(Input("a.jpg", "a.jpg", "image"), lambda: image), Scene(image), ())
    assert len((tmp_path / "csv" / NAMES["csv"]).read_text().splitlines()) == 1
    assert json.loads((tmp_path / "coco" / NAMES["coco"]).read_text())["annotations"] == []
    with np.load(tmp_path / "npz" / NAMES["npz"]) as arrays:
        assert arrays["keypoints_2d"].shape == (0, 21, 2)


@pytest.mark.parametrize("kind", ["csv", "coco"])
def test_a_table_is_a_box_file_for_the_next_prediction(
    run: Path, make_image: MakeImage, tmp_path: Path, kind: str
) -> None:
    for number in range(2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), make_image(seed=number))
    images = [str(tmp_path / f"{number}.png") for number in range(2)]
    boxes = tmp_path / "boxes.csv"
    boxes.write_text(
        "file,left,top,right,bottom,hand\n0.png,5,5,30,40,left\n0.png,40,5,70,40,right\n1.png,5,5,30,40,\n"
    )
    start = ["predict", str(run), *images, "--no-overlay", f"--format={kind}"]
    assert main([*start, f"--boxes={boxes}", f"--out={tmp_path / 'a'}"]) == 0
    first = tmp_path / "a" / NAMES[kind]
    read = read_boxes(first)
    assert {file: [box.side for box in found] for file, found in read.items()} == {
        "0.png": ["left", "right"],
        "1.png": ["right"],
    }
    if kind == "csv":
        np.testing.assert_allclose(read["0.png"][1].edges, [40, 5, 70, 40])
        arguments = [*start, f"--boxes={first}", "--hand=both-from-box-file", f"--out={tmp_path / 'b'}"]
        assert main(arguments) == 0
        again = (tmp_path / "b" / NAMES[kind]).read_text().splitlines()
        rows = [list(csv.DictReader(lines)) for lines in (first.read_text().splitlines(), again)]
        assert [row["wrist_x"] for row in rows[0]] == [row["wrist_x"] for row in rows[1]]


def test_a_full_disk_leaves_no_half_table(trained: TrainedNetwork, tmp_path: Path) -> None:
    with full_disk(500), pytest.raises(OSError, match=r"File too large: '.*hands\.csv'"):
        written(tmp_path / "out", trained, "csv")
    assert not (tmp_path / "out").exists()

"""`peclr predict` as a user calls it."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from peclr.__main__ import main
from peclr.data.sources.image_files import ImageFiles
from peclr.data.sources.videos import Videos
from peclr.predict import HandPredictor
from peclr.predict.command import predict_main
from tests.full_disk import full_disk
from tests.hand_video import write_clip

MakeImage = Callable[..., NDArray[np.uint8]]


@pytest.fixture
def images(tmp_path: Path, make_image: MakeImage) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        path = folder / f"{number}.png"
        path.write_bytes(cv2.imencode(".png", make_image(seed=number)[..., ::-1])[1].tobytes())
    return folder


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_a_folder_of_images(run: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert predict_main([str(run), str(images), "--out", str(out), "--batch-size", "2"]) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        f"{number}.{kind}" for number in range(3) for kind in ("json", "overlay.jpg")
    ]
    shown = capsys.readouterr().out
    assert "focal length taken as 28/36" in shown
    assert "lengths of the bone" in shown
    assert "3 images, 3 hands" in shown
    assert "images/s" in shown
    assert str(out) in shown
    predictor = HandPredictor.load(run)
    for number in range(3):
        back = read(out / f"{number}.json")
        (expected,) = predictor(images / f"{number}.png")
        np.testing.assert_allclose(back["hands"][0]["joints_3d_camera"], expected.joints_3d, rtol=1e-3, atol=1e-4)
        assert (back["camera"]["origin"], back["image"]) == ("default", {"width": 80, "height": 60})


def test_unreadable_files_are_said_and_skipped(
    run: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "1.png").write_bytes(b"")
    out = tmp_path / "out"
    assert predict_main([str(run), str(images), "--out", str(out), "--no-overlay"]) == 1
    assert sorted(path.name for path in out.iterdir()) == ["0.json", "2.json"]
    shown = capsys.readouterr().err
    assert "1.png: 0 bytes" in shown
    assert "1 could not be read" in shown


def test_options_reach_the_prediction(run: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--box=-5,10,40,50", "--hand=left", "--K=70,72,40,30", "--scale=0.03", "--no-overlay", "--sides"]
    assert predict_main([str(run), str(images / "0.png"), f"--out={out}", *options]) == 0
    K = [[70, 0, 40], [0, 72, 30], [0, 0, 1]]
    (expected,) = HandPredictor.load(run)(images / "0.png", box=(-5, 10, 40, 50), hand="left", K=K, scale_m=0.03)
    back = read(out / "0.json")
    np.testing.assert_allclose(back["hands"][0]["joints_3d_camera"], expected.joints_3d, atol=1e-5)
    np.testing.assert_allclose(back["hands"][0]["keypoints_2d"], expected.keypoints_2d, atol=1e-2)
    assert (back["hands"][0]["hand"], back["hands"][0]["scale"]["metres"]) == ("left", 0.03)
    assert back["camera"] == {"K": K, "origin": "given"}
    assert sorted(path.name for path in out.iterdir()) == ["0.json", "0.sides.png"]


def test_how_to_look_reaches_the_prediction(run: Path, images: Path, tmp_path: Path) -> None:
    origins, joints = [], []
    for number, options in enumerate((["--find=published"], ["--find=search"], ["--turn=30"])):
        out = tmp_path / f"out-{number}"
        assert predict_main([str(run), str(images / "0.png"), "--out", str(out), "--no-overlay", *options]) == 0
        (hand,) = read(out / "0.json")["hands"]
        origins.append(hand["box_origin"])
        joints.append(np.array(hand["joints_3d_camera"]))
    assert origins == ["two_pass", "search", "search"]
    assert min(np.abs(joints[1] - joints[0]).max(), np.abs(joints[2] - joints[1]).max()) > 1e-3
    with pytest.raises(ValueError, match="turn -5"):
        predict_main([str(run), str(images), "--out", str(tmp_path / "no"), "--turn=-5"])


def test_a_box_file_says_where_and_which_hands(run: Path, images: Path, tmp_path: Path) -> None:
    boxes = tmp_path / "boxes.csv"
    boxes.write_text(
        "file,left,top,right,bottom,hand\n0.png,5,5,30,40,left\n0.png,40,5,70,40,right\n2.png,5,5,9,9,left\n"
    )
    arguments = [str(run), str(images), f"--boxes={boxes}", "--no-overlay"]
    assert predict_main([*arguments, "--hand=both-from-box-file", f"--out={tmp_path / 'both'}"]) == 0
    hands = [[hand["hand"] for hand in read(tmp_path / "both" / f"{i}.json")["hands"]] for i in range(3)]
    assert hands == [["left", "right"], [], ["left"]]
    assert predict_main([*arguments, "--hand=right", f"--out={tmp_path / 'right'}"]) == 0
    assert [hand["hand"] for hand in read(tmp_path / "right" / "0.json")["hands"]] == ["right", "right"]


def test_what_was_predicted_says_where_hands_are_in_training_and_in_the_next_prediction(
    run: Path, images: Path, make_image: MakeImage, tmp_path: Path
) -> None:
    pytest.importorskip("av")
    write_clip(images / "clip.avi", [make_image(seed=number) for number in range(3)])
    boxes, out = tmp_path / "boxes.csv", tmp_path / "out"
    boxes.write_text(
        "file,left,top,right,bottom,hand,frame\n0.png,5,5,30,40,left,\n2.png,5,5,30,40,right,\nclip.avi,5,5,30,40,left,1\n"
    )
    arguments = [str(run), str(images), "--no-overlay"]
    assert predict_main([*arguments, f"--boxes={boxes}", f"--out={out}"]) == 0
    lines = [json.loads(line)["hands"] for line in (out / "clip.jsonl").read_text().splitlines()]
    assert [len(hands) for hands in lines] == [0, 1, 0]
    assert predict_main([*arguments, f"--boxes={out}", f"--out={tmp_path / 'again'}"]) == 0
    for name in ("0.json", "1.json", "2.json"):
        assert read(tmp_path / "again" / name)["hands"] == read(out / name)["hands"]
    for file in out.rglob("*.json*"):
        assert (tmp_path / "again" / file.name).read_text() == file.read_text()
    frames = Videos(images, boxes=out / "clip.jsonl")
    assert [(frames[index]["id"], frames[index]["hand"]) for index in range(len(frames))] == [("clip.avi#1", "left")]
    (out / "clip.jsonl").unlink()
    hands = ImageFiles(images, out)
    assert [(hands[index]["id"], hands[index]["hand"]) for index in range(len(hands))] == [
        ("0.png", "left"),
        ("2.png", "right"),
    ]


def test_a_video_in_and_a_video_out(run: Path, make_image: MakeImage, tmp_path: Path) -> None:
    clip = tmp_path / "clip.avi"
    write_clip(clip, [make_image(seed=number) for number in range(5)])
    out, video = tmp_path / "out", tmp_path / "skeletons.avi"
    assert predict_main([str(run), str(clip), f"--out={out}", f"--video={video}", "--max-frames=4"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["clip.jsonl", "clip.overlay.mp4"]
    documents = [json.loads(line) for line in (out / "clip.jsonl").read_text().splitlines()]
    assert [document["frame"] for document in documents] == [0, 1, 2, 3]
    np.testing.assert_allclose([document["time_s"] for document in documents], [0, 0.25, 0.5, 0.75])
    for path in (video, out / "clip.overlay.mp4"):
        capture = cv2.VideoCapture(str(path))
        assert (capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)) == (4, 4)
        assert (capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)) == (480, 360)


def test_what_cannot_be_done_is_refused_before_anything_is_written(run: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    start = [str(run), str(images), f"--out={out}"]
    cases: list[tuple[list[str], type[Exception], str]] = [
        ([str(run), "nothing.jpg"], FileNotFoundError, r"nothing\.jpg"),
        ([str(tmp_path / "no"), str(images)], FileNotFoundError, "no such checkpoint"),
        ([*start, "--hand=both-from-box-file"], ValueError, "--boxes"),
        ([*start, "--K=none.json"], FileNotFoundError, r"none\.json"),
        ([*start, "--boxes=none.csv"], FileNotFoundError, r"none\.csv"),
        ([*start, "--scale=3"], ValueError, "in metres"),
        ([*start, "--focal=-1"], ValueError, "focal length"),
        ([*start, "--video=x.gif"], ValueError, r"x\.gif"),
        ([*start, f"--out={images}"], FileExistsError, "not an empty folder"),
    ]
    for arguments, kind, message in cases:
        with pytest.raises(kind, match=message):
            predict_main(arguments)
        assert not out.exists()
    for wrong in ("--box=1,2,3", "--hand=both", "--batch-size=0", "--max-frames=-1"):
        with pytest.raises(ValueError, match=wrong.partition("=")[0]):
            predict_main([*start, wrong])


def test_boxes_and_files_that_fit_no_image_are_refused(
    run: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    start = [str(run), str(images), f"--out={out}", "--no-overlay"]
    for box in ("--box=200,10,240,50", "--box=0.2,0.3,0.6,0.8", "--box=40,10,20,50", "--box=nan,10,20,50"):
        assert main(["predict", *start, box]) == 2
        assert "box" in capsys.readouterr().err
        assert not out.exists()
    (tmp_path / "x.json").write_text(json.dumps({"else.png": 0.03}))
    (tmp_path / "x.csv").write_text("file,left,top,right,bottom\nelse.png,5,5,30,40\n")
    for option in ("--scale=x.json", "--boxes=x.csv"):
        name, file = option.split("=")
        assert main(["predict", *start, name, str(tmp_path / file)]) == 2
        assert "none of its 1 names is that of an input; it names 'else.png'" in capsys.readouterr().err
        assert not out.exists()
    # one of three is beyond its image: the others are predicted
    (tmp_path / "x.csv").write_text(
        "file,left,top,right,bottom\n0.png,5,5,30,40\n1.png,90,5,99,40\n2.png,5,5,30,40\nelse.png,1,2,3,4\n"
    )
    assert main(["predict", *start, "--boxes", str(tmp_path / "x.csv")]) == 1
    shown = capsys.readouterr()
    assert "1 of 4 names match no input" in shown.out
    assert "1.png: the box [90.0, 5.0, 99.0, 40.0] lies beyond" in shown.err
    assert sorted(path.name for path in out.iterdir()) == ["0.json", "2.json"]


def test_the_cameras_and_scales_of_freihands_layout(run: Path, make_image: MakeImage, tmp_path: Path) -> None:
    images = tmp_path / "evaluation" / "rgb"
    images.mkdir(parents=True)
    for number in range(2):
        encoded = cv2.imencode(".jpg", make_image(seed=number))[1]
        (images / f"{number:08d}.jpg").write_bytes(encoded.tobytes())
    cameras = [[[70.0 + number, 0, 40], [0, 72, 30], [0, 0, 1]] for number in range(2)]
    (tmp_path / "evaluation_K.json").write_text(json.dumps(cameras))
    (tmp_path / "evaluation_scale.json").write_text("[0.025, 0.035]")
    files = [f"--{name}={tmp_path / f'evaluation_{name}.json'}" for name in ("K", "scale")]
    assert predict_main([str(run), str(images), f"--out={tmp_path / 'out'}", "--no-overlay", *files]) == 0
    for number in range(2):
        document = read(tmp_path / "out" / f"{number:08d}.json")
        assert document["camera"]["K"] == cameras[number]
        assert document["hands"][0]["scale"]["metres"] == (0.025, 0.035)[number]


def test_a_full_disk_ends_with_the_files_name(
    run: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with full_disk(1000):
        assert main(["predict", str(run), str(images), f"--out={tmp_path / 'out'}"]) == 2
    assert f"peclr predict: {tmp_path / 'out' / '0.json'}: File too large" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are Unicode elsewhere")
def test_names_that_are_not_utf8(run: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = os.fsdecode(b"caf\xe9")  # Latin-1
    (images / "1.png").rename(images / f"{name}.png")
    write_clip(tmp_path / "clip.avi", [np.zeros((60, 80, 3), np.uint8)])
    (tmp_path / "clip.avi").rename(images / f"{name}2.avi")
    out = tmp_path / f"out {name}"
    assert main(["predict", str(run), str(images), "--out", str(out), "--sides"]) == 0
    assert r"out caf\udce9" in capsys.readouterr().out
    stems = ("0", "2", name)
    files = [f"{stem}.{kind}" for stem in stems for kind in ("json", "overlay.jpg", "sides.png")]
    files += [f"{name}2.jsonl", f"{name}2.overlay.mp4"]
    assert sorted(path.name for path in out.iterdir()) == sorted(files)
    assert read(out / f"{name}.json")["source"] == str(images / f"{name}.png")
    assert read(out / f"{name}2.jsonl")["frame"] == 0
    assert main(["predict", str(run), str(images), f"--out={out}2", f"--video={tmp_path / name}.avi"]) == 0
    assert (tmp_path / f"{name}.avi").stat().st_size > 1000


def test_real_photographs(real_hands: Path, run: Path, tmp_path: Path) -> None:
    images = real_hands / "photos"
    options = [f"--K={real_hands / 'photos.json'}", "--scale=0.03"]
    assert predict_main([str(run), str(images), f"--out={tmp_path / 'out'}", *options]) == 0
    for path in images.glob("*.jpg"):
        document = read(tmp_path / "out" / f"{path.stem}.json")
        assert document["camera"]["origin"] == ("given" if "eval" in path.name else "default")
        assert document["hands"][0]["unit_3d"] == "m"
        overlay = cv2.imread(str(tmp_path / "out" / f"{path.stem}.overlay.jpg"))
        assert overlay is not None
        assert overlay.shape[0] % document["image"]["height"] == 0
        assert overlay.shape[1] % document["image"]["width"] == 0

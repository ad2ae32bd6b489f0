"""Files that predictions leave: names, overlays at the right pixels, videos."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from peclr.data.sources.inputs import Frame, Input
from peclr.geometry.joints import BONE_COLORS, BONES
from peclr.inference.hands import HandPrediction, Scene, Side
from peclr.inference.network import TrainedNetwork
from peclr.predict import outputs as outputs_module
from peclr.predict.document import Method
from peclr.predict.outputs import OutputFolder, draw_hands
from peclr.predict.video_file import VideoFile
from tests.full_disk import full_disk

MakeImage = Callable[..., NDArray[np.uint8]]


def spread_hand(origin: tuple[float, float], side: Side = "right") -> HandPrediction:
    """Joints on a grid, so that no bone covers another's end."""
    rows, columns = np.divmod(np.arange(21), 5)
    points = np.stack([columns * 12.0, rows * 12.0], axis=1) + origin
    box = np.array([*points.min(axis=0), *points.max(axis=0)])
    return HandPrediction(side, box, "given", points, np.c_[points, np.ones(21)] / 100, 0.03)


def predicted(
    image: NDArray[np.uint8], file: str = "a.jpg", number: int | None = None, kind: Literal["image", "video"] = "image"
) -> tuple[Frame, Scene, tuple[HandPrediction, ...]]:
    frame = Frame(Input(f"in/{file}", file, kind), lambda: image, number)
    return frame, Scene(image), (spread_hand((10, 10)),)


def test_overlays_are_drawn_at_the_pixels_that_the_prediction_says() -> None:
    image = np.full((360, 480, 3), 255, np.uint8)
    hands = (spread_hand((30, 30)), spread_hand((270, 90), "left"))
    drawn = draw_hands(image, hands)
    assert drawn.shape == image.shape
    assert (image == 255).all()
    for hand in hands:
        for (_, child), color in zip(BONES[3::4], BONE_COLORS[3::4], strict=True):  # tips: nothing covers them
            x, y = hand.keypoints_2d[child].astype(int)
            np.testing.assert_array_equal(drawn[y, x], color)
    outside = np.ones((360, 480), bool)
    for hand in hands:
        left, top, right, bottom = hand.box.astype(int)
        outside[top - 30 : bottom + 5, left - 30 : right + 5] = False  # with the side that is written at the wrist
    assert (drawn[outside] == 255).all()


@pytest.mark.parametrize(("side", "factor"), [(48, 11), (128, 4), (224, 2), (400, 1)])
def test_small_images_are_enlarged_so_that_a_skeleton_can_be_read(side: int, factor: int) -> None:
    image = np.full((side, side, 3), 255, np.uint8)
    hand = spread_hand((0, 0))
    scale = side / 100
    hand = replace(hand, keypoints_2d=hand.keypoints_2d * scale + 20 * scale)
    drawn = draw_hands(image, [hand])
    assert drawn.shape == (factor * side, factor * side, 3)
    for (_, child), color in zip(BONES[3::4], BONE_COLORS[3::4], strict=True):
        x, y = ((hand.keypoints_2d[child] + 0.5) * factor - 0.5).round().astype(int)
        np.testing.assert_array_equal(drawn[y, x], color)


def test_the_side_is_written_in_the_image_wherever_the_wrist_is() -> None:
    image = np.full((400, 400, 3), 255, np.uint8)
    for origin in ((-40.0, -40.0), (380.0, 10.0), (10.0, 390.0)):
        right, left = (draw_hands(image, [spread_hand(origin, side)]) for side in ("right", "left"))
        rows, columns = np.nonzero((right != left).any(axis=-1))
        assert len(rows) > 40, origin
        assert np.ptp(columns) > 15, origin


@pytest.mark.parametrize("top", [10.0, *range(180, 230, 10), 350.0])  # about the middle, a name could turn for ever
def test_names_of_hands_with_one_wrist_are_not_written_over_each_other(top: float) -> None:
    image = np.full((400, 400, 3), 128, np.uint8)
    hand = replace(spread_hand((150, top)), track=7)
    white = [(draw_hands(image, [hand] * count) > 190).all(axis=-1).sum() for count in (1, 2, 3)]
    assert white[0] > 50
    np.testing.assert_allclose(white, white[0] * np.array([1, 2, 3]), rtol=0.1)


def test_every_image_gets_files_of_its_own(trained: TrainedNetwork, make_image: MakeImage, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with OutputFolder(out, Method(trained), overlay=True, sides=True, video=None) as outputs:
        for file in ("a.jpg", "a.png", "手/a.b.jpg"):
            outputs.write(*predicted(make_image(61, 81), file))
        for number in range(3):
            outputs.write(*predicted(make_image(), "a.mp4", number, "video"))
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert names == [
        "a-2.json",
        "a-2.overlay.jpg",
        "a-2.sides.png",
        "a-3.jsonl",
        "a-3.overlay.mp4",
        "a.json",
        "a.overlay.jpg",
        "a.sides.png",
        "手/a.b.json",
        "手/a.b.overlay.jpg",
        "手/a.b.sides.png",
    ]
    assert len((out / "a-3.jsonl").read_text().splitlines()) == 3
    overlay = cv2.imread(str(out / "a.overlay.jpg"))
    assert overlay is not None
    assert overlay.shape == (366, 486, 3)
    expected = draw_hands(make_image(61, 81), predicted(make_image(61, 81))[2])
    assert np.abs(overlay[..., ::-1].astype(float) - expected).mean() < 3  # JPEG


def test_without_pyav_videos_have_no_overlay(
    trained: TrainedNetwork, make_image: MakeImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs_module, "find_spec", lambda _: None)
    with OutputFolder(tmp_path / "out", Method(trained), overlay=True, sides=False) as outputs:
        outputs.write(*predicted(make_image(), "a.mp4", 0, "video"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.jsonl"]
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ValueError, match=r"pip install peclr\[video\]"):
        VideoFile(tmp_path / "a.mp4", 10)


def test_nothing_is_overwritten(trained: TrainedNetwork, tmp_path: Path) -> None:
    (tmp_path / "old.json").touch()
    with pytest.raises(FileExistsError, match="not an empty folder"):
        OutputFolder(tmp_path, Method(trained), overlay=True, sides=False, video=None)
    (tmp_path / "old.mp4").touch()
    with pytest.raises(FileExistsError, match=r"old\.mp4 exists"):
        VideoFile(tmp_path / "old.mp4", 10)
    with pytest.raises(ValueError, match=r"\.gif: expected a video ending in"):
        VideoFile(tmp_path / "new.gif", 10)


@pytest.mark.parametrize(
    ("kind", "limit", "left"), [("image", 1000, []), ("image", 6000, ["a.json"]), ("video", 5000, ["a.jsonl"])]
)
def test_a_full_disk_leaves_whole_files_and_whole_lines(
    trained: TrainedNetwork,
    make_image: MakeImage,
    tmp_path: Path,
    kind: Literal["image", "video"],
    limit: int,
    left: list[str],
) -> None:
    out = tmp_path / "out"
    with (  # noqa: PT012 (both the writing and the end may say it)
        full_disk(limit),
        pytest.raises(OSError, match=r"File too large: '.*a\.(json|jsonl|overlay\.jpg|overlay\.mp4)'"),
        OutputFolder(out, Method(trained), overlay=True, sides=False, video=None) as outputs,
    ):
        for number in range(4):
            still = kind == "image"
            outputs.write(*predicted(make_image(320, 400), "a.x", None if still else number, kind))
            if still:
                break
    assert (sorted(path.name for path in out.iterdir()) if out.exists() else []) == left
    for line in [line for name in left for line in (out / name).read_text().splitlines()]:
        assert len(json.loads(line)["hands"]) == 1


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_a_video_that_the_disk_has_no_room_for_is_an_error_and_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    video = VideoFile(tmp_path / f"out{suffix}", 10)
    noise = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), np.uint8)
    with (  # noqa: PT012 (both the writing and the end may say it)
        full_disk(10_000),
        pytest.raises(OSError, match=r"File too large: '.*out\.(mp4|avi)'"),
    ):
        for number in range(60):
            video.write(noise[number % 5])
        video.close()
    video.close()
    assert list(tmp_path.iterdir()) == []


def test_a_video_that_cannot_be_begun_says_why(make_image: MakeImage, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        VideoFile(tmp_path / "file" / "out.mp4", 10).write(make_image())
    with pytest.raises(OSError, match=r"less than 2 × 2 px: '.*out\.mp4'"):
        VideoFile(tmp_path / "out.mp4", 10).write(make_image(1, 1))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_video_takes_images_of_any_size(tmp_path: Path) -> None:
    video = VideoFile(tmp_path / "new" / "out.avi", 5)
    video.write(np.full((33, 49, 3), (200, 0, 0), np.uint8))
    video.write(np.full((33, 49, 3), (0, 200, 0), np.uint8))
    video.write(np.full((64, 24, 3), (0, 0, 200), np.uint8))
    video.close()
    capture = cv2.VideoCapture(str(tmp_path / "new" / "out.avi"))
    frames = [capture.read()[1] for _ in range(3)]
    assert capture.get(cv2.CAP_PROP_FPS) == 5
    assert all(frame.shape == (32, 48, 3) for frame in frames)
    np.testing.assert_allclose(frames[0][16, 24, ::-1], [200, 0, 0], atol=8)
    np.testing.assert_allclose(frames[1][16, 24, ::-1], [0, 200, 0], atol=8)
    # half as high as it was, between black margins
    np.testing.assert_allclose(frames[2][16, 24, ::-1], [0, 0, 200], atol=8)
    np.testing.assert_allclose(frames[2][16, 4, ::-1], 0, atol=8)

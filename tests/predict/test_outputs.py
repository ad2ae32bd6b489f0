"""Files that predictions leave: names, overlays at the right pixels, videos."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from peclr.geometry.joints import BONE_COLORS, BONES
from peclr.inference.hands import HandPrediction, Side
from peclr.inference.network import TrainedNetwork
from peclr.predict.inputs import Frame, Input
from peclr.predict.outputs import OutputFolder, VideoFile, draw_prediction
from peclr.predict.predictor import Predicted
from peclr.predict.schema import Camera, FramePrediction

MakePicture = Callable[..., NDArray[np.uint8]]


def spread_hand(origin: tuple[float, float], side: Side = "right") -> HandPrediction:
    """Joints on a grid, so that no bone covers another's end."""
    rows, columns = np.divmod(np.arange(21), 5)
    points = np.stack([columns * 12.0, rows * 12.0], axis=1) + origin
    box = np.array([*points.min(axis=0), *points.max(axis=0)])
    return HandPrediction(side, box, "given", points, np.c_[points, np.ones(21)] / 100, 0.03)


def predicted(
    image: NDArray[np.uint8], file: str = "a.jpg", number: int | None = None, kind: str = "image"
) -> Predicted:
    frame = Frame(Input(f"in/{file}", file, kind), lambda: image, number)
    hands = (spread_hand((10, 10)),)
    size = (image.shape[1], image.shape[0])
    return Predicted(frame, image, FramePrediction(f"in/{file}", size, number, None, Camera(np.eye(3), "given"), hands))


def test_overlays_are_drawn_at_the_pixels_that_the_prediction_says() -> None:
    image = np.full((120, 160, 3), 255, np.uint8)
    hands = (spread_hand((10, 10)), spread_hand((90, 30), "left"))
    prediction = FramePrediction("a", (160, 120), None, None, Camera(np.eye(3), "given"), hands)
    drawn = draw_prediction(image, prediction)
    assert drawn.shape == image.shape
    assert (image == 255).all()
    for hand in hands:
        for (_, child), color in zip(BONES[3::4], BONE_COLORS[3::4], strict=True):  # tips: nothing covers them
            x, y = hand.keypoints_2d[child].astype(int)
            np.testing.assert_array_equal(drawn[y, x], color)
    outside = np.ones((120, 160), bool)
    for hand in hands:
        left, top, right, bottom = hand.box.astype(int)
        outside[top - 4 : bottom + 5, left - 4 : right + 5] = False
    assert (drawn[outside] == 255).all()


def test_every_picture_gets_files_of_its_own(trained: TrainedNetwork, picture: MakePicture, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with OutputFolder(out, trained, overlay=True, sides=True, video=None) as outputs:
        for file in ("a.jpg", "a.png", "手/a.b.jpg"):
            outputs.write(predicted(picture(61, 81), file))
        for number in range(3):
            outputs.write(predicted(picture(), "a.mp4", number, "video"))
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert names == [
        "a-2.json",
        "a-2.overlay.jpg",
        "a-2.sides.png",
        "a-3.jsonl",
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
    assert overlay.shape == (61, 81, 3)
    expected = draw_prediction(picture(61, 81), predicted(picture(61, 81)).prediction)
    assert np.abs(overlay[..., ::-1].astype(float) - expected).mean() < 3  # JPEG


def test_nothing_is_overwritten(trained: TrainedNetwork, tmp_path: Path) -> None:
    (tmp_path / "old.json").touch()
    with pytest.raises(FileExistsError, match="not an empty folder"):
        OutputFolder(tmp_path, trained, overlay=True, sides=False, video=None)
    (tmp_path / "old.mp4").touch()
    with pytest.raises(FileExistsError, match=r"old\.mp4 exists"):
        VideoFile(tmp_path / "old.mp4", 10)
    with pytest.raises(ValueError, match=r"\.gif: expected a video ending in"):
        VideoFile(tmp_path / "new.gif", 10)


def test_a_failure_to_write_is_not_lost(trained: TrainedNetwork, picture: MakePicture, tmp_path: Path) -> None:
    with (  # noqa: PT012 (both the writing and the end may tell)
        pytest.raises(FileExistsError),
        OutputFolder(tmp_path / "out", trained, overlay=False, sides=False, video=None) as outputs,
    ):
        (tmp_path / "out" / "a.json").touch()
        for _ in range(3):
            outputs.write(predicted(picture()))


def test_a_video_takes_pictures_of_any_size(picture: MakePicture, tmp_path: Path) -> None:
    video = VideoFile(tmp_path / "new" / "out.avi", 5)
    try:
        video.write(np.full((33, 49, 3), (200, 0, 0), np.uint8))
    except OSError:
        pytest.skip("this OpenCV cannot write MJPG")
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

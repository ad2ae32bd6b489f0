"""Images, folders, patterns, videos: found, in order, with numbers and times."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from peclr.data.sources.inputs import count_frames, find_inputs, frame_rate, frames_of
from tests.hand_video import write_clip

MakeImage = Callable[..., NDArray[np.uint8]]


def save(path: Path, image: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, image[..., ::-1])[1].tobytes())
    return path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Seven frames of growing brightness, ten a second."""
    reds = np.zeros((7, 32, 48, 3), np.uint8)
    reds[..., 2] = 30 * np.arange(7)[:, None, None]
    write_clip(tmp_path / "clip.avi", [*reds], rate=10)
    return tmp_path / "clip.avi"


def test_a_folder_is_searched_with_the_folders_below(tmp_path: Path, make_image: MakeImage) -> None:
    for name in ("b.png", "a.jpg", "ÜBER/手.webp", "ÜBER/.hidden.png", "._a.jpg"):
        save(tmp_path / "images" / name, make_image())
    (tmp_path / "images" / "notes.txt").touch()
    found = find_inputs([str(tmp_path / "images")])
    assert [item.file for item in found] == ["a.jpg", "b.png", "ÜBER/手.webp"]
    shapes = [frame.load().shape for frame in frames_of(found)]
    assert shapes == [(60, 80, 3)] * 3
    assert count_frames(found) == 3


def test_patterns_files_and_repetitions(tmp_path: Path, make_image: MakeImage) -> None:
    for name in ("1.png", "2.png", "10.jpg", "x[1].png", "deep/er/3.png"):
        save(tmp_path / name, make_image())
    words = [str(tmp_path / "*.png"), str(tmp_path / "1.png"), str(tmp_path / "**/3.png")]
    assert [item.file for item in find_inputs(words)] == ["1.png", "2.png", "x[1].png", "deep/er/3.png"]
    # a file's own name is no pattern
    assert [item.file for item in find_inputs([str(tmp_path / "x[1].png")])] == ["x[1].png"]


@pytest.mark.parametrize("word", ["nothing.jpg", "*.jpg", "camera:", "camera:x", "."])
def test_words_that_mean_nothing_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="^" + word.replace("*", r"\*").replace(".", r"\.") + ": no"):
        find_inputs([word])


def test_a_camera_is_not_opened_to_be_found() -> None:
    (camera,) = find_inputs(["camera:7"])
    assert (camera.source, camera.file, camera.kind) == ("camera:7", "camera-7", "camera")
    assert count_frames([camera]) is None


def test_a_still_image_has_no_number_and_no_time(tmp_path: Path, make_image: MakeImage) -> None:
    (frame,) = frames_of(find_inputs([str(save(tmp_path / "a.png", make_image()))]))
    assert (frame.number, frame.time_s) == (None, None)
    np.testing.assert_array_equal(frame.load(), make_image())


def test_frames_that_are_not_chosen_are_passed_over(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = [frame.load() for frame in frames_of(find_inputs([str(video)]))]
    for without_pyav in (False, True):
        if without_pyav:
            monkeypatch.setattr("peclr.data.sources.inputs.find_spec", lambda name: None)
        frames = list(frames_of(find_inputs([str(video)]), chosen=lambda number, seconds: number in (1, 4)))
        assert [frame.number for frame in frames] == [1, 4]
        assert all(np.abs(frame.load().astype(int) - everything[frame.number or 0]).mean() < 3 for frame in frames)


def test_videos_give_rgb_frames_with_numbers_and_times(video: Path) -> None:
    found = find_inputs([str(video)])
    frames = list(frames_of(found))
    assert [frame.number for frame in frames] == list(range(7))
    np.testing.assert_allclose([frame.time_s or 0.0 for frame in frames], np.arange(7) / 10, atol=1e-6)
    for number, frame in enumerate(frames):
        np.testing.assert_allclose(frame.load().mean(axis=(0, 1)), [30 * number, 0, 0], atol=4)
    assert frame_rate(found[0]) == 10
    assert (count_frames(found), count_frames(found, limit=3)) == (7, 3)
    assert len(list(frames_of(found, limit=3))) == 3


def test_without_pyav_a_line_names_the_extra(
    video: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("peclr.data.sources.inputs.find_spec", lambda name: None)
    assert len(list(frames_of(find_inputs([str(video)])))) == 7
    assert "clip.avi: read by OpenCV, which shows mirrored videos wrongly; pip install 'peclr[video]'" in caplog.text


class FakeCamera:
    """A camera of three blue images that, like most, says no position."""

    released = False

    def __init__(self, number: int) -> None:
        assert number == 7
        self.left = 3
        FakeCamera.released = False

    def read(self) -> tuple[bool, NDArray[np.uint8] | None]:
        self.left -= 1
        blue = np.zeros((4, 6, 3), np.uint8)
        blue[..., 0] = 255  # in OpenCV's order
        return (True, blue) if self.left >= 0 else (False, None)

    def get(self, what: int) -> float:
        return 0.0

    def release(self) -> None:
        FakeCamera.released = True


def test_a_camera_gives_frames_until_it_is_left_with_times_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    frames = list(frames_of(find_inputs(["camera:7"])))
    assert [frame.number for frame in frames] == [0, 1, 2]
    times = [frame.time_s or 0.0 for frame in frames]
    assert 0 < times[0] < times[1] < times[2]
    assert frames[0].load()[0, 0].tolist() == [0, 0, 255]
    stream = frames_of(find_inputs(["camera:7"]))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert FakeCamera.released


@pytest.mark.parametrize(
    ("name", "message"), [("clip.mp4", r"clip\.mp4 cannot be read as a video"), ("a.jpg", r"a\.jpg: 8 bytes")]
)
def test_what_is_unreadable_is_said_when_it_is_loaded(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / name).write_bytes(b"no image")
    (frame,) = frames_of(find_inputs([str(tmp_path / name)]))
    with pytest.raises(ValueError, match=message):
        frame.load()

"""Videos become tracks; a job that is killed, or divided, makes the same data set."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from peclr.__main__ import main
from peclr.data.prepare.merging import is_done
from peclr.data.sources.shards import Shards
from peclr.geometry.planar import move
from tests.hand_video import FRAMES, RATE, Hands, both_scenes, render_hands, write_video


@pytest.fixture(scope="module")
def hands(tmp_path_factory: pytest.TempPathFactory, task_file: Path) -> Hands:
    return render_hands(tmp_path_factory.mktemp("hands") / "hands")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, hands: Hands) -> Path:
    """Two short videos and an image: three tasks."""
    folder = tmp_path_factory.mktemp("files")
    frames = [frame for frame, _ in both_scenes(hands)]
    write_video(folder / "a.mp4", frames[:6])
    write_video(folder / "b.mp4", frames[-6:])
    cv2.imwrite(str(folder / "c.png"), frames[0][..., ::-1])
    return folder


@pytest.fixture(scope="module")
def whole(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Shards:
    out = tmp_path_factory.mktemp("whole") / "hands"
    assert main(["collect", str(files), f"--out={out}", "--every=1", "--workers=2"]) == 0
    return Shards(out)


def test_tracks_of_a_video_keep_their_hands_and_end_at_its_cut(hands: Hands, tmp_path: Path) -> None:
    frames = both_scenes(hands)
    write_video(tmp_path / "v.mp4", [frame for frame, _ in frames])
    assert main(["collect", str(tmp_path / "v.mp4"), f"--out={tmp_path / 'out'}", "--every=2", "--workers=1"]) == 0
    found = Shards(tmp_path / "out")
    by_frame: dict[int, list[tuple[int, np.ndarray]]] = {number: [] for number in range(len(frames))}
    for index in range(len(found)):
        about, joints = found.about(index), found[index]["joints_2d"]
        assert joints is not None
        assert about.time == pytest.approx(about.frame / RATE)
        by_frame[about.frame].append((about.track, move(found.image_from_crop(index), joints)))
    tracks = set[int]()
    for begin in (0, FRAMES):
        for hand in (0, 1):
            truth = [(number, frames[number][1][hand]) for number in range(begin, begin + FRAMES, 2)]
            visible = [(number, joints) for number, joints in truth if joints is not None]
            ids = []
            for number, joints in visible:
                size = np.ptp(joints, axis=0).max()
                near = [track for track, seen in by_frame[number] if np.abs(seen - joints).mean() < 0.1 * size]
                ids.append(near[0] if near else -1)
            main_track = max(set(ids) - {-1}, key=ids.count)
            assert ids.count(main_track) >= 0.95 * len(visible)
            tracks.add(main_track)
    assert len(tracks) == 4
    assert set(found.video_of_hands().tolist()) == {0}


def test_no_track_goes_on_after_a_cut_where_few_frames_are_looked_at(hands: Hands, tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", [frame for frame, _ in both_scenes(hands)])
    assert main(["collect", str(tmp_path / "v.mp4"), f"--out={tmp_path / 'out'}", "--workers=1"]) == 0
    found = Shards(tmp_path / "out")
    later = np.array([found.about(index).frame >= FRAMES for index in range(len(found))])
    tracks = found.track_of_hands()
    assert later.sum() >= 15
    assert not {*tracks[later].tolist()} & {*tracks[~later].tolist()}


def same(a: Shards, b: Shards) -> bool:
    ids = [[shards.stored(index)[1]["id"] for index in range(len(shards))] for shards in (a, b)]
    tracks = a.track_of_hands().tolist() == b.track_of_hands().tolist()
    return a.facts == b.facts and ids[0] == ids[1] and tracks  # the facts have the sums of all shards


def test_parts_of_several_machines_make_the_same(files: Path, whole: Shards, tmp_path: Path) -> None:
    words = ["collect", str(files), f"--out={tmp_path / 'out'}", "--every=1", "--workers=1"]
    for part in ("3/3", "1/3", "2/3"):
        assert main([*words, f"--part={part}"]) == 0
        assert not (tmp_path / "out" / "manifest.json").exists()
    assert main(words) == 0
    assert same(Shards(tmp_path / "out"), whole)
    assert main(words) == 0  # it is finished, which is no mistake


def test_what_was_collected_below_a_source_is_no_source(files: Path, tmp_path: Path) -> None:
    shutil.copy(files / "c.png", tmp_path)
    words = ["collect", str(tmp_path), f"--out={tmp_path / 'out'}", "--workers=1"]
    assert main(words) == 0
    assert (tmp_path / "out" / "sheet.png").is_file()
    assert main(words) == 0


def test_other_options_do_not_go_on_with_what_was_begun(
    files: Path, whole: Shards, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["collect", str(files), f"--out={whole.root}", "--every=2"]) == 2
    assert "was begun with every '1', now it is '2'" in capsys.readouterr().err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    assert main(["collect", str(files), f"--out={tmp_path / 'full'}"]) == 2
    assert "neither empty nor was it begun by this" in capsys.readouterr().err


def killed_in_the_middle(files: Path, folder: Path) -> Path:
    """Begin a job of three tasks and kill it after the first; where a busy machine lets it end, try again."""
    for attempt in range(5):
        out = folder / str(attempt)
        words = ["collect", str(files), f"--out={out}", "--every=1", "--workers=1"]
        command, silent = [sys.executable, "-m", "peclr", *words], subprocess.DEVNULL
        with subprocess.Popen(command, stdout=silent, stderr=silent, start_new_session=True) as job:
            while not is_done(out, 0):
                assert job.poll() is None
                time.sleep(0.01)
            os.killpg(job.pid, signal.SIGKILL)
        if not is_done(out, 2):
            return out
    pytest.fail("five jobs ended before they could be killed")


def test_a_job_that_was_killed_goes_on_and_makes_the_same(files: Path, whole: Shards, tmp_path: Path) -> None:
    out = killed_in_the_middle(files, tmp_path)
    words = ["collect", str(files), f"--out={out}", "--every=1", "--workers=1"]
    before = (out / "tasks" / "000000.npz").stat().st_mtime_ns
    assert main([*words, "--part=1/3"]) == 0
    assert (out / "tasks" / "000000.npz").stat().st_mtime_ns == before  # is not done again
    assert main(words) == 0
    assert same(Shards(out), whole)


def test_a_video_that_is_cut_short_is_listed_and_what_there_is_of_it_is_kept(hands: Hands, tmp_path: Path) -> None:
    path, out = tmp_path / "v.mp4", tmp_path / "out"
    write_video(path, [frame for frame, _ in both_scenes(hands)[:8]])
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    (tmp_path / "none.mp4").write_text("<html>not found</html>")
    words = ["collect", str(path), str(tmp_path / "none.mp4"), f"--out={out}", "--every=1", "--workers=1"]
    assert main(words) == 1
    found = Shards(out)
    assert {found.about(index).frame for index in range(len(found))} >= {0, 1}
    cut, none = found.facts.problems
    assert "v.mp4: cut short or damaged" in cut
    assert "none.mp4 cannot be read as a video" in none


def test_images_without_hands_make_no_data_set(
    tmp_path: Path, task_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / "empty.png"), np.full((64, 64, 3), 128, np.uint8))
    words = ["collect", str(tmp_path / "empty.png"), f"--out={tmp_path / 'out'}", f"--hand-landmarker={task_file}"]
    assert main(words) == 2
    assert "no crop was made; 1 images, 1 images without hands" in capsys.readouterr().err

"""Joints of images in tasks: parts, a kill and a repetition make the file of pairs that one process makes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from peclr.__main__ import main
from peclr.inference.network import TrainedNetwork
from tests.saved_run import save_run

TASKS = 3


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, make_image: Callable[..., NDArray[np.uint8]]) -> Path:
    """Images of three tasks."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(150):
        cv2.imwrite(str(folder / f"{number:03d}.png"), make_image(36, 40, number))
    return folder


def words(images: Path, run: Path, out: Path, *more: str) -> list[str]:
    return ["mine", str(images), f"--out={out}", f"--detector={run}", "--neighbors=2", *more]


def parts_of(out: Path) -> Path:
    return out.with_name(f"{out.name}.parts")


@pytest.fixture(scope="module")
def run(trained: TrainedNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fine-tuned network: always the same file, which pairs name."""
    return save_run(tmp_path_factory.mktemp("mining") / "run", trained.network, trained.view_size)


@pytest.fixture(scope="module")
def whole(images: Path, run: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of pairs, by one process."""
    out = tmp_path_factory.mktemp("whole") / "pairs.npz"
    assert main(words(images, run, out, "--workers=1")) == 0
    assert not parts_of(out).exists()
    return out.read_bytes()


@pytest.fixture
def begun(images: Path, run: Path, tmp_path: Path) -> Path:
    """The file of pairs to be, all of whose tasks are done."""
    out = tmp_path / "pairs.npz"
    for part in ("3/3", "1/3", "2/3"):
        assert main(words(images, run, out, f"--part={part}")) == 0
        assert not out.exists()
    return out


def test_parts_in_any_order_and_twice_make_the_same(images: Path, run: Path, whole: bytes, begun: Path) -> None:
    files = sorted(parts_of(begun).glob("*.npz"))
    assert len(files) == TASKS
    before = [file.stat().st_mtime_ns for file in files]
    assert main(words(images, run, begun, "--part=2/3")) == 0
    assert [file.stat().st_mtime_ns for file in files] == before
    assert main(words(images, run, begun)) == 0
    assert begun.read_bytes() == whole
    assert not parts_of(begun).exists()


@pytest.mark.slow
def test_processes_make_the_same(images: Path, run: Path, whole: bytes, tmp_path: Path) -> None:
    out = tmp_path / "pairs.npz"
    assert main(words(images, run, out, "--workers=2")) == 0
    assert out.read_bytes() == whole


def test_a_job_that_was_killed_goes_on(images: Path, run: Path, whole: bytes, tmp_path: Path) -> None:
    out = tmp_path / "pairs.npz"
    command = [sys.executable, "-m", "peclr", *words(images, run, out, "--workers=1")]
    silent = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=silent, stderr=silent, start_new_session=True) as job:
        while not (parts_of(out) / "000000.npz").exists() and job.poll() is None:
            time.sleep(0.01)
        os.killpg(job.pid, signal.SIGKILL)
    if not out.exists():  # where a busy machine lets it end, there is nothing to go on with
        assert main(words(images, run, out, "--workers=1")) == 0
    assert out.read_bytes() == whole


def test_what_is_no_output_of_its_task_is_named(
    images: Path, run: Path, whole: bytes, begun: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, _ = sorted(parts_of(begun).glob("*.npz"))
    content = second.read_bytes()
    for damaged, message in (
        (first.read_bytes(), "is not of task 1 of this job"),
        (content[:-100], "damaged"),
        (content[:300] + b"?" + content[301:], "damaged"),
    ):
        second.write_bytes(damaged)
        assert main(words(images, run, begun)) == 2
        error = capsys.readouterr().err
        assert str(second) in error
        assert message in error
        assert "remove it, and do the task again" in error
    second.unlink()
    assert main(words(images, run, begun)) == 0
    assert begun.read_bytes() == whole


def test_other_images_or_another_network_do_not_go_on(
    images: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed, other, out = tmp_path / "images", tmp_path / "run", tmp_path / "pairs.npz"
    shutil.copytree(images, changed)
    shutil.copytree(run, other)
    assert main(words(changed, other, out, "--part=1/3")) == 0
    (changed / "150.png").write_bytes((changed / "000.png").read_bytes())
    assert main(words(changed, other, out, "--part=2/3")) == 2
    assert f"{parts_of(out)} was begun with sources" in capsys.readouterr().err
    (changed / "150.png").unlink()
    checkpoint = other / "checkpoints" / "last.ckpt"
    state = torch.load(checkpoint, weights_only=False)
    torch.save(state | {"epoch": 77}, checkpoint)
    assert main(words(changed, other, out, "--part=2/3")) == 2
    assert f"{parts_of(out)} was begun with detectors" in capsys.readouterr().err
    assert len(list(parts_of(out).glob("*.npz"))) == 1


def test_an_image_that_cannot_be_read_costs_its_task_only(
    images: Path, run: Path, whole: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed, out = tmp_path / "images", tmp_path / "pairs.npz"
    shutil.copytree(images, changed)
    (changed / "070.png").write_bytes(b"no image")
    assert main(words(changed, run, out, "--workers=1")) == 2
    assert "1 of 3 tasks failed, task 1 for one" in (error := capsys.readouterr().err)
    assert "070.png" in error
    assert len(list(parts_of(out).glob("*.npz"))) == 2
    shutil.copy(images / "070.png", changed)
    assert main(words(changed, run, out, "--part=2/3")) == 0
    assert main(words(changed, run, out)) == 0
    assert out.read_bytes() == whole


def test_labels_leave_nothing_to_do_in_parts(
    rendered_hands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["mine", str(rendered_hands), f"--out={tmp_path / 'pairs.npz'}", "--part=1/3"]) == 0
    assert "there is nothing to do in parts" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []

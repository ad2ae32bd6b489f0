"""A Dask cluster of real worker processes: what it makes is what one process makes, also when one of them is killed."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from peclr.__main__ import main
from peclr.data.prepare.cutting import Cutting
from peclr.data.prepare.sharding import shard_source
from peclr.data.sources.image_files import ImageFiles
from peclr.parallel import run as run_job
from tests.contents import contents
from tests.hand_video import both_scenes, render_hands, write_video
from tests.parallel.work import job_of

dask = pytest.importorskip("dask", reason="needs the extra: pip install 'peclr[cluster]'")
distributed = pytest.importorskip("distributed", reason="needs the extra: pip install 'peclr[cluster]'")

pytestmark = [
    pytest.mark.slow,
    # tornado and dask leave sockets to the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**options) as started:
        yield started


@pytest.fixture
def many_images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(160):
        cv2.imwrite(str(folder / f"{number:03d}.jpg"), rng.integers(256, size=(300, 300, 3), dtype=np.uint8))
    return folder


def pids(cluster: Any) -> list[int]:
    with distributed.Client(cluster, set_as_default=False) as client:
        return list(client.run(os.getpid).values())


@contextmanager
def killed_soon(cluster: Any) -> Iterator[None]:
    """One of the workers is killed while this goes on."""
    victim = pids(cluster)[0]
    timer = threading.Timer(0.3, lambda: os.kill(victim, signal.SIGKILL))
    timer.start()
    yield
    timer.join()


def test_a_worker_that_is_killed_costs_no_task(cluster: Any, tmp_path: Path) -> None:
    job = job_of(tmp_path, 6, {0: "wait", 3: "error"})

    def kill() -> None:
        while not (found := list(tmp_path.glob("pid-*"))):
            time.sleep(0.05)
        os.kill(int(found[0].name.removeprefix("pid-")), signal.SIGKILL)
        (tmp_path / "go").touch()

    killer = threading.Thread(target=kill)
    killer.start()
    problems = run_job(job, workers=2, scheduler=cluster.scheduler_address, progress=False)
    killer.join()
    assert problems == {3: "file 3 is damaged"}
    assert {path.name for path in tmp_path.iterdir() if path.name.isdigit()} == set("01245")


def test_a_task_of_which_every_worker_dies_is_named(cluster: Any, tmp_path: Path) -> None:
    problems = run_job(
        job_of(tmp_path, 3, {1: "crash"}), workers=2, scheduler=cluster.scheduler_address, progress=False
    )
    assert problems.keys() == {1}
    assert "died" in problems[1]


def test_shards_of_a_cluster_are_those_of_one_process(
    cluster: Any, tmp_path: Path, many_images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # of which the workers know nothing
    source, cutting = ImageFiles(many_images.relative_to(tmp_path)), Cutting(64)
    shard_source(source, Path("one"), cutting, per_task=8)
    with killed_soon(cluster):
        shard_source(source, Path("many"), cutting, per_task=8, scheduler=cluster.scheduler_address)
    assert contents(Path("many")) == (expected := contents(Path("one")))
    assert len(expected) > 10


def test_pairs_that_a_cluster_mines_are_those_of_one_process(
    cluster: Any, tmp_path: Path, many_images: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["mine", many_images.name, f"--detector={run.relative_to(tmp_path)}"]
    assert main([*words, "--out=one.npz", "--workers=1"]) == 0
    with killed_soon(cluster):
        assert main([*words, "--out=many.npz", f"--scheduler={cluster.scheduler_address}"]) == 0
    assert Path("many.npz").read_bytes() == Path("one.npz").read_bytes()


def test_hands_that_a_cluster_collects_are_those_of_one_process(
    cluster: Any, tmp_path: Path, task_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a video and three images, four tasks."""
    monkeypatch.chdir(tmp_path)
    frames = [frame for frame, _ in both_scenes(render_hands(tmp_path / "hands"))]
    Path("files").mkdir()
    write_video(Path("files", "a.mp4"), frames[:6])
    for number, frame in enumerate(frames[6:9]):
        cv2.imwrite(f"files/{number}.png", frame[..., ::-1])
    words = ["collect", "files", "--every=1"]
    assert main([*words, "--out=one", "--workers=1"]) == 0
    with killed_soon(cluster):
        assert main([*words, "--out=many", f"--scheduler={cluster.scheduler_address}"]) == 0
    assert contents(Path("many")) == (expected := contents(Path("one")))
    assert len(expected) > 10


def test_a_scheduler_that_is_not_there_is_named(tmp_path: Path) -> None:
    timeout = dask.config.set({"distributed.comm.timeouts.connect": "1s"})
    with timeout, pytest.raises(OSError, match=r"tcp://127\.0\.0\.1:9"):
        run_job(job_of(tmp_path, 1), workers=1, scheduler="tcp://127.0.0.1:9", progress=False)

"""How much of `peclr collect`'s time is networks and decoding, which nothing can save; and whether memory grows."""

import multiprocessing
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from peclr.collect.frames import Every
from peclr.collect.groups import groups_of
from peclr.collect.hands import Thresholds
from peclr.collect.work import Collector, tasks_of
from peclr.data.prepare.cutting import Cutting
from peclr.data.prepare.merging import is_done, merge
from peclr.data.sources.images import read_image
from peclr.data.sources.inputs import find_inputs
from peclr.detection import DetectedHand, known_task_file
from peclr.parallel import Job
from peclr.parallel import run as run_job
from peclr.synthetic.writer import write_freihand_layout
from tests.benchmarks.run import Row

IMAGES = 12
ROUNDS = 3
MANY, FEW = 10_000, 100
WIDTH, HEIGHT = 1280, 960


def write_images(folder: Path) -> None:
    """Scenes with two rendered hands each, as large as those of webcams."""
    hands = folder.parent / "hands"
    write_freihand_layout(hands, train=8, evaluation=0, seed=0, size=224, versions=1, workers=1, progress=False)
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(IMAGES):
        coarse = rng.integers(0, 256, (12, 16, 3), np.uint8)
        scene = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        for place in (0, 1):
            hand = cv2.imread(str(hands / "training" / "rgb" / f"{(2 * number + place) % 8:08d}.jpg"))
            assert hand is not None
            scene[300:748, 80 + 600 * place : 528 + 600 * place] = cv2.resize(hand, (448, 448))
        cv2.imwrite(str(folder / f"{number:04d}.jpg"), scene)


def collector(images: Path, folder: Path, task_file: Path, kind: type[Collector] = Collector) -> Collector:
    """What `peclr collect IMAGES` makes, with default options."""
    inputs, every = find_inputs([str(images)]), Every()
    tasks = tasks_of(inputs, groups_of(inputs, None), every)
    return kind(tasks, folder, task_file, True, {}, Thresholds(), every, Cutting())  # noqa: FBT003


def share_of_networks(images: Path, folder: Path, task_file: Path) -> float:
    """CPU time of as many calls of the bare networks, and of decoding, over that of collecting, once both are warm."""
    work = collector(images, folder, task_file)
    work(0, lambda *_, **__: None)
    detector = work._detector
    networks = (detector._palms, detector._joints)
    calls = [0, 0]

    def counted(which: int) -> Any:
        def call(image: Any) -> Any:
            calls[which] += 1
            return networks[which](image)

        return call

    detector._palms, detector._joints = counted(0), counted(1)
    start = time.process_time()
    work(0, lambda *_, **__: None)
    collecting = time.process_time() - start
    start = time.process_time()
    for path in images.iterdir():
        read_image(path)
    for network, count in zip(networks, calls, strict=True):
        image = np.random.default_rng(0).integers(0, 256, network._input().shape[1:], np.uint8)
        for _ in range(count):
            network(image)
    return (time.process_time() - start) / collecting


class _Blind(Collector):
    """Finds the same hand everywhere, without a look."""

    @property
    def _detector(self) -> Any:
        rng = np.random.default_rng(0)
        points = rng.normal(0, 0.04, (21, 3))
        pixels = 32 + 400 * points[:, :2]
        hand = DetectedHand("right", 0.9, np.concatenate([pixels.min(axis=0), pixels.max(axis=0)]), pixels, points)
        return lambda image: [hand]


def _collect_blindly(folder: Path, count: int, peak: Any) -> None:
    images = folder / f"{count}"
    images.mkdir()
    cv2.imwrite(str(folder / "image.jpg"), np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    for number in range(count):
        (images / f"{number:06d}.jpg").hardlink_to(folder / "image.jpg")
    out = folder / f"out-{count}"
    work = collector(images, out, Path("none"), _Blind)
    job = Job(work, [task.images for task in work.tasks], lambda task: is_done(out, task), "images")
    assert not run_job(job, workers=0, progress=False)
    merge(out, len(work.tasks), name="collected", labels="pseudo", settings={})
    peak.value = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def peak_kb(folder: Path, count: int) -> int:
    """The most memory that collecting so many images takes, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    peak = context.Value("q")
    process = context.Process(target=_collect_blindly, args=(folder, count, peak))
    process.start()
    process.join()
    return int(peak.value)


def run() -> list[Row]:
    """Without the detector's file, memory alone."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if task_file := known_task_file():
            write_images(folder / "images")
            shares = [share_of_networks(folder / "images", folder / f"out{n}", task_file) for n in range(ROUNDS)]
            unit = f"of the rate of networks and decoding alone, {WIDTH} × {HEIGHT} px, CPU time"
            rows.append(("collect_over_bare_networks", statistics.median(shares), unit, "≥ 0.9"))
        few, many = (peak_kb(folder, count) for count in (FEW, MANY))
    unit = f"peak of one process, {few / 1024:.0f} MB for {FEW} images, the detector's networks not counted"
    return [*rows, ("collect_memory_10000_over_100", many / few, unit, "≤ 1.1")]

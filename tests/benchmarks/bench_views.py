"""What views cost: against decoding alone, through loaders with workers, from large images, and in memory.

Files and labels are made here: 224 px JPEGs of 18 kB, the median of 18 images of FreiHAND, with the spectrum of natural
images. All times of a ratio are taken in turns, one thread each, so that they have the same share of the machine and
equally cold caches; medians count.
"""

import json
import multiprocessing
import os
import re
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from peclr.data.datasets import Augmentation, PairedViewDataset
from peclr.data.loading.loaders import make_loader
from peclr.data.loading.sampling import EpochSampler
from peclr.data.prepare.command import pack_labels
from peclr.data.sources.freihand import FreiHAND
from peclr.data.sources.image_files import ImageFiles
from peclr.data.sources.images import read_reduced
from peclr.data.views.backgrounds import ReplaceBackground
from peclr.data.views.geometric import GeometryRange, pixels_to_keep
from peclr.data.views.photometric import Photometric
from tests.benchmarks.run import Row

Image = NDArray[np.uint8]

FREIHAND_SIDE, FREIHAND_BYTES = 224, 18_000
FREIHAND_HANDS, FREIHAND_VERSIONS = 32_560, 4
PHOTO_SIZE = (1600, 1200)
HANDS = 64  # different files, so that no cache holds one of them only


def natural_image(width: int, height: int, rng: np.random.Generator, blur: float = 0.0) -> Image:
    """Noise with the spectrum of natural images, amplitude 1/f (Field 1987): (height, width, 3)."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    channels = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(3, height, width))) / frequency, (height, width))
    # channels of natural images are much alike
    mixed = np.moveaxis(0.8 * channels.mean(axis=0) * np.sqrt(3) + 0.6 * channels, 0, -1)
    image: Image = np.clip(128 + 45 * mixed / mixed.std(), 0, 255).astype(np.uint8)
    return cv2.GaussianBlur(image, (0, 0), blur).astype(np.uint8, copy=False) if blur else image


def jpeg_of_size(image: Image, length: int) -> bytes:
    """The image at the highest quality at which the file is not longer."""
    for quality in range(98, 10, -2):
        encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(encoded) <= length:
            break
    return encoded


def write_freihand(root: Path, hands: int, versions: int, files: Iterable[bytes]) -> None:
    """Writes FreiHAND's layout: hands of 70 px half side in the middle, files taken in turns and linked."""
    rgb = root / "training" / "rgb"
    rgb.mkdir(parents=True)
    rng = np.random.default_rng(0)
    sources = []
    for number, content in enumerate(files):
        sources.append(root / f"{number}.jpg")
        sources[-1].write_bytes(content)
    for number in range(hands * versions):
        os.link(sources[number % len(sources)], rgb / f"{number:08d}.jpg")
    xyz = rng.uniform(-1, 1, (hands, 21, 3)) * [0.07, 0.07, 0.03] + [0, 0, 0.7]
    labels = {
        "K": np.tile([[600.0, 0, 112], [0, 600, 112], [0, 0, 1]], (hands, 1, 1)),
        "scale": np.linalg.norm(xyz[:, 9] - xyz[:, 10], axis=-1),
        "xyz": xyz,
    }
    for kind, values in labels.items():
        (root / f"training_{kind}.json").write_text(json.dumps(values.tolist()))


def freihand_files() -> list[bytes]:
    """Different JPEGs as FreiHAND's."""
    rng = np.random.default_rng(0)
    size = (FREIHAND_SIDE, FREIHAND_SIDE)
    return [jpeg_of_size(natural_image(*size, rng, 0.7), FREIHAND_BYTES) for _ in range(HANDS)]


@contextmanager
def one_thread_each() -> Iterator[Path]:
    """A folder that goes again, while OpenCV and PyTorch work on one thread."""
    threads = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp())
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
        cv2.setNumThreads(threads[0])
        torch.set_num_threads(threads[1])


def medians(
    works: dict[str, Callable[[int], object]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Median seconds of several pieces of work, done in turns; each is given the round."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds):
        for name, work in works.items():
            start = clock()
            work(number)
            times[name].append(clock() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}


def write_masks(root: Path) -> None:
    """Writes masks as FreiHAND's, of a palm with five fingers and an arm: 224 px, about 4 kB."""
    folder = root / "training" / "mask"
    folder.mkdir()
    rng = np.random.default_rng(0)
    middle = FREIHAND_SIDE // 2
    for hand in range(HANDS):
        mask = np.zeros((FREIHAND_SIDE, FREIHAND_SIDE), np.uint8)
        cv2.circle(mask, (middle, middle), 30, 255, -1)
        for angle in np.array([0.2, 0.8, 1.4, 2, 2.6, 4.5]) + rng.uniform(-0.15, 0.15, 6):
            length = 140 if angle > 4 else 70
            tip = (round(middle + length * np.cos(angle)), round(middle - length * np.sin(angle)))
            cv2.line(mask, (middle, middle), tip, 255, 28 if angle > 4 else 14)
        cv2.imwrite(str(folder / f"{hand:08d}.jpg"), mask)


def augmented(
    source: FreiHAND | ImageFiles, seed: int = 0, background: ReplaceBackground | None = None
) -> PairedViewDataset:
    """The default augmentation, perhaps with other backgrounds."""
    augmentation = Augmentation(GeometryRange(), Photometric(), background=background)
    return PairedViewDataset([source], augmentation=augmentation, seed=seed)


def view_pair_over_imread(root: Path, rounds: int = 1500, background: ReplaceBackground | None = None) -> float:
    """A pair of 128 px views with color jitter over cv2.imread of its file.

    With backgrounds, in one epoch, once masks have been traced and its backgrounds made.
    """
    source = FreiHAND(root)
    dataset = augmented(source, background=background)
    if background is not None:
        for index in range(HANDS):
            dataset[0, index]
    taken = medians(
        {
            "imread": lambda number: cv2.imread(source.image_file(number % HANDS)),
            "pair": lambda number: dataset[number if background is None else 0, number % HANDS],
        },
        rounds,
    )
    return taken["pair"] / taken["imread"]


def loader_overhead(root: Path, rounds: int = 12) -> float:
    """What a loader without workers adds to the cost of a pair, as a fraction."""
    dataset = augmented(FreiHAND(root))
    sampler = EpochSampler([HANDS])
    loader = make_loader(dataset, sampler, batch_size=HANDS, drop_last=True)

    def load(epoch: int) -> None:
        sampler.set_epoch(epoch)
        for _ in loader:
            pass

    def bare(epoch: int) -> None:
        sampler.set_epoch(epoch)
        for key in sampler:
            dataset[key]

    taken = medians({"loader": load, "bare": bare}, rounds)
    return taken["loader"] / taken["bare"] - 1


def two_workers_speedup(root: Path, batches: int = 30, rounds: int = 3) -> float:
    """Pairs per second of two worker processes over those of one, after the first batches."""
    dataset = augmented(FreiHAND(root))
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for workers, taken in seconds.items():
            sampler = EpochSampler([HANDS], length=HANDS * (batches + 4))
            iterator = iter(make_loader(dataset, sampler, batch_size=HANDS, num_workers=workers, drop_last=True))
            for _ in range(4):
                next(iterator)
            start = time.perf_counter()
            for _ in range(batches):
                next(iterator)
            taken.append(time.perf_counter() - start)
    return statistics.median(seconds[1]) / statistics.median(seconds[2])


def large_photo_over_reduced_decode(folder: Path, rounds: int = 40) -> float:
    """A pair from an image of 1600 × 1200 px, hand included, over decoding it at the scale that the pair needs."""
    folder.mkdir()
    image = natural_image(*PHOTO_SIZE, np.random.default_rng(0), 1.5)
    cv2.imwrite(str(folder / "photo.jpg"), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    dataset = augmented(ImageFiles(folder))
    file = folder / "photo.jpg"
    # the scale that this pair needs depends on what was drawn for it
    keeps = []
    for epoch in range(rounds):
        scale = np.linalg.det(dataset[epoch, 0]["view_from_crop"][:, :2, :2].double().numpy()) ** -0.5
        keeps.append(pixels_to_keep(128, float(scale.min())))
    taken = medians(
        {"decode": lambda epoch: read_reduced(file, None, keeps[epoch]), "pair": lambda epoch: dataset[epoch, 0]},
        rounds,
    )
    return taken["pair"] / taken["decode"]


def four_workers_memory_mb(root: Path) -> float:
    """By how much four workers that have loaded batches raise the resident memory of a loader of 130,240 images.

    Shared pages are counted once (proportional set size), batches on their way are taken off. In a new process: this
    one has measured other things.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        alone, with_workers = pool.submit(_memory_mb, root).result()
    return with_workers - alone


def _memory_mb(root: Path) -> tuple[float, float]:
    multiprocessing.set_start_method("fork", force=True)  # of the loader's workers, as everywhere else on Linux
    warnings.filterwarnings("ignore", "This DataLoader will create 4 worker processes")  # it is meant
    torch.set_num_threads(1)
    dataset = augmented(FreiHAND(root))
    sampler, size = EpochSampler(dataset.sizes), 16
    for _ in zip(range(4), make_loader(dataset, sampler, batch_size=size, drop_last=True), strict=False):
        pass
    alone = proportional_set_mb([os.getpid()])
    iterator = iter(make_loader(dataset, sampler, batch_size=size, num_workers=4, drop_last=True))
    for _ in range(16):
        next(iterator)
    workers = [worker.pid for worker in iterator._workers]  # type: ignore[attr-defined]  # to look at them
    ready = 2 * 4 * size * 2 * 3 * 128 * 128 / 1e6  # batches that are ready, two for each worker
    return alone, proportional_set_mb([os.getpid(), *workers]) - ready


def proportional_set_mb(processes: list[int]) -> float:
    """Resident memory of processes, pages that several share counted once, MB.

    Without libraries' unchanged pages: how much of them is a process's share depends on who else on the machine has
    loaded them.
    """
    total, is_library = 0, False
    for line in (line for pid in processes for line in Path(f"/proc/{pid}/smaps").read_text().splitlines()):
        if mapped := re.match(r"[0-9a-f]+-[0-9a-f]+ (?:\S+ +){4}(.*)", line):
            is_library = ".so" in Path(mapped[1]).suffixes
        elif line.startswith("Pss_Anon:" if is_library else "Pss:"):
            total += int(line.split()[1])
    return total * 1024 / 1e6


def run() -> list[Row]:
    """Measure everything, one thread each."""
    with one_thread_each() as folder:
        write_freihand(folder / "small", HANDS, 1, freihand_files())
        write_masks(folder / "small")
        write_freihand(folder / "full", FREIHAND_HANDS, FREIHAND_VERSIONS, freihand_files())
        pack_labels("freihand", folder / "full", "training")
        with_background = view_pair_over_imread(folder / "small", background=ReplaceBackground())
        return [
            ("view_pair_over_imread", view_pair_over_imread(folder / "small"), "× imread", "≤ 2.6"),
            ("view_pair_with_background_over_imread", with_background, "× imread", "≤ 2.6"),
            ("two_workers_speedup", two_workers_speedup(folder / "small"), "× one worker", "≥ 1.6"),
            ("loader_overhead", loader_overhead(folder / "small"), "of the pairs' cost", "≤ 0.15"),
            ("large_photo_over_reduced_decode", large_photo_over_reduced_decode(folder / "large"), "× decode", "≤ 1.4"),
            ("four_workers_memory_mb", four_workers_memory_mb(folder / "full"), "MB over no workers", "≤ 400"),
        ]

"""Labels of full size, once packed: what there is to train on of DexYCB, HanCo, all backgrounds, and InterHand2.6M.

Labels are synthetic, and one image, of one frame a camera, stands for all: links lead to its folder.
"""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from peclr.data.samples import HandSource
from peclr.data.sources.dexycb import DexYCB
from peclr.data.sources.dexycb_labels import CAMERAS, SEQUENCES, SUBJECTS
from peclr.data.sources.hanco import HanCo
from peclr.data.sources.hanco_labels import FOLDERS
from peclr.data.sources.interhand import InterHand
from peclr.data.sources.layouts import DataSet, label_files, prepared_folder
from peclr.data.sources.packed_labels import Array, name_below, stamp_of, write_packed
from tests.benchmarks.bench_shards import opened_by_workers
from tests.benchmarks.bench_views import freihand_files, one_thread_each
from tests.benchmarks.run import Row
from tests.data.conftest import hands_in_space

DEXYCB_ITEMS = 465_504  # of s0_train, NVlabs/dex-ycb-toolkit
HANCO_SEQUENCES, HANCO_FRAMES = 1_518, 70  # lmb-freiburg/contra-hand; how long they are differs there
INTERHAND_SINGLE, INTERHAND_BOTH = 687_548, 673_514  # images of train, 30 a second, mks0601.github.io/InterHand2.6M
_POOL = 1_000  # different hands
_K = np.array([[150.0, 0, 112], [0, 150, 112], [0, 0, 1]], np.float32)  # they are in images of 224 px


def write_dexycb(root: Path, jpeg: bytes) -> None:
    """Write subjects whose sequences have 72 or 73 frames, as many as the division s0 has to train on."""
    more = DEXYCB_ITEMS // len(CAMERAS) - 72 * 80 * len(SUBJECTS)  # sequences of one more frame
    number = np.arange(len(SUBJECTS) * SEQUENCES)
    trained = number % 5 != 4
    counts = 72 + (trained & (np.cumsum(trained) <= more))
    sequence = np.repeat(number, counts * len(CAMERAS))
    first = np.cumsum(counts * len(CAMERAS)) - counts * len(CAMERAS)
    place = np.arange(len(sequence)) - first[sequence]
    names = [f"{subject}/20200101_{place:06d}" for subject in SUBJECTS for place in range(SEQUENCES)]
    folder = _frames(root / "images", "color_{:06d}.jpg", 73, jpeg)
    for name in names:
        (root / name).mkdir(parents=True)
        (root / name / "meta.yml").touch()
        for camera in CAMERAS:
            (root / name / camera).symlink_to(folder)
    (root / "calibration" / "intrinsics").mkdir(parents=True)
    for camera in CAMERAS:
        (root / "calibration" / "intrinsics" / f"{camera}_640x480.yml").touch()
    arrays = {
        "joints_3d": _hands(len(sequence)),
        "sequence": sequence.astype(np.int32),
        "camera": (place // counts[sequence]).astype(np.uint8),
        "frame": (place % counts[sequence]).astype(np.int32),
        "sequence_name": np.array([name.encode() for name in names]),
        "subject": (number // SEQUENCES).astype(np.uint8),
        "number": (number % SEQUENCES).astype(np.uint8),
        "is_left": number % 2 == 1,
        "K": np.tile(_K, (len(CAMERAS), 1, 1)),
    }
    _pack("dexycb", root, "s0_train", arrays)


def write_hanco(root: Path, jpeg: bytes) -> None:
    """Write sequences, three quarters of them to train on, which are in all folders."""
    number = np.arange(HANCO_SEQUENCES)
    sequence = np.repeat(number, HANCO_FRAMES)
    folder = root / "images"
    for camera in range(8):
        _frames(folder / f"cam{camera}", "{:08d}.jpg", HANCO_FRAMES, jpeg)
    for name in FOLDERS:
        (root / name).mkdir()
        for place in number.tolist():
            if name == FOLDERS[0] or place % 4:
                (root / name / f"{place:04d}").symlink_to(folder)
    (root / "calib" / "0000").mkdir(parents=True)
    for file in ("meta.json", "calib/0000/00000000.json"):
        (root / file).touch()
    arrays = {
        "sequence": sequence.astype(np.int32),
        "frame": np.tile(np.arange(HANCO_FRAMES, dtype=np.int32), HANCO_SEQUENCES),
        "folders": np.stack([np.ones_like(number), *[number % 4] * 4], axis=1) > 0,
        "is_train": sequence % 4 != 0,
        "is_valid": sequence % 2 == 0,
        "subject": (sequence % 32).astype(np.int32),
        "xyz": _hands(len(sequence)),
        "M": np.tile(np.eye(4, dtype=np.float32)[:3], (len(sequence), 8, 1, 1)),
        "K": np.tile(_K, (len(sequence), 8, 1, 1)),
        "has_joints": np.ones((len(sequence), 8), np.bool_),
    }
    _pack("hanco", root, "train", arrays)


def write_interhand(root: Path, jpeg: bytes) -> None:
    """Write images of single and of interacting hands, all of them the same file."""
    _frames(root / "images" / "train", "{}.jpg", 1, jpeg)
    (root / "annotations" / "train").mkdir(parents=True)
    for kind in ("data", "camera", "joint_3d"):
        (root / "annotations" / "train" / f"InterHand2.6M_train_{kind}.json").touch()
    images = INTERHAND_SINGLE + INTERHAND_BOTH
    hands, number = images + INTERHAND_BOTH, np.arange(images)
    image = np.sort(np.concatenate([number, number[:INTERHAND_BOTH]])).astype(np.int32)
    arrays = {
        "image": image,
        "is_left": np.arange(hands) % 2 == 1,
        "joints_3d": _hands(hands),
        "box": np.full((hands, 4), np.nan, np.float32),
        "scale_m": np.full(hands, 0.03, np.float32),
        "name": np.full(images, b"train/" + b"./" * 25 + b"0.jpg"),
        "size": np.full((images, 2), 224, np.int32),
        "interact": number < INTERHAND_BOTH,
        "K": np.tile(_K, (2_000, 1, 1)),
        "listed": np.array([images]),
    }
    arrays |= {"frame": number // 80, "take": number // 10_000, "camera": number % 80, "person": number % 21}
    arrays |= {"lens": number % 2_000}
    _pack("interhand", root, "train", {k: v.astype(np.int32) if v.dtype == np.int64 else v for k, v in arrays.items()})


def _hands(count: int) -> Array:
    return np.resize(hands_in_space(_POOL, np.random.default_rng(0)), (count, 21, 3)).astype(np.float32)


def _frames(folder: Path, name: str, count: int, jpeg: bytes) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / name.format(number)).write_bytes(jpeg)
    return folder


def _pack(dataset: DataSet, root: Path, split: str, arrays: dict[str, Array]) -> None:
    folder = prepared_folder(dataset, root, split)
    folder.mkdir(parents=True)
    stamps = {name_below(root, path): stamp_of(path) for path in label_files(dataset, root, split)}
    write_packed(folder, folder.name, arrays, stamps, {})


def run() -> list[Row]:
    """Measure everything, one thread each."""
    rows: list[Row] = []
    with one_thread_each() as folder:
        jpeg = freihand_files()[0]
        write_dexycb(folder / "dexycb", jpeg)
        write_hanco(folder / "hanco", jpeg)
        write_interhand(folder / "interhand", jpeg)
        sources: dict[str, Callable[[], HandSource]] = {
            "dexycb": partial(DexYCB, folder / "dexycb", "s0_train"),
            "hanco": partial(HanCo, folder / "hanco", frames="all"),
            "interhand": partial(InterHand, folder / "interhand"),
        }
        for name, make in sources.items():
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
                opened, made, alone = pool.submit(opened_by_workers, make, 0, "across_cameras").result()
                _, _, together = pool.submit(opened_by_workers, make, 4, "across_cameras").result()
            rows += [
                (f"open_{name}_s", opened, "s of CPU", "≤ 2"),
                (f"data_module_{name}_s", made, "s of CPU", None),
                (f"one_process_{name}_mb", alone, "MB", None),
                (f"four_workers_{name}_mb", together - alone, "MB over no workers", "≤ 200"),
            ]
    return rows

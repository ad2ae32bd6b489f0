"""What shards cost: a pair against the same crops in a file each, and opening and loading two million hands.

The index of two million hands is synthetic: arrays of the right sizes, full of holes, over shards of one image each.
"""

import hashlib
import multiprocessing
import os
import time
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from peclr.data.datamodules import PairedViewDataModule
from peclr.data.datasets import Augmentation, PairedViewDataset
from peclr.data.loading.pairing import PairingName
from peclr.data.prepare.cutting import Cutting
from peclr.data.prepare.sharding import shard_source
from peclr.data.samples import HandSource
from peclr.data.sources.image_files import ImageFiles
from peclr.data.sources.packed_labels import write_packed
from peclr.data.sources.packed_text import pack_texts
from peclr.data.sources.shard_format import COLUMNS, FOLDER, KIND, NUMBERED, Facts, Shard
from peclr.data.sources.shards import Shards
from peclr.data.views.geometric import GeometryRange
from peclr.data.views.photometric import Photometric
from tests.benchmarks.bench_views import HANDS, freihand_files, medians, one_thread_each, proportional_set_mb
from tests.benchmarks.run import Row
from tests.data.sources.folder_server import serving_folder
from tests.data.sources.old_crops import write_old_crops

MANY, SHARDS = 2_000_000, 250


def write_many(root: Path, jpeg: bytes, count: int = MANY) -> None:
    """Write a set of so many crops, all of one image, with tracks of 100 hands, without their JSON files."""
    per_shard = count // SHARDS
    content = bytes(512) + jpeg + bytes(512)
    (root / FOLDER).mkdir(parents=True)
    shards = [
        Shard(f"{task:06d}-00.tar", len(content), hashlib.sha256(content).hexdigest(), per_shard)
        for task in range(SHARDS)
    ]
    for shard in shards:
        (root / FOLDER / shard.name).write_bytes(content)
    number, ones = np.arange(count), np.ones(count, np.int64)
    known: dict[str, Any] = {
        "offset": 512 * ones,
        "length": len(jpeg) * ones,
        "crc": (zlib.crc32(jpeg) * ones).astype(np.uint32),
        "track": number // 100,
        "time": number % 100 / 30,
        "frame": number % 100,
        "video": number // 10_000,
        **{name: np.zeros(count, np.int32) for name in NUMBERED},
        "id_ends": 12 * (number + 1),
        "id_text": np.char.mod("%012d", number).astype("S12").view(np.uint8),
    }
    for name in NUMBERED:
        packed = pack_texts(["one"])
        known |= {f"{name}_text": packed.text, f"{name}_ends": packed.ends}
    holes = [name for name in COLUMNS if name not in (*known, "moment", "camera", "hand", "K", "joints_3d", "scale_m")]
    for name in holes:
        shape = (count, *COLUMNS[name].shape)
        array = np.lib.format.open_memmap(root / f"{name}.npy", "w+", COLUMNS[name].kind, shape)
        if name == "crop_box":
            array[:] = [60.0, 60.0, 190.0, 190.0]
        if name == "image_from_crop":
            array[:] = np.eye(3)
    facts = msgspec.to_builtins(Facts("collected hands", "pseudo", shards, {}, [], {}))
    write_packed(root, KIND, known | dict.fromkeys(holes, np.empty(0)), {}, facts)
    for path in root.glob("*.npy"):  # pages that happen to be cached are mapped around those that are read
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def shard_pairs(root: Path, rounds: int = 1500) -> tuple[float, float]:
    """CPU time of a pair of views with warm caches, of the same crops: shards over files, fetched ones over others."""
    source, augmentation = ImageFiles(root / "images"), Augmentation(GeometryRange(), Photometric())
    shard_source(source, root / "shards", Cutting())
    write_old_crops(source, root / "files")
    with serving_folder(root / "shards") as served:
        remote = Shards(served.address, root / "cache")
        assert not remote.find_problems("decode"), "all of it is fetched"
    sources = {"shards": Shards(root / "shards"), "files": Shards(root / "files"), "remote": remote}
    pairs = {kind: PairedViewDataset([source], augmentation=augmentation) for kind, source in sources.items()}
    works = {kind: lambda epoch, dataset=dataset: dataset[epoch, epoch % HANDS] for kind, dataset in pairs.items()}
    taken = medians(works, rounds, time.process_time)  # type: ignore[arg-type]  # with a default
    return taken["shards"] / taken["files"], taken["remote"] / taken["shards"]


def opened_by_workers(
    make: Callable[[], HandSource], workers: int, pairing: PairingName = "same_image"
) -> tuple[float, float, float]:
    """Seconds to open, to make a data module, and the memory of a process that has loaded batches, with its workers."""
    multiprocessing.set_start_method("fork", force=True)  # of the loader's workers, as everywhere else on Linux
    warnings.filterwarnings("ignore", "This DataLoader will create 4 worker processes")  # it is meant
    torch.set_num_threads(1)
    started = time.process_time()
    source = make()
    opened = time.process_time()
    data = PairedViewDataModule(sources=source, pairing=pairing, view_size=32, batch_size=16, num_workers=workers)
    made = time.process_time()
    iterator = iter(data.train_dataloader())
    for _ in range(16):
        next(iterator)
    children = [worker.pid for worker in iterator._workers] if workers else []  # type: ignore[attr-defined]  # to look
    return opened - started, made - opened, proportional_set_mb([os.getpid(), *children])


def run() -> list[Row]:
    """Measure everything, one thread each."""
    with one_thread_each() as folder:
        (folder / "images").mkdir()
        files = freihand_files()
        for number, content in enumerate(files):
            (folder / "images" / f"{number}.jpg").write_bytes(content)
        over_files, over_shards = shard_pairs(folder)
        write_many(folder / "many", files[0])
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
            opened, made, alone = pool.submit(opened_by_workers, partial(Shards, folder / "many"), 0).result()
            _, _, together = pool.submit(opened_by_workers, partial(Shards, folder / "many"), 4).result()
    return [
        ("shard_pair_over_file_pair", over_files, "× files", "≤ 1.0"),
        ("cached_remote_pair_over_shard_pair", over_shards, "× shards", "≤ 1.02"),
        ("open_2m_hands_s", opened, "s of CPU", "≤ 2"),
        ("data_module_2m_hands_s", made, "s of CPU", None),
        ("one_process_2m_hands_mb", alone, "MB", None),
        ("four_workers_2m_hands_mb", together - alone, "MB over no workers", "≤ 100"),
    ]

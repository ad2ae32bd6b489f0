"""What one core does in a second: what `experiments/scale.md` calculates with. On other machines, other numbers."""

import statistics
import time
from pathlib import Path

from peclr.data.datasets import Augmentation, PairedViewDataset
from peclr.data.prepare.cutting import Cutting
from peclr.data.prepare.sharding import shard_source
from peclr.data.sources.image_files import ImageFiles
from peclr.data.sources.shards import Shards
from peclr.data.views.geometric import GeometryRange
from peclr.data.views.photometric import Photometric
from peclr.detection import known_task_file
from tests.benchmarks.bench_collect import IMAGES, collector, write_images
from tests.benchmarks.bench_views import HANDS, freihand_files, medians, one_thread_each
from tests.benchmarks.run import Row

_ROUNDS = 600


def of_shards(folder: Path) -> list[Row]:
    """Cutting 224 px images into shards, reading and checking those, and making pairs of 128 px views of them."""
    images = folder / "images"
    images.mkdir()
    for number, content in enumerate(freihand_files()):
        (images / f"{number}.jpg").write_bytes(content)
    started = time.process_time()
    facts = shard_source(ImageFiles(images), folder / "shards", Cutting())
    cutting = time.process_time() - started
    assert facts is not None
    source = Shards(folder / "shards")
    pairs = PairedViewDataset([source], augmentation=Augmentation(GeometryRange(), Photometric()))
    taken = medians(
        {"pair": lambda n: pairs[n, n % HANDS], "read": lambda n: source.encoded(n % HANDS)}, _ROUNDS, time.process_time
    )
    started = time.process_time()
    assert not source.find_problems("decode", workers=1)
    checking = time.process_time() - started
    size = sum(shard.bytes for shard in facts.shards)
    return [
        ("pairs_per_s", 1 / taken["pair"], "pairs of 128 px views, from shards of 256 px crops", None),
        ("shard_reads_per_s", 1 / taken["read"], "crops, with their sums compared", None),
        ("shard_check_mb_per_s", size / checking / 1e6, "MB of shards compared with their SHA-256", None),
        ("prepare_images_per_s", HANDS / cutting, "images of 224 px into shards", None),
        ("crop_kb", sum(len(source.encoded(n)) for n in range(HANDS)) / HANDS / 1e3, "kB of a crop's JPEG", None),
    ]


def collected_per_s(folder: Path, task_file: Path, rounds: int = 3) -> float:
    """Images of 1280 × 960 px with two hands each that one core collects in a second."""
    write_images(folder / "scenes")
    work = collector(folder / "scenes", folder / "collected", task_file)
    taken = []
    for _ in range(rounds):
        started = time.process_time()
        work(0, lambda *_, **__: None)
        taken.append(time.process_time() - started)
    return IMAGES / statistics.median(taken)


def run() -> list[Row]:
    """Measure everything, one thread each."""
    with one_thread_each() as folder:
        rows = of_shards(folder)
        if task_file := known_task_file():
            rows.append(("collect_images_per_s", collected_per_s(folder, task_file), "images of two hands each", None))
    return rows

"""What an epoch over 100 million items costs before its first item, and a pair more than one of 10,000."""

import multiprocessing
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from peclr.data.datasets import Augmentation, PairedViewDataset
from peclr.data.loading.sampling import EpochSampler
from peclr.data.samples import HandSample, HandSource, hand_sample
from peclr.data.sources.images import decode_image
from peclr.data.views.geometric import GeometryRange
from peclr.data.views.photometric import Photometric
from peclr.geometry.planar import whole_image
from tests.benchmarks.bench_views import FREIHAND_SIDE, freihand_files, medians, one_thread_each

MANY, FEW = 100_000_000, 10_000


class OneImage(HandSource):
    """So many hands, all of them one image."""

    name = "one image"

    def __init__(self, num_hands: int, encoded: bytes) -> None:
        self.num_hands, self._encoded = num_hands, encoded

    def __getitem__(self, index: int) -> HandSample:
        return hand_sample(decode_image(self._encoded, index), whole_image(FREIHAND_SIDE, FREIHAND_SIDE), str(index))


def pair_of_many_over_pair_of_few(encoded: bytes, rounds: int = 600) -> float:
    """CPU time of a key and its pair of views, of many items over few."""
    pairs = {}
    for count in (MANY, FEW):
        dataset = PairedViewDataset(
            [OneImage(count, encoded)], augmentation=Augmentation(GeometryRange(), Photometric())
        )
        keys = iter(EpochSampler(dataset.sizes))
        pairs[str(count)] = lambda _, dataset=dataset, keys=keys: dataset[next(keys)]
    taken = medians(pairs, rounds, time.process_time)  # type: ignore[arg-type]  # with defaults
    return taken[str(MANY)] / taken[str(FEW)]


def start_of_epoch() -> tuple[float, float]:
    """CPU seconds until the first item of an epoch of many, and the memory that takes, MB."""
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    sampler = EpochSampler([MANY], 1)
    sampler.set_epoch(3)
    assert next(iter(sampler))[0] == 3
    taken = time.process_time() - started
    return taken, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3


def run() -> list[dict[str, Any]]:
    """Measure everything, one thread each."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        seconds, megabytes = pool.submit(start_of_epoch).result()
    with one_thread_each():
        ratio = pair_of_many_over_pair_of_few(freihand_files()[0])
    rows = [
        ("epoch_start_100m_s", seconds, "s of CPU", "≤ 0.5"),
        ("epoch_start_100m_mb", megabytes, "MB", "≤ 20"),
        ("pair_of_100m_over_10k", ratio, "× of 10,000", "≤ 1.05"),
    ]
    return [
        {"name": name, "value": round(value, 4), "unit": unit, "target": target} for name, value, unit, target in rows
    ]


if __name__ == "__main__":
    for row in run():
        print(row)

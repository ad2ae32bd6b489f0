"""What an epoch over 100 million items and a split of them cost before the first, and a pair more than of 10,000."""

import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from peclr.data.datamodules import PairedViewDataModule
from peclr.data.datasets import Augmentation, PairedViewDataset
from peclr.data.loading.loaders import ResumableLoader
from peclr.data.loading.sampling import EpochSampler
from peclr.data.samples import HandSample, HandSource, hand_sample
from peclr.data.sources.composed import SelectedHands
from peclr.data.sources.images import decode_image
from peclr.data.sources.selection import split_hands
from peclr.data.sources.some_hands import split_groups_of_many
from peclr.data.views.geometric import GeometryRange
from peclr.data.views.photometric import Photometric
from peclr.geometry.planar import whole_image
from tests.benchmarks.bench_mine import private_mb
from tests.benchmarks.bench_views import FREIHAND_SIDE, freihand_files, medians, one_thread_each
from tests.benchmarks.run import Row

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
        training = split_hands(count, 0.05, seed=0)[0]
        dataset = PairedViewDataset(
            [SelectedHands(OneImage(count, encoded), training)],
            augmentation=Augmentation(GeometryRange(), Photometric()),
        )
        keys = iter(EpochSampler(dataset.sizes))
        pairs[str(count)] = lambda _, dataset=dataset, keys=keys: dataset[next(keys)]
    taken = medians(pairs, rounds, time.process_time)  # type: ignore[arg-type]  # with defaults
    return taken[str(MANY)] / taken[str(FEW)]


def start_of_epoch() -> tuple[float, float]:
    """CPU seconds until the first item of an epoch of many, of which 5 % are held out, and the memory it takes, MB."""
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    data = PairedViewDataModule(sources=OneImage(MANY, b""), val_fraction=0.05, batch_size=128, seed=1)
    for loader in (data.train_dataloader(), data.val_dataloader()):
        assert isinstance(loader, ResumableLoader)
        loader.sampler.set_epoch(3)
        next(iter(loader.sampler))
    taken = time.process_time() - started
    return taken, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3


def split_of_tracks(per_track: int = 100) -> tuple[float, float]:
    """The same of holding out whole tracks of so many hands, whose numbers are memory-mapped."""
    with tempfile.TemporaryDirectory() as folder:
        track = np.lib.format.open_memmap(Path(folder, "track.npy"), "w+", np.int32, (MANY,))
        for start in range(0, MANY, 10**6):
            track[start : start + 10**6] = np.arange(start, start + 10**6) // per_track
        before, started = private_mb(), time.process_time()
        split = split_groups_of_many(track, MANY // 20, seed=0)
        assert split is not None
        assert len(split[1]) == MANY // 20
        return time.process_time() - started, private_mb() - before


def run() -> list[Row]:
    """Measure everything, one thread each."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        seconds, megabytes = pool.submit(start_of_epoch).result()
        of_tracks = pool.submit(split_of_tracks).result()
    with one_thread_each():
        ratio = pair_of_many_over_pair_of_few(freihand_files()[0])
    return [
        ("epoch_start_100m_s", seconds, "s of CPU", "≤ 0.5"),
        ("epoch_start_100m_mb", megabytes, "MB", "≤ 20"),
        ("tracks_split_100m_s", of_tracks[0], "s of CPU", None),
        ("tracks_split_100m_mb", of_tracks[1], "MB, beside the mapped file", "≤ 25"),
        ("pair_of_100m_over_10k", ratio, "× of 10,000", "≤ 1.05"),
    ]

"""What it takes to find 100,000 poses' neighbors, from 2-D joints on, and how many are missed.

`python -m tests.benchmarks.bench_mine 2000000` measures as many as are given.
"""

import multiprocessing
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from peclr.mining.descriptors import describe
from peclr.mining.neighbors import bytes_of_lists, nearest
from peclr.synthetic.anatomy import sample_subject
from peclr.synthetic.poses import sample_pose
from tests.benchmarks.run import Row

POSES = 100_000
COMPONENTS, NEIGHBORS = 14, 8  # the command's
_SKELETONS = 500  # that poses are mixed of: drawing each from anatomy would take minutes
_CHECKED = 1000  # poses whose nearest is known by brute force
_MOST = 5_000_000  # distances at a time: 40 MB


def joints(count: int) -> NDArray[np.float32]:
    """(count, 21, 2): mixtures of two rendered hands, turned as a hand before a camera, seen from afar."""
    rng = np.random.default_rng(0)
    skeletons = np.stack([sample_pose(rng, sample_subject(rng))[1].joints for _ in range(_SKELETONS)])
    seen = np.empty((count, 21, 2), np.float32)
    for start in range(0, count, 10_000):
        size = min(10_000, count - start)
        first, second = skeletons[rng.integers(_SKELETONS, size=(2, size))]
        share = rng.uniform(size=(size, 1, 1))
        turns, _ = np.linalg.qr(rng.normal(size=(size, 3, 3)))
        turns *= np.linalg.det(turns)[:, None, None]  # rotations, no mirror images
        seen[start : start + size] = ((share * first + (1 - share) * second) @ turns)[..., :2]
    return seen


def nearest_by_brute_force(descriptors: NDArray[np.float32], queries: NDArray[np.int64]) -> NDArray[np.int64]:
    """(Q,), the nearest other pose of each query, in float64."""
    exact = descriptors.astype(np.float64)
    squares = (exact**2).sum(axis=1)
    found = []
    size = max(1, _MOST // len(exact))
    for start in range(0, len(queries), size):
        block = queries[start : start + size]
        distance = squares - 2 * exact[block] @ exact.T  # the query's own square changes no order
        distance[np.arange(len(block)), block] = np.inf
        found.append(distance.argmin(axis=1))
    return np.concatenate(found)


def private_mb() -> float:
    """Memory of this process alone: pages of files are no one's, and come and go."""
    found = re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None, "needs Linux"
    return int(found[1]) / 1e3


def private_mb_while(work: Callable[[], object], every: float = 0.02) -> float:
    """Most memory that this process alone has while it works, more than before, MB."""
    before, done, seen = private_mb(), threading.Event(), [0.0]

    def watch() -> None:
        while not done.wait(every):
            seen.append(private_mb() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    work()
    done.set()
    watcher.join()
    return max(seen)


def by_codes(count: int) -> tuple[float, float, float]:
    """Mine with so little memory that lists hold codes: CPU seconds, MB, and how many are the nearest."""
    seen = joints(count)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        started = time.process_time()
        descriptors, _ = describe(seen, COMPONENTS, folder / "descriptors.npy")
        del seen
        memory = 1.01 * bytes_of_lists(count, COMPONENTS, coded=True) / 1e9
        megabytes = private_mb_while(lambda: nearest(descriptors, NEIGHBORS, memory_gb=memory, folder=folder))
        seconds = time.process_time() - started
        return seconds, megabytes, recall(np.load(folder / "neighbors.npy", mmap_mode="r"), descriptors)


def recall(neighbors: NDArray[np.int32], descriptors: NDArray[np.float32]) -> float:
    """How many of some hands' nearest are those of brute force."""
    queries = np.random.default_rng(1).choice(len(descriptors), min(_CHECKED, len(descriptors)), replace=False)
    return float((neighbors[queries, 0] == nearest_by_brute_force(descriptors, queries)).mean())


def run(count: int = POSES) -> list[Row]:
    """Measure once.

    Args:
        count: Of poses; fewer for a quick look, more for what a smaller number does not show.
    """
    seen, millions, size = joints(count), count / 1e6, f"{count:,} poses"
    start = time.perf_counter()
    descriptors, _ = describe(seen, COMPONENTS)
    neighbors, _ = nearest(descriptors, NEIGHBORS)
    seconds = time.perf_counter() - start
    found = recall(neighbors, descriptors)
    del seen, descriptors, neighbors
    # by itself, so that no memory that was freed here is used again there
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        cpu_seconds, megabytes, found_by_codes = pool.submit(by_codes, count).result()
    return [
        ("mine_100k_s" if count == POSES else "mine_s", seconds, f"s, {size}", "≤ 60" if count == POSES else None),
        ("mine_recall_at_1", found, "of brute force", "≥ 0.99"),
        ("mine_codes_s_per_million", cpu_seconds / millions, f"s of CPU, at {size}", None),
        ("mine_codes_mb_per_million", megabytes / millions, "MB, beside mapped files", None),
        ("mine_codes_recall_at_1", found_by_codes, "of brute force", "≥ 0.9"),
    ]


if __name__ == "__main__":
    for row in run(*map(int, sys.argv[1:])):
        print(row)

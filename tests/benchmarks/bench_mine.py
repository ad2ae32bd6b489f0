"""How long `peclr mine` takes to find 100,000 poses' neighbors, from 2-D joints on, and how many it misses."""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peclr.mining.descriptors import describe
from peclr.mining.neighbors import nearest
from peclr.synthetic.anatomy import sample_subject
from peclr.synthetic.poses import sample_pose

POSES = 100_000
COMPONENTS, NEIGHBORS = 14, 8  # the command's
_SKELETONS = 500  # that poses are mixed of: drawing each from anatomy would take minutes
_CHECKED = 1000  # poses whose nearest is known by brute force
_BLOCK = 50  # of them at a time: 40 MB of distances


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
    for start in range(0, len(queries), _BLOCK):
        block = queries[start : start + _BLOCK]
        distance = squares - 2 * exact[block] @ exact.T  # the query's own square changes no order
        distance[np.arange(len(block)), block] = np.inf
        found.append(distance.argmin(axis=1))
    return np.concatenate(found)


def run(count: int = POSES) -> list[dict[str, Any]]:
    """Measure once.

    Args:
        count: Of poses; fewer for a quick look.
    """
    seen = joints(count)
    start = time.perf_counter()
    descriptors, _ = describe(seen, COMPONENTS)
    neighbors, _ = nearest(descriptors, NEIGHBORS)
    seconds = time.perf_counter() - start
    queries = np.random.default_rng(1).choice(count, min(_CHECKED, count), replace=False)
    recall = float((neighbors[queries, 0] == nearest_by_brute_force(descriptors, queries)).mean())
    return [
        {"name": "mine_100k_s", "value": round(seconds, 2), "unit": f"s, {count:,} poses", "target": "≤ 60"},
        {"name": "mine_recall_at_1", "value": round(recall, 4), "unit": "of brute force", "target": "≥ 0.99"},
    ]


if __name__ == "__main__":
    for row in run():
        print(row)

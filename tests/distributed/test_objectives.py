"""Two processes that share a batch compute the loss and the gradients of one process that has all of it."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

WORKER = Path(__file__).with_name("worker.py")
CASES = [
    "SimCLR",
    "PeCLR",
    "AffinePeCLR",
    "SiMHand",
    "SiMHand positive",
    "SiMHand negative",
    "PretrainModule",
    "PretrainModule in micro-batches",
    "SiMHand in micro-batches",
]
Results = dict[str, dict[str, Tensor]]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Results]:
    """What one process computes ("1-0"), and each of two ("2-0", "2-1")."""
    folder = tmp_path_factory.mktemp("processes")
    runs = {f"{world_size}-{rank}": (rank, world_size) for world_size in (1, 2) for rank in range(world_size)}
    processes = [
        subprocess.Popen([sys.executable, str(WORKER), str(rank), str(world_size), str(folder)])
        for rank, world_size in runs.values()
    ]
    assert [process.wait(timeout=300) for process in processes] == [0, 0, 0]
    return {name: torch.load(folder / f"{name}.pt", weights_only=True) for name in runs}


@pytest.mark.parametrize("split", ["even", "uneven"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("process", ["2-0", "2-1"])
def test_loss_and_gradients_are_those_of_the_whole_batch(
    results: dict[str, Results], process: str, case: str, split: str
) -> None:
    alone, together = (results[name][f"{case}, {split}"] for name in ("1-0", process))
    assert alone.keys() == together.keys()
    assert alone["loss"] > 0
    assert len(alone) > 2
    for name, expected in alone.items():
        largest = expected.abs().max().clamp_min(1e-6)
        assert (together[name] - expected).abs().max() <= 1e-5 * largest, name


@pytest.mark.parametrize("split", ["even", "uneven"])
def test_false_negatives_are_counted_over_processes(results: dict[str, Results], split: str) -> None:
    alone, together = (results[name][f"hands, {split}"] for name in ("1-0", "2-1"))
    # hands 0 0 1 1 2 2 (3): two views of the one other pair, except for the last of seven
    assert alone["false_negatives"].item() == pytest.approx(2 if split == "even" else 2 * 6 / 7)
    assert together["false_negatives"].item() == alone["false_negatives"].item()
    assert together["counts"].tolist() == {"even": [3, 3], "uneven": [5, 2]}[split]

"""Two processes that share a batch compute the loss and the gradients of one process that has all of it."""

from multiprocessing import get_context

import pytest
import torch
from torch import Tensor

from tests.distributed.worker import run, work

CASES = [
    "SimCLR",
    "PeCLR",
    "AffinePeCLR",
    "SiMHand",
    "SiMHand positive",
    "SiMHand negative",
    "SoftPeCLR",
    "SplitObjective",
    "VICReg",
    "GeometryHead",
    "PretrainModule",
    "PretrainModule in micro-batches",
    "SiMHand in micro-batches",
    "GeometryHead in micro-batches",
]
Results = dict[str, dict[str, Tensor]]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Results]:
    """What one process computes ("1-0"), and each of two ("2-0", "2-1")."""
    folder = tmp_path_factory.mktemp("processes")
    fork = get_context("fork")
    processes = [fork.Process(target=work, args=(rank, 2, folder)) for rank in range(2)]
    for process in processes:
        process.start()
    alone = run(0, 1)
    for process in processes:
        process.join(timeout=300)
    assert [process.exitcode for process in processes] == [0, 0]
    return {"1-0": alone, **{f"2-{rank}": torch.load(folder / f"2-{rank}.pt", weights_only=True) for rank in range(2)}}


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
    assert together["largest"].item() == 10, "what the other one said"
    assert together["counts"].tolist() == {"even": [3, 3], "uneven": [5, 2]}[split]

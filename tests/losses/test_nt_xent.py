"""NT-Xent against Algorithm 1 written as loops, the published numbers, and extreme inputs."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from peclr.losses import nt_xent
from peclr.losses.nt_xent import nt_xent_loss, nt_xent_of_anchors

REFERENCE = Path(__file__).parents[1] / "reference" / "contrastive.npz"


def embeddings(n: int, d: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z1, z2 = normalize(torch.randn(2, n, d, dtype=torch.float64, generator=generator), dim=-1)
    return z1, z2


def plain_nt_xent(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """Eq. 1: each of 2N embeddings finds its other view among the 2N − 1 others."""
    z = torch.cat((z1, z2))
    logits = (z @ z.mT / temperature).fill_diagonal_(-torch.inf)
    return cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


def algorithm_1(z1: Tensor, z2: Tensor, temperature: float) -> float:
    """SimCLR's Algorithm 1 with its indices: z[2k − 1], z[2k] are the views of sample k (here from zero)."""
    n = len(z1)
    z = [view.tolist() for pair in zip(z1, z2, strict=True) for view in pair]

    def similarity(i: int, j: int) -> float:
        dot = math.fsum(a * b for a, b in zip(z[i], z[j], strict=True))
        return dot / (math.hypot(*z[i]) * math.hypot(*z[j]))

    def pair_loss(i: int, j: int) -> float:
        others = math.fsum(math.exp(similarity(i, k) / temperature) for k in range(2 * n) if k != i)
        return -math.log(math.exp(similarity(i, j) / temperature) / others)

    return math.fsum(pair_loss(2 * k, 2 * k + 1) + pair_loss(2 * k + 1, 2 * k) for k in range(n)) / (2 * n)


@pytest.mark.parametrize("n", [2, 3, 8])
@pytest.mark.parametrize("d", [1, 2, 32])
@pytest.mark.parametrize("temperature", [0.07, 0.5, 2.0])
def test_equals_algorithm_1_written_as_loops(n: int, d: int, temperature: float) -> None:
    z1, z2 = embeddings(n, d, seed=n + d)
    expected = pytest.approx(algorithm_1(z1, z2, temperature), rel=1e-12)
    assert plain_nt_xent(z1, z2, temperature).item() == expected
    assert nt_xent_loss(z1, z2, temperature).item() == expected


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0])
def test_parity_with_the_published_code(temperature: float) -> None:
    with np.load(REFERENCE) as data:
        z = normalize(torch.from_numpy(data["projections"]), dim=-1)
        expected = float(data[f"ntxent_simclr_t{temperature}"])
    assert nt_xent_loss(z[:16], z[16:], temperature).item() == pytest.approx(expected, rel=1e-6)


def test_gradients() -> None:
    z1, z2 = (z.requires_grad_() for z in embeddings(4, 6))
    assert torch.autograd.gradcheck(nt_xent_loss, (z1, z2))


def test_gradients_with_weights() -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.cat(embeddings(4, 6)).requires_grad_()
    (weights, shares), pull = torch.rand(2, 5, 8, generator=generator).double(), torch.rand(5, generator=generator)
    anchors = torch.tensor([7, 0, 3, 4, 2])
    assert torch.autograd.gradcheck(lambda z: nt_xent_of_anchors(z, anchors, 0.3, weights, pull.double(), shares), z)


@pytest.mark.parametrize("chunk_logits", [1, 33, 70, 10_000])
def test_chunks_change_neither_the_loss_nor_its_gradient(chunk_logits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    z = torch.cat(embeddings(16, 8)).requires_grad_()
    whole = plain_nt_xent(z[:16], z[16:], 0.2)
    monkeypatch.setattr(nt_xent, "_CHUNK_LOGITS", {"cpu": chunk_logits})
    loss = nt_xent_loss(z[:16], z[16:], 0.2)
    torch.testing.assert_close(loss, whole)
    torch.testing.assert_close(*(torch.autograd.grad(value, z)[0] for value in (loss, whole)))


def test_shares_of_anchors_add_up_to_the_loss() -> None:
    z1, z2 = embeddings(6, 8)
    z = torch.cat((z1, z2))
    shares = [
        nt_xent_of_anchors(z, anchors, 0.5) for anchors in torch.tensor([8, 1, 0, 11, 5, 3, 2, 9, 10, 4, 6, 7]).chunk(3)
    ]
    torch.testing.assert_close(torch.stack(shares).sum(), nt_xent_loss(z1, z2))


class LargestTensor(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's, without types
    """Notes the number of elements of the largest tensor that is computed."""

    numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.numel = max(self.numel, *(leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)), 0)
        return result


def test_the_whole_matrix_of_logits_is_never_held() -> None:
    z1, z2 = (z.requires_grad_() for z in embeddings(2048, 8))
    with LargestTensor() as largest:  # type: ignore[no-untyped-call]  # the same
        torch.autograd.backward(nt_xent_loss(z1, z2))
    assert 4096 <= largest.numel < 4096**2 / 8


def test_views_are_interchangeable_and_samples_have_no_order() -> None:
    z1, z2 = embeddings(8, 16)
    loss = nt_xent_loss(z1, z2)
    torch.testing.assert_close(nt_xent_loss(z2, z1), loss)
    shuffle = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(nt_xent_loss(z1[shuffle], z2[shuffle]), loss)


def test_equal_embeddings_are_a_guess_among_all_others() -> None:
    z = torch.ones(5, 1)
    assert nt_xent_loss(z, z).item() == pytest.approx(math.log(2 * 5 - 1))


def test_agreeing_views_cost_less_than_unrelated_ones() -> None:
    z1, z2 = embeddings(16, 32)
    assert nt_xent_loss(z1, z1) < nt_xent_loss(z1, z2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("magnitude", [0.0, 1.0, 1e4])
def test_any_magnitude_gives_a_finite_loss_and_gradient(dtype: torch.dtype, magnitude: float) -> None:
    z1, z2 = ((magnitude * z).to(dtype).requires_grad_() for z in embeddings(6, 8))
    loss = nt_xent_loss(z1, z2, temperature=0.1)
    (gradient,) = torch.autograd.grad(loss, z1)
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert gradient.isfinite().all()


def test_autocast_does_not_reach_the_softmax() -> None:
    z1, z2 = (z.float() for z in embeddings(32, 64))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = nt_xent_loss(z1, z2, temperature=0.05)
    assert inside.dtype == torch.float32
    assert inside.item() == nt_xent_loss(z1, z2, temperature=0.05).item()


def test_tf32_does_not_reach_the_cosines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training allows TF32, which only a GPU has: what is asked of torch counts here."""
    asked: list[str] = []

    def noted(*arguments: Any) -> Tensor:
        asked.append(torch.get_float32_matmul_precision())
        return share(*arguments)

    share = nt_xent._log_partition
    monkeypatch.setattr(nt_xent, "_log_partition", noted)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        nt_xent_loss(*embeddings(4, 8))
        asked.append(torch.get_float32_matmul_precision())
    finally:
        torch.set_float32_matmul_precision(before)
    assert asked == ["highest", "high"]


@pytest.mark.parametrize("shapes", [((4, 8), (5, 8)), ((4, 8), (4, 6)), ((4, 2, 8), (4, 2, 8)), ((8,), (8,))])
def test_mismatched_shapes_are_refused(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match=r"expected two \(N, D\) embeddings, got"):
        nt_xent_loss(torch.zeros(shapes[0]), torch.zeros(shapes[1]))


def test_a_batch_without_negatives_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 samples in a batch, got 1"):
        nt_xent_loss(*embeddings(1, 8))


@pytest.mark.parametrize("temperature", [0.0, -0.5, math.nan])
def test_a_temperature_not_above_zero_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match=f"temperature must be above 0, got {temperature}"):
        nt_xent_loss(*embeddings(4, 8), temperature=temperature)

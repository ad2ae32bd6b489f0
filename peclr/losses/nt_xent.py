"""NT-Xent, the normalized temperature-scaled cross-entropy of contrastive learning, over the batches of all processes.

Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020 (arXiv 2002.05709),
eq. 1 and Algorithm 1. The whole matrix of logits is never held: rows are turned into their share of the loss and of its
gradient a chunk at a time, with one exponential for both, each process those of its own anchors.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import normalize

from peclr.collectives import gather, pairs_per_process, rank, sum_over_processes
from peclr.geometry.affine import at_least_float32

# Logits held at once: 4 MiB in float32, which a CPU's cache keeps; a GPU has to be kept busy instead.
_CHUNK_LOGITS = {"cpu": 2**20, "cuda": 2**25}

# Shorter projections are not made longer than that: their gradients are divided by it, twice where an inversion
# comes between two normalizations, and have to fit into float16. A head's projections start at a length of about 5.
_MIN_NORM = 1e-2


def check_temperature(temperature: float) -> float:
    """Return a temperature; ValueError if no softmax has it."""
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    return temperature


def nt_xent_loss(z1: Tensor, z2: Tensor, temperature: float = 0.5) -> Tensor:
    """NT-Xent between the L2-normalized views (N, D) of this process alone: mean over both directions of all pairs.

    It is computed in float32 or better even under autocast. The temperature divides the cosines; 0.5 in PeCLR.
    ValueError if shapes differ, there are no negatives (N < 2), or the temperature is not above 0.
    """
    if z1.ndim != 2 or z1.shape != z2.shape:
        raise ValueError(f"expected two (N, D) embeddings, got {tuple(z1.shape)} and {tuple(z2.shape)}")
    z = torch.cat((z1, z2))
    return nt_xent_of_anchors(z, torch.arange(len(z), device=z.device), temperature)


def contrast(projections: Tensor, temperature: float) -> Tensor:
    """NT-Xent of projections (B, 2, D), in one frame by now, not normalized, of all processes.

    The same on all of them, with the gradient that DistributedDataParallel has to average.
    """
    z, anchors = gather_views(l2_normalize(projections), pairs_per_process(len(projections)))
    return sum_over_processes(nt_xent_of_anchors(z, anchors, temperature))


def l2_normalize(projections: Tensor) -> Tensor:
    """Projections (…, D) of length one, shorter if they have next to none; at least float32."""
    return normalize(at_least_float32(projections), dim=-1, eps=_MIN_NORM)


def gather_views(views: Tensor, counts: list[int]) -> tuple[Tensor, Tensor]:
    """Gather views (B, 2, …) from all processes, with B of each from `pairs_per_process`; differentiable.

    (2N, …), all first views, then all second views in the same order; and (2B,) int64, the rows of this process.
    """
    gathered = gather(views, counts)
    start = sum(counts[: rank()])
    own = torch.arange(start, start + len(views), device=views.device)
    return torch.cat(gathered.unbind(dim=1)), torch.cat((own, own + len(gathered)))


def nt_xent_of_anchors(
    z: Tensor,
    anchors: Tensor,
    temperature: float,
    weights: Tensor | None = None,
    pull: Tensor | None = None,
    shares: Tensor | None = None,
) -> Tensor:
    """The share of some anchors in NT-Xent; the shares of all anchors add up to the loss.

    Args:
        z: (2N, D), all first views, then all second views in the same order, L2-normalized.
        anchors: (A,) int64, rows of `z` that look for their other view; the rest are only compared with.
        weights: (A, 2N), constant factors of the logits in the softmax's denominator.
        pull: (A,), constant factors of the logits of the anchors' other views in its numerator.
        shares: (A, 2N), constant factors, at least 0, of the exponentials in the softmax's denominator.
    """
    n = len(z) // 2
    if n < 2:
        raise ValueError(f"contrast needs at least 2 samples in a batch, got {n}")
    check_temperature(temperature)
    z = at_least_float32(z)
    gradient = torch.zeros_like(z) if torch.is_grad_enabled() and z.requires_grad else None
    arguments = (z, anchors, temperature, weights, pull, shares, gradient)
    loss: Tensor = _SoftmaxOfAnchors.apply(*arguments)  # type: ignore[no-untyped-call]  # torch's, without types
    return loss


class _SoftmaxOfAnchors(torch.autograd.Function):
    """`nt_xent_of_anchors`; the gradient is computed on the way forward, while the exponentials are at hand."""

    @staticmethod
    def forward(
        ctx: Any,
        z: Tensor,
        anchors: Tensor,
        temperature: float,
        weights: Tensor | None,
        pull: Tensor | None,
        shares: Tensor | None,
        gradient: Tensor | None,
    ) -> Tensor:
        with torch.autocast(z.device.type, enabled=False), full_precision_matmul():
            partners = (anchors + len(z) // 2) % len(z)
            factor = 1 / temperature
            pulls = torch.full_like(anchors, factor, dtype=z.dtype) if pull is None else pull.to(z.dtype) * factor
            attraction = (z[anchors] * z[partners]).sum(dim=1) @ pulls
            rows = max(1, _CHUNK_LOGITS.get(z.device.type, 2**25) // len(z))
            log_partitions = []
            for start in range(0, len(anchors), rows):
                chunk = slice(start, start + rows)
                of_weights, of_shares = (None if one is None else one[chunk] for one in (weights, shares))
                log_partitions.append(_log_partition(z, anchors[chunk], factor, of_weights, of_shares, gradient))
            if gradient is not None:
                gradient.index_add_(0, anchors, z[partners] * -pulls[:, None])
                gradient.index_add_(0, partners, z[anchors] * -pulls[:, None])
                ctx.save_for_backward(gradient.div_(len(z)))
            return (torch.cat(log_partitions).sum() - attraction) / len(z)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * grad_output, None, None, None, None, None, None


def _log_partition(
    z: Tensor, anchors: Tensor, factor: float, weights: Tensor | None, shares: Tensor | None, gradient: Tensor | None
) -> Tensor:
    """Logarithms (A,) of the softmax's denominators; their gradient with respect to `z` is added to `gradient`."""
    queries = z[anchors] * factor
    scores = queries @ z.mT
    if weights is not None:
        scores *= weights
    if shares is not None:
        scores += shares.log()
    scores.scatter_(1, anchors[:, None], -torch.inf)  # an assignment would copy the number from the host
    largest = scores.amax(dim=1, keepdim=True)
    exponentials = scores.sub_(largest).exp_()
    partition = exponentials.sum(dim=1, keepdim=True)
    if gradient is not None:
        slopes = exponentials if weights is None else exponentials.mul_(weights)
        gradient.addmm_(slopes.mT, queries / partition)
        gradient.index_add_(0, anchors, (slopes @ z) * (factor / partition))
    return (partition.log() + largest).squeeze(1)


@contextmanager
def full_precision_matmul() -> Iterator[None]:
    """Multiply float32 matrices in float32: TF32 would keep 10 bits of a cosine, which is then exponentiated."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)

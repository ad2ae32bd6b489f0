"""NT-Xent, the normalised temperature-scaled cross-entropy of contrastive learning.

Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020 (arXiv
2002.05709), eq. 1 and Algorithm 1. The logits are never held as a whole: rows are turned into their share of the
loss and of its gradient a chunk at a time, with one exponential for both.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from peclr.geometry.affine import at_least_float32

# Logits held at once: 4 MiB in float32, which a CPU's cache keeps between the passes over a chunk; a GPU, which
# has to be kept busy instead, gets more.
_CHUNK_LOGITS = {"cpu": 2**20, "cuda": 2**25}


def nt_xent_loss(z1: Tensor, z2: Tensor, temperature: float = 0.5) -> Tensor:
    """Tell each embedding's other view from the 2N − 2 embeddings of other samples.

    Args:
        z1: (N, D), first views, L2-normalised.
        z2: (N, D), second views of the same samples in the same order, L2-normalised.
        temperature: Divides the cosines. 0.5 in PeCLR.

    Returns:
        Scalar, the mean over both directions of all N pairs; in float32 or better even under autocast.

    Raises:
        ValueError: If shapes differ, there are no negatives (N < 2), or the temperature is not above 0.
    """
    if z1.ndim != 2 or z1.shape != z2.shape:
        raise ValueError(f"expected two (N, D) embeddings, got {tuple(z1.shape)} and {tuple(z2.shape)}")
    z = torch.cat((z1, z2))
    return nt_xent_of_anchors(z, torch.arange(len(z), device=z.device), temperature)


def nt_xent_of_anchors(
    z: Tensor, anchors: Tensor, temperature: float, weights: Tensor | None = None, pull: Tensor | None = None
) -> Tensor:
    """The share of some anchors in NT-Xent; the shares of all anchors add up to the loss.

    Args:
        z: (2N, D), all first views, then all second views in the same order, L2-normalised.
        anchors: (A,) int64, rows of `z` that are told from the others; the others are only compared with.
        temperature: Divides the cosines.
        weights: (A, 2N), factors of the logits in the softmax's denominator; constants, by default 1.
        pull: (A,), factors of the logits of the anchors' other views in its numerator; constants, by default 1.

    Returns:
        Scalar, in float32 or better even under autocast.

    Raises:
        ValueError: If there are no negatives (N < 2) or the temperature is not above 0.
    """
    n = len(z) // 2
    if n < 2:
        raise ValueError(f"contrast needs at least 2 samples in a batch, got {n}")
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    z = at_least_float32(z)
    differentiate = torch.is_grad_enabled() and z.requires_grad
    arguments = (z, anchors, temperature, weights, pull, differentiate)
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
        differentiate: bool,
    ) -> Tensor:
        """Go over the anchors in chunks, keeping the sum of losses and of gradients."""
        with torch.autocast(z.device.type, enabled=False), _full_precision_matmul():
            partners = (anchors + len(z) // 2) % len(z)
            factor = 1 / temperature
            pulls = torch.full_like(anchors, factor, dtype=z.dtype) if pull is None else pull.to(z.dtype) * factor
            attraction = (z[anchors] * z[partners]).sum(dim=1) @ pulls
            gradient = torch.zeros_like(z) if differentiate else None
            rows = max(1, _CHUNK_LOGITS.get(z.device.type, 2**25) // len(z))
            log_partitions = []
            for start in range(0, len(anchors), rows):
                chunk = slice(start, start + rows)
                chunk_weights = None if weights is None else weights[chunk]
                log_partitions.append(_log_partition(z, anchors[chunk], factor, chunk_weights, gradient))
            if gradient is not None:
                gradient.index_add_(0, anchors, z[partners] * -pulls[:, None])
                gradient.index_add_(0, partners, z[anchors] * -pulls[:, None])
                ctx.save_for_backward(gradient.div_(len(z)))
            return (torch.cat(log_partitions).sum() - attraction) / len(z)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        """Scale the gradient of `forward`."""
        (gradient,) = ctx.saved_tensors
        return gradient * grad_output, None, None, None, None, None


def _log_partition(
    z: Tensor, anchors: Tensor, factor: float, weights: Tensor | None, gradient: Tensor | None
) -> Tensor:
    """Logarithms (A,) of the softmax's denominators; their gradient with respect to `z` is added to `gradient`."""
    queries = z[anchors] * factor
    scores = queries @ z.mT
    if weights is not None:
        scores *= weights
    scores[torch.arange(len(anchors), device=z.device), anchors] = -torch.inf  # nobody is its own negative
    largest = scores.amax(dim=1, keepdim=True)
    exponentials = scores.sub_(largest).exp_()
    partition = exponentials.sum(dim=1, keepdim=True)
    if gradient is not None:
        slopes = exponentials if weights is None else exponentials.mul_(weights)
        gradient.addmm_(slopes.mT, queries / partition)
        gradient.index_add_(0, anchors, (slopes @ z) * (factor / partition))
    return (partition.log() + largest).squeeze(1)


@contextmanager
def _full_precision_matmul() -> Iterator[None]:
    """Multiply float32 matrices in float32: TF32 would keep 10 bits of a cosine, which is then exponentiated."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)

"""Contrast over more pairs than fit into memory at once: gradient caching.

Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", 2021 (arXiv 2101.06983):
project all views in micro-batches without keeping activations, differentiate the loss with respect to the
projections, then project each micro-batch again and go on backwards from there. That is activation checkpointing
with micro-batches for segments, and torch's does it: in one graph, so that autocast, gradient scaling,
accumulation and DistributedDataParallel's hooks work as in any other step.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm


def project_in_micro_batches(
    project: Callable[[Tensor], tuple[Tensor, ...]],
    views: Tensor,
    micro_batch: int,
    module: nn.Module,
    largest: int | None = None,
) -> tuple[Tensor, ...]:
    """Project views with the activations of one micro-batch in memory and the gradient of the whole batch.

    Each micro-batch is projected twice. BatchNorm in training normalizes each with its own statistics, as on so
    many devices, and its running statistics follow the first pass alone; the second sees the random numbers of
    the first. With BatchNorm in evaluation, projections and gradients are those of the whole batch.

    Args:
        project: (b, 2, 3, S, S) views to (b, 2, …) projections and what else an objective needs of the network.
        views: (B, 2, 3, S, S).
        micro_batch: pairs projected at once, at most. Micro-batches are of equal size, give or take one.
        module: whose layers `project` uses.
        largest: pairs of the process that has most: all split into as many micro-batches as it does, because
            SyncBatchNorm waits for each of the others' calls. By default B.

    Returns:
        What `project` returns, (B, 2, …) each.
    """
    parts = math.ceil((largest or len(views)) / micro_batch)
    if parts == 1 or len(views) < 2:
        return project(views)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), frozen_running_statistics(module)

    projections = [
        checkpoint(project, part, use_reentrant=False, context_fn=contexts)
        for part in views.tensor_split(min(parts, len(views)))
    ]
    return tuple(torch.cat(parts) for parts in zip(*projections, strict=True))


@contextmanager
def frozen_running_statistics(module: nn.Module) -> Iterator[None]:
    """Keep the running statistics of BatchNorm layers in training; batches are normalized as before."""
    with ExitStack() as stack:
        for layer in module.modules():
            if isinstance(layer, BatchNorm) and layer.training and layer.num_batches_tracked is not None:
                stack.enter_context(_frozen(layer, layer.num_batches_tracked))
        yield


@contextmanager
def _frozen(layer: BatchNorm, counted: Tensor) -> Iterator[None]:
    # switching off `track_running_stats` would do, but torch then saves other tensors than in the first pass
    momentum = layer.momentum
    layer.momentum, layer.num_batches_tracked = 0.0, torch.zeros_like(counted)
    try:
        yield
    finally:
        layer.momentum, layer.num_batches_tracked = momentum, counted

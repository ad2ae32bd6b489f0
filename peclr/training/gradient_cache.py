"""Contrast over more pairs than fit into memory at once: gradient caching.

Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", 2021 (arXiv 2101.06983). It is
activation checkpointing with micro-batches for segments: torch's keeps one graph, in which autocast, gradient scaling,
accumulation and DistributedDataParallel's hooks work as in any other step.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

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

    Each micro-batch is projected twice. BatchNorm in training normalizes each with its own statistics; its running
    statistics follow the first pass alone, and the second sees the random numbers of the first.

    Args:
        project: (b, 2, 3, S, S) views to (b, 2, …) projections and what else an objective needs, which is returned.
        views: (B, 2, 3, S, S).
        micro_batch: pairs projected at once, at most. Micro-batches are of equal size, give or take one.
        module: whose layers `project` uses.
        largest: pairs of the process that has most, by default B: all split into as many micro-batches as it does,
            because SyncBatchNorm waits for each of the others' calls.
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
    layers = [layer for layer in module.modules() if isinstance(layer, BatchNorm) and layer.training]
    before = [(layer, layer.momentum, layer.num_batches_tracked) for layer in layers]
    try:
        # switching off `track_running_stats` would do, but torch then saves other tensors than in the first pass
        for layer, _, counted in before:
            if counted is not None:
                layer.momentum, layer.num_batches_tracked = 0.0, torch.zeros_like(counted)
        yield
    finally:
        for layer, momentum, counted in before:
            layer.momentum, layer.num_batches_tracked = momentum, counted

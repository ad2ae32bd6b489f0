"""Contrast over all processes: gather with gradient, and a sum whose gradient survives DDP's averaging.

Each process gathers every embedding and computes the terms of its own anchors; the sum over processes is the loss of
the concatenated batch: its value and, under DistributedDataParallel, every gradient. One process communicates nothing.
"""

from functools import lru_cache
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_gather, all_reduce


def num_processes() -> int:
    """Processes over which a batch is spread."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process among them."""
    return dist.get_rank() if num_processes() > 1 else 0


def pairs_per_process(pairs: int) -> list[int]:
    """Numbers of pairs of all processes in this step, from this one's; sent between hosts: no device is waited for."""
    if num_processes() == 1:
        return [pairs]
    mine = torch.tensor([pairs])
    counts = [torch.empty_like(mine) for _ in range(num_processes())]
    dist.all_gather(counts, mine, group=_host_group(dist.group.WORLD))
    return [int(count) for count in counts]


def max_over_hosts(number: int) -> int:
    """The largest of all processes' numbers; sent from host to host, as in `pairs_per_process`."""
    if num_processes() == 1:
        return number
    largest = torch.tensor(number)
    dist.all_reduce(largest, dist.ReduceOp.MAX, group=_host_group(dist.group.WORLD))
    return int(largest)


def sum_over_hosts(value: Tensor) -> Tensor:
    """The elementwise sum of all processes' values, which lie on their hosts; without gradient."""
    total = value.detach().clone()
    if num_processes() > 1:
        dist.all_reduce(total, group=_host_group(dist.group.WORLD))
    return total


@lru_cache(maxsize=1)
def _host_group(world: Any) -> Any:
    """The processes of `world`, connected through their hosts: NCCL cannot send what lies there."""
    return world if dist.get_backend(world) == "gloo" else dist.new_group(backend="gloo")


def gather(rows: Tensor, counts: list[int]) -> Tensor:
    """Concatenate the rows (B, …) of all processes, of which `counts` has each B, in the order of their ranks.

    The gradient of a row is the sum of those on all processes.
    """
    if len(counts) == 1:
        return rows
    missing = max(counts) - len(rows)  # collectives want equal shapes
    padded = torch.cat((rows, rows.new_zeros(missing, *rows.shape[1:])))
    parts = all_gather(padded)  # type: ignore[no-untyped-call]  # torch's, without types
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])


def sum_over_processes(share: Tensor) -> Tensor:
    """Add up the shares of a loss, the same total on all processes.

    Each adds its gradient, so that of a share is multiplied by their number, as DistributedDataParallel averages it.
    """
    if num_processes() == 1:
        return share
    total: Tensor = all_reduce(share)  # type: ignore[no-untyped-call]  # torch's, without types
    return total


def max_over_processes(value: Tensor) -> Tensor:
    """The elementwise largest of all processes' values, without gradient."""
    value = value.detach().clone()
    if num_processes() > 1:
        dist.all_reduce(value, dist.ReduceOp.MAX)
    return value


def mean_over_processes(value: Tensor) -> Tensor:
    """The elementwise mean of all processes' values, without gradient."""
    value = value.detach().clone()
    if num_processes() > 1:
        dist.all_reduce(value)
    return value / num_processes()

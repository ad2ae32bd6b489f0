"""NT-Xent between the two views of all pairs, wherever they are: the last step of every objective."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from peclr.collectives import gather, pairs_per_process, rank, sum_over_processes
from peclr.geometry.affine import at_least_float32
from peclr.losses.nt_xent import nt_xent_of_anchors

# Shorter projections are not made longer than that: their gradients are divided by it, twice where an inversion
# comes between two normalisations, and have to fit into float16. A head's projections start at a length of about 5.
_MIN_NORM = 1e-2


class GatheredViews(NamedTuple):
    """The views of all processes, and which of them are one's own.

    Attributes:
        views: (2N, …), all first views, then all second views in the same order.
        own: (2B,) int64, rows of this process: its first views, then its second views.
    """

    views: Tensor
    own: Tensor


def contrast(projections: Tensor, temperature: float) -> Tensor:
    """NT-Xent of the batches of all processes.

    Args:
        projections: (B, 2, D), two views per sample, in one frame by now, not normalised.
        temperature: Of NT-Xent.

    Returns:
        Scalar, the same on all processes; with the gradient that DistributedDataParallel has to average.
    """
    views, own = gather_views(unit(projections), pairs_per_process(len(projections)))
    return sum_over_processes(nt_xent_of_anchors(views, own, temperature))


def gather_views(views: Tensor, counts: list[int]) -> GatheredViews:
    """Gather the two views (B, 2, …) of each pair from all processes; differentiable.

    Args:
        views: Of this process.
        counts: B of each process, from `pairs_per_process`.
    """
    gathered = gather(views, counts)
    start = sum(counts[: rank()])
    own = torch.arange(start, start + len(views), device=views.device)
    return GatheredViews(torch.cat(gathered.unbind(dim=1)), torch.cat((own, own + len(gathered))))


def unit(projections: Tensor) -> Tensor:
    """Projections (…, D) of length one, shorter if they have next to none; at least float32."""
    return normalize(at_least_float32(projections), dim=-1, eps=_MIN_NORM)

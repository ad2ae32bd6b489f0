"""What online probes measure: retrieval of similar poses; how far projections follow, or ignore, a change."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from peclr.metrics.pose import aligned_errors


class Retrieval(NamedTuple):
    """Mean distance of poses between a hand and another one, millimetres after similarity alignment.

    Attributes:
        found: the other one is the hand whose features are nearest.
        best: … whose pose is nearest: what perfect features would find.
        random: … any: what features that know nothing would find.
    """

    found: float
    best: float
    random: float


def pose_distances(joints_3d: Tensor) -> Tensor:
    """Between all pairs of hands (N, 21, 3), metres: (N, N), mm after similarity alignment; infinite to itself."""
    hands = joints_3d.double()
    distances = torch.stack([aligned_errors(hands, hand.expand_as(hands))[1].mean(dim=-1) for hand in hands])
    # which of two hands is scaled to the other makes a difference, but not to how alike they are
    return ((distances + distances.mT) / 2).fill_diagonal_(torch.inf)


def retrieval(features: Tensor, distances: Tensor) -> Retrieval:
    """Look for each hand's nearest neighbor by the cosine of centered features.

    Centerd, as the features of all hands share most of their direction.

    Args:
        features: (N, F).
        distances: (N, N), from `pose_distances`.
    """
    centered = normalize(features.double() - features.double().mean(dim=0), dim=-1)
    nearest = (centered @ centered.mT).fill_diagonal_(-torch.inf).argmax(dim=1)
    others = distances[distances.isfinite()]
    found = distances[torch.arange(len(distances)), nearest]
    return Retrieval(float(found.mean()), float(distances.amin(dim=1).mean()), float(others.mean()))


def agreement(projections: Tensor, changed: Tensor) -> float:
    """How much nearer a hand's projection is to that of the same hand, changed, than to those of other hands.

    (own − others) / (1 − others) of the mean cosines: 1 if the change makes no difference, 0 if the changed hand is as
    far away as another one. The cosine alone is near 1 in a network that sees no difference between any two hands.

    Args:
        projections: (N, D).
        changed: (N, D), of the same hands in the same order, N ≥ 2.

    Returns:
        At most 1; 0 where all projections are equal.
    """
    cosines = normalize(projections.double(), dim=-1) @ normalize(changed.double(), dim=-1).mT
    count = len(cosines)
    own = float(cosines.diagonal().mean())
    others = float((cosines.sum() - cosines.diagonal().sum()) / (count * (count - 1)))
    room = 1 - others
    return (own - others) / room if room > torch.finfo(torch.float32).eps else 0.0

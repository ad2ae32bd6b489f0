"""Ridge probe: how much hand pose a frozen encoder's features hold, linearly readable from few labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from peclr.geometry.joints import NUM_JOINTS
from peclr.metrics.pose import distances, epe_mm, pa_epe_mm
from peclr.metrics.ridge import Ridge

# from "interpolate" to "predict the mean", for standardized features; chosen on validation hands
_STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0)


@dataclass(frozen=True)
class EncodedHands:
    """Features of a set of hands with the labels to read from them."""

    features: Tensor  # (N, F)
    joints_2d: Tensor  # (N, 21, 2), pixels of the view
    joints_3d: Tensor  # (N, 21, 3), metres, relative to the wrist

    def first(self, count: int) -> "EncodedHands":
        """The first `count` hands: subsets of different sizes are nested."""
        return EncodedHands(self.features[:count], self.joints_2d[:count], self.joints_3d[:count])

    def after(self, count: int) -> "EncodedHands":
        """All but the first `count` hands."""
        return EncodedHands(self.features[count:], self.joints_2d[count:], self.joints_3d[count:])


@dataclass(frozen=True)
class ProbeScores:
    """Errors of a probe on hands that neither the encoder nor the probe has seen: mean distances of joints."""

    error_2d_px: float  # of the view
    root_relative_epe_mm: float  # relative to the wrist
    pa_epe_mm: float  # after similarity alignment
    strength: float  # of the ridge, as validation chose it


def _ridge(features: Tensor, targets: Tensor) -> Ridge:
    return Ridge(features.shape[1], targets.shape[1]).add(features, targets)


def _scores(ridge: Ridge, hands: EncodedHands, strength: float) -> ProbeScores:
    joints_2d, joints_3d = ridge.predict(hands.features, strength).tensor_split((2 * NUM_JOINTS,), dim=1)
    joints_2d, joints_3d = joints_2d.reshape(-1, NUM_JOINTS, 2), joints_3d.reshape(-1, NUM_JOINTS, 3)
    return ProbeScores(
        float(distances(joints_2d, hands.joints_2d).mean()),
        float(epe_mm(joints_3d, hands.joints_3d).mean()),
        float(pa_epe_mm(joints_3d, hands.joints_3d).mean()),
        strength,
    )


def ridge_probe(train: EncodedHands, val: EncodedHands, test: EncodedHands) -> ProbeScores:
    """Fit on `train`, choose the strength by 3-D error on `val`, score on `test`."""
    if len(train.features) < 2:
        raise ValueError(f"a ridge probe needs at least 2 labeled hands; got {len(train.features)}")
    for name, hands in (("train", train), ("val", val), ("test", test)):
        if not torch.isfinite(hands.features).all():
            raise ValueError(f"features of the {name} hands are not finite; did the encoder diverge?")
    ridge = _ridge(train.features, torch.cat([train.joints_2d.flatten(1), train.joints_3d.flatten(1)], dim=1))
    best = min((_scores(ridge, val, strength) for strength in _STRENGTHS), key=lambda of: of.root_relative_epe_mm)
    return _scores(ridge, test, best.strength)


def class_probe(features: Sequence[Tensor], classes: Sequence[Sequence[str]]) -> float:
    """Share of right answers of a least-squares classifier, on hands that neither it nor the encoder has seen.

    Args:
        features: (N, F) of the hands to fit, those to choose the ridge's strength on, and those to score.
        classes: What each of them shows; those to fit may be the first of their list.
    """
    names = sorted(set(classes[0][: len(features[0])]))
    truth = [torch.tensor([[name == of_hand for name in names] for of_hand in known]).double() for known in classes]
    ridge = _ridge(features[0], truth[0][: len(features[0])])

    def accuracy(split: int, strength: float) -> float:
        right = truth[split].gather(1, ridge.predict(features[split], strength).argmax(dim=1, keepdim=True))
        return float(right.mean())

    return accuracy(2, max(_STRENGTHS, key=lambda strength: accuracy(1, strength)))

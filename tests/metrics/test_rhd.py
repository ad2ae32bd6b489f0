"""The published RHD scores: a re-derivation in loops, and refusals."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from peclr.metrics.rhd import rhd_scores

Array = NDArray[np.float64]


def test_scores_equal_the_definition_joint_by_joint() -> None:
    """Thresholds 0 to 50 mm in 20 steps; the area from 20 mm begins at the ninth; the palm is aligned, and counts."""
    rng = np.random.default_rng(0)
    true = rng.normal(0, 0.05, (30, 21, 3))
    pred = true + rng.normal(0, 0.015, (30, 21, 3)) + [0.1, -0.2, 0.5]
    visible = rng.random((30, 21)) > 0.3
    visible[:, 7] = False
    means, medians, curves = [], [], []
    for joint in range(21):
        distances = []
        for n in range(30):
            centered = []
            for hand in (pred[n], true[n]):
                palm = (hand[0] + hand[9]) / 2
                centered.append((palm if joint == 0 else hand[joint]) - palm)
            if visible[n, joint] or (joint == 0 and visible[n, 9]):
                distances.append(float(np.linalg.norm(centered[0] - centered[1])))
        if distances:
            means.append(1000 * np.mean(distances))
            medians.append(1000 * np.median(distances))
            curves.append([np.mean([d <= 0.05 * step / 19 for d in distances]) for step in range(20)])
    curve = np.mean(curves, axis=0)

    def area(values: Array) -> float:
        return float(sum((a + b) / 2 for a, b in itertools.pairwise(values)) / (len(values) - 1))

    expected = {"mean": np.mean(means), "median": np.mean(medians)}
    expected |= {"auc_0_50": area(curve), "auc_20_50": area(curve[8:])}
    assert rhd_scores(pred, true, visible) == pytest.approx(expected)
    assert rhd_scores(true, true, visible) == pytest.approx({"mean": 0, "median": 0, "auc_0_50": 1, "auc_20_50": 1})


def test_what_cannot_be_scored_is_refused() -> None:
    hands = np.ones((2, 21, 3))
    with pytest.raises(ValueError, match=r"visible: 0 of shape \(2, 21\); expected some"):
        rhd_scores(hands, hands, np.zeros((2, 21)))
    with pytest.raises(ValueError, match=r"visible: 21 of shape \(1, 21\); expected some of \(2, 21\)"):
        rhd_scores(hands, hands, np.ones((1, 21)))
    with pytest.raises(ValueError, match="pred: sample 0 has a number that is not finite"):
        rhd_scores(np.full((2, 21, 3), np.nan), hands, np.ones((2, 21)))

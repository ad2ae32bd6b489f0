"""The official DexYCB scores: parity, a re-derivation in loops, and refusals."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import orthogonal_procrustes

from peclr.metrics.dexycb import dexycb_scores

Array = NDArray[np.float64]
Vectors = dict[str, Array]


def procrustes(pred: Array, true: Array) -> Array:
    a, b = true - true.mean(0), pred - pred.mean(0)
    rotation, scale = orthogonal_procrustes(b / np.linalg.norm(b), a / np.linalg.norm(a))
    aligned: Array = b / np.linalg.norm(b) @ rotation * scale * np.linalg.norm(a) + true.mean(0)
    return aligned


def test_scores_are_the_official_ones(vectors: Vectors) -> None:
    scores = dexycb_scores(vectors["pred"], vectors["joint_3d"])
    assert scores == pytest.approx({key: float(vectors[key]) for key in scores}, abs=1e-6)
    assert list(scores) == [
        f"{kind}_{s}" for kind in ("absolute", "root_relative", "procrustes") for s in ("mpjpe", "auc")
    ]


def test_scores_equal_the_definition_frame_by_frame(vectors: Vectors) -> None:
    errors: dict[str, list[list[float]]] = {"absolute": [], "root_relative": [], "procrustes": []}
    for pred, true in zip(vectors["pred"], vectors["joint_3d"], strict=True):
        if true.min() == true.max() == -1:
            continue
        versions = {
            "absolute": pred,
            "root_relative": [joint - pred[0] + true[0] for joint in pred],
            "procrustes": procrustes(pred, true),
        }
        for kind, moved in versions.items():
            errors[kind].append([1000 * float(np.linalg.norm(a - b)) for a, b in zip(moved, true, strict=True)])
    scores = dexycb_scores(vectors["pred"], vectors["joint_3d"])
    assert 0 < len(errors["absolute"]) < len(vectors["pred"])
    for kind, distances in errors.items():
        assert scores[f"{kind}_mpjpe"] == pytest.approx(np.mean(distances), abs=1e-5)
        pck = [np.mean(np.array(distances) <= limit) for limit in np.linspace(0, 50, 100)]
        assert scores[f"{kind}_auc"] == pytest.approx(sum((a + b) / 2 for a, b in itertools.pairwise(pck)) / 99)


def test_frames_without_a_hand_do_not_count(vectors: Vectors) -> None:
    pred, true = vectors["pred"], vectors["joint_3d"]
    has_hand = [frame for frame in range(len(true)) if not (true[frame] == -1).all()]
    elsewhere = pred.copy()
    elsewhere[(true == -1).all(axis=(1, 2))] += 100
    assert dexycb_scores(elsewhere, true) == dexycb_scores(pred[has_hand], true[has_hand])
    # a coordinate of −1 m is a hand's like any other
    one = true[has_hand[:1]].copy()
    one[0, 3, 0] = -1
    assert dexycb_scores(np.concatenate([one, one]), np.concatenate([one, -np.ones_like(one)]))["absolute_mpjpe"] == 0


def test_each_alignment_forgives_its_own(vectors: Vectors) -> None:
    true = vectors["joint_3d"]
    moved = dexycb_scores(true + np.array([0.01, 0, 0]), true)
    assert moved["absolute_mpjpe"] == pytest.approx(10)
    assert moved["root_relative_mpjpe"] == pytest.approx(0, abs=1e-9)
    scaled = dexycb_scores(true * 1.5, true)
    assert scaled["root_relative_mpjpe"] > 1
    assert scaled["procrustes_mpjpe"] == pytest.approx(0, abs=1e-3)


def test_bad_predictions_are_refused_by_name(vectors: Vectors) -> None:
    pred, true = vectors["pred"].copy(), vectors["joint_3d"]
    with pytest.raises(ValueError, match=r"pred has shape \(39, 21, 3\), joints_3d has \(40, 21, 3\)"):
        dexycb_scores(pred[1:], true)
    with pytest.raises(ValueError, match=r"joints_3d: expected shape \(N, 21, 3\), got \(40, 1, 21, 3\)"):
        dexycb_scores(pred, true[:, None])
    with pytest.raises(ValueError, match=r"joints_3d: all 2 frames are −1"):
        dexycb_scores(pred[:2], -np.ones((2, 21, 3)))
    pred[7, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"pred: sample 7 has a number that is not finite"):
        dexycb_scores(pred, true)

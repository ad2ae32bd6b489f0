"""The official FreiHAND scores: parity, a re-derivation joint by joint, and refusals."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import orthogonal_procrustes

from peclr.metrics.freihand import freihand_scores
from peclr.metrics.points import PCK_THRESHOLDS, align, f_scores, summarize_errors

Array = NDArray[np.float64]
Vectors = dict[str, Array]


@pytest.fixture(scope="module")
def vectors(vectors: Vectors) -> Vectors:
    return {key: values.astype(np.float64) for key, values in vectors.items()}


def random_hands(count: int, noise: float = 0.02, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    xyz = rng.normal([0, 0, 0.7], 0.04, (count, 21, 3))
    return xyz + rng.normal(0, noise, xyz.shape), xyz


def shift(metres: float) -> Array:
    return np.array([metres, 0, 0])


def test_scores_are_the_official_ones(vectors: Vectors) -> None:
    scores = freihand_scores(vectors["pred_xyz"], vectors["xyz"], vectors["pred_verts"], vectors["verts"])
    expected = {}
    for kind in ("xyz", "mesh"):
        for aligned in ("", "_al"):
            expected[f"{kind}{aligned}_mean3d"] = 100 * float(vectors[f"{kind}{aligned}_mean_m"])
            expected[f"{kind}{aligned}_auc3d"] = float(vectors[f"{kind}{aligned}_auc"])
    for threshold in (5, 15):
        for aligned in ("", "_al"):
            expected[f"f{aligned}_score_{threshold}"] = float(vectors[f"f{aligned}_score_{threshold}mm"])
    assert scores == pytest.approx(expected, abs=1e-6)
    # scores.txt lists them in this order
    assert list(scores) == list(expected)


@pytest.mark.parametrize("kind", ["xyz", "mesh"])
@pytest.mark.parametrize("aligned", [False, True])
def test_curves_are_the_official_ones(vectors: Vectors, kind: str, *, aligned: bool) -> None:
    points = "xyz" if kind == "xyz" else "verts"
    pred, true = vectors[f"pred_{points}"], vectors[points]
    summary = summarize_errors(align(pred, true) if aligned else pred, true)
    name = f"{kind}_al" if aligned else kind
    assert summary.mean_m == pytest.approx(vectors[f"{name}_mean_m"], abs=1e-6)
    np.testing.assert_allclose(PCK_THRESHOLDS, vectors["thresholds_m"], atol=1e-12)
    # one vertex of 64 · 778 lies on a threshold to within the rounding of the stored float32
    one_point = 1.01 / pred[..., 0].size if kind == "mesh" else 0
    np.testing.assert_allclose(summary.pck, vectors[f"{name}_pck"], atol=1e-6 + one_point)


def test_scores_equal_the_definition_joint_by_joint() -> None:
    pred, xyz = random_hands(30)
    per_joint_mean, per_joint_auc = [], []
    for joint in range(21):
        errors = [np.sqrt(((pred[i, joint] - xyz[i, joint]) ** 2).sum()) for i in range(30)]
        pck = [np.mean([error <= threshold for error in errors]) for threshold in np.linspace(0, 0.05, 100)]
        per_joint_mean.append(np.mean(errors))
        per_joint_auc.append(sum((a + b) / 2 for a, b in itertools.pairwise(pck)) / 99)
    scores = freihand_scores(pred, xyz)
    assert scores["xyz_mean3d"] == pytest.approx(100 * np.mean(per_joint_mean), rel=1e-12)
    assert scores["xyz_auc3d"] == pytest.approx(np.mean(per_joint_auc), rel=1e-12)
    assert list(scores) == ["xyz_mean3d", "xyz_auc3d", "xyz_al_mean3d", "xyz_al_auc3d"]


def test_alignment_is_scipys_procrustes_sample_by_sample() -> None:
    pred, xyz = random_hands(8)
    for predicted, label, aligned in zip(pred, xyz, align(pred, xyz), strict=True):
        a, b = label - label.mean(0), predicted - predicted.mean(0)
        a_norm, b_norm = np.linalg.norm(a) + 1e-8, np.linalg.norm(b) + 1e-8
        rotation, scale = orthogonal_procrustes(b / b_norm, a / a_norm)
        np.testing.assert_allclose(aligned, b / b_norm @ rotation * scale * a_norm + label.mean(0), atol=1e-12)


@pytest.mark.parametrize(
    "move",
    [
        lambda x: x * 1.7 + [0.1, -0.2, 0.3],
        lambda x: x[..., [1, 2, 0]],
        lambda x: x * [-1, 1, 1],
    ],
    ids=["scaled and moved", "turned", "mirrored"],
)
def test_alignment_forgives_similarities_and_mirrors(move: Callable[[Array], Array]) -> None:
    _, xyz = random_hands(5)
    scores = freihand_scores(move(xyz), xyz)
    assert scores["xyz_mean3d"] > 1
    assert scores["xyz_al_mean3d"] == pytest.approx(0, abs=1e-5)
    assert scores["xyz_al_auc3d"] == pytest.approx(1, abs=0.01)


def test_a_threshold_counts_for_a_pck_but_not_for_an_f_score() -> None:
    # coordinates that float64 holds exactly: every distance is exactly one step of the curve
    true = np.zeros((1, 21, 3))
    pck = summarize_errors(true + shift(PCK_THRESHOLDS[40]), true).pck
    assert not pck[:40].any()
    assert (pck[40:] == 1).all()
    assert f_scores(true + shift(0.005), true) == {"5": 0.0, "15": 1.0}
    assert f_scores(true + shift(0.015), true) == {"5": 0.0, "15": 0.0}


def test_f_score_is_the_harmonic_mean_of_both_directions() -> None:
    # of four predicted points one finds a label; of two labels one is found
    true = np.array([[[0, 0, 0], [0, 0, 1], [0, 0, 1], [0, 0, 1]]], dtype=float)
    pred = np.array([[[0, 0, 0.001], [0, 0, 2], [0, 0, 3], [0, 0, 4]]], dtype=float)
    both = f_scores(pred, true)
    assert both == {"5": pytest.approx(0.25), "15": pytest.approx(0.25)}
    true[0, 1] = [0, 0, 0.002]
    precision, recall = 2 / 4, 1 / 4
    assert f_scores(pred, true)["5"] == pytest.approx(2 * precision * recall / (precision + recall))


def test_zero_predictor(vectors: Vectors) -> None:
    xyz = vectors["xyz"]
    scores = freihand_scores(np.zeros_like(xyz), xyz)
    assert scores["xyz_mean3d"] == pytest.approx(100 * np.linalg.norm(xyz, axis=-1).mean())
    # aligned, all of its joints lie at the hand's center
    spread = np.linalg.norm(xyz - xyz.mean(axis=1, keepdims=True), axis=-1).mean()
    assert scores["xyz_al_mean3d"] == pytest.approx(100 * spread)


def test_scores_do_not_depend_on_the_order_of_samples() -> None:
    pred, xyz = random_hands(20)
    order = np.random.default_rng(1).permutation(20)
    assert freihand_scores(pred[order], xyz[order]) == pytest.approx(freihand_scores(pred, xyz))


def test_nested_lists_are_taken_as_they_come_from_json() -> None:
    pred, xyz = random_hands(3)
    assert freihand_scores(pred.tolist(), xyz.tolist()) == freihand_scores(pred, xyz)


def test_bad_predictions_are_refused_by_name() -> None:
    pred, xyz = random_hands(4)
    spoilt = pred.copy()
    spoilt[2, 5, 1] = np.nan
    with pytest.raises(ValueError, match=r"pred_xyz: sample 2 has a number that is not finite"):
        freihand_scores(spoilt, xyz)
    with pytest.raises(ValueError, match=r"xyz: sample 2 has"):
        freihand_scores(pred, spoilt)
    with pytest.raises(ValueError, match=r"pred_xyz has shape \(3, 21, 3\), xyz has \(4, 21, 3\)"):
        freihand_scores(pred[:3], xyz)
    with pytest.raises(ValueError, match=r"pred_xyz: expected shape \(N, 21, 3\), got \(4, 20, 3\)"):
        freihand_scores(pred[:, :20], xyz)
    with pytest.raises(ValueError, match=r"pred_xyz: expected shape \(N, 21, 3\), got \(0, 21, 3\)"):
        freihand_scores(pred[:0], xyz[:0])
    with pytest.raises(ValueError, match=r"pred_xyz: expected numbers .* different shapes"):
        freihand_scores([pred[0].tolist(), pred[1, :20].tolist()], xyz[:2])
    with pytest.raises(ValueError, match=r"verts is missing"):
        freihand_scores(pred, xyz, pred_verts=pred)

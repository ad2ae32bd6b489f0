"""The official InterHand2.6M scores: parity, a re-derivation in loops, unknown joints, and refusals."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from peclr.metrics.interhand import interhand_scores

Vectors = dict[str, NDArray[Any]]
INPUTS = ("pred", "joints", "valid", "hand_type")


def inputs(vectors: Vectors) -> Vectors:
    return {name: vectors[name].copy() for name in INPUTS}


def test_scores_are_the_official_ones(vectors: Vectors) -> None:
    scores = interhand_scores(**inputs(vectors))
    # printed with two decimals
    for name in ("mpjpe_all", "mpjpe_single", "mpjpe_interacting"):
        assert scores[name] == pytest.approx(float(vectors[name]), abs=0.005)
    assert scores["mrrpe"] == pytest.approx(float(vectors["mrrpe"]), abs=1e-6)
    assert list(scores) == ["mpjpe_all", "mpjpe_single", "mpjpe_interacting", "mrrpe"]


def test_scores_equal_the_definition_joint_by_joint(vectors: Vectors) -> None:
    pred, joints, valid, hand_type = (vectors[name] for name in INPUTS)
    errors: dict[str, list[list[float]]] = {kind: [[] for _ in range(42)] for kind in ("all", "single", "interacting")}
    between = []
    for n in range(len(pred)):
        kind = "interacting" if hand_type[n] == "interacting" else "single"
        for j in np.flatnonzero(valid[n]):
            root = 20 if j < 21 else 41
            error = float(np.linalg.norm((pred[n, j] - pred[n, root]) - (joints[n, j] - joints[n, root])))
            errors["all"][j].append(error)
            errors[kind][j].append(error)
        if kind == "interacting" and valid[n, 20] and valid[n, 41]:
            between.append(np.linalg.norm((pred[n, 41] - pred[n, 20]) - (joints[n, 41] - joints[n, 20])))
    scores = interhand_scores(**inputs(vectors))
    for kind, per_joint in errors.items():
        assert scores[f"mpjpe_{kind}"] == pytest.approx(np.mean([np.mean(joint) for joint in per_joint]), rel=1e-12)
    assert scores["mrrpe"] == pytest.approx(np.mean(between), rel=1e-12)


def test_the_mean_is_over_joints_first_and_zero_at_the_wrists(vectors: Vectors) -> None:
    joints = vectors["joints"][:2]
    pred, valid = joints.copy(), np.zeros((2, 42), bool)
    valid[:, [20, 3]] = True
    valid[0, 5] = True
    pred[0, 3] += [6, 0, 0]
    pred[0, 5] += [0, 9, 0]
    # wrist 0, joint 3 (6 + 0) / 2, joint 5 9: not 15 / 5
    scores = interhand_scores(pred, joints, valid, ["right", "right"])
    assert scores["mpjpe_all"] == scores["mpjpe_single"] == pytest.approx((0 + 3 + 9) / 3)
    # no frame of two hands
    assert np.isnan(scores["mpjpe_interacting"])
    assert np.isnan(scores["mrrpe"])


def test_each_hand_may_be_anywhere_but_not_relative_to_the_other(vectors: Vectors) -> None:
    joints = vectors["joints"].copy()
    pred = joints + np.array([10, 20, 30])
    pred[:, 21:] += [0, 5, 0]
    scores = interhand_scores(pred, joints, np.ones((len(joints), 42)), ["interacting"] * len(joints))
    assert scores["mpjpe_all"] == pytest.approx(0, abs=1e-9)
    assert scores["mrrpe"] == pytest.approx(5)


def test_what_has_no_label_does_not_count(vectors: Vectors) -> None:
    known = inputs(vectors)
    expected = interhand_scores(**known)
    for name in ("pred", "joints"):
        known[name][~known["valid"]] = np.nan
    assert interhand_scores(**known) == expected
    # joints without their wrist have no place relative to it
    lost = inputs(vectors)
    lost["valid"][0, 20] = False
    gone = inputs(vectors)
    gone["valid"][0, :21] = False
    assert gone["valid"][0].sum() < vectors["valid"][0].sum()
    assert interhand_scores(**lost) == interhand_scores(**gone)


def test_bad_input_is_refused_by_name(vectors: Vectors) -> None:
    with pytest.raises(ValueError, match=r"hand_type: 'both' is unknown; expected right, left, interacting"):
        interhand_scores(**inputs(vectors) | {"hand_type": np.array(["both"] * 30)})
    with pytest.raises(ValueError, match=r"valid has shape \(30, 21\), hand_type \(30,\); expected \(N, 42\)"):
        interhand_scores(**inputs(vectors) | {"valid": vectors["valid"][:, :21]})
    with pytest.raises(ValueError, match=r"pred has shape \(29, 42, 3\), joints has \(30, 42, 3\)"):
        interhand_scores(**inputs(vectors) | {"pred": vectors["pred"][1:]})
    with pytest.raises(ValueError, match=r"joints has shape \(30, 42, 3\), what marks .* \(29, 42\)"):
        interhand_scores(**inputs(vectors) | {"valid": vectors["valid"][1:], "hand_type": vectors["hand_type"][1:]})
    spoilt = inputs(vectors)
    sample = int(np.flatnonzero(spoilt["valid"][:, 2])[0])
    spoilt["pred"][sample, 2] = np.nan
    with pytest.raises(ValueError, match=rf"pred: sample {sample} has a number that is not finite"):
        interhand_scores(**spoilt)

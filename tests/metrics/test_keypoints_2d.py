"""Scores of 2-D keypoints: parity with HaMeR's and mmpose's, a re-derivation in loops, and refusals."""

import numpy as np
import pytest
from numpy.typing import NDArray

from peclr.metrics.keypoints_2d import auc, epe, pck

Array = NDArray[np.float64]
Vectors = dict[str, Array]
Points = tuple[Array, Array, Array]  # predictions, labels, which are visible


@pytest.fixture
def points(vectors: Vectors) -> Points:
    return vectors["pred"], vectors["keypoints"], vectors["confidence"]


@pytest.mark.parametrize("threshold", [0.05, 0.1, 0.15])
def test_pck_is_that_of_hint(vectors: Vectors, points: Points, threshold: float) -> None:
    expected = vectors[f"hint_kpAvg_pck_{threshold}".replace(".", "_")]
    assert pck(*points, box_size=vectors["box_size"], threshold=threshold) == pytest.approx(float(expected), abs=1e-6)


def test_pck_auc_and_epe_are_those_of_mmpose(vectors: Vectors, points: Points) -> None:
    share = pck(*points, box_size=vectors["box_size"], threshold=0.2, strict=True)
    assert share == pytest.approx(float(vectors["pck_0_2"]), abs=1e-6)
    assert auc(*points) == pytest.approx(float(vectors["auc_30px"]), abs=1e-6)
    assert epe(*points) == pytest.approx(float(vectors["epe_px"]), abs=1e-6)


def test_pck_equals_the_definition_joint_by_joint(vectors: Vectors, points: Points) -> None:
    pred, keypoints, visible = points
    shares = []
    for joint in range(21):
        hits = []
        for n in range(50):
            if visible[n, joint] > 0.5:
                dx, dy = pred[n, joint] - keypoints[n, joint]
                hits.append(float(np.hypot(dx, dy)) <= 0.12 * vectors["box_size"][n])
        shares.append(np.mean(hits))
    assert pck(*points, box_size=vectors["box_size"], threshold=0.12) == pytest.approx(np.mean(shares), rel=1e-12)


def test_the_mean_is_over_joints_not_over_keypoints() -> None:
    # joint 0: one of four within reach; joint 1: its only one; joint 2: never seen
    keypoints = np.zeros((4, 3, 2))
    pred = keypoints + np.array([50.0, 0])
    pred[0, :2] = 0
    visible = [[1, 1, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]]
    assert pck(pred, keypoints, visible, box_size=100, threshold=0.1) == pytest.approx((1 / 4 + 1) / 2)
    assert epe(pred, keypoints, visible) == pytest.approx(150 / 5)


def test_a_distance_equal_to_the_threshold_counts_unless_strict() -> None:
    keypoints = np.zeros((2, 21, 2))
    pred = keypoints + np.array([3.0, 4.0])
    visible = np.ones((2, 21))
    assert pck(pred, keypoints, visible, [20, 20], 0.25) == 1
    assert pck(pred, keypoints, visible, [20, 20], 0.25, strict=True) == 0
    assert pck(pred, keypoints, visible, [20, 40], 0.25, strict=True) == 0.5
    # 5 px are beyond the thresholds 0, 1, … 5 px of 20
    assert auc(pred, keypoints, visible, max_px=20) == pytest.approx(14 / 20)


def test_unknown_keypoints_may_be_anything(vectors: Vectors, points: Points) -> None:
    pred, keypoints, visible = points
    known, box_size = visible > 0.5, vectors["box_size"]
    assert not known.all()
    spoilt = np.where(known[..., None], pred, np.nan), np.where(known[..., None], keypoints, np.nan), known
    assert pck(*spoilt, box_size, 0.2) == pck(*points, box_size, 0.2)
    assert auc(*spoilt) == auc(*points)
    assert epe(*spoilt) == epe(*points)


def test_bad_input_is_refused_by_name(vectors: Vectors, points: Points) -> None:
    pred, keypoints, visible = points
    box = vectors["box_size"]
    with pytest.raises(ValueError, match=r"box_size: sample 4 has 0 px; expected more than 0 \(1 such\)"):
        pck(*points, box_size=np.where(np.arange(50) == 4, 0, box), threshold=0.2)
    with pytest.raises(ValueError, match=r"box_size: sample 4 has nan px"):
        pck(*points, box_size=np.where(np.arange(50) == 4, np.nan, box), threshold=0.2)
    with pytest.raises(ValueError, match=r"box_size: expected one size for each of 50 samples, got shape \(49,\)"):
        pck(*points, box_size=box[1:], threshold=0.2)
    with pytest.raises(ValueError, match=r"pred: expected shape \(N, P, 2\), got \(50, 21, 3\)"):
        epe(np.zeros((50, 21, 3)), keypoints, visible)
    with pytest.raises(ValueError, match=r"keypoints has shape \(50, 21, 2\), what marks .* \(50, 20\)"):
        epe(pred, keypoints, visible[:, 1:])
    with pytest.raises(ValueError, match=r"visible: none of 1050 keypoints is"):
        auc(pred, keypoints, np.zeros((50, 21)))
    spoilt = pred.copy()
    spoilt[:, :, 0] = np.inf
    with pytest.raises(ValueError, match=r"pred: sample 0 has a number that is not finite \(50 such samples\)"):
        epe(spoilt, keypoints, visible)

"""The official HO-3D scores: parity, the all-zero prediction, and the third alignment hand by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray

from peclr.metrics.freihand import freihand_scores
from peclr.metrics.ho3d import align_scale_translation, ho3d_scores

Vectors = dict[str, NDArray[np.float64]]
POINTS = ("pred_xyz", "xyz", "pred_verts", "verts")


def test_scores_are_the_official_ones_in_the_order_of_scores_txt(vectors: Vectors) -> None:
    scores = ho3d_scores(*(vectors[name] for name in POINTS))
    assert scores == pytest.approx({key: float(vectors[key]) for key in scores}, abs=1e-6)
    assert set(scores) == set(vectors) - set(POINTS)
    points = ["mean3d", "auc3d"]
    kinds = ["xyz", "xyz_procrustes_al", "xyz_scale_trans_al", "mesh", "mesh_al"]
    f_scores = ["f_score_5", "f_al_score_5", "f_score_15", "f_al_score_15"]
    assert list(scores) == [f"{kind}_{score}" for kind in kinds for score in points] + f_scores


def test_an_all_zero_prediction_has_its_known_scores(vectors: Vectors) -> None:
    xyz, verts = vectors["xyz"][:3], vectors["verts"][:3]  # a tree of points in one place is slow to search
    scores = ho3d_scores(np.zeros_like(xyz), xyz, np.zeros_like(verts), verts)
    for name, true in (("xyz", xyz), ("mesh", verts)):
        aligned = "xyz_procrustes_al" if name == "xyz" else "mesh_al"
        away = [np.mean([np.sqrt((point**2).sum()) for point in hand]) for hand in true]
        spread = [np.mean([np.sqrt(((point - hand.mean(0)) ** 2).sum()) for point in hand]) for hand in true]
        assert scores[f"{name}_mean3d"] == pytest.approx(100 * np.mean(away))
        assert scores[f"{aligned}_mean3d"] == pytest.approx(100 * np.mean(spread))
    # a point has no length to scale by: no mean, and no joint within any threshold
    assert np.isnan(scores["xyz_scale_trans_al_mean3d"])
    assert scores["xyz_scale_trans_al_auc3d"] == 0
    assert scores["f_score_5"] == scores["f_score_15"] == 0
    # aligned, every vertex lies at the center: it finds a label or not, and so many labels find it
    f_15 = []
    for hand in verts:
        near = [np.sqrt(((vertex - hand.mean(0)) ** 2).sum()) < 0.015 for vertex in hand]
        precision, recall = float(any(near)), np.mean(near)
        f_15.append(2 * precision * recall / (precision + recall) if any(near) else 0)
    assert scores["f_al_score_15"] == pytest.approx(np.mean(f_15))


def test_scale_translation_fits_wrist_and_middle_mcp_hand_by_hand(vectors: Vectors) -> None:
    pred, xyz = vectors["pred_xyz"], vectors["xyz"]
    aligned = align_scale_translation(pred, xyz)
    for predicted, label, moved in zip(pred, xyz, aligned, strict=True):
        # joint 4 of HO-3D's order is the middle MCP
        scale = np.linalg.norm(label[4] - label[0]) / np.linalg.norm(predicted[4] - predicted[0])
        for joint in range(21):
            np.testing.assert_allclose(moved[joint], (predicted[joint] - predicted[0]) * scale + label[0], atol=1e-12)
    errors = [[np.linalg.norm(a - b) for a, b in zip(*hands, strict=True)] for hands in zip(aligned, xyz, strict=True)]
    pck = [np.mean(np.array(errors) <= threshold) for threshold in np.linspace(0, 0.05, 100)]
    scores = ho3d_scores(pred, xyz)
    assert scores["xyz_scale_trans_al_mean3d"] == pytest.approx(100 * np.mean(errors))
    assert scores["xyz_scale_trans_al_auc3d"] == pytest.approx(sum(pck[1:-1], (pck[0] + pck[-1]) / 2) / 99)


def test_scale_and_place_are_forgiven_but_no_turn(vectors: Vectors) -> None:
    xyz = vectors["xyz"]
    assert ho3d_scores(1.7 * xyz + [0.1, -0.2, 0.3], xyz)["xyz_scale_trans_al_mean3d"] == pytest.approx(0, abs=1e-9)
    turned = ho3d_scores(xyz * [-1, -1, 1], xyz)
    assert turned["xyz_scale_trans_al_mean3d"] > 1
    assert turned["xyz_procrustes_al_mean3d"] == pytest.approx(0, abs=1e-5)


def test_other_scores_are_freihands(vectors: Vectors) -> None:
    points = [vectors[name] for name in POINTS]
    scores, shared = ho3d_scores(*points), freihand_scores(*points)
    assert {key.replace("_procrustes", ""): score for key, score in scores.items() if "scale" not in key} == shared


def test_bad_predictions_are_refused_by_name(vectors: Vectors) -> None:
    pred, xyz = vectors["pred_xyz"].copy(), vectors["xyz"]
    with pytest.raises(ValueError, match=r"pred_xyz has shape \(23, 21, 3\), xyz has \(24, 21, 3\)"):
        ho3d_scores(pred[1:], xyz)
    with pytest.raises(ValueError, match=r"verts is missing"):
        ho3d_scores(pred, xyz, pred_verts=pred)
    pred[3, 4, 2] = np.inf
    with pytest.raises(ValueError, match=r"pred_xyz: sample 3 has a number that is not finite"):
        ho3d_scores(pred, xyz)

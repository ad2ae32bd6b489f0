"""Scores of an evaluation: re-derived hand by hand, blind to mirrors and not, and written as the official ones."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from peclr.evaluate.predictions import Predictions
from peclr.evaluate.scoring import score, table, write_scores


def labeled_hands(count: int = 12) -> Any:
    return np.random.default_rng(0).normal([0, 0, 0.7], 0.04, (count, 21, 3))


def noisy(xyz: Any, metres: float = 0.01) -> Any:
    return xyz + np.random.default_rng(1).normal(0, metres, xyz.shape)


def best_rotation(a: Any, b: Any) -> Any:
    """A similarity without mirror, by scipy's solution of Wahba's problem: an independent route."""
    a, center = a - a.mean(0), b.mean(0)
    turn = Rotation.align_vectors(b - center, a)[0]
    turned = turn.apply(a)
    return turned * np.vdot(turned, b - center) / np.vdot(turned, turned) + center


def test_the_alignment_without_mirrors_is_the_best_rotation() -> None:
    xyz = labeled_hands()
    pred = noisy(xyz)
    pred[::3] *= [-1, 1, 1]
    evaluation = score(Predictions(pred), xyz)
    expected = [np.linalg.norm(best_rotation(p, x) - x, axis=-1) for p, x in zip(pred, xyz, strict=True)]
    np.testing.assert_allclose(evaluation.joints_mm["pa_epe_mm"], 1000 * np.array(expected), atol=1e-3)
    assert evaluation.metrics["pa_epe_mm"] == pytest.approx(1000 * np.mean(expected), abs=1e-4)


def test_mirrored_predictions_are_perfect_to_the_leaderboard_only() -> None:
    xyz = labeled_hands()
    evaluation = score(Predictions(xyz * [-1, 1, 1]), xyz)
    assert evaluation.leaderboard["xyz_al_mean3d"] == pytest.approx(0, abs=1e-5)
    assert evaluation.metrics["pa_epe_mm"] > 10
    assert "aligned by what may mirror, for a PA-EPE of 0.00 mm" in table(evaluation)
    metrics, leaderboard = (unmirrored := score(Predictions(noisy(xyz)), xyz)).metrics, unmirrored.leaderboard
    assert metrics["epe_mm"] == pytest.approx(10 * leaderboard["xyz_mean3d"], rel=1e-6)
    assert metrics["pa_epe_mm"] == pytest.approx(10 * leaderboard["xyz_al_mean3d"], rel=1e-6)
    assert metrics["auc"] == pytest.approx(leaderboard["xyz_auc3d"], rel=1e-6)
    assert metrics["pa_auc"] == pytest.approx(leaderboard["xyz_al_auc3d"], rel=1e-6)


def test_errors_of_joints_average_to_the_means() -> None:
    xyz = labeled_hands()
    pred = noisy(xyz)
    pred[:, 8] += np.array([0.05, 0, 0])
    evaluation = score(Predictions(pred), xyz)
    rows = evaluation.per_joint()
    assert len(rows) == 21
    for name in ("epe_mm", "root_relative_epe_mm", "pa_epe_mm"):
        assert np.mean([row[name] for row in rows.values()]) == pytest.approx(evaluation.metrics[name])
    assert max(rows, key=lambda joint: rows[joint]["epe_mm"]) == "index_tip"


def test_distance_to_the_camera_does_not_matter_relative_to_the_wrist() -> None:
    xyz = labeled_hands()
    evaluation = score(Predictions(xyz + np.array([0, 0, 0.2])), xyz)
    assert evaluation.metrics["epe_mm"] == pytest.approx(200)
    assert evaluation.metrics["root_relative_epe_mm"] == pytest.approx(0, abs=1e-9)


def test_meshes_are_scored_if_both_sides_have_them() -> None:
    xyz, verts = labeled_hands(2), np.random.default_rng(2).normal(0, 0.04, (2, 778, 3))
    with_mesh = score(Predictions(xyz, verts + 0.001), xyz, verts)
    assert with_mesh.leaderboard["mesh_mean3d"] == pytest.approx(100 * np.sqrt(3) * 0.001)
    assert with_mesh.metrics["mesh_epe_mm"] == pytest.approx(np.sqrt(3))
    assert with_mesh.metrics["pa_mesh_epe_mm"] == pytest.approx(0, abs=1e-4)
    assert with_mesh.metrics["f_score_5"] == pytest.approx(1)
    assert list(with_mesh.pck) == ["xyz", "xyz_al", "mesh", "mesh_al"]
    for without in (score(Predictions(xyz), xyz, verts), score(Predictions(xyz, verts), xyz)):
        assert "mesh_mean3d" not in without.leaderboard
        assert "mesh_epe_mm" not in without.metrics
    assert "F-score at 5 mm" in table(with_mesh)
    assert "F-score" not in table(without)


def test_scores_are_written_as_the_official_ones(tmp_path: Path) -> None:
    xyz = labeled_hands()
    evaluation = score(Predictions(noisy(xyz)), xyz)
    write_scores(tmp_path, evaluation, {"data": "hands"})
    lines = (tmp_path / "scores.txt").read_text().splitlines()
    assert [line.split(": ")[0] for line in lines] == ["xyz_mean3d", "xyz_auc3d", "xyz_al_mean3d", "xyz_al_auc3d"]
    assert lines[0] == f"xyz_mean3d: {evaluation.leaderboard['xyz_mean3d']:f}"
    content = json.loads((tmp_path / "scores.json").read_text())
    assert content["metrics"] == pytest.approx(evaluation.metrics)
    assert content["hands"] == len(xyz)
    assert content["data"] == "hands"
    # the AUC is the area under the curve that is written beside it
    steps = content["pck"]["thresholds_mm"]
    area = np.trapezoid(content["pck"]["xyz"], steps) / steps[-1]
    assert area == pytest.approx(content["metrics"]["auc"])

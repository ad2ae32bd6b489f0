"""`peclr evaluate` on sets with 2-D labels: scores of HInt and mmpose, predictions in the images' own pixels."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from peclr.evaluate.command import evaluate_main
from peclr.report.runs import read_evaluation
from tests.data.sources.sets_2d import SPLITS, write_2d

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIZE = 32


def evaluate(network: Path, data: Path, *options: str) -> tuple[Path, dict[str, float]]:
    out = data.parent / "scores"
    assert evaluate_main([str(network), "--data", str(data), "--out", str(out), f"--view-size={SIZE}", *options]) == 0
    lines = (out / "scores.txt").read_text().splitlines()
    return out, {name: float(value) for name, value in (line.split(": ") for line in lines)}


def predicted(out: Path) -> dict[tuple[str, str], NDArray[np.float64]]:
    """Predictions (21, 2) by image and side, px whose centers are integers."""
    said = json.loads((out / "keypoints.json").read_bytes())
    names = {image["id"]: image["file_name"] for image in said["images"]}
    sides = {category["id"]: category["name"].partition("_")[0] for category in said["categories"]}
    return {
        (names[hand["image_id"]], sides[hand["category_id"]]): np.reshape(hand["keypoints"], (21, 3))[:, :2] - 0.5
        for hand in said["annotations"]
    }


@pytest.mark.parametrize("dataset", ["coco_wholebody", "halpe", "onehand10k", "panoptic"])
def test_pck_is_by_the_set_s_boxes_and_predictions_are_near_hands_of_both_sides(
    dataset: str, network: Path, tmp_path: Path
) -> None:
    joints = write_2d(tmp_path / "data", dataset, SPLITS[dataset])
    out, scores = evaluate(network, tmp_path / "data")
    found, distances, sizes = predicted(out), [], []
    assert len(found) == (3 if dataset == "onehand10k" else 6)
    for (image, side), points in found.items():
        stem = Path(image).stem
        number = int(stem) if stem.isdecimal() else ord(stem[0]) - ord("a")
        true = joints[number, 0 if side == "left" else 1].copy()
        if dataset == "onehand10k":
            true[0] = np.nan
        distances.append(np.linalg.norm(points - true, axis=1))
        whole = joints[number, 1] if dataset == "onehand10k" else true
        sizes.append(np.ptp(whole, axis=0).max())
        # whatever an untrained network says, it is about the middle of the crop, and that is at the hand
        assert np.linalg.norm(points.mean(axis=0) - np.nanmean(true, axis=0)) < 0.35 * sizes[-1]
    within = np.array(distances) / np.array(sizes)[:, None] < 0.2
    known = ~np.isnan(distances)
    columns = [within[known[:, joint], joint].mean() for joint in range(21) if known[:, joint].any()]
    assert scores["pck_0.2"] == pytest.approx(np.mean(columns), abs=1e-6)
    assert scores["epe_px"] == pytest.approx(np.nanmean(distances), abs=2e-3)
    assert set(scores) == {"pck_0.2", "auc_30px", "epe_px"}
    evaluation = read_evaluation(out, "a")  # as reports read it
    logged = {"pck_0_2": scores["pck_0.2"], "auc_30px": scores["auc_30px"], "epe_image_px": scores["epe_px"]}
    assert evaluation.metrics == pytest.approx(logged, abs=1e-5)
    assert (out / "worst.png").is_file()


def test_hint_is_scored_by_part_and_by_what_is_hidden(network: Path, tmp_path: Path) -> None:
    joints = write_2d(tmp_path / "data", "hint", "test")
    out, scores = evaluate(network, tmp_path / "data")
    found = predicted(out)
    parts = {"newdays_img": "a", "epick_img": "b", "ego4d_img": "c"}
    hidden = np.arange(21) % 3 == 0
    shares = {}
    for part, letter in parts.items():
        relative = []
        for side in (0, 1):
            points = found[f"TEST_{part}/{letter}_{'lr'[side]}.jpg", ("left", "right")[side]]
            true = joints[ord(letter) - ord("a"), side]
            relative.append(np.linalg.norm(points - true, axis=1) / (np.ptp(true, axis=0).max() + 4))
        shares[part] = np.array(relative)
        for limit in (0.05, 0.1, 0.15):
            hits = (shares[part] <= limit).mean(axis=0)
            assert scores[f"{part}_pck_{limit}_all"] == pytest.approx(hits.mean(), abs=1e-6)
            assert scores[f"{part}_pck_{limit}_occluded"] == pytest.approx(hits[hidden].mean(), abs=1e-6)
            assert scores[f"{part}_pck_{limit}_visible"] == pytest.approx(hits[~hidden].mean(), abs=1e-6)
    together = np.concatenate([*shares.values()])
    assert scores["pck_0.15_all"] == pytest.approx((together <= 0.15).mean(), abs=1e-6)
    assert len(scores) == 4 * 9 + 1
    assert set(read_evaluation(out, "a").metrics) == {"pck_0_05", "pck_0_1", "pck_0_15", "epe_image_px"}


def test_depths_do_not_move_the_wrist(network: Path, tmp_path: Path) -> None:
    """They may be anything in a network that has learned from pixels alone."""
    write_2d(tmp_path / "data", "halpe", "val")
    content = torch.load(network, weights_only=True)
    content["state_dict"]["pose_net.backend_model.fc.bias"][2:63:3] += torch.linspace(-1, 1, 21)
    torch.save(content, tmp_path / "deep.ckpt")
    scores = []
    for path in (network, tmp_path / "deep.ckpt"):
        scores.append(evaluate(path, tmp_path / "data")[1])
        shutil.rmtree(tmp_path / "scores")
    assert scores[0] == scores[1]


def test_what_cannot_be_scored_is_refused(network: Path, tmp_path: Path) -> None:
    write_2d(tmp_path / "data", "hint", "test")
    with pytest.raises(ValueError, match="--split s0_test: hint is scored on train or val or test"):
        evaluate(network, tmp_path / "data", "--split", "s0_test")
    with pytest.raises(ValueError, match="--crop image is of FreiHAND's layout"):
        evaluate(network, tmp_path / "data", "--crop", "image")
    with pytest.raises(ValueError, match=r"is hint, of which runs are scored"):
        evaluate_main(["--predictions", str(tmp_path / "pred.json"), "--data", str(tmp_path / "data")])
    write_2d(tmp_path / "coco", "coco_wholebody", "val")
    write_2d(tmp_path / "coco", "halpe", "val")
    with pytest.raises(ValueError, match="holds coco_wholebody and halpe; expected one of them"):
        evaluate(network, tmp_path / "coco")
    assert not (tmp_path / "scores").exists()

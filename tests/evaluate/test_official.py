"""`peclr evaluate` on other labeled sets: their own scores, and the files that their scorers take."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from peclr.data.sources.dexycb_labels import SUBJECTS
from peclr.data.sources.hanco import HanCo
from peclr.data.sources.interhand import InterHand, Split
from peclr.evaluate.command import evaluate_main
from peclr.geometry.joints import convert
from peclr.inference.crop_search import CropSearch
from peclr.inference.hands import predict_source
from peclr.inference.network import load_network
from peclr.metrics.dexycb import dexycb_scores
from peclr.metrics.freihand import freihand_scores
from peclr.metrics.ho3d import ho3d_scores
from peclr.metrics.rhd import rhd_scores
from peclr.report.runs import read_evaluation
from tests.data.sources.hanco_set import write_hanco
from tests.data.sources.labeled_sets import (
    AXES,
    KINDS,
    BothHands,
    few_sequences,
    pixels,
    write_assemblyhands,
    write_dexycb,
    write_ho3d,
    write_interhand,
    write_rhd,
)

SIZE = 32


def evaluate(network: Path, data: Path, *options: str) -> Path:
    out = data.parent / "scores"
    assert evaluate_main([str(network), "--data", str(data), "--out", str(out), f"--view-size={SIZE}", *options]) == 0
    return out


def scores(out: Path) -> dict[str, float]:
    lines = (out / "scores.txt").read_text().splitlines()
    return {name: float(value) for name, value in (line.split(": ") for line in lines)}


def test_ho3d_has_its_own_scores_and_predictions_in_its_order_and_axes(network: Path, tmp_path: Path) -> None:
    joints = write_ho3d(tmp_path / "ho3d", ".jpg")[5:]
    stored = convert(joints, "freihand", "mano") * AXES
    (tmp_path / "ho3d" / "evaluation_xyz.json").write_text(json.dumps(stored.tolist()))
    out = evaluate(network, tmp_path / "ho3d")
    pred, verts = (np.array(part) for part in json.loads((out / "pred.json").read_bytes()))
    assert (pred.shape, verts.shape, (out / "pred.zip").is_file()) == ((3, 21, 3), (3, 778, 3), True)
    assert (pred[..., 2] < 0).all()  # before a camera of OpenGL's
    expected = ho3d_scores(pred, stored)
    assert scores(out) == pytest.approx(expected, rel=1e-4)
    assert scores(out)["xyz_mean3d"] == pytest.approx(100 * np.linalg.norm(pred - stored, axis=-1).mean(), rel=1e-4)
    assert "in cm" in json.loads((out / "scores.json").read_text())["units"]


def test_dexycb_has_its_own_scores_and_results_of_left_hands_as_they_are(network: Path, tmp_path: Path) -> None:
    root = tmp_path / "dexycb"
    joints = write_dexycb(root, subjects=len(SUBJECTS), sequences=2)
    with few_sequences(2):
        out = evaluate(network, root, "--split", "s2_test")
    rows = np.array([line.split(",") for line in (out / "results.txt").read_text().splitlines()], float)
    assert rows[:, 0].tolist() == list(range(10 * 2 * 2))
    pred, true = rows[:, 1:].reshape(-1, 21, 3) / 1000, np.repeat(joints.reshape(-1, 21, 3), 2, axis=0)
    assert scores(out) == pytest.approx(dexycb_scores(pred, true), rel=1e-3)
    assert scores(out)["absolute_mpjpe"] == pytest.approx(1000 * np.linalg.norm(pred - true, axis=-1).mean(), rel=1e-4)
    assert json.loads((out / "scores.json").read_text())["units"].endswith("in mm")
    # whatever an untrained network says, it is near the crop, which is around the hand
    left = np.arange(len(true)) // 2 % 2 == 1
    apart = pixels(pred[left]).mean(axis=1) - pixels(true[left]).mean(axis=1)
    mirrored = pixels(pred[left] * [-1, 1, 1]).mean(axis=1) - pixels(true[left]).mean(axis=1)
    assert np.abs(apart).mean() < np.abs(mirrored).mean()


def test_hanco_s_test_frames_are_scored_as_freihand(network: Path, tmp_path: Path) -> None:
    joints = write_hanco(tmp_path / "hanco")[2, 0]  # the frame of the test sequence that was looked at, in eight views
    out = evaluate(network, tmp_path / "hanco")
    trained, source = load_network(network, SIZE, "cpu"), HanCo(tmp_path / "hanco", "test")
    hands = predict_source(trained, source, 8, CropSearch("published"))
    expected = freihand_scores(np.stack([hand.joints_3d for hand in hands]), joints)
    assert scores(out) == pytest.approx(expected, rel=1e-4)
    assert json.loads((out / "scores.json").read_text())["hands"] == 8
    with pytest.raises(ValueError, match="--split train: hanco is scored on test"):
        evaluate(network, tmp_path / "hanco", "--split", "train", "--out", str(tmp_path / "others"))


@pytest.mark.parametrize("write", [write_interhand, write_assemblyhands])
def test_hands_with_unknown_joints_are_scored_by_those_that_are_known(
    network: Path, tmp_path: Path, write: Callable[[Path, list[str]], BothHands], capsys: pytest.CaptureFixture[str]
) -> None:
    split: Split = "test" if write is write_interhand else "val"  # which is scored by default
    both = write(tmp_path / "hands", [split])
    out, source = evaluate(network, both.root), InterHand(both.root, split)
    said, official = json.loads((out / "scores.json").read_text()), scores(out)
    trained = load_network(network, SIZE, "cpu")
    pred = np.stack([hand.joints_3d for hand in predict_source(trained, source, 8, CropSearch("published"))])
    pred[source.is_left, :, 0] *= -1
    errors: dict[str, list[list[float]]] = {kind: [[] for _ in range(42)] for kind in ("all", "single", "interacting")}
    between = []
    for image, kind in enumerate(KINDS):
        hands = [n for n in range(source.num_hands) if f"{10 + 6 * image}.jpg" in source[n]["id"]]
        for n in hands:
            side = int(source.is_left[n])
            true = both.joints[image, side]
            for joint in np.flatnonzero(np.isfinite(true[:, 0] + true[0, 0])):
                error = 1000 * np.linalg.norm(pred[n, joint] - pred[n, 0] - true[joint] + true[0])
                for group in ("all", "interacting" if kind == "interacting" else "single"):
                    errors[group][21 * side + joint].append(float(error))
        if kind == "interacting" and len(hands) == 2 and np.isfinite(both.joints[image, :, 0]).all():
            right, left = hands
            apart = both.joints[image, 1, 0] - both.joints[image, 0, 0]
            between.append(1000 * np.linalg.norm(pred[left, 0] - pred[right, 0] - apart))
    means = {kind: np.mean([np.mean(joint) for joint in joints if joint]) for kind, joints in errors.items()}
    if write is write_interhand:
        assert len(between) == 1
        assert official == pytest.approx(
            {f"mpjpe_{kind}": mean for kind, mean in means.items()} | {"mrrpe": np.mean(between)}, rel=1e-4
        )
        assert said["note"].startswith("mrrpe is the error of the left wrist's place relative to the right one's")
        assert said["note"] in capsys.readouterr().out
    else:
        assert official == pytest.approx({"mpjpe": means["all"]}, rel=1e-4)
    assert (out / "worst.png").is_file()
    compared = read_evaluation(out, "hands").metrics
    assert compared["mpjpe_all_mm"] == pytest.approx(means["all"])
    assert ("mrrpe_mm" in compared) == (write is write_interhand)
    whole = np.asarray(np.isfinite(source.joints_3d).all(axis=(1, 2)))
    assert (said["hands"], said["split"]) == (whole.sum(), split)
    assert said["unknown"] == (f"{(~whole).sum()} of {len(whole)} hands have unknown joints: only scores.txt has these")


def test_rhd_is_scored_on_the_prominent_hands_of_both_sides(network: Path, tmp_path: Path) -> None:
    joints = write_rhd(tmp_path / "rhd", "evaluation")
    out = evaluate(network, tmp_path / "rhd")
    assert set(scores(out)) == {"mean", "median", "auc_0_50", "auc_20_50"}
    logged = json.loads((out / "scores.json").read_text())
    assert (logged["hands"], logged["split"]) == (len(joints), "evaluation")
    # an untrained network has all joints at one place, from which the palm is as far as from it in the label
    true = np.array([hands[1 - frame % 2] for frame, hands in enumerate(joints)])
    palm = (true[:, 0] + true[:, 9]) / 2
    visible = np.ones((4, 21), bool)
    expected = rhd_scores(np.repeat(palm[:, None], 21, axis=1), true, visible)
    assert scores(out)["mean"] == pytest.approx(expected["mean"], rel=0.3)


def test_an_image_that_is_missing_is_named_before_anything_is_predicted(network: Path, tmp_path: Path) -> None:
    both = write_interhand(tmp_path / "hands", ["test"])
    missing = both.root / "images" / "test" / "Capture0" / "image46.jpg"
    missing.unlink()
    with pytest.raises(ValueError, match=rf"{missing} is missing; get it again"):
        evaluate(network, both.root)
    assert not (tmp_path / "scores").exists()


def test_hands_without_a_scale_are_refused_before_they_are_predicted(network: Path, tmp_path: Path) -> None:
    both = write_interhand(tmp_path / "hands", ["test"])

    def no_bones(data: Any) -> None:
        for annotation in data["annotations"]:
            annotation["joint_valid"][11] = [0]

    both.edit(0, no_bones, "test")
    with pytest.raises(ValueError, match=r"hands, test: 4 of 8 hands have no scale, nor has another one"):
        evaluate(network, both.root)
    assert not (tmp_path / "scores").exists()


def test_what_is_ambiguous_or_missing_is_asked_for_by_name(network: Path, tmp_path: Path) -> None:
    (tmp_path / "dexycb" / "calibration" / "intrinsics").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"is dexycb: give --split s0_test, as most papers, or another of s0 to s3"):
        evaluate(network, tmp_path / "dexycb")
    write_ho3d(tmp_path / "ho3d")
    with pytest.raises(ValueError, match=r"evaluation_xyz\.json is missing: it has the scales, and is scored by"):
        evaluate(network, tmp_path / "ho3d")
    with pytest.raises(ValueError, match=r"0006 is missing; expected it as \.jpg \(v3\)"):
        evaluate(network, tmp_path / "ho3d", "--version", "v3")
    write_rhd(tmp_path / "rhd", "evaluation")
    with pytest.raises(ValueError, match=r"--version v3 is of HO-3D; .*rhd is rhd"):
        evaluate(network, tmp_path / "rhd", "--version", "v3")
    with pytest.raises(ValueError, match=r"--split train: ho3d is scored on evaluation"):
        evaluate(network, tmp_path / "ho3d", "--split", "train")
    with pytest.raises(ValueError, match="--crop image is of FreiHAND's layout"):
        evaluate(network, tmp_path / "ho3d", "--crop", "image")
    with pytest.raises(ValueError, match=r"is ho3d, of which runs are scored; --predictions are of FreiHAND's layout"):
        evaluate_main(["--predictions", str(tmp_path / "pred.json"), "--data", str(tmp_path / "ho3d")])
    assert not (tmp_path / "scores").exists()

"""`peclr evaluate`: a network or a file of predictions to scores, tables and images."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from peclr.data.sources.freihand import FreiHAND
from peclr.evaluate.command import CROPS, evaluate_main, predict_split
from peclr.evaluate.predictions import Predictions, read_labels, read_predictions, write_predictions
from peclr.inference.network import load_network
from peclr.models.encoders import ResNetEncoder
from peclr.models.pose_net import PoseNet25D
from tests.saved_run import save_run

SIZE = 32
SCORED = {"scores.txt", "scores.json", "pck.png", "worst.png"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fine-tuning run's folder, with a network that predicts different hands for different images."""
    torch.manual_seed(0)
    network = PoseNet25D(ResNetEncoder("resnet18", 0.125)).init_for(SIZE)
    with torch.no_grad():
        network.backend_model.fc.weight *= 20
        network.backend_model.fc.bias += torch.randn(64) * torch.tensor([4.0, 4.0, 0.3]).repeat(22)[:64]
    return save_run(tmp_path_factory.mktemp("evaluated") / "run", network, SIZE)


@pytest.fixture
def unlabeled(rendered_hands: Path, tmp_path: Path) -> Path:
    """As older downloads of FreiHAND: no evaluation_xyz.json."""
    folder = tmp_path / "unlabeled"
    folder.mkdir()
    shutil.copytree(rendered_hands / "evaluation", folder / "evaluation")
    for kind in ("K", "scale"):
        shutil.copy(rendered_hands / f"evaluation_{kind}.json", folder)
    return folder


def evaluate(*arguments: object) -> int:
    return evaluate_main([str(argument) for argument in arguments])


def predicted(path: Path) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    return read_predictions(path / "pred.json").xyz


@pytest.mark.parametrize("crop", CROPS)
def test_predictions_do_not_depend_on_the_batch_size(crop: str, run: Path, rendered_hands: Path) -> None:
    source = FreiHAND(rendered_hands, "evaluation", crop="keypoints" if crop == "keypoints" else "image")
    trained = load_network(run, device="cpu")
    one, three, all_of_them = (predict_split(trained, source, crop, size).xyz for size in (1, 3, 64))
    assert one.shape == (8, 21, 3)
    assert np.ptp(one, axis=0).max() > 1e-3  # other images, other hands
    np.testing.assert_allclose(three, one, atol=1e-5)
    np.testing.assert_allclose(all_of_them, one, atol=1e-5)


@pytest.mark.parametrize("crop", CROPS)
def test_turned_views_are_averaged_whatever_the_crop(crop: str, run: Path, rendered_hands: Path) -> None:
    source = FreiHAND(rendered_hands, "evaluation", crop="keypoints" if crop == "keypoints" else "image")
    trained = load_network(run, device="cpu")
    once, thrice = (predict_split(trained, source, crop, 8, turn=turn).xyz for turn in (0, 30))
    same = predict_split(trained, source, crop, 8, turn=360 / 1e9).xyz
    np.testing.assert_allclose(same, once, atol=1e-4)  # a turn that is none
    assert np.abs(thrice - once).max() > 1e-3


def test_a_run_is_scored_with_everything_that_goes_with_it(
    run: Path, rendered_hands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = shutil.copytree(run, tmp_path / "run")
    assert evaluate(moved, "--data", rendered_hands) == 0
    out = moved / "evaluation"
    assert {path.name for path in out.iterdir()} == SCORED | {"pred.json", "pred.zip"}
    shown = capsys.readouterr()
    assert "root-relative EPE" in shown.out
    assert "little_tip" in shown.out
    assert "hands/s" in shown.err
    content = json.loads((out / "scores.json").read_text())
    assert (content["hands"], content["crop"], content["view_size"]) == (8, "two-pass", SIZE)
    assert cv2.imread(str(out / "worst.png")) is not None
    assert cv2.imread(str(out / "pck.png")) is not None
    # the file that was written scores as the network did
    assert evaluate("--predictions", out / "pred.zip", "--data", rendered_hands, "--out", tmp_path / "again") == 0
    again = json.loads((tmp_path / "again" / "scores.json").read_text())
    assert again["metrics"] == pytest.approx(content["metrics"], abs=1e-4)


def test_the_scale_of_the_files_makes_metres(run: Path, unlabeled: Path, tmp_path: Path) -> None:
    evaluate(run, "--data", unlabeled, "--out", tmp_path / "before")
    path = unlabeled / "evaluation_scale.json"
    path.write_text(json.dumps([2 * scale for scale in json.loads(path.read_text())]))
    evaluate(run, "--data", unlabeled, "--out", tmp_path / "after")
    np.testing.assert_allclose(predicted(tmp_path / "after"), 2 * predicted(tmp_path / "before"), rtol=1e-5)


def test_without_labels_it_predicts_only_and_says_so(
    run: Path, unlabeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(run, "--data", unlabeled, "--out", tmp_path / "out") == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"pred.json", "pred.zip"}
    assert "evaluation_xyz.json is not there: predicted only, not scored" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"crop around keypoints needs evaluation_xyz\.json"):
        evaluate(run, "--data", unlabeled, "--out", tmp_path / "out2", "--crop", "keypoints")
    with pytest.raises(FileNotFoundError, match=r"evaluation_xyz\.json: no such file"):
        evaluate("--predictions", tmp_path / "out" / "pred.json", "--data", unlabeled)


def test_the_zero_predictor_scores_the_distance_of_the_hands(rendered_hands: Path, tmp_path: Path) -> None:
    xyz = read_labels(rendered_hands / "evaluation_xyz.json", 21)
    plain, _ = write_predictions(tmp_path, Predictions(np.zeros_like(xyz)))
    evaluate("--predictions", plain, "--data", rendered_hands)
    scores = json.loads((tmp_path / "pred_evaluation" / "scores.json").read_text())["metrics"]
    assert scores["epe_mm"] == pytest.approx(1000 * np.sqrt((xyz**2).sum(-1)).mean())
    # aligned, all joints fall on the middle of the hand
    spread = np.sqrt(((xyz - xyz.mean(1, keepdims=True)) ** 2).sum(-1)).mean()
    assert scores["pa_epe_mm"] == pytest.approx(1000 * spread)
    # FreiHAND's README gives 70.79 and 4.73 cm for its hands: these are as far away and as large
    assert 400 < scores["epe_mm"] < 1000
    assert 30 < scores["pa_epe_mm"] < 70


def test_labels_alone_are_enough_to_score_a_file(
    rendered_hands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "labels").mkdir()
    shutil.copy(rendered_hands / "evaluation_xyz.json", tmp_path / "labels")
    xyz = read_labels(rendered_hands / "evaluation_xyz.json", 21)
    verts = np.random.default_rng(0).normal(0, 0.04, (len(xyz), 778, 3))
    plain, _ = write_predictions(tmp_path, Predictions(xyz, verts))
    evaluate("--predictions", plain, "--data", tmp_path / "labels", "--out", tmp_path / "keypoints")
    assert {path.name for path in (tmp_path / "keypoints").iterdir()} == SCORED - {"worst.png"} | {"pred.json"}
    np.testing.assert_allclose(predicted(tmp_path / "keypoints"), xyz, atol=1e-6)
    shown = capsys.readouterr().out
    assert "meshes are not scored" in shown
    assert "worst cases are not drawn" in shown
    (tmp_path / "labels" / "evaluation_verts.json").write_text(json.dumps(verts.tolist()))
    evaluate("--predictions", plain, "--data", tmp_path / "labels", "--out", tmp_path / "meshes")
    scores = json.loads((tmp_path / "meshes" / "scores.json").read_text())["metrics"]
    assert scores["f_score_5"] == pytest.approx(1)


def test_another_number_of_hands_is_named(rendered_hands: Path, tmp_path: Path) -> None:
    plain, _ = write_predictions(tmp_path, Predictions(np.zeros((5, 21, 3))))
    with pytest.raises(ValueError, match=r"pred\.json: predicts 5 hands, but .*evaluation_xyz\.json has 8"):
        evaluate("--predictions", plain, "--data", rendered_hands)
    assert not (tmp_path / "pred_evaluation").exists()


def test_nothing_is_overwritten_and_one_thing_is_evaluated(run: Path, rendered_hands: Path, tmp_path: Path) -> None:
    (tmp_path / "note.txt").touch()
    with pytest.raises(FileExistsError, match=r"is not an empty folder; choose another"):
        evaluate(run, "--data", rendered_hands, "--out", tmp_path)
    with pytest.raises(FileNotFoundError, match="no such"):
        evaluate(tmp_path / "nowhere", "--data", rendered_hands, "--out", tmp_path / "out")
    with pytest.raises(ValueError, match="batch size must be at least 1, got 0"):
        evaluate(run, "--data", rendered_hands, "--out", tmp_path / "out", "--batch-size", 0)
    with pytest.raises(ValueError, match="give either RUN"):
        evaluate("--data", rendered_hands)
    for option, value in (("split", "training"), ("version", "v3")):
        with pytest.raises(ValueError, match=rf"--{option} {value} is of other sets; of FreiHAND's layout, evaluation"):
            evaluate(run, "--data", rendered_hands, "--out", tmp_path / "out", f"--{option}", value)


def test_a_network_that_has_diverged_is_named(run: Path, rendered_hands: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(run, tmp_path / "run")
    path = moved / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    content["state_dict"]["pose_net.backend_model.fc.bias"].fill_(torch.nan)
    torch.save(content, path)
    for crop in ("two-pass", "image"):
        with pytest.raises(ValueError, match=r"not finite.*diverged"):
            evaluate(moved, "--data", rendered_hands, "--crop", crop)

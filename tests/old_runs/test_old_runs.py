"""What earlier versions made is resumed, scored, used and reported on by this one; `VERSION/make.sh` made it."""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from peclr.__main__ import main
from peclr.checkpoints import load_encoder, load_pose_net
from peclr.runs import aliases

VERSIONS = sorted(path.parent for path in Path(__file__).parent.glob("*/runs.tar.xz"))


@pytest.fixture(scope="module", params=VERSIONS, ids=lambda folder: folder.name)
def unpacked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one version has left: hands, runs, and an exported file."""
    folder = tmp_path_factory.mktemp(request.param.name)
    with tarfile.open(request.param / "runs.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def old(unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in the working folder, as the paths in its configs are relative."""
    folder = shutil.copytree(unpacked, tmp_path / "old")
    monkeypatch.chdir(folder)
    return folder


def resume(run: str, *options: str) -> tuple[int, int]:
    """The optimizer steps before and after a run has gone on with its own config."""
    last = Path(run, "checkpoints", "last.ckpt")
    before = torch.load(last, weights_only=True)["global_step"]
    assert main(["fit", f"--config={run}/config.yaml", f"--ckpt_path={last}", f"--run_dir={run}", *options]) == 0
    return before, torch.load(last, weights_only=True)["global_step"]


def predict(weights: str, out: str, *options: str) -> NDArray[np.float64]:
    """(21, 2), pixels: the hand of one image."""
    image, box = "hands/evaluation/rgb/00000000.jpg", "10,10,50,50"
    assert main(["predict", weights, image, "--out", out, "--no-overlay", "--box", box, *options]) == 0
    (hand,) = json.loads(Path(out, "00000000.json").read_text())["hands"]
    return np.array(hand["keypoints_2d"])


def test_training_goes_on_under_the_present_names(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    aliases._report.cache_clear()
    weights = torch.load("runs/pretrain/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    before, after = resume("runs/pretrain", "--trainer.max_epochs=4")
    assert before % 6 != 0, "it was stopped within an epoch"
    assert after == 4 * 6, "24 hands in batches of 4"
    trained = torch.load("runs/pretrain/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert trained.keys() == weights.keys()
    assert not torch.equal(trained["encoder.conv1.weight"], weights["encoder.conv1.weight"])
    assert "data.freihand.FreiHAND: now peclr.data.sources.freihand" in capsys.readouterr().err
    (saved,) = Path("runs/pretrain").glob("config-*.yaml")
    assert "data.freihand.FreiHAND" not in saved.read_text()


def test_fine_tuning_goes_on(old: Path) -> None:
    before, after = resume("runs/finetune", "--trainer.max_epochs=3")
    assert after == before * 3 / 2


def test_evaluating_gives_the_same_joints(old: Path) -> None:
    assert main(["evaluate", "runs/finetune", "--data", "hands", "--out", "again"]) == 0
    ours, theirs = (json.loads(Path(f, "pred.json").read_text())[0] for f in ("again", "runs/finetune/evaluation"))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)  # metres


def test_predicting_and_exporting(old: Path) -> None:
    joints = predict("runs/finetune", "predicted")
    assert joints.shape == (21, 2)
    np.testing.assert_allclose(predict("exported/finetune.safetensors", "exported_by_it"), joints, atol=1e-3)
    assert main(["export", "runs/finetune", "--out", "ours", "--formats", "safetensors"]) == 0
    np.testing.assert_allclose(predict("ours/finetune.safetensors", "exported_by_us"), joints, atol=1e-3)


def test_a_checkpoint_that_does_not_say_its_views_is_not_guessed_at(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy("runs/finetune/checkpoints/last.ckpt", "x.ckpt")
    for command in (["predict", "x.ckpt", "hands/evaluation/rgb"], ["evaluate", "x.ckpt", "--data", "hands"]):
        assert main([*command, "--out", "guessed"]) == 2
        assert "x.ckpt: nothing says on views of which size it was trained" in capsys.readouterr().err
    assert main(["export", "x.ckpt", "--out", "guessed", "--formats", "safetensors"]) == 2
    given = predict("x.ckpt", "given", "--view-size", "48")
    np.testing.assert_allclose(given, predict("runs/finetune", "run"), atol=1e-3)


def test_weights_are_loaded(old: Path) -> None:
    network = load_pose_net("exported/finetune.safetensors").state_dict()
    assert all(torch.equal(value, network[key]) for key, value in load_pose_net("runs/finetune").state_dict().items())
    encoder = load_encoder("runs/pretrain").state_dict()
    assert all(torch.equal(value, network[f"backend_model.{key}"]) for key, value in encoder.items())


def test_runs_are_reported_on(old: Path) -> None:
    assert main(["report", "runs", "--out", "report.html"]) == 0
    page = Path("report.html").read_text()
    assert all(name in page for name in ("pretrain", "finetune", "weight_decay=0.1"))


def test_a_finished_sweep_is_read_and_not_run_again(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in Path("runs/sweep").rglob("*.ckpt")}
    assert main(["sweep", "sweep.yaml", "--out", "runs/sweep"]) == 0
    assert capsys.readouterr().out.count("finished") == len(before) == 2
    assert {path: path.stat().st_mtime_ns for path in before} == before

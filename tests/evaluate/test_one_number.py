"""One number for one network and the same hands: `peclr test` and `peclr evaluate` show it the same views."""

import json
from pathlib import Path

import pytest
import torch

from peclr.__main__ import main
from peclr.evaluate.command import evaluate_main
from peclr.inference.network import load_network
from peclr.metrics.pose import joint_metrics
from peclr.runs.about import KEY

CONF = Path(__file__).parents[1] / "conf" / "finetune.yaml"
# values that are not the defaults, and a last batch that is not full
VIEWS = ("--data.border=reflect", "--data.crop_margin=1.5")
OPTIONS = ("--data.batch_size=3", "--trainer.precision=bf16-mixed")


@pytest.fixture(scope="module")
def run(rendered_hands: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("one") / "run"
    assert main(["fit", f"--config={CONF}", f"--data.root={rendered_hands}", f"--run_dir={run}", *VIEWS, *OPTIONS]) == 0
    return run


def by_test(run: Path, out: Path, *more: str) -> dict[str, float]:
    """What `peclr test` logs, by names without the split."""
    checkpoint = f"--ckpt_path={run / 'checkpoints' / 'last.ckpt'}"
    assert main(["test", f"--config={run / 'config.yaml'}", checkpoint, f"--run_dir={out}", *more]) == 0
    metrics = json.loads((out / "results.json").read_text())["metrics"]
    return {name: metrics[f"test/{name}"] for name in joint_metrics()}


def by_evaluate(weights: Path, hands: Path, out: Path, crop: str) -> dict[str, float]:
    """The metrics in what `peclr evaluate` writes."""
    command = ["evaluate", str(weights), "--data", str(hands), "--out", str(out), "--crop", crop]
    assert main([*command, "--batch-size", "5"]) == 0
    metrics: dict[str, float] = json.loads((out / "scores.json").read_text())["metrics"]
    return metrics


@pytest.mark.parametrize("crop", ["keypoints", "image"])
def test_test_and_evaluate_give_the_same(crop: str, run: Path, rendered_hands: Path, tmp_path: Path) -> None:
    logged = by_test(run, tmp_path / "tested", f"--data.crop={crop}")
    scored = by_evaluate(run, rendered_hands, tmp_path / "evaluated", crop)
    assert scored == pytest.approx(logged, rel=1e-6, abs=1e-3)  # mm
    assert scored["pa_auc"] == pytest.approx(logged["pa_auc"], abs=1e-5)
    assert logged["pa_epe_mm"] < logged["root_relative_epe_mm"] < logged["epe_mm"]


def test_a_checkpoint_says_its_views_and_older_ones_have_a_run_that_does(
    run: Path, rendered_hands: Path, tmp_path: Path
) -> None:
    expected = by_evaluate(run, rendered_hands, tmp_path / "run", "keypoints")
    content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    alone = tmp_path / "alone.ckpt"
    torch.save(content, alone)
    assert by_evaluate(alone, rendered_hands, tmp_path / "alone", "keypoints") == expected
    assert main(["export", str(run), "--out", str(tmp_path / "exported"), "--formats", "safetensors"]) == 0
    assert (
        by_evaluate(tmp_path / "exported" / "run.safetensors", rendered_hands, tmp_path / "x", "keypoints") == expected
    )
    assert "The image's mirror image beyond" in (tmp_path / "exported" / "README.md").read_text()
    for name in ("border", "crop_margin"):
        del content[KEY][name]
    torch.save(content, alone)
    trained = load_network(alone, device="cpu")
    assert (trained.border, trained.crop_margin) == ("black", 1.25)  # as published, where nothing says it
    (tmp_path / "old" / "checkpoints").mkdir(parents=True)
    torch.save(content, tmp_path / "old" / "checkpoints" / "last.ckpt")
    (tmp_path / "old" / "config.yaml").write_text((run / "config.yaml").read_text())
    assert by_evaluate(tmp_path / "old", rendered_hands, tmp_path / "of_old", "keypoints") == expected


def test_scoring_on_other_views_than_those_of_training_is_said(run: Path, tmp_path: Path) -> None:
    with pytest.warns(
        UserWarning, match=r"scored with data\.border black, but the checkpoint has learned with reflect"
    ):
        by_test(run, tmp_path / "black", "--data.border=black")


@pytest.mark.parametrize(("name", "value"), [("border", "white"), ("crop_margin", 0), ("crop_margin", "1.5")])
def test_views_that_are_none_are_refused(name: str, value: object, run: Path, tmp_path: Path) -> None:
    content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    content[KEY][name] = value
    torch.save(content, tmp_path / "odd.ckpt")
    with pytest.raises(ValueError, match=rf"odd\.ckpt: its 'peclr': {name} .*, expected"):
        load_network(tmp_path / "odd.ckpt")


def test_several_images_of_a_hand_have_no_one_prediction(run: Path, rendered_hands: Path, tmp_path: Path) -> None:
    hands = tmp_path / "hands"
    (hands / "evaluation").mkdir(parents=True)
    (hands / "evaluation" / "rgb").symlink_to(rendered_hands / "training" / "rgb")
    for kind in ("K", "scale", "xyz"):
        (hands / f"evaluation_{kind}.json").symlink_to(rendered_hands / f"training_{kind}.json")
    with pytest.raises(ValueError, match="48 evaluation images of 24 hands; expected one each"):
        evaluate_main([str(run), "--data", str(hands), "--out", str(tmp_path / "out")])

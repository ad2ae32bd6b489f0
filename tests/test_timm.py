"""Encoders of timm from pre-training to an exported file: a ViT, a ConvNeXt and a ResNet through every command."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from peclr.__main__ import main
from peclr.models.timm_encoder import TimmEncoder

pytest.importorskip("timm", reason="needs the extra: pip install 'peclr[timm]'")
pytestmark = pytest.mark.last  # exports to ONNX

CONF = Path(__file__).parent / "conf"
# one goes through everything with every change, the others on `make test-slow`
NAMES = ["test_vit", *(pytest.param(name, marks=pytest.mark.slow) for name in ("test_convnext", "test_resnet"))]


def without_encoder(name: str, folder: Path) -> str:
    config = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    del config["model"]["init_args"]["encoder"]
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config))
    return f"--config={path}"


def pretrain(name: str, hands: Path, run: Path, *more: str) -> int:
    encoder = ["--model.encoder=TimmEncoder", f"--model.encoder.name={name}"]
    options = ["--data.view_size=48", "--trainer.max_epochs=1", f"--data.root={hands}", f"--run_dir={run}"]
    return main(["fit", without_encoder("pretrain", run.parent), *encoder, *options, *more])


@pytest.mark.parametrize("name", NAMES)
def test_from_pretraining_to_an_exported_file(
    name: str, rendered_hands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, tuned = tmp_path / "first", tmp_path / "tuned"
    callbacks = '[{"class_path": "OnlineProbe"}, {"class_path": "CompileEncoder", "init_args": {"backend": "eager"}}]'
    recipe = ["--model.lars=false", "--model.optimizer=torch.optim.AdamW", f"--trainer.callbacks={callbacks}"]
    assert pretrain(name, rendered_hands, first, *recipe, "--model.micro_batch=4", "--data.val_fraction=0.5") == 0, (
        capsys.readouterr().err
    )
    assert "probe/pa_epe_mm" in json.loads((first / "results.json").read_text())["metrics"]

    # at another side of views: positional embeddings follow
    data = [f"--data.root={rendered_hands}", "--data.view_size=64", "--data.num_labels=8"]
    fit = [
        "fit",
        without_encoder("finetune", tmp_path),
        *data,
        f"--model.weights={first / 'checkpoints' / 'last.ckpt'}",
    ]
    assert main([*fit, "--model.layer_decay=0.7", f"--run_dir={tuned}"]) == 0, capsys.readouterr().err
    last = tuned / "checkpoints" / "last.ckpt"
    about = torch.load(last, weights_only=True)["peclr"]
    assert about["encoder"]["init_args"] == {"name": name, "view_size": 64 if name == "test_vit" else None}
    assert about["mean"] == [0.5, 0.5, 0.5]
    scored = ["test", f"--config={tuned / 'config.yaml'}", f"--ckpt_path={last}", f"--run_dir={tmp_path / 'scored'}"]
    assert main(scored) == 0
    capsys.readouterr()
    test = json.loads((tmp_path / "scored" / "results.json").read_text())["metrics"]

    assert main(["evaluate", str(tuned), "--data", str(rendered_hands), "--crop=keypoints"]) == 0
    scores = json.loads((tuned / "evaluation" / "scores.json").read_text())["metrics"]
    assert scores["pa_epe_mm"] == pytest.approx(test["test/pa_epe_mm"], rel=1e-3)
    image = next((rendered_hands / "evaluation" / "rgb").iterdir())
    assert main(["predict", str(tuned), str(image), "--out", str(tmp_path / "seen")]) == 0
    assert len(json.loads((tmp_path / "seen" / f"{image.stem}.json").read_text())["hands"]) == 1
    capsys.readouterr()

    out = tmp_path / "exported"
    assert main(["export", str(tuned), "--out", str(out)]) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert f"no torchvision: the encoder is {name}, and this format is for torchvision's ResNets" in said
    assert "onnxruntime and PyTorch agree" in said
    assert {path.name for path in out.iterdir()} == {"README.md", "tuned.onnx", "tuned.safetensors"}
    assert "mean [0.5, 0.5, 0.5]" in (out / "README.md").read_text()
    assert main(["predict", str(out / "tuned.safetensors"), str(image), "--out", str(tmp_path / "again")]) == 0
    once, again = ((tmp_path / run / f"{image.stem}.json").read_text() for run in ("seen", "again"))
    assert json.loads(once)["hands"] == json.loads(again)["hands"]
    assert main(["export", str(tuned), "--out", str(tmp_path / "no"), "--formats", "torchvision"]) == 2


def test_lars_is_refused_where_no_batchnorm_takes_the_scale_out(
    rendered_hands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pretrain("test_vit", rendered_hands, tmp_path / "run") == 2
    advice = "set lars: false and optimizer: torch.optim.AdamW, as pretrain_vit does"
    assert f"lars: true is for encoders with BatchNorm, and test_vit has LayerNorm: {advice}" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_resuming_makes_the_encoder_at_the_side_of_the_views(rendered_hands: Path, tmp_path: Path) -> None:
    options = ["--model.lars=false", "--model.encoder.grad_checkpointing=true"]
    run = tmp_path / "run"
    assert pretrain("test_vit", rendered_hands, run, *options) == 0
    more: Any = [f"--ckpt_path={run / 'checkpoints' / 'last.ckpt'}", "--trainer.max_epochs=2"]
    assert pretrain("test_vit", rendered_hands, run, *options, *more) == 0
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert state["encoder.model.pos_embed"].shape == TimmEncoder("test_vit", view_size=48).model.pos_embed.shape

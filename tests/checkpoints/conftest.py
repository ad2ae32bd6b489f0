"""A fine-tuning run and its export, which takes seconds: made once, by the command that users give."""

import json
from pathlib import Path

import pytest
import torch

from peclr.checkpoints.command import export_main
from peclr.models.encoders import ResNetEncoder
from peclr.models.pose_net import PoseNet25D

SIZE = 48


@pytest.fixture(scope="session")
def finetuned_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has been evaluated, with joints as far apart as a trained network's: the camera matters."""
    folder = tmp_path_factory.mktemp("runs") / "finetuned"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "evaluation").mkdir()
    torch.manual_seed(0)
    network = PoseNet25D(ResNetEncoder("resnet18", 0.125)).init_for(SIZE)
    with torch.no_grad():
        network.backend_model.fc.bias += torch.randn(64) * torch.tensor([8.0, 8.0, 0.4]).repeat(22)[:64]
        for parameter in network.zroot_ref.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    state = {f"pose_net.{key}": value for key, value in network.state_dict().items()}
    torch.save({"state_dict": state}, folder / "checkpoints" / "last.ckpt")
    config = f"data: {{init_args: {{view_size: {SIZE}, root: null}}}}\ntrainer: {{max_epochs: 7}}\n"
    (folder / "config.yaml").write_text(config)
    (folder / "evaluation" / "scores.json").write_text(json.dumps({"scores": {"xyz_al_mean3d": 1.25}}))
    return folder


@pytest.fixture(scope="session")
def exported_run(finetuned_run: Path) -> Path:
    """The folder of `peclr export`, in all formats that the run allows."""
    for module in ("onnx", "onnxscript", "onnxruntime", "safetensors"):
        pytest.importorskip(module, reason="needs the extra: pip install 'peclr[export]'")
    out = finetuned_run.parent / "exported"
    assert export_main([str(finetuned_run), "--out", str(out)]) == 0
    return out

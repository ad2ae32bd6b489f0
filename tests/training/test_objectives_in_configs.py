"""Every objective goes by its short name in a config, and trains from the command line, in micro-batches too."""

import json
from pathlib import Path

import pytest
import torch

from peclr.__main__ import main

CONFIG = Path(__file__).parents[1] / "conf" / "pretrain.yaml"


@pytest.mark.parametrize("objective", ["SimCLR", "AffinePeCLR", "SiMHand"])
def test_an_objective_by_its_name(objective: str, embedded_hands: Path, tmp_path: Path) -> None:
    options = {
        "run_dir": tmp_path / "run",
        "model.objective": objective,
        "model.micro_batch": 4,
        "data.with_joints": "true",
        "data.sources.init_args.root": embedded_hands,
        "trainer.max_epochs": 1,
    }
    assert main(["fit", f"--config={CONFIG}", *(f"--{name}={value}" for name, value in options.items())]) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    text = json.dumps(results)
    assert "train/effective_negatives" in text
    assert "train/optimizer_batch" in text


@pytest.mark.parametrize("optimizer", ["torch.optim.SGD", "torch.optim.AdamW"])
def test_any_optimiser_by_its_class_path(optimizer: str, embedded_hands: Path, tmp_path: Path) -> None:
    options = {
        "run_dir": tmp_path / "run",
        "model.optimizer": optimizer,
        "data.sources.init_args.root": embedded_hands,
        "trainer.max_steps": 1,
        "trainer.limit_val_batches": 0,
    }
    assert main(["fit", f"--config={CONFIG}", *(f"--{name}={value}" for name, value in options.items())]) == 0
    (checkpoint,) = (tmp_path / "run" / "checkpoints").glob("last.ckpt")
    (state,) = torch.load(checkpoint, weights_only=True)["optimizer_states"]
    assert ("momentum" in state["param_groups"][0]) == (optimizer == "torch.optim.SGD")


def test_weights_need_joints_from_the_data_module(
    embedded_hands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [f"--run_dir={tmp_path / 'run'}", f"--data.sources.init_args.root={embedded_hands}"]
    assert main(["fit", f"--config={CONFIG}", "--model.objective=SiMHand", *options]) != 0
    assert "with_joints: true" in capsys.readouterr().err

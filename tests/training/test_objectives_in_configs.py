"""Every objective goes by its short name in a config, and trains from the command line, in micro-batches too."""

import json
from pathlib import Path

import pytest
import torch
from jsonargparse import ArgumentParser

import peclr.cli  # noqa: F401 (loads the classes that go by name)
from peclr.__main__ import main
from peclr.checkpoints import load_encoder
from peclr.losses.objectives import Objective

CONFIG = Path(__file__).parents[1] / "conf" / "pretrain.yaml"


@pytest.mark.parametrize("name", ["SimCLR", "AffinePeCLR", "SiMHand", "SoftPeCLR", "SplitObjective", "VICReg"])
def test_an_objective_by_its_name(name: str) -> None:
    parser = ArgumentParser()
    parser.add_subclass_arguments(Objective, "objective")
    config = parser.parse_args([f"--objective={name}"])
    assert type(parser.instantiate_classes(config).objective).__name__ == name


def test_an_objective_and_an_optimizer_train_in_micro_batches(rendered_hands: Path, tmp_path: Path) -> None:
    options = {
        "run_dir": tmp_path / "run",
        "model.objective": "SplitObjective",
        "model.optimizer": "torch.optim.SGD",
        "model.micro_batch": 4,
        "data.with_joints": "true",
        "data.root": rendered_hands,
        "trainer.max_epochs": 1,
    }
    assert main(["fit", f"--config={CONFIG}", *(f"--{name}={value}" for name, value in options.items())]) == 0
    metrics = json.loads((tmp_path / "run" / "results.json").read_text())["metrics"]
    assert {"train/effective_negatives", "train/optimizer_batch"} <= metrics.keys()
    (state,) = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["optimizer_states"]
    assert "momentum" in state["param_groups"][0], "of SGD"


def test_weights_need_joints_from_the_data_module(
    rendered_hands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [f"--run_dir={tmp_path / 'run'}", f"--data.root={rendered_hands}"]
    assert main(["fit", f"--config={CONFIG}", "--model.objective=SiMHand", *options]) != 0
    assert "with_joints: true" in capsys.readouterr().err


def test_what_objectives_learn_is_trained_and_saved(rendered_hands: Path, tmp_path: Path) -> None:
    """An objective around another, whose network is as wide as the encoder's features."""
    contrast = {"class_path": "SiMHand", "init_args": {"temperature": 0.2}}
    objective = {"class_path": "GeometryHead", "init_args": {"hidden": 8, "contrast": contrast}}
    options = {
        "run_dir": tmp_path / "run",
        "model.objective": json.dumps(objective),
        "data.with_joints": "true",
        "data.root": rendered_hands,
        "trainer.max_steps": 2,
        "trainer.limit_val_batches": 0,
    }
    assert main(["fit", f"--config={CONFIG}", *(f"--{name}={value}" for name, value in options.items())]) == 0
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    assert checkpoint["peclr"]["objective"]["init_args"]["contrast"]["init_args"]["temperature"] == 0.2
    weights = [value for name, value in checkpoint["state_dict"].items() if name.startswith("objective.layers")]
    assert [tuple(value.shape) for value in weights] == [(8, 2 * 64), (8,), (5, 8), (5,)]
    averages = [state["exp_avg"] for state in checkpoint["optimizer_states"][0]["state"].values()]
    assert [average.abs().max() > 0 for average in averages if average.shape == (5, 8)] == [True]
    load_encoder(path)  # what the objective alone has learned is left out

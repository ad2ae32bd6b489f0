"""Every sweep that ships is understood by W&B's own code and by `peclr sweep`, and the command line takes its runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from wandb.apis.public.sweeps import _validate_config_and_fill_distribution
from wandb.sdk.launch.sweeps import utils as wandb_sweeps

from peclr.sweeps.plan import Sweep, read_sweep

if TYPE_CHECKING:
    from tests.experiments.conftest import Parse

ROOT = Path(__file__).parents[2]
FILES = sorted(ROOT.glob("experiments/**/sweeps/*.yaml"))
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))


@each_file
def test_a_sweep_expands_into_runs_with_folders_of_their_own(path: Path) -> None:
    sweep = read_sweep(path)
    assert len({json.dumps(values) for values in sweep.runs().values()}) == len(sweep.runs()) > 1


@each_file
def test_wandb_makes_the_same_commands_of_it(path: Path) -> None:
    sweep = read_sweep(path)
    config = _validate_config_and_fill_distribution(yaml.safe_load(path.read_text()))
    assert config["metric"]["name"] == sweep.metric.name
    for name, parameter in config["parameters"].items():
        assert "." in name or name == "config", "options of the modules are dotted, and flat"
        assert isinstance(parameter, dict)
    for values in sweep.runs().values():
        args = wandb_sweeps.create_sweep_command_args({"args": {name: {"value": v} for name, v in values.items()}})
        words = wandb_sweeps.create_sweep_command(list(config["command"]))
        fillers = {"${env}": ["/usr/bin/env"], "${interpreter}": ["python"], "${args}": args["args"]}
        by_wandb = [part for word in words for part in fillers.get(word, [word])]
        here = sweep.words(values)
        assert here[2:] == by_wandb[2:]
        assert (here[0], by_wandb[1]) == (by_wandb[0], "python")


def class_of(value: Any) -> Any:
    """What decides whether the parser takes a value: all numbers, or all paths of checkpoints, are alike to it."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return type(value)
    return "checkpoint" if str(value).endswith(".ckpt") else str(value)


def every_option(sweep: Sweep) -> list[str]:
    """One command with each value of each option, but for values that are alike to the parser; it ends as the last run.

    Options are parsed one by one: what is taken with one value of another option is taken with all of them.
    """
    *others, last = sweep.runs().values()
    options = {(name, class_of(value)): f"--{name}={value}" for run in others for name, value in run.items()}
    return [*sweep.words(last)[: -len(last)], *options.values(), *sweep.words(last)[-len(last) :]]


def _is_what_was_said(parsed: object, value: str) -> bool:
    return value == ("null" if parsed is None else str(parsed)) or str(parsed).endswith(f".{value}")


@each_file
def test_the_command_line_takes_its_runs(path: Path, parse: Parse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    sweep = read_sweep(path)
    assert sweep.command[-1] == "${args}"
    words = every_option(sweep)
    assert words[2:5] == ["-m", "peclr", "fit"]
    config = parse(words[5:])
    for name, value in [*sweep.runs().values()][-1].items():
        if name.startswith("trainer."):
            assert config[name] == value
        elif name.startswith(("model.", "data.")):
            parsed = config[name.replace(".", ".init_args.", 1)]
            assert parsed == value if isinstance(value, int | float) else _is_what_was_said(parsed, value)


@pytest.mark.parametrize("wrong", ["--config=WRONG", "--model.objective.init_args.temprature=0.1"])
def test_a_misspelt_option_is_not_taken_even_if_others_follow(
    wrong: str, parse: Parse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(ROOT)
    overlay = tmp_path / "wrong.yaml"
    overlay.write_text("data: {init_args: {photometric: {temprature: 0.5}}}")
    right = "experiments/paper/augmentations/blur.yaml"
    with pytest.raises(Exception, match="temprature"):
        parse(["--config=experiments/paper/pretrain.yaml", wrong.replace("WRONG", str(overlay)), f"--config={right}"])

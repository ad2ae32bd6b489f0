"""Runs have names that say what they are: their user's, or their config's and what was changed of it."""

from pathlib import Path

import pytest
import yaml

from peclr.runs.names import check_name, name_by_settings, run_name, said_name


def called(run: Path, name: str | None) -> Path:
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(yaml.safe_dump({"model": {}, "name": name}))
    return run


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ([], "pretrain_peclr"),
        (["--data.root=data/freihand", "--trainer.devices=4", "--data.num_workers", "2"], "pretrain_peclr"),
        (["--model.objective.init_args.temperature=0.1"], "pretrain_peclr temperature=0.1"),
        (
            ["--model.objective.temperature", "0.1", "--data.pairing=across_versions"],
            "temperature=0.1 pairing=across_versions",
        ),
        (["--seed_everything=3", "--trainer.max_epochs=5"], "pretrain_peclr seed=3 max_epochs=5"),
        (["--model.encoder.init_args.name=resnet18"], "pretrain_peclr encoder=resnet18"),
        (["--model.objective={class_path: my.own.VICReg, init_args: {a: x/y}}"], "pretrain_peclr objective=VICReg"),
        (["--model.objective.class_path=SimCLR"], "pretrain_peclr objective=SimCLR"),
        (["--model.weights=weights/rn50_peclr.pth"], "pretrain_peclr weights=rn50_peclr"),
        (["--data.photometric.hue=[0.9, 1.1]"], "pretrain_peclr hue=0.9,_1.1"),
        (["--ckpt_path=a/b.ckpt", "--name", "--model", "--checkpoint.every_minutes=1", "--"], "pretrain_peclr"),
    ],
)
def test_a_name_says_what_was_changed(words: list[str], name: str, tmp_path: Path) -> None:
    found = name_by_settings("pretrain_peclr", ["fit", "--config=pretrain_peclr", *words], tmp_path / "run")
    assert found in (name, f"pretrain_peclr {name}")
    assert check_name(found) == found


def test_what_is_changed_again_is_said_once(tmp_path: Path) -> None:
    before = "pretrain_peclr temperature=0.1 seed=3"
    words = ["--model.objective.init_args.temperature=0.2"]
    assert name_by_settings(before, words, tmp_path / "run") == "pretrain_peclr seed=3 temperature=0.2"


def test_a_name_that_a_run_beside_has_gets_a_number(tmp_path: Path) -> None:
    for number in (1, 2):
        expected = "finetune seed=1" if number == 1 else "finetune seed=1+2"
        run = tmp_path / f"run{number}"
        assert name_by_settings("finetune", ["--seed_everything=1"], run) == expected
        called(run, expected)
    assert name_by_settings("finetune", [], tmp_path / "run3") == "finetune"
    assert name_by_settings("finetune", ["--seed_everything=1"], tmp_path / "run1") == "finetune seed=1", "its own"


def test_weights_are_called_by_their_run(tmp_path: Path) -> None:
    run = called(tmp_path / "20260101-120000", "pretrain temperature=0.1")
    for weights in (run, run / "checkpoints" / "best.ckpt"):
        name = name_by_settings("finetune", [f"--model.weights={weights}"], tmp_path / "run")
        assert name == "finetune weights=pretrain_temperature=0.1"


@pytest.mark.parametrize("said", [None, "../../etc", "", 5, "a" * 101])
def test_runs_without_a_usable_name_have_that_of_their_folder(said: str | None, tmp_path: Path) -> None:
    run = called(tmp_path / "mine", said)
    assert said_name(run) is None
    assert run_name(run) == "mine"
    assert run_name(tmp_path) == tmp_path.name


@pytest.mark.parametrize("name", ["a/b", "..", ".a", "", "a\n", "-a", "x" * 101])
def test_a_name_that_no_folder_should_have_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected at most 100 letters"):
        check_name(name)

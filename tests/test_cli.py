"""fit, validate and test through the command line: run folders, resuming, and errors before any work."""

import contextlib
import csv
import errno
import inspect
import io
import json
import os
import re
import shlex
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from jsonargparse import ArgumentParser

from peclr.__main__ import main
from peclr.data.datamodules import LabeledHandDataModule, PairedViewDataModule
from peclr.data.samples import PairedViewBatch
from peclr.losses.pose import PoseLoss
from peclr.models.encoders import ResNetEncoder
from peclr.report.discovery import find_all
from peclr.training import FinetuneModule, PretrainModule
from tests.contents import contents

CONF = Path(__file__).parent / "conf"


def pretrain(hands: Path, run: Path, *more: str) -> int:
    root = f"--data.root={hands}"
    return main(["fit", f"--config={CONF / 'pretrain.yaml'}", root, f"--run_dir={run}", *more])


def finetune(subcommand: str, hands: Path, run: Path, *more: str) -> int:
    config = f"--config={CONF / 'finetune.yaml'}"
    return main([subcommand, config, f"--data.root={hands}", f"--run_dir={run}", *more])


@pytest.fixture(scope="module")
def pretrained(rendered_hands: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "pretrained"
    assert pretrain(rendered_hands, run) == 0
    return run


def test_of_few_data_each_epoch_has_a_row(rendered_hands: Path, tmp_path: Path) -> None:
    seldom = ("--trainer.log_every_n_steps=50", "--trainer.max_epochs=2")
    assert pretrain(rendered_hands, tmp_path / "run", *seldom) == 0
    with (tmp_path / "run" / "metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file) if row["train/loss"]] == ["0", "1"]


def weights_of(checkpoint: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(checkpoint, weights_only=True)["state_dict"]
    return state


def test_a_run_leaves_config_metrics_checkpoints_and_results_in_its_folder(pretrained: Path) -> None:
    config = yaml.safe_load((pretrained / "config.yaml").read_text())
    assert config["model"]["init_args"]["objective"]["class_path"].endswith("PeCLR")
    with (pretrained / "metrics.csv").open() as file:
        losses = [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]
    assert losses
    assert np.isfinite(losses).all()
    results = json.loads((pretrained / "results.json").read_text())
    assert results["stage"] == "fit"
    assert results["metrics"]["train/loss"] == pytest.approx(losses[-1], rel=1e-4)
    assert (pretrained / "checkpoints" / "last.ckpt").is_file()


def test_a_run_begins_and_ends_with_its_folder_and_says_what_comes_next(
    rendered_hands: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The commands are copied as they stand: from pre-training to fine-tuning, from there to scores and images."""
    monkeypatch.chdir(tmp_path)
    caplog.set_level("INFO", logger="pytorch_lightning")
    assert pretrain(rendered_hands, Path("runs/first"), "--trainer.max_epochs=1") == 0
    said = [record.getMessage() for record in caplog.records]
    assert said, "Lightning's lines are read"
    assert not [line for line in said if "http" in line], "and none of them advertises"
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == lines[-1] == "run: runs/first"
    assert lines[1].startswith("best: runs/first/checkpoints/best.ckpt, val/loss ")
    tune, export = (shlex.split(line) for line in lines[lines.index("next:") + 1 : -1])
    assert export == ["peclr", "export", "runs/first", "--out", "runs/first/weights"]
    assert main(export[1:]) == 0
    assert main(["export", "runs/first/checkpoints/best.ckpt", "--out=weights"]) == 0
    quick = ("--trainer.max_epochs=1", "--trainer.precision=32-true", "--trainer.enable_model_summary=false")
    small = ("--data.batch_size=8", "--data.num_workers=0", "--data.view_size=32", "--model.view_size=32")
    capsys.readouterr()
    assert main([*tune[1:], *quick, *small, "--trainer.log_every_n_steps=1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    run = Path(lines[0].removeprefix("run: "))
    assert list((run / "pictures" / "poses" / "worst").iterdir())
    (tmp_path / "photo.jpg").symlink_to(rendered_hands / "evaluation" / "rgb" / "00000000.jpg")
    commands = [shlex.split(line) for line in lines[lines.index("next:") + 1 : -1]]
    assert [command[1] for command in commands] == ["evaluate", "predict", "report"]
    assert [main(command[1:]) for command in commands] == [0, 0, 0]
    best = next(line for line in lines if line.startswith("best: "))
    assert best.startswith(f"best: {run}/checkpoints/best.ckpt, val/pa_epe_mm ")
    best = str(run / "checkpoints" / "best.ckpt")
    assert main(["evaluate", best, "--data", str(rendered_hands)]) == 0
    assert main(["predict", best, "photo.jpg", "--out=hands-best"]) == 0
    again = [f"--data.root={rendered_hands}", f"--ckpt_path={best}", "--trainer.enable_progress_bar=false"]
    assert main(["test", f"--config={run / 'config.yaml'}", *again]) == 0
    longer = ["--trainer.max_epochs=2", f"--run_dir={run}"]
    assert main(["fit", f"--config={run / 'config.yaml'}", *again, *longer]) == 0


def test_a_run_that_does_not_start_says_no_folder_at_its_end(
    rendered_hands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert finetune("fit", rendered_hands, run, "--model.weights=nowhere.ckpt") == 2
    assert capsys.readouterr().out == f"run: {run}\n"
    assert not run.exists()
    assert finetune("fit", rendered_hands, run) == 0, "the same folder again"


def test_runs_are_called_by_their_name_or_by_what_was_changed(
    rendered_hands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In folders, configs, names of exported files and reports; nothing is called by a time."""
    monkeypatch.chdir(tmp_path)
    config, root = f"--config={CONF / 'finetune.yaml'}", f"--data.root={rendered_hands}"
    for more in (["--name=first"], ["--name", "first"], ["--model.optimizer.init_args.lr=1e-3"]):
        assert main(["fit", config, root, *more]) == 0
    [timed] = [path for path in Path("runs/finetune").iterdir() if not path.name.startswith("first")]
    runs = [Path("runs/finetune/first"), Path("runs/finetune/first+2"), timed]
    names = [yaml.safe_load((run / "config.yaml").read_text())["name"] for run in runs]
    assert names == ["first", "first+2", "finetune lr=1e-3"]
    assert main(["export", str(timed), "--formats=safetensors", "--out=weights"]) == 0
    assert Path("weights/finetune_lr=1e-3.safetensors").is_file()
    assert main(["evaluate", "runs/finetune/first", "--data", str(rendered_hands)]) == 0
    again = [
        "--trainer.max_epochs=2",
        "--run_dir=runs/finetune/first",
        "--ckpt_path=runs/finetune/first/checkpoints/last.ckpt",
    ]
    assert main(["fit", "--config=runs/finetune/first/config.yaml", *again]) == 0
    assert yaml.safe_load(Path("runs/finetune/first/config.yaml").read_text())["name"] == "first"
    checkpoint = f"--ckpt_path={timed / 'checkpoints' / 'last.ckpt'}"
    assert main(["test", f"--config={timed / 'config.yaml'}", checkpoint]) == 0
    assert Path("runs/finetune-test").is_dir()
    found = find_all([Path("runs")])
    assert sorted(run.name for run in found.runs) == sorted(names)
    assert [evaluation.name for evaluation in found.evaluations] == ["first"]
    assert sorted(row.weights for row in found.rows) == ["finetune lr=1e-3", "first"]
    capsys.readouterr()
    assert main(["fit", config, root, "--name=a/b"]) == 2
    assert "name 'a/b': expected" in capsys.readouterr().err


def test_the_saved_config_repeats_the_run(pretrained: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    assert yaml.safe_load((pretrained / "config.yaml").read_text())["run_dir"] is None
    assert main(["fit", f"--config={pretrained / 'config.yaml'}", f"--run_dir={again}"]) == 0
    first, second = (weights_of(run / "checkpoints" / "last.ckpt") for run in (pretrained, again))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_folder_with_a_run_in_it_is_not_overwritten(
    pretrained: Path, rendered_hands: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (pretrained / "checkpoints" / "last.ckpt").read_bytes()
    assert pretrain(rendered_hands, pretrained) == 2
    assert str(pretrained) in capsys.readouterr().err
    assert (pretrained / "checkpoints" / "last.ckpt").read_bytes() == before


def test_a_run_interrupted_in_the_middle_of_an_epoch_ends_with_the_same_weights(
    pretrained: Path, rendered_hands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resumed = tmp_path / "resumed"
    step, calls = PretrainModule.training_step, iter(range(100))

    def interrupted(self: PretrainModule, batch: PairedViewBatch) -> torch.Tensor:
        if next(calls) == 2:
            signal.raise_signal(signal.SIGTERM)
        return step(self, batch)

    monkeypatch.setattr(PretrainModule, "training_step", interrupted)
    with pytest.raises(SystemExit) as stop:
        pretrain(rendered_hands, resumed)
    assert stop.value.code == 128 + signal.SIGTERM
    monkeypatch.undo()
    saved = resumed / "checkpoints" / "last.ckpt"
    state = torch.load(saved, weights_only=True)
    assert state["global_step"] == 3, "this is the middle of the second"
    assert pretrain(rendered_hands, resumed, f"--ckpt_path={saved}") == 0
    first, second = (weights_of(run / "checkpoints" / "last.ckpt") for run in (pretrained, resumed))
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.fixture
def resumable(pretrained: Path, tmp_path: Path) -> Path:
    """A run's folder that a test may spoil."""
    run = tmp_path / "run"
    shutil.copytree(pretrained, run)
    return run


def test_a_run_that_has_ended_is_left_as_it_is(
    resumable: Path, rendered_hands: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(resumable)
    assert resume(rendered_hands, resumable, "--trainer.max_steps=4") == 0
    assert "the run has ended" in capsys.readouterr().err
    assert contents(resumable) == before


def test_results_that_a_kill_cost_are_written_from_the_last_checkpoint(resumable: Path, rendered_hands: Path) -> None:
    results = resumable / "results.json"
    before = results.read_bytes()
    results.write_bytes(before[:10])
    assert resume(rendered_hands, resumable) == 0
    assert results.read_bytes() == before


def resume(hands: Path, run: Path, *more: str) -> int:
    return pretrain(hands, run, f"--ckpt_path={run / 'checkpoints' / 'last.ckpt'}", *more)


def test_resuming_continues_to_the_new_end(resumable: Path, rendered_hands: Path) -> None:
    steps = json.loads((resumable / "results.json").read_text())["step"]
    before = (resumable / "metrics.csv").read_bytes()
    assert resume(rendered_hands, resumable, "--trainer.max_epochs=3") == 0
    results = json.loads((resumable / "results.json").read_text())
    assert (results["epoch"], results["step"]) == (3, 3 * steps // 2)
    assert len(list(resumable.glob("config*.yaml"))) == 2
    after = (resumable / "metrics.csv").read_bytes()
    assert after.startswith(before), "what was measured before must stay"
    assert len(after) > len(before)


def test_a_damaged_checkpoint_is_refused_and_the_previous_one_named(
    resumable: Path, rendered_hands: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last, best, previous = (resumable / "checkpoints" / f"{name}.ckpt" for name in ("last", "best", "previous"))
    last.write_bytes(last.read_bytes()[:5000])
    for newest in (best, previous):
        assert resume(rendered_hands, resumable) == 2
        shown = capsys.readouterr().err
        assert f"{last}: damaged" in shown
        assert f"is {newest}" in shown
        best.unlink(missing_ok=True)
    last.unlink()
    assert resume(rendered_hands, resumable) == 2
    assert str(previous) in capsys.readouterr().err
    assert pretrain(rendered_hands, resumable, f"--ckpt_path={previous}") == 0


def test_a_restarted_job_that_cannot_go_on_says_why(
    resumable: Path, rendered_hands: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    last = resumable / "checkpoints" / "last.ckpt"
    last.write_bytes(b"half")
    assert pretrain(rendered_hands, resumable) == 2
    assert f"{last}: damaged" in capsys.readouterr().err
    assert last.read_bytes() == b"half"


@pytest.mark.parametrize(
    ("option", "reason", "difference"),
    [
        ("encoder.init_args.width=0.25", "does not fit the model", "encoder.init_args.width: 0.125 there, 0.25 here"),
        ("objective=SimCLR", "is from a run of other classes", "SimCLR here"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused_and_the_difference_named(
    option: str, reason: str, difference: str, resumable: Path, rendered_hands: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(resumable)
    assert resume(rendered_hands, resumable, f"--model.{option}") == 2
    assert contents(resumable) == before, "a refused resume leaves nothing"
    shown = capsys.readouterr().err
    assert f"last.ckpt: {reason}" in shown
    assert difference in shown


def test_resuming_with_another_value_is_said(resumable: Path, rendered_hands: Path) -> None:
    with pytest.warns(UserWarning, match=r"model\.init_args\.lars: True before, False now"):
        resume(rendered_hands, resumable, "--model.lars=false")


@pytest.mark.parametrize("subcommand", ["fit", "test"])
def test_nothing_that_a_checkpoint_says_of_its_classes_is_run(
    pretrained: Path, rendered_hands: Path, tmp_path: Path, subcommand: str
) -> None:
    # Lightning would read `hyper_parameters` as options of the model, and these name any function with its arguments
    content = torch.load(pretrained / "checkpoints" / "last.ckpt", weights_only=True)
    written = tmp_path / "written"
    call = {"class_path": "shutil.copyfile", "init_args": {"src": __file__, "dst": str(written)}}
    traced = {"class_path": "torch.fx.symbolic_trace", "init_args": {"root": call}}
    content["hyper_parameters"] = {
        "class_path": "PretrainModule",
        "init_args": {"objective": traced, "weight_decay": 0.5},
    }
    torch.save(content, tmp_path / "last.ckpt")
    root = f"--data.root={rendered_hands}"
    run = (f"--run_dir={tmp_path / 'run'}", f"--ckpt_path={tmp_path / 'last.ckpt'}")
    main([subcommand, f"--config={CONF / 'pretrain.yaml'}", root, *run])
    assert not written.exists()
    if subcommand == "fit":
        saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
        assert saved["model"]["init_args"]["weight_decay"] == 1e-6, "a checkpoint changes no option"


NESTED = [
    *(
        (module, name)
        for module in (PairedViewDataModule, LabeledHandDataModule)
        for name in ("geometry", "photometric")
    ),
    *((module, "optimizer") for module in (PretrainModule, FinetuneModule)),
    (FinetuneModule, "loss"),
]


@pytest.mark.parametrize(("owner", "name"), NESTED)
def test_overriding_one_value_of_a_default_leaves_its_neighbors(owner: type, name: str) -> None:
    everything = ArgumentParser()
    everything.add_class_arguments(owner)
    others: set[str | int] = {action.dest for action in everything._actions if action.dest not in (name, "help")}
    parser = ArgumentParser()
    parser.add_class_arguments(owner, skip=others)

    def effective(*words: str) -> dict[str, Any]:
        """What the owner would use."""
        config = parser.parse_args(list(words))
        if name == "optimizer":
            return dict(vars(config.optimizer.init_args))
        value = parser.instantiate_classes(config)[name]
        if name != "loss":
            return dict(vars(value))
        loss = FinetuneModule(ResNetEncoder("resnet18", 0.125), view_size=48, loss=value).loss
        return {leaf: getattr(loss, leaf) for leaf in inspect.signature(PoseLoss).parameters}

    default = effective()
    given = {leaf: value for leaf, value in default.items() if value is not None}
    assert len(given) > 2
    for leaf, value in given.items():
        assert effective(f"--{name}.{leaf}={json.dumps(value)}") == default, leaf


def printed_config(conf: Path, *options: str) -> dict[str, Any]:
    """What `fit` would train with."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), pytest.raises(SystemExit) as stop:
        main(["fit", f"--config={conf}", *options, "--print_config"])
    assert stop.value.code in (0, None)
    config: dict[str, Any] = yaml.safe_load(shown.getvalue())
    return config


def test_null_is_no_value_at_any_depth(tmp_path: Path) -> None:
    config = yaml.safe_load((CONF / "pretrain.yaml").read_text())
    config["model"]["init_args"]["encoder"]["init_args"]["weights"] = "None"  # as older versions saved it
    (tmp_path / "conf.yaml").write_text(yaml.safe_dump(config))
    words = ["model.micro_batch", "model.encoder.weights", "model.optimizer.init_args.fused", "data.geometry.scale"]
    for conf, given in ((CONF / "pretrain.yaml", words), (tmp_path / "conf.yaml", words[3:])):
        shown = printed_config(conf, *(f"--{word}=null" for word in given))
        model, data = shown["model"]["init_args"], shown["data"]["init_args"]
        assert model["micro_batch"] is None
        assert model["encoder"]["init_args"]["weights"] is None
        assert model["optimizer"]["init_args"]["fused"] is None
        assert data["geometry"]["scale"] is None


def test_limits_of_batches_are_read_as_written(tmp_path: Path) -> None:
    names = [f"limit_{stage}_batches" for stage in ("train", "val", "test", "predict")]
    names += ["overfit_batches", "val_check_interval"]
    for given in (names, names[::-1]):
        words = dict(zip(given, 3 * ("1", "1.0"), strict=True))
        expected = {name: yaml.safe_load(word) for name, word in words.items()}
        config = yaml.safe_load((CONF / "pretrain.yaml").read_text())
        config["trainer"] |= expected
        (tmp_path / "conf.yaml").write_text(yaml.safe_dump(config))
        in_words = [f"--trainer.{name}={word}" for name, word in words.items()]
        for conf, options in ((CONF / "pretrain.yaml", in_words), (tmp_path / "conf.yaml", [])):
            found = printed_config(conf, *options)["trainer"]
            assert {name: repr(found[name]) for name in names} == {name: repr(expected[name]) for name in names}


def test_checkpoints_can_be_switched_off_and_nothing_is_advertised(
    rendered_hands: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    caplog.set_level("INFO", logger="pytorch_lightning")
    assert pretrain(rendered_hands, run, "--trainer.enable_checkpointing=false", "--trainer.max_epochs=1") == 0
    assert not (run / "checkpoints").exists()
    assert "max_epochs=1" in caplog.text, "what Lightning logs of the run stays"
    assert not re.search("Tip|TPU|litlogger", caplog.text)


def test_a_full_disk_is_told_in_one_line(
    rendered_hands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(content: object, file: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(torch, "save", full)
    assert pretrain(rendered_hands, tmp_path / "run", "--trainer.max_epochs=1") == 2
    shown = capsys.readouterr().err
    assert "last.ckpt: could not be written: No space left on device" in shown
    assert "MB are free" in shown


def test_a_run_that_diverges_fails_and_says_so(
    rendered_hands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wild = "--model.optimizer={class_path: torch.optim.SGD, init_args: {lr: 1e30}}"
    assert pretrain(rendered_hands, tmp_path / "run", wild, "--model.lars=false", "--model.warmup_epochs=0") == 2
    assert "diverged" in capsys.readouterr().err
    assert not (tmp_path / "run" / "results.json").exists()


def test_a_damaged_image_is_named_before_training(
    rendered_hands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hands = tmp_path / "hands"
    shutil.copytree(rendered_hands, hands)
    damaged = hands / "training" / "rgb" / "00000030.jpg"
    damaged.write_bytes(damaged.read_bytes()[:300])
    assert pretrain(hands, tmp_path / "run") == 2
    assert str(damaged) in capsys.readouterr().err
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_pretrain_then_finetune_then_test(pretrained: Path, rendered_hands: Path, tmp_path: Path) -> None:
    run, scored = tmp_path / "run", tmp_path / "scored"
    weights = f"--model.weights={pretrained / 'checkpoints' / 'last.ckpt'}"
    assert finetune("fit", rendered_hands, run, weights) == 0
    assert {"val/epe_mm", "val/pa_epe_mm", "val/error_2d_px", "val/auc", "val/pa_auc"} <= set(
        json.loads((run / "results.json").read_text())["metrics"]
    )
    checkpoint = f"--ckpt_path={run / 'checkpoints' / 'last.ckpt'}"
    assert finetune("test", rendered_hands, scored, checkpoint) == 0
    metrics = json.loads((scored / "results.json").read_text())["metrics"]
    assert all(np.isfinite(value) for value in metrics.values())
    assert metrics["test/pa_epe_mm"] < metrics["test/epe_mm"]
    assert json.loads((scored / "results.json").read_text())["images"] == 8
    assert finetune("validate", rendered_hands, tmp_path / "validated", checkpoint) == 0


def test_fine_tuning_takes_the_size_of_views_from_its_data_and_the_encoder_from_its_weights(
    pretrained: Path, rendered_hands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conf, last = tmp_path / "conf.yaml", pretrained / "checkpoints" / "last.ckpt"
    config = yaml.safe_load((CONF / "finetune.yaml").read_text())
    del config["model"]["init_args"]["encoder"]
    assert "view_size" not in config["model"]["init_args"]
    conf.write_text(yaml.safe_dump(config))
    words = ["fit", f"--config={conf}", f"--data.root={rendered_hands}", "--data.view_size=48", "--data.num_labels=8"]
    words += [f"--model.weights={last}", f"--run_dir={tmp_path / 'run'}"]
    assert main(words) == 0
    tuned = tmp_path / "run" / "checkpoints" / "last.ckpt"
    about = torch.load(tuned, weights_only=True)["peclr"]
    assert about["view_size"] == 48
    assert about["encoder"]["init_args"] == {"name": "resnet18", "width": 0.125}
    saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["model"]["init_args"]
    assert saved["encoder"]["init_args"] == {"name": "resnet18", "weights": None, "width": 0.125}
    assert saved["view_size"] is None, "the data state it"
    capsys.readouterr()
    # the same command goes on, and without the weights a checkpoint says what it is
    assert main([*words, f"--ckpt_path={tuned}", "--trainer.max_epochs=2"]) == 0
    assert "another value" not in capsys.readouterr().err
    scored = [f"--config={conf}", f"--data.root={rendered_hands}", "--data.view_size=48", f"--ckpt_path={tuned}"]
    assert main(["test", *scored, f"--run_dir={tmp_path / 'scored'}"]) == 0
    assert main(["fit", f"--config={tmp_path / 'run' / 'config.yaml'}", f"--run_dir={tmp_path / 'again'}"]) == 0
    # both are named where they contradict each other
    wrong = ["--model.encoder=ResNetEncoder", "--model.encoder.name=resnet34"]
    assert main([*words, *wrong, f"--run_dir={tmp_path / 'wrong'}"]) == 2
    assert f"{last}: expected a resnet34, found a resnet18 of width 0.125" in capsys.readouterr().err
    assert main([*words, "--model.view_size=32", f"--run_dir={tmp_path / 'wrong'}"]) == 2
    assert "model.view_size is 32 and data.view_size 48: expected the same" in capsys.readouterr().err


def test_imagenets_weights_are_asked_for_where_they_are_needed_and_nowhere_else(
    pretrained: Path,
    rendered_hands: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Neither to be replaced by a run's at once, nor to score a checkpoint."""
    for variable in ("PECLR_CACHE", "TORCH_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    imagenet = "--model.encoder.init_args.weights=IMAGENET1K_V1"
    assert finetune("fit", rendered_hands, tmp_path / "run", imagenet, "--model.encoder.init_args.width=1") == 2
    assert "`peclr weights get imagenet-resnet18 --accept` downloads it" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert finetune("fit", rendered_hands, tmp_path / "run", imagenet, f"--model.weights={pretrained}") == 0
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["model"]["init_args"]["encoder"]["init_args"]["weights"] == "IMAGENET1K_V1"
    checkpoint = f"--ckpt_path={tmp_path / 'run' / 'checkpoints' / 'last.ckpt'}"
    assert finetune("test", rendered_hands, tmp_path / "scored", imagenet, checkpoint) == 0
    published = tmp_path / "PECLR_CACHE" / "simhand-rn50" / "resnet50_simhand.pth"
    published.parent.mkdir(parents=True)
    shutil.copy(pretrained / "checkpoints" / "last.ckpt", published)
    assert finetune("fit", rendered_hands, tmp_path / "by_name", "--model.weights=simhand-rn50") == 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--data.root=/nowhere/hands", "/nowhere/hands"),
        ("--model.weights=/nowhere/last.ckpt", "/nowhere/last.ckpt"),
        ("--model.view_size=64", "model.view_size is 64 and data.view_size 32"),
        ("--data.root=null", "no data: give data.root, the path of a data set"),
        (
            "--data.sources={class_path: FreiHAND, init_args: {root: /nowhere}}",
            "data.sources are both given; expected one",
        ),
        ("--data.batch_size=1", "data.batch_size is 1: BatchNorm needs at least 2"),
        ("--trainer.precision=bf16-true", "trainer.precision bf16-true: expected 32-true, 16-mixed or bf16-mixed"),
        ("--trainer.strategy=nonsense", "invalid strategy name"),
        ("--data.geometry.scale=[0, 1]", "scale (0.0, 1.0) must be positive"),
    ],
)
def test_values_that_cannot_work_are_named_in_one_line_before_training(
    rendered_hands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], override: str, message: str
) -> None:
    run = tmp_path / "run"
    assert finetune("fit", rendered_hands, run, "--data.num_labels=null", override) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("peclr")]
    assert message in line
    assert not (run / "checkpoints").exists()


def test_images_without_labels_are_refused_for_fine_tuning_before_loaders_start(
    rendered_hands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unlabeled = (f"--data.root={rendered_hands / 'evaluation' / 'rgb'}", "--data.num_labels=null")
    assert finetune("fit", rendered_hands, tmp_path / "run", *unlabeled, "--data.num_workers=1") == 2
    shown = capsys.readouterr().err.splitlines()[-1]
    assert shown.startswith("peclr fit: photos, ")
    assert shown.endswith("joints in space with a camera K; `peclr collect` labels images")


def test_a_checkpoint_of_the_other_kind_of_run_is_refused_before_anything_is_read(
    pretrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = pretrained / "checkpoints" / "last.ckpt"
    for subcommand, instead in (("fit", f"use --model.weights={last}"), ("test", "fine-tune it first")):
        # the name of a run is that of its last checkpoint
        assert finetune(subcommand, tmp_path / "nowhere", tmp_path / "run", f"--ckpt_path={pretrained}") == 2
        shown = capsys.readouterr().err
        assert f"{last}: is of a pre-training run, and model is FinetuneModule" in shown
        assert instead in shown


def test_user_paths_are_expanded_wherever_they_stand(
    rendered_hands: Path,
    pretrained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "hands").symlink_to(rendered_hands)
    (tmp_path / "pretrained").symlink_to(pretrained)
    config = yaml.safe_load((CONF / "finetune.yaml").read_text())
    config["data"]["init_args"]["root"] = "~/hands"
    (tmp_path / "conf.yaml").write_text(yaml.safe_dump(config))
    weights = "--model.weights=~/pretrained/checkpoints/last.ckpt"
    command = ["fit", "--config=~/conf.yaml", "--run_dir=~/runs/a", weights]
    monkeypatch.chdir(tmp_path)
    assert main(command) == 0
    last = tmp_path / "runs" / "a" / "checkpoints" / "last.ckpt"
    before = last.read_bytes()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(command) == 2
    assert "runs/a is not empty" in capsys.readouterr().err
    assert last.read_bytes() == before
    assert not list(tmp_path.rglob("~"))


def test_a_key_that_a_config_holds_twice_is_named_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conf = tmp_path / "conf.yaml"
    conf.write_text((CONF / "finetune.yaml").read_text() + "data: {class_path: LabeledHandDataModule}\n")
    line = len(conf.read_text().splitlines())
    assert main(["fit", f"--config={conf}", f"--run_dir={tmp_path / 'run'}"]) == 2
    assert f"line {line}: the key 'data' is there already" in capsys.readouterr().err
    assert main(["inspect", f"--config={conf}", f"--out={tmp_path / 'out.png'}"]) == 2
    assert f"line {line}: the key 'data'" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "seed"), [((), 5), (("--data.seed=0",), 0)])
def test_data_have_the_seed_of_everything_unless_they_have_their_own(
    rendered_hands: Path, tmp_path: Path, words: tuple[str, ...], seed: int
) -> None:
    run = tmp_path / "run"
    assert pretrain(rendered_hands, run, "--seed_everything=5", "--trainer.limit_train_batches=1", *words) == 0
    assert yaml.safe_load((run / "config.yaml").read_text())["data"]["init_args"]["seed"] == seed


def test_a_run_from_before_seeds_were_linked_keeps_that_of_its_data(resumable: Path, rendered_hands: Path) -> None:
    config = yaml.safe_load((resumable / "config.yaml").read_text())
    config["seed_everything"] = 5  # its data have 0
    (resumable / "config.yaml").write_text(yaml.safe_dump(config))
    assert resume(rendered_hands, resumable, "--seed_everything=5", "--trainer.max_epochs=3") == 0
    [written] = resumable.glob("config-*.yaml")
    assert yaml.safe_load(written.read_text())["data"]["init_args"]["seed"] == 0


def test_real_hands_pretrain_and_finetune(real_hands: Path, tmp_path: Path) -> None:
    root = real_hands / "freihand_layout"
    run = tmp_path / "pretrained"
    assert pretrain(root, run, "--data.batch_size=2", "--data.val_fraction=0") == 0
    weights = f"--model.weights={run / 'checkpoints' / 'last.ckpt'}"
    small = ("--data.num_labels=3", "--data.val_fraction=0.25", "--data.batch_size=4")
    assert finetune("fit", root, tmp_path / "tuned", weights, *small) == 0
    checkpoint = f"--ckpt_path={tmp_path / 'tuned' / 'checkpoints' / 'last.ckpt'}"
    assert finetune("test", root, tmp_path / "scored", checkpoint, *small) == 0

"""Mistakes in configs and options of `fit`: where, what was meant, the choices, in a few lines."""

import re
from pathlib import Path

import pytest
import yaml

from peclr.__main__ import main

CONF = Path(__file__).parents[1] / "conf"

# an option, and what the answer names
WORDS = [
    ("--data.batchsize=4", "PairedViewDataModule has no option batchsize; did you mean batch_size?"),
    ("--batch_size=4", "peclr fit has no option batch_size; did you mean --data.batch_size?"),
    ("--trainer.batch_size=4", "Trainer has no option batch_size; did you mean --data.batch_size?"),
    ("--model.temprature=1", "did you mean --model.objective.temperature?"),
    ("--model.objective.temprature=1", "PeCLR has no option temprature; did you mean temperature?\nthere are: temp"),
    ("--model.objective=PecLR", "no Objective 'PecLR'; did you mean PeCLR?\nthere are: AffinePeCLR, "),
    ("--model.objective=no_such.Module", "no Objective 'no_such.Module'"),
    ("--model.objective.class_path=SimCRL", "did you mean SimCLR?"),
    ("--model=PretrainModul", "no LightningModule 'PretrainModul'; did you mean PretrainModule?"),
    ("--model.encoder.init_args.name=resnet51", "expected one of resnet18, resnet34, "),
    ("--model.optimizer=AdmaW", "no Optimizer 'AdmaW'; did you mean AdamW?"),
    ("--model.optimizer.init_args.learning_rate=1", "Adam has no option learning_rate"),
    ("--model.optimizer=torch.optim.Adamm", "no Optimizer 'torch.optim.Adamm'; did you mean Adam?\nthere are: "),
    (f"--data.sources={CONF}", f"no HandSource '{CONF}'; a path is for data.root: --data.root={CONF}\n"),
    ("--data.batch_size=many", "batch_size is 'many'; expected a whole number or auto\nbatch_size: Pairs per batch"),
    ("--data.geometry.scale=[a, 1]", "scale is '[a, 1]'; expected [a number, a number]"),
    ("--data.geometry.scal=[1, 1]", "has no option scal; did you mean scale?"),
    ("--data.pairing=across_version", "did you mean across_versions?"),
    ("--data.border=blak", "expected one of black, reflect; did you mean black?"),
    ("--trainer.max_epochs=1.5", "max_epochs is '1.5'; expected a whole number or null"),
    ("--trainer.callbacks=[{class_path: EpochLin}]", "did you mean EpochLine?"),
    ("--trainer.callbacks=[{class_path: EpochLine, init_args: {labl: x}}]", "did you mean label?"),
    ("--checkpoint.every_minutes=x", "every_minutes is 'x'; expected"),
    ("--seed_everything=none", "seed_everything is 'none'; expected"),
    ("--data.view_size=0", "view_size 0, expected a whole number of pixels, at least 1"),
    ("--data.batch_size=0", "data.batch_size is 0; expected at least 1"),
    ("--trainer.precision=16-true", "expected 32-true, 16-mixed or bf16-mixed"),
    ("--lr=0.1", "peclr fit has no option lr; did you mean --model.optimizer.lr?"),
    ("--trainer.devices=two", "trainer.devices is two; expected a number"),
    ("--trainer.accelerator=tpu", "trainer.accelerator is tpu, and there is none here"),
    ("--trainer.accelerator=cdua", "expected one of auto, cpu, cuda, gpu, mps, tpu; did you mean cuda?"),
    ("--trainer.accelerator=mps", "trainer.accelerator is mps, and torch finds none here"),
]


def answer(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["fit", *words, f"--run_dir={tmp_path / 'run'}"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("peclr fit: ")
    assert len(shown.splitlines()) <= 6
    assert max(map(len, shown.splitlines())) < 400
    assert not (tmp_path / "run").exists(), "nothing has been begun"
    return shown


@pytest.mark.parametrize(("word", "message"), WORDS)
def test_a_wrong_option_is_named_with_what_was_meant(
    word: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = answer([f"--config={CONF / 'pretrain.yaml'}", word], tmp_path, capsys)
    assert message in shown
    if not re.search("is 0| 0,", message) and not re.search("precision|accelerator|devices", word):
        assert f"peclr fit: {word}: " in shown


@pytest.mark.parametrize(
    ("before", "now", "message"),
    [
        ("batch_size", "batchsize", "PairedViewDataModule has no option batchsize; did you mean batch_size?"),
        ("class_path: PeCLR", "class_path: PecLR", "no Objective 'PecLR'; did you mean PeCLR?"),
        ("init_args: {temp", "init_arg: {temp", "no key 'init_arg' beside class_path; did you mean init_args?"),
        ("temperature", "temprature", "PeCLR has no option temprature; did you mean temperature?"),
        ("max_epochs: 2", "max_epochs: two", "max_epochs is 'two'; expected a whole number or null"),
        ("max_epochs", "max_epoch", "Trainer has no option max_epoch; did you mean max_epochs?"),
        ("lars: true", "lars: 3", "lars is 3; expected true or false"),
        ("root: data", "rot: data", "PairedViewDataModule has no option rot; did you mean root?"),
    ],
)
def test_a_mistake_in_a_config_is_named_with_file_and_line(
    before: str, now: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (CONF / "pretrain.yaml").read_text()
    assert before in text
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(before, now, 1))
    line = path.read_text()[: path.read_text().index(now)].count("\n") + 1
    assert f"{path}, line {line}: {message}" in answer([f"--config={path}"], tmp_path, capsys)


def test_a_mistake_in_a_part_of_a_config_in_a_file_of_its_own_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = yaml.safe_load((CONF / "pretrain.yaml").read_text())["model"]
    path = tmp_path / "model.yaml"
    path.write_text(yaml.safe_dump(model).replace("temperature", "temprature"))
    line = path.read_text()[: path.read_text().index("temprature")].count("\n") + 1
    shown = answer([f"--config={CONF / 'pretrain.yaml'}", f"--model={path}"], tmp_path, capsys)
    assert f"{path}, line {line}: PeCLR has no option temprature; did you mean temperature?" in shown


def test_inspect_says_which_option_there_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text((CONF / "pretrain.yaml").read_text().replace("batch_size", "batchsize"))
    assert main(["inspect", f"--config={path}", f"--out={tmp_path / 'out.png'}"]) == 2
    shown = capsys.readouterr().err
    assert str(path) in shown
    assert "'batchsize' is not accepted" in shown
    assert len(shown.splitlines()) <= 6


def test_a_word_without_a_value_and_options_of_no_class_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = f"--config={CONF / 'pretrain.yaml'}"
    option = "--data.batch_size"
    assert main(["fit", config, option]) == 2
    assert f"{option} has no value; expected {option}=VALUE" in capsys.readouterr().err
    option = "--model.encoder.init_args.name=resnet18"  # weights say which, and no config does
    path = tmp_path / "mine.yaml"
    path.write_text("model: {class_path: FinetuneModule}\ndata: {class_path: LabeledHandDataModule}\n")
    shown = answer([f"--config={path}", option], tmp_path, capsys)
    assert f"{option}: model.encoder has no class yet; give --model.encoder=NAME before it, one of " in shown
    assert "ResNetEncoder" in shown


def test_what_a_class_needs_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = yaml.safe_load((CONF / "pretrain.yaml").read_text())
    del config["model"]["init_args"]["objective"]
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(config))
    shown = answer([f"--config={path}"], tmp_path, capsys)
    assert "PretrainModule needs objective; give --model.objective, one of AffinePeCLR, " in shown


def test_a_class_without_class_path_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = yaml.safe_load((CONF / "pretrain.yaml").read_text())
    config["model"]["init_args"]["encoder"] = {"name": "resnet18"}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(config))
    shown = answer([f"--config={path}"], tmp_path, capsys)
    assert "model.encoder has no class_path; expected class_path, one of " in shown

"""What is known to be wrong with the words of `fit` before torch is imported."""

from pathlib import Path

import pytest
import yaml

from peclr.__main__ import main
from peclr.cli import _options_at_top
from peclr.guide.words import TOP_KEYS, check_words, read_words

GOOD = "model: {class_path: PretrainModule}\ndata:\n  class_path: PairedViewDataModule\n"


def refused(subcommand: str, *words: str) -> str:
    with pytest.raises(ValueError, match=r".") as raised:
        check_words(subcommand, words)
    return str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: [1,\n  a: b\n", "c.yaml: not valid YAML, line 3: "),
        ("model:\n\tname: x\n", "line 2: found character '\\t' that cannot start any token"),
        ("model: {}\ndata: {}\nmodel: {}\n", "line 3: the key 'model' is there already, on line 1"),
        ("model: {}\ndata: {}\ntrainr: {}\n", "c.yaml, line 3: no key 'trainr' in a config; did you mean trainer?"),
        ("model: {}\ndata: {}\nbatch_size: 3\n", "c.yaml, line 3: no key 'batch_size' in a config\nthere are: "),
        ("model: {}\n", "c.yaml: no data; a config names model and data"),
        ("", "c.yaml: is empty"),
        ("- a\n", "c.yaml: is a list"),
        ("method: grid\nparameters: {}\n", "is a sweep's file; `peclr sweep "),
    ],
)
def test_a_config_that_is_none_is_refused_with_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    shown = refused("fit", "--config", str(path))
    assert message in shown
    assert str(path) in shown


def test_what_a_run_can_start_from_is_not_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(GOOD)
    check_words("fit", [f"--config={path}", "--data.batch_size", "4", "--seed_everything", "-1", "--unknown=left"])
    check_words("fit", ["-c", str(path), "--data.seed=3"])
    check_words("fit", ["--model=A", "--data=B"])
    check_words("validate", [f"--config={path}", "--ckpt_path=x.ckpt"])
    check_words("fit", ["--print_config"])
    check_words("fit", ["--model.help", "PretrainModule"])
    check_words("fit", ["--config", "s3://bucket/c.yaml", "--model=A", "--data=B"])


@pytest.mark.parametrize("subcommand", ["fit", "test"])
def test_the_keys_of_a_config_are_those_of_the_parser(subcommand: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([subcommand, "--print_config"])
    keys = yaml.safe_load(capsys.readouterr().out).keys()
    known = {*TOP_KEYS, *(["verbose"] if subcommand == "test" else [])}
    assert keys | {"model", "data"} == known
    assert _options_at_top(subcommand).keys() == known


def test_values_follow_an_equals_sign_or_come_next() -> None:
    words = list(read_words("fit", ["--a=b=c", "--d", "e", "--f", "-c", "g", "--h"]))
    assert [(word.name, word.value) for word in words] == [
        *(("a", "b=c"), ("d", "e"), ("f", None), ("config", "g"), ("h", None))
    ]


def test_a_near_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(GOOD)
    assert f"did you mean {tmp_path / 'mine.yaml'}?" in refused("fit", f"--config={tmp_path / 'mien.yaml'}")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("-config", "no option -config; did you mean --config?"),
        ("-data.root=x", "no option -data.root; did you mean --data.root?"),
        ("data.root=x", "did you mean --data.root=x?"),
    ],
)
def test_options_without_two_dashes_are_named_with_them(word: str, meant: str) -> None:
    assert meant in refused("fit", word, "pretrain_peclr")

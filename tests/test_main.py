"""The dispatcher answers quickly and speaks plainly."""

import ast
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch._utils import ExceptionWrapper  # what a DataLoader hands on from its processes

from peclr.__main__ import SUBCOMMANDS, main
from peclr.models.encoders import ResNetEncoder
from tests.full_disk import full_disk

HEAVY = {"torch", "pytorch_lightning", "albumentations", "cv2", "matplotlib", "numpy", "optuna"}


# one of each kind of word, and what the answer names
MISTAKES = [
    ("predict run x.jpg --outt=o", "no option --outt; did you mean --out?"),
    ("predict", "required: INPUT"),
    ("predict runs/no", "expected an INPUT after the network, runs/no"),
    ("predict run x.jpg --box 1,2,3", "'1,2,3'; expected left, top, right, bottom in px"),
    ("evaluate run --dta d", "no option --dta; did you mean --data?"),
    ("inspect --config pretrain_pecrl", "pretrain_pecrl: no such config; did you mean pretrain_peclr?"),
    ("sweep sweeps/finetun", "sweeps/finetun: no such file; did you mean sweeps/finetune?"),
    ("evaluate run --data=d --crop=keypoint", "did you mean keypoints?"),
    ("export run --out=o --formats onx", "did you mean onnx?"),
    ("report --hands=many run", "--hands: invalid int value: 'many'"),
    ("prepare freehand d", "any; did you mean freihand?"),
    ("synth d --train=1 --eval=1 e", "one word too many, e"),
    ("configs finetun", "did you mean finetune?"),
    ("fit", "pretrain_peclr"),
    ("fit --config", "pretrain_peclr"),
    ("fit --config=pretrain_pecl", "did you mean pretrain_peclr?"),
    ("fit pretrain_peclr", "did you mean --config pretrain_peclr?"),
    ("fit --config=finetune --trainr.max_epochs=1", "no option --trainr.max_epochs=1; did you mean --trainer?"),
    ("fit --config=sweeps/finetune", "`peclr sweep"),
    ("test --config=finetune", "--ckpt_path RUN/checkpoints/last.ckpt"),
    ("validate --config=finetune", "--ckpt_path RUN/checkpoints/last.ckpt"),
]


def imported_by(*commands: list[str]) -> tuple[dict[str, set[str]], str]:
    """The heavy modules that each command imports, which one process runs after another, and what they show."""
    program = (
        f"import sys\nfrom peclr.__main__ import main\nfor command in {commands!r}:\n    before = set(sys.modules)\n"
        "    try:\n        main(command)\n    except SystemExit as stop:\n        assert not stop.code\n"
        "    print('\\nIMPORTED', repr((' '.join(command), {*sys.modules} - before)))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    rows = [line.removeprefix("IMPORTED ") for line in ran.stdout.splitlines() if line.startswith("IMPORTED ")]
    return {words: names & HEAVY for words, names in map(ast.literal_eval, rows)}, ran.stderr


@pytest.mark.parametrize(("words", "message"), MISTAKES)
def test_a_mistake_is_named_in_a_few_lines_with_what_was_meant(
    words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert len(shown.splitlines()) <= 6


def test_what_needs_no_torch_is_known_without_it() -> None:
    commands = ["fit", "fit --config=gone.yaml", "fit --config=finetune --trainr.x=1"]
    imported, shown = imported_by(*map(str.split, commands))
    assert imported == {words: set() for words in commands}
    assert shown.count("peclr fit:") >= 3


LIGHT = ["fit", "test", "synth", "prepare", "doctor", "predict", "collect", "evaluate", "export", "report"]
LIGHT += ["sweep", "weights"]


def test_light_commands_import_nothing_heavy() -> None:
    commands = [["--help"], ["--version"], *([name, "--help"] for name in LIGHT), ["weights"]]
    expected: dict[str, set[str]] = {" ".join(words): set() for words in commands}
    expected["inspect --help"] = {"cv2", "numpy"}  # last, as what is imported once is not counted again
    assert imported_by(*commands, ["inspect", "--help"])[0] == expected


def test_imports_are_not_looked_through_for_garbage_and_what_comes_after_is() -> None:
    program = (
        "import gc\nfrom peclr.__main__ import _imported\n"
        "assert _imported('wave').__name__ == 'wave'\nassert gc.isenabled() and gc.get_freeze_count() > 1000\n"
        "try: _imported('no_such_module')\nexcept ModuleNotFoundError: assert gc.isenabled()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def cpu_seconds(program: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.slow
def test_fit_starts_in_little_more_time_than_its_libraries_take_to_import(rendered_hands: Path, tmp_path: Path) -> None:
    config = Path(__file__).parent / "conf" / "pretrain.yaml"
    words = ["fit", f"--config={config}", f"--data.root={rendered_hands}", f"--run_dir={tmp_path / 'run'}"]
    to_training = (
        "import os\nfrom peclr.__main__ import _imported, main\n"
        f"_imported('peclr.cli').pl.Trainer.fit = lambda *_, **__: os._exit(0)\nmain({words!r})"
    )
    libraries = "import os, torch, pytorch_lightning\nos._exit(0)"
    cpu_seconds(libraries)  # reads them from the disk
    times = [(cpu_seconds(libraries), cpu_seconds(to_training)) for _ in range(2)]
    assert min(fit for _, fit in times) < 1.3 * min(alone for alone, _ in times)


def test_help_and_the_readme_name_every_subcommand(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in SUBCOMMANDS)
    rows = [
        line
        for line in (Path(__file__).parents[1] / "README.md").read_text().splitlines()
        if line.startswith("| `peclr ")
    ]
    named = {word for row in rows for word in re.findall(r"`(?:peclr )?(\w+)`", row.split("|")[1])}
    assert named == set(SUBCOMMANDS)


@pytest.mark.parametrize(("word", "meant"), [("fitt", "fit"), ("train", "fit"), ("score", "evaluate")])
def test_an_unknown_subcommand_is_named_and_the_known_are_listed(
    word: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word]) == 2
    shown = capsys.readouterr().err
    assert f"{word!r}; did you mean {meant}?" in shown
    assert "validate" in shown


@pytest.mark.parametrize("words", ["--help", "fit --help"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_read_enough_is_no_error(words: str, unbuffered: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # before anything is written
    try:
        ran = subprocess.run(
            [sys.executable, "-m", "peclr", *words.split()],
            stdout=writer,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            text=True,
            check=False,
        )
    finally:
        os.close(writer)
    assert ran.stderr == ""


def test_no_subcommand_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage" in capsys.readouterr().out


@pytest.fixture
def hands(rendered_hands: Path, tmp_path: Path) -> Path:
    """Rendered hands whose labels a test may pack."""
    shutil.copytree(rendered_hands, tmp_path / "hands")
    return tmp_path / "hands"


def commands_that_write(hands: Path, out: Path) -> dict[str, list[str]]:
    predictions = hands / "predictions.json"
    predictions.write_text(
        json.dumps([np.random.default_rng(0).random((8, 21, 3)).tolist(), np.zeros((8, 778, 3)).tolist()])
    )
    encoder = ResNetEncoder("resnet18", 0.125).state_dict()
    torch.save({key: value for key, value in encoder.items() if not key.startswith("fc.")}, hands / "encoder.pth")
    return {
        "synth": ["synth", str(out), "--train=2", "--eval=1", "--size=32", "--workers=1"],
        "prepare": ["prepare", "freihand", str(hands), "--split=training"],
        "crops": ["prepare", "freihand", str(hands), "--split=training", f"--crops={out}", "--images=present"],
        "mine": ["mine", str(hands), f"--out={out}.npz"],
        "evaluate": ["evaluate", f"--predictions={predictions}", f"--data={hands}", f"--out={out}"],
        "export": ["export", str(hands / "encoder.pth"), f"--out={out}", "--formats=safetensors"],
    }


COMMANDS = ["synth", "prepare", "crops", "mine", "evaluate", "export"]


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("peclr")]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_is_told_in_one_line_that_names_the_file(
    command: str, hands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = commands_that_write(hands, tmp_path / "out")[command]
    with full_disk(200):
        assert main(words) == 2
    [line] = lines_of(capsys)
    assert str(tmp_path) in line
    assert "File too large" in line or "the disk may be full" in line
    assert not list(tmp_path.rglob("*.partial*"))


@pytest.mark.parametrize("command", COMMANDS)
def test_an_output_that_cannot_be_written_is_refused_at_once(
    command: str, hands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    words = commands_that_write(hands, tmp_path / "file" / "out")[command]
    if command == "prepare":
        (hands / "prepared").touch()
    assert main(words) == 2
    [line] = lines_of(capsys)
    assert str(hands / "prepared" if command == "prepare" else tmp_path / "file") in line


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize(
    ("command", "inside"),
    [
        ("synth", "peclr.synthetic.writer._write_labels"),
        ("prepare", "peclr.data.sources.packed_labels.write_packed"),
    ],
)
def test_a_stopped_command_leaves_nothing_half_written(
    command: str,
    inside: str,
    number: signal.Signals,
    status: int,
    hands: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = commands_that_write(hands, tmp_path / "out")[command]
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(inside, lambda *arguments: signal.raise_signal(number))
    found = set(tmp_path.rglob("*"))
    assert main(words) == status
    assert len(lines_of(capsys)) == 1
    left = {path for path in set(tmp_path.rglob("*")) - found if "out" in path.name or ".partial" in path.name}
    assert left - {tmp_path / "out"} == set(), "an empty folder around what was to come is no harm"
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail_with(error: Exception) -> None:
        def run(arguments: list[str]) -> int:
            raise error

        monkeypatch.setattr("peclr.synthetic.command.synth_main", run)

    fail_with(KeyError("a bug"))
    with pytest.raises(KeyError, match="a bug"):
        main(["synth"])
    fail_with(PermissionError(13, "not allowed", "a file"))
    assert main(["synth"]) == 2
    assert capsys.readouterr().err == "peclr synth: a file: not allowed\n"
    monkeypatch.setenv("PECLR_TRACEBACK", "1")
    with pytest.raises(PermissionError):
        main(["synth"])


def test_an_error_of_a_loading_process_is_told_as_one_of_this(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(arguments: list[str]) -> int:
        try:
            raise ValueError("a.png: no image")
        except ValueError:
            wrap: Any = ExceptionWrapper  # torch gives it no types
            wrap(where="in DataLoader worker process 0").reraise()
        return 0

    monkeypatch.setattr("peclr.synthetic.command.synth_main", run)
    assert main(["synth"]) == 2
    assert capsys.readouterr().err == "peclr synth: a.png: no image\n"


def test_names_do_not_reach_the_terminal_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "a\x1b[2J\x1b]0;owned\x07\u202e"
    (tmp_path / name).mkdir()
    assert main(["synth", f"{name}/hands", "--train=1", "--eval=1", "--size=32", "--versions=1"]) == 0
    assert main(["doctor", f"{name}/hands"]) == 0
    assert main(["report", f"{name}/gone"]) == 2
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / f"{name}.json").write_text('{"rows": [{"weights": "a"}, {}]}')  # logged as left out
    assert main(["report", "runs"]) == 2
    out, err = capsys.readouterr()
    assert "\\x1b[2J" in out
    assert "\\x1b[2J" in err
    assert not {"\x1b", "\x07", "\u202e"} & {*out}
    assert "\x1b]0" not in err

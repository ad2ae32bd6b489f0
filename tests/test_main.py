"""The dispatcher answers quickly and speaks plainly."""

import subprocess
import sys

import pytest

from peclr.__main__ import SUBCOMMANDS, main

HEAVY = {"torch", "pytorch_lightning", "albumentations", "cv2", "matplotlib", "numpy", "optuna"}


LIGHT = ["synth", "prepare", "doctor", "predict", "evaluate", "export", "report", "sweep"]


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([name, "--help"] for name in LIGHT)])
def test_light_commands_import_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys\nfrom peclr.__main__ import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "print('IMPORTED', *sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    imported = set(shown.split("IMPORTED")[1].split())
    assert imported & HEAVY == set()


def test_help_names_every_subcommand(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in SUBCOMMANDS)


def test_an_unknown_subcommand_is_named_and_the_known_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fitt"]) == 2
    shown = capsys.readouterr().err
    assert "'fitt'" in shown
    assert "validate" in shown


def test_no_subcommand_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage" in capsys.readouterr().out

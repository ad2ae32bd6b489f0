"""The SLURM scripts: valid, and their arguments are the CLI's."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import pytorch_lightning as pl
from pytorch_lightning.cli import LightningArgumentParser

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "experiments" / "slurm.sh"
BASH = shutil.which("bash") or ""


def peclr_arguments() -> list[str]:
    """What the script passes to `peclr fit`, on two nodes with four tasks each."""
    command = SCRIPT.read_text().split("-m peclr fit", 1)[1].replace("\\\n", " ")
    command = command.replace("$SLURM_NNODES", "2").replace("$SLURM_NTASKS_PER_NODE", "4")
    return [word for word in shlex.split(command) if word != "$@"]


@pytest.mark.skipif(not BASH, reason="there is no bash")
def test_the_script_is_valid() -> None:
    assert subprocess.run([BASH, "-n", SCRIPT], check=False).returncode == 0


def test_its_arguments_are_the_trainers() -> None:
    parser = LightningArgumentParser(exit_on_error=False)
    parser.add_lightning_class_args(pl.Trainer, "trainer")
    config = parser.parse_args(peclr_arguments())
    asked = config.trainer
    assert (int(asked.num_nodes), int(asked.devices), asked.strategy) == (2, 4, "ddp")


def test_it_asks_for_as_many_gpus_as_tasks_and_for_the_signal_that_lightning_requeues_on() -> None:
    asked = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)$", SCRIPT.read_text(), re.MULTILINE))
    assert asked["ntasks-per-node"] == asked["gpus-per-node"]
    assert asked["signal"].split("@")[0] == "SIGUSR1"
    assert "#SBATCH --requeue" in SCRIPT.read_text()


@pytest.mark.skipif(not BASH, reason="there is no bash")
@pytest.mark.parametrize(
    ("environment", "more"),
    [
        ({}, ["--workers", "1"]),
        ({"SLURM_CPUS_PER_TASK": "16"}, ["--workers", "16"]),
        (
            {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "5", "SLURM_ARRAY_TASK_COUNT": "9"},
            ["--workers", "1", "--part", "3/9"],
        ),
    ],
)
def test_a_job_of_an_array_does_its_part(tmp_path: Path, environment: dict[str, str], more: list[str]) -> None:
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\nfor word; do echo "$word"; done\n')
    python.chmod(0o755)
    command = ["collect", "my videos", "--out", "hands"]
    script = ROOT / "experiments" / "slurm_prepare.sh"
    done = subprocess.run(
        [BASH, script, *command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["-m", "peclr", *command, *more]

"""Which folder a run gets: alone, as one of several processes, and under schedulers that restart it."""

import os
from pathlib import Path

import pytest
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from peclr.runs.folder import RUN_DIR_VARIABLE, RunFolder, choose_run_folder, newest_checkpoint

SLURM = {"SLURM_JOB_ID": "17", "SLURM_NTASKS": "2", "SLURM_JOB_NAME": "peclr", "SLURM_PROCID": "0"}


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("SLURM_", "TORCHELASTIC_")) or name in {"LOCAL_RANK", "NODE_RANK", "RANK"}:
            monkeypatch.delenv(name)


def set_all(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def begun(path: Path) -> Path:
    (path / "checkpoints").mkdir(parents=True)
    (path / "checkpoints" / "last.ckpt").touch()
    return path


def test_a_run_of_its_own_gets_a_new_folder() -> None:
    folder = choose_run_folder(None, "pretrain", None)
    assert folder.path.parent == Path("runs/pretrain")
    assert folder.resume_from is None
    assert choose_run_folder(Path("mine"), "pretrain", None) == RunFolder(Path("mine"))


def test_files_of_another_run_are_not_mixed_in() -> None:
    run = begun(Path("mine"))
    with pytest.raises(FileExistsError, match=r"run_dir mine is not empty; .*--ckpt_path mine/checkpoints/last\.ckpt"):
        choose_run_folder(run, "pretrain", None)
    with pytest.raises(FileExistsError):
        choose_run_folder(run, "pretrain", Path("another/last.ckpt"))
    assert choose_run_folder(run, "pretrain", run / "checkpoints" / "last.ckpt") == RunFolder(run)
    Path("file").touch()
    with pytest.raises(ValueError, match="run_dir file is a file"):
        choose_run_folder(Path("file"), "pretrain", None)


def test_processes_that_lightning_starts_take_their_parents_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    run = begun(Path("mine"))
    set_all(monkeypatch, LOCAL_RANK="1", **{RUN_DIR_VARIABLE: str(run)})
    assert choose_run_folder(None, "pretrain", None) == RunFolder(run)
    assert choose_run_folder(run, "pretrain", None) == RunFolder(run), "the first process has begun"


def test_a_first_process_does_not_take_what_a_sibling_left(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, LOCAL_RANK="0", **{RUN_DIR_VARIABLE: "stale"})
    assert choose_run_folder(None, "pretrain", None).path != Path("stale")


def test_nodes_without_a_scheduler_need_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, NODE_RANK="1")
    with pytest.raises(ValueError, match="give --run_dir"):
        choose_run_folder(None, "pretrain", None)


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({}, "slurm-17"),
        ({"SLURM_PROCID": "1"}, "slurm-17"),
        ({"SLURM_ARRAY_JOB_ID": "9", "SLURM_ARRAY_TASK_ID": "3"}, "slurm-9_3"),
        ({"SLURM_STEP_ID": "2"}, "slurm-17-2"),
    ],
)
def test_under_slurm_all_processes_know_the_folder(
    more: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_all(monkeypatch, **{**SLURM, **more})
    assert choose_run_folder(None, "pretrain", None).path == Path("runs/pretrain") / name


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_requeued_job_goes_on_in_its_folder(rank: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begun(Path("runs/pretrain/slurm-17"))
    set_all(monkeypatch, **{**SLURM, "SLURM_PROCID": rank, "SLURM_RESTART_COUNT": "1"})
    assert choose_run_folder(None, "pretrain", None) == RunFolder(run, run / "checkpoints" / "last.ckpt")
    set_all(monkeypatch, SLURM_RESTART_COUNT="0", SLURM_PROCID="0")
    with pytest.raises(FileExistsError):
        choose_run_folder(None, "pretrain", None)


def test_the_newest_of_ours_and_lightnings_checkpoints_is_gone_on_from(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path) is None
    last = begun(tmp_path) / "checkpoints" / "last.ckpt"
    for number, age in ((1, 10), (2, 30)):
        path = tmp_path / f"hpc_ckpt_{number}.ckpt"
        path.touch()
        os.utime(path, (age, age))
    os.utime(last, (20, 20))
    assert newest_checkpoint(tmp_path) == tmp_path / "hpc_ckpt_2.ckpt"
    os.utime(last, (40, 40))
    assert newest_checkpoint(tmp_path) == last
    last.replace(last.with_name("previous.ckpt"))
    assert newest_checkpoint(tmp_path) == last.with_name("previous.ckpt"), "killed between two renamings"


def test_a_rendezvous_without_a_store_needs_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TorchElasticEnvironment, "detect", staticmethod(lambda: True))
    set_all(monkeypatch, RANK="0")
    with pytest.raises(ValueError, match="give --run_dir"):
        choose_run_folder(None, "pretrain", None)

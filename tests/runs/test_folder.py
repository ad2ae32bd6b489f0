"""Which folder a run gets: alone, as one of several processes, and under schedulers that restart it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, tzinfo
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Self

import pytest
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # torch's stub forgets it

from peclr.runs.folder import RUN_DIR_VARIABLE, RUNS, Claim, FirstStep, RunFolder, choose_run_folder
from peclr.runs.layout import newest_checkpoint
from tests.trainer import quiet_trainer

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
    with pytest.raises(FileExistsError, match=r"run_dir mine is not empty; .*--ckpt_path mine/checkpoints/last\.ckpt$"):
        choose_run_folder(run, "pretrain", None)
    with pytest.raises(FileExistsError):
        choose_run_folder(run, "pretrain", Path("another/last.ckpt"))
    assert [path.name for path in run.iterdir()] == ["checkpoints"], "a refusal leaves nothing"
    assert choose_run_folder(run, "pretrain", run / "checkpoints" / "last.ckpt") == RunFolder(run)
    Path("file").touch()
    with pytest.raises(ValueError, match="run_dir file is a file"):
        choose_run_folder(Path("file"), "pretrain", None)


def chosen_elsewhere(given: Path | None, connection: Connection) -> None:
    """Another process takes a folder, and keeps it until it is asked to let go, or killed."""
    folder = choose_run_folder(given, "pretrain", None)
    connection.send(folder.path)
    connection.recv()


@contextmanager
def another(given: Path | None = None) -> Iterator[tuple[Path, BaseProcess]]:
    fork = get_context("fork")
    ours, theirs = fork.Pipe()
    process = fork.Process(target=chosen_elsewhere, args=(given, theirs))
    process.start()
    try:
        yield ours.recv(), process
    finally:
        process.kill()
        process.join()


@pytest.mark.parametrize("slurm", [False, True])
def test_two_runs_of_one_second_or_job_have_folders_of_their_own(
    *, slurm: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_all(monkeypatch, **(SLURM | {"SLURM_NTASKS": "1"} if slurm else {}))
    monkeypatch.setattr("peclr.runs.folder.datetime", Noon)
    name = "slurm-17" if slurm else "20260101-120000"
    with another() as (first, _), another() as (second, _):
        assert [first, second] == [RUNS / "pretrain" / name, RUNS / "pretrain" / f"{name}+2"]
        assert choose_run_folder(None, "pretrain", None).path == RUNS / "pretrain" / f"{name}+3"
    begun(first)
    folder = choose_run_folder(None, "pretrain", None)
    assert folder.path == second, "what was killed before its first step is taken over"


def test_a_named_run_has_a_folder_of_its_name_and_the_next_a_number() -> None:
    for expected in ("first+1", "first+1+2", "first+1+3"):
        folder = choose_run_folder(None, "pretrain", None, name="first+1")
        assert folder.path == RUNS / "pretrain" / expected
        begun(folder.path)


class Noon(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return cls(2026, 1, 1, 12, tzinfo=tz)


def test_a_folder_belongs_to_one_process_while_it_lives() -> None:
    last = begun(Path("mine")) / "checkpoints" / "last.ckpt"
    with another(Path("new")) as (new, process):
        with pytest.raises(FileExistsError, match="run_dir new: another process is at work there"):
            choose_run_folder(new, "pretrain", None)
        process.kill()
        process.join()
        assert choose_run_folder(new, "pretrain", None).path == new
    resumed = choose_run_folder(Path("mine"), "pretrain", last)
    assert resumed.claim is not None
    resumed.claim.release(failed=False)
    assert sorted(path.name for path in Path("mine").iterdir()) == ["checkpoints"]


def started(given: Path, ckpt_path: Path | None = None) -> Claim:
    """A run that has written what a run writes before its first step."""
    claim = choose_run_folder(given, "pretrain", ckpt_path).claim
    assert claim is not None
    (given / "config-2.yaml").touch()
    (given / "resumed-2" / "logs").mkdir(parents=True)
    return claim


def test_a_start_that_fails_gives_the_folder_back() -> None:
    run = Path("runs/mine")
    started(run).release(failed=True)
    assert not run.exists()
    last = begun(run) / "checkpoints" / "last.ckpt"
    started(run, last).release(failed=True)
    assert sorted(run.rglob("*")) == [run / "checkpoints", last]


def test_what_a_killed_start_left_is_cleared_by_the_same_command() -> None:
    started(Path("mine"))  # and no more, as if killed
    assert choose_run_folder(Path("mine"), "pretrain", None).claim is not None
    assert not Path("mine/config-2.yaml").exists()


def test_a_config_alone_is_kept_beside() -> None:
    """Older versions left one where a start was killed, but a user may have written it as well."""
    Path("old").mkdir()
    Path("old/config.yaml").write_text("theirs")
    for _ in range(2):  # the second start follows one that was killed
        claim = choose_run_folder(Path("old"), "pretrain", None).claim
        assert claim is not None
        assert not Path("old/config.yaml").exists()
        Path("old/config.yaml").write_text("ours")
        assert Path("old/config.yaml.before").read_text() == "theirs"
        claim.release(failed=False)


def test_what_a_run_wrote_after_its_first_step_stays(tmp_path: Path) -> None:
    claim = started(tmp_path / "mine")
    callback, trainer = FirstStep(), quiet_trainer(tmp_path / "mine")
    callback.on_train_batch_end(trainer)
    claim.release(failed=True)
    with pytest.raises(FileExistsError, match=r"not empty; choose another, or remove it: it holds no checkpoint"):
        choose_run_folder(tmp_path / "mine", "pretrain", None)


def test_a_restarted_job_finds_its_own_run_among_several(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [begun(RUNS / "pretrain" / name) for name in ("slurm-17", "slurm-17+2")]
    set_all(monkeypatch, **SLURM | {"SLURM_NTASKS": "1", "SLURM_RESTART_COUNT": "1"})
    for run in reversed(runs):
        folder = choose_run_folder(None, "pretrain", None, is_ours=run.__eq__)
        assert folder == RunFolder(run, run / "checkpoints" / "last.ckpt")


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


@pytest.mark.parametrize("slurm", [False, True])
def test_what_torchrun_restarts_goes_on_in_its_folder(*, slurm: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    store = TCPStore("localhost", 0, is_master=True, timeout=timedelta(seconds=30))
    monkeypatch.setattr(TorchElasticEnvironment, "detect", staticmethod(lambda: True))
    set_all(monkeypatch, MASTER_ADDR="localhost", MASTER_PORT=str(store.port), TORCHELASTIC_USE_AGENT_STORE="True")
    set_all(monkeypatch, **(SLURM | {"SLURM_NTASKS": "1"} if slurm else {}))

    def folders(restarts: int) -> RunFolder:
        """What the two processes of a launch choose."""
        set_all(monkeypatch, TORCHELASTIC_RESTART_COUNT=str(restarts))
        chosen = []
        for rank in ("0", "1"):
            set_all(monkeypatch, RANK=rank)
            chosen.append(choose_run_folder(None, "pretrain", None))
        first, second = chosen
        assert first == second
        assert second.claim is None
        assert first.claim is not None
        os.close(first.claim._file)  # as the system does when a process dies
        return first

    first = folders(0)
    assert folders(1) == first, "it was killed before it saved anything"
    last = begun(first.path) / "checkpoints" / "last.ckpt"
    monkeypatch.setattr("peclr.runs.folder.datetime", Noon)
    assert folders(2) == RunFolder(first.path, last)


def test_a_rendezvous_without_a_store_needs_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TorchElasticEnvironment, "detect", staticmethod(lambda: True))
    set_all(monkeypatch, RANK="0")
    with pytest.raises(ValueError, match="give --run_dir"):
        choose_run_folder(None, "pretrain", None)

"""One folder per run, the same for all of its processes and, where a scheduler restarts it, for all of its lives."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # torch's stub forgets it

from peclr.options import open_lock, write_whole
from peclr.runs.layout import CONFIG, newest_checkpoint

RUNS = Path("runs")
# By which the process that a user starts names its folder to those that Lightning starts from it.
RUN_DIR_VARIABLE = "PECLR_RUN_DIR"
_LOCK_NAME, _STARTING_NAME = ".lock", ".starting"
_ASIDE_NAME = f"{CONFIG}.before"
_NEW, _RESUMED = "new", "resumed"


class Claim:
    """The hold of a process on a run's folder, until it lets go or dies: the lock is the system's, and left by no kill.

    What a new run has written before its first step is cleared away: when it fails, or, if it was killed, by the next.
    FileExistsError if another process holds the folder, or a run's files are there and it does not resume.
    """

    def __init__(self, folder: Path, *, resumes: bool) -> None:
        self._file = _locked(folder)
        self._folder, self._starting = folder, folder / _STARTING_NAME
        found = {path for path in folder.iterdir() if path.name not in (_LOCK_NAME, _STARTING_NAME)}
        killed = self._starting.exists() and self._starting.read_text() == _NEW and newest_checkpoint(folder) is None
        if killed:
            _remove(found)
            found = set()
        elif found and not resumes and {path.name for path in found} <= {CONFIG, _ASIDE_NAME}:
            # older versions left a config alone where a start was killed; it may as well be a user's own, and is kept
            aside = folder / _ASIDE_NAME
            if aside in found:
                (folder / CONFIG).unlink(missing_ok=True)
            else:
                (folder / CONFIG).rename(aside)
            found = {aside}
        elif found and not resumes:
            (folder / _LOCK_NAME).unlink()
            os.close(self._file)
            last = newest_checkpoint(folder)
            advice = "or remove it: it holds no checkpoint" if last is None else f"or resume it by --ckpt_path {last}"
            raise FileExistsError(f"run_dir {folder} is not empty; choose another, {advice}")
        self._before = found
        write_whole(self._starting, _RESUMED if found else _NEW)

    def release(self, *, failed: bool) -> None:
        """Let go, and if the run failed before its first step, give the folder back as it was."""
        lock = self._folder / _LOCK_NAME
        if failed and self._starting.exists():
            _remove(set(self._folder.iterdir()) - self._before - {lock})
        self._starting.unlink(missing_ok=True)
        lock.unlink(missing_ok=True)
        with suppress(OSError):  # not empty
            self._folder.rmdir()
        os.close(self._file)


class FirstStep(pl.Callback):
    """Ends a run's start: what it writes is kept from now on."""

    def __init__(self) -> None:
        self._seen = False

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Remove the mark of a start."""
        if trainer.is_global_zero and not self._seen:
            (Path(trainer.default_root_dir) / _STARTING_NAME).unlink(missing_ok=True)
            self._seen = True


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run's files."""

    path: Path
    resume_from: Path | None = None  # the checkpoint that a restarted job goes on from
    claim: Claim | None = field(default=None, compare=False)  # what the first of the run's processes holds it by


def choose_run_folder(
    given: Path | None,
    config: str,
    ckpt_path: Path | None,
    is_ours: Callable[[Path], bool] = lambda folder: True,
    name: str | None = None,
) -> RunFolder:
    """Take the run's folder: the one asked for, or `runs/CONFIG/NAME`; the first of a run's processes does, for all.

    Without a name it is `runs/CONFIG/TIME`, under SLURM `runs/CONFIG/slurm-JOB`, under W&B's agent
    `runs/sweeps/SWEEP/RUN` in any case. Where another run has the name, a number is added.

    Args:
        given: the folder asked for; ValueError if it is a file, FileExistsError as `Claim`.
        config: its name.
        ckpt_path: what is resumed; None for a new run, and for scoring a checkpoint.
        is_ours: whether a folder's run had the config of this one: which of a restarted job's runs this is.
        name: of the run.
    """
    restarts = ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT")  # by a scheduler, of this very command
    restarted = any(int(os.environ.get(name) or 0) > 0 for name in restarts)
    claims: list[Claim] = []

    def take(path: Path) -> Path:
        resumes = ckpt_path is not None and ckpt_path.resolve().is_relative_to(path.resolve())
        claims.append(Claim(path, resumes=resumes or (restarted and (path == given or is_ours(path)))))
        return path

    def take_next(path: Path) -> Path:
        for number in count(2):
            with suppress(FileExistsError):
                return take(path if number == 2 else path.with_name(f"{path.name}+{number - 1}"))
        raise AssertionError

    if given is not None and given.exists() and not given.is_dir():
        raise ValueError(f"run_dir {given} is a file; expected a folder")
    path = _agreed(given, lambda: _default(config, name), take, take_next)
    last = newest_checkpoint(path) if restarted and ckpt_path is None else None
    return RunFolder(path, last, claims[0] if claims else None)


def _locked(folder: Path) -> int:
    """Descriptor of the folder's lock file, locked: by POSIX, whose locks forked workers do not keep alive."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            file = open_lock(folder / _LOCK_NAME)
        except FileNotFoundError:  # given back between the two
            continue
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # POSIX allows either for a lock that is held
            os.close(file)
            raise FileExistsError(f"run_dir {folder}: another process is at work there; choose another") from None
        if os.fstat(file).st_nlink:
            return file
        os.close(file)  # its last holder has removed it


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _default(config: str, name: str | None) -> Path:
    if os.environ.get("WANDB_SWEEP_ID") and os.environ.get("WANDB_RUN_ID"):
        # W&B's agents start runs in the same second, and one after the other in one job of SLURM
        return RUNS / "sweeps" / os.environ["WANDB_SWEEP_ID"] / os.environ["WANDB_RUN_ID"]
    if name is not None:
        return RUNS / config / name
    if _under_slurm():
        job, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
        number = f"{job}_{task}" if job and task else os.environ["SLURM_JOB_ID"]
        step = os.environ.get("SLURM_STEP_ID", "0")  # a job may run one command after the other
        return RUNS / config / (f"slurm-{number}" if step == "0" else f"slurm-{number}-{step}")
    return RUNS / config / f"{datetime.now():%Y%m%d-%H%M%S}"


def _agreed(
    given: Path | None, default: Callable[[], Path], take: Callable[[Path], Path], take_next: Callable[[Path], Path]
) -> Path:
    """The folder that the first process takes, in all of them."""
    if TorchElasticEnvironment.detect() and (given is None or _restarts_share_a_store()):
        return _shared_by_torchrun(lambda old: take(path) if (path := given or old) else take_next(default()))
    if given is None and _under_slurm() and int(os.environ.get("SLURM_NTASKS") or 1) > 1:
        given = default()  # all processes know the job's number
    if given is not None:
        return take(given) if _rank() == 0 else given
    if not _under_slurm() and os.environ.get("LOCAL_RANK", "0") != "0" and RUN_DIR_VARIABLE in os.environ:
        return Path(os.environ[RUN_DIR_VARIABLE])  # Lightning has started this process
    if _rank() != 0:
        raise ValueError("processes on several nodes cannot agree on a folder by themselves: give --run_dir")
    return take_next(default())


def _shared_by_torchrun(choose: Callable[[Path | None], Path]) -> Path:
    """The first process's choice, also that from before torchrun restarted it: through the agent's store."""
    if not _restarts_share_a_store():
        raise ValueError("this rendezvous of torchrun keeps no store before training starts: give --run_dir")
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = TCPStore(host, port, is_master=False, timeout=timedelta(minutes=5))
    restarts = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    keys = [f"peclr/run_dir/{number}" for number in range(restarts + 1)]
    if _rank() == 0:
        # the store outlives restarts, and torch 2.11 would look for the killed processes (pytorch #167288)
        for key in store.list_keys():
            if restarts and key.startswith("default_pg/"):
                store.delete_key(key)
        chosen = [store.get(key) for key in keys[:-1] if store.check([key])]
        store.set(keys[-1], str(choose(Path(str(chosen[-1], "utf-8")) if chosen else None)))
    return Path(str(store.get(keys[-1]), "utf-8"))


def _restarts_share_a_store() -> bool:
    """Whether torchrun keeps a store from before training starts to its own end."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def _under_slurm() -> bool:
    return SLURMEnvironment.detect() and "SLURM_JOB_ID" in os.environ


def _rank() -> int:
    """Of this process among the run's, before there is a trainer to ask."""
    if TorchElasticEnvironment.detect():
        return int(os.environ["RANK"])
    if _under_slurm():
        return int(os.environ.get("SLURM_PROCID", "0"))
    # several nodes, each with a process that starts the others of its node, differ in NODE_RANK
    return int(os.environ.get("NODE_RANK", "0")) or int(os.environ.get("LOCAL_RANK", "0"))

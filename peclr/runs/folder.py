"""One folder per run, the same for all of its processes and, where a scheduler restarts it, for all of its lives."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # torch's stub forgets it

from peclr.runs.durable import LAST_NAME, PREVIOUS_NAME

RUNS = Path("runs")
# By which the process that a user starts tells the processes that Lightning starts from it.
RUN_DIR_VARIABLE = "PECLR_RUN_DIR"
_STORE_KEY = "peclr/run_dir"
_PATIENCE = timedelta(minutes=5)


@dataclass(frozen=True)
class RunFolder:
    """Where a run's files are.

    Attributes:
        path: the folder.
        resume_from: the checkpoint that a restarted job goes on from; None if it has none, or is not restarted.
    """

    path: Path
    resume_from: Path | None = None


def choose_run_folder(given: Path | None, name: str, ckpt_path: Path | None) -> RunFolder:
    """The run's folder: the one asked for, or `runs/NAME/TIME`.

    Under SLURM it is `runs/NAME/slurm-JOB`, under W&B's agent `runs/sweeps/SWEEP/RUN`.

    Args:
        given: the folder asked for.
        name: of the config.
        ckpt_path: what is resumed; None for a new run, and for scoring a checkpoint.

    Raises:
        ValueError: `given` is a file, or processes on several nodes were started without a scheduler that could tell
            the others what the first one chose.
        FileExistsError: another run's files are there; only the first of a run's processes looks, as others may come
            when it has begun.
    """
    restarted = _is_restarted()
    path = given or _agreed(lambda: _default(name))
    if _rank() == 0 and not restarted:
        _refuse_what_is_in_use(path, ckpt_path)
    last = newest_checkpoint(path) if restarted and ckpt_path is None else None
    return RunFolder(path, last)


def newest_checkpoint(run: Path) -> Path | None:
    """The last that a run saved: by itself, or by Lightning when SLURM announced that it would take the node away.

    Without hard links there is none but `previous.ckpt` for a moment, see `write_checkpoint`.
    """
    own = (run / "checkpoints" / name for name in (LAST_NAME, PREVIOUS_NAME))
    found = [path for path in (*own, *run.glob("hpc_ckpt_*.ckpt")) if path.is_file()]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def _refuse_what_is_in_use(path: Path, ckpt_path: Path | None) -> None:
    if path.exists() and not path.is_dir():
        raise ValueError(f"run_dir {path} is a file; expected a folder")
    resumes = ckpt_path is not None and ckpt_path.resolve().is_relative_to(path.resolve())
    if path.is_dir() and any(path.iterdir()) and not resumes:
        raise FileExistsError(
            f"run_dir {path} is not empty; choose another, or resume it by --ckpt_path {path}/checkpoints/{LAST_NAME}"
        )


def _default(name: str) -> Path:
    if os.environ.get("WANDB_SWEEP_ID") and os.environ.get("WANDB_RUN_ID"):
        # W&B's agents start runs in the same second, and one after the other in one job of SLURM
        return RUNS / "sweeps" / os.environ["WANDB_SWEEP_ID"] / os.environ["WANDB_RUN_ID"]
    if _under_slurm():
        job, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
        number = f"{job}_{task}" if job and task else os.environ["SLURM_JOB_ID"]
        step = os.environ.get("SLURM_STEP_ID", "0")  # a job may run one command after the other
        return RUNS / name / (f"slurm-{number}" if step == "0" else f"slurm-{number}-{step}")
    return RUNS / name / f"{datetime.now():%Y%m%d-%H%M%S}"


def _agreed(choose: Callable[[], Path]) -> Path:
    """What the first process chooses, in all of them."""
    if _under_slurm():
        return choose()  # all processes know the job's number
    if TorchElasticEnvironment.detect():
        return Path(_shared_by_torchrun(choose))
    if os.environ.get("LOCAL_RANK", "0") != "0" and RUN_DIR_VARIABLE in os.environ:
        return Path(os.environ[RUN_DIR_VARIABLE])
    if _rank() != 0:
        raise ValueError("processes on several nodes cannot agree on a folder by themselves: give --run_dir")
    return choose()


def _shared_by_torchrun(choose: Callable[[], Path]) -> str:
    """Through the store by which torchrun's processes find one another; each restart has a new one."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        raise ValueError("this rendezvous of torchrun keeps no store before training starts: give --run_dir")
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = TCPStore(host, port, is_master=False, timeout=_PATIENCE)
    if _rank() == 0:
        store.set(_STORE_KEY, str(choose()))
    return str(store.get(_STORE_KEY), "utf-8")


def _is_restarted() -> bool:
    """Whether a scheduler started this very command before."""
    return any(int(os.environ.get(name) or 0) > 0 for name in ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT"))


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

"""Where a run's numbers and pictures go: CSV and PNG files always, W&B and TensorBoard on request."""

import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.utilities import rank_zero_warn

from peclr.data.sources.images import write_image
from peclr.tracking.network import reachable

PROJECT = "peclr"
_WANDB_SERVER = "https://api.wandb.ai"
_LIGHTNINGS_PROJECT = "lightning_logs"  # what Lightning calls a W&B project that nobody named


class TensorBoard(TensorBoardLogger):
    """Lightning's logger for TensorBoard, in the run's folder: `tensorboard --logdir runs` finds all of them.

    Args:
        save_dir: the run's folder; the command line fills it in.
    """

    def __init__(self, save_dir: str = ".") -> None:
        # the hyper-parameters' own metric would be a curve of one point
        super().__init__(save_dir, name="", version="tensorboard", default_hp_metric=False)


def run_loggers(asked: Any, made: Any, folder: Path) -> list[Logger] | bool:
    """The loggers of a run: `RUN/metrics.csv`, which `peclr report` reads, and beside it whatever was asked for.

    W&B's own files, among them a `config.yaml`, go to `RUN/wandb`. Its runs are called like their folder and have ids
    of their own, so that none continues another by accident. Where its server cannot be reached, the run is offline:
    Lightning would wait for 90 seconds, and then stop.

    Args:
        asked: `trainer.logger` as configured: None, a bool, or one or more of {class_path, init_args, dict_kwargs}.
        made: the same as objects.
        folder: of the run.

    Returns:
        What a Trainer takes: a list, CSV first, or False where no logger is wanted.
    """
    if asked is False:
        return False
    chosen: list[Logger] = []
    if asked not in (None, True):
        configs, loggers = (value if isinstance(value, list) else [value] for value in (asked, made))
        chosen = [_in_folder(logger, config, folder) for logger, config in zip(loggers, configs, strict=True)]
    if any(isinstance(logger, CSVLogger) for logger in chosen):
        return chosen
    # on resuming, the CSV logger would delete the metrics that are there, or warn that it would where a kill left none
    resumes = folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir())
    version = f"resumed-{datetime.now():%Y%m%d-%H%M%S}" if resumes else ""
    metrics = CSVLogger(save_dir=str(folder), name="", version=version)
    if chosen:
        _ = metrics.experiment  # now, as it warns of other trackers' files when these come first
    return [metrics, *chosen]


def _in_folder(logger: Logger, config: Any, folder: Path) -> Logger:
    """A logger made anew for the run's folder; those that we know nothing of stay as they are."""
    if isinstance(logger, TensorBoard):
        return TensorBoard(str(folder))
    if not isinstance(logger, WandbLogger):
        return logger
    options = {**(config.get("init_args") or {}), **(config.get("dict_kwargs") or {})}
    # Lightning keeps checkpoints that its own callback writes; ours are kept by `CheckpointArtifacts`
    options |= {"save_dir": str(folder), "log_model": False, "name": options.get("name") or folder.name}
    if options.get("project") in (None, _LIGHTNINGS_PROJECT):
        options["project"] = os.environ.get("WANDB_PROJECT", PROJECT)
    mode = "offline" if options.pop("offline", False) else options.get("mode")
    options["mode"] = mode or _wandb_mode()
    folder.mkdir(parents=True, exist_ok=True)  # otherwise W&B writes to a temporary one
    return WandbLogger(**options)


def _wandb_mode() -> str | None:
    """What the environment says; if nothing, "offline" where W&B's server cannot be reached. None is W&B's default."""
    if os.environ.get("WANDB_MODE"):
        return None
    server = os.environ.get("WANDB_BASE_URL", _WANDB_SERVER)
    if int(os.environ.get("LOCAL_RANK", "0")) or reachable(server):
        return None
    rank_zero_warn(f"{server} cannot be reached: this run is tracked offline; `wandb sync` uploads it later")
    return "offline"


def send_config(loggers: Sequence[Logger], config: dict[str, Any]) -> None:
    """Give trackers the whole nested config, which Lightning does not (PL #20571); it is in CSV runs' config.yaml."""
    for logger in loggers:
        if not isinstance(logger, CSVLogger):
            logger.log_hyperparams(config)


def send_picture(trainer: pl.Trainer, name: str, picture: NDArray[np.uint8], epoch: int) -> None:
    """Write `RUN/pictures/NAME/epoch-NNNN.png`, and show it in the trackers that can.

    Args:
        trainer: of the run; on its main process.
        name: such as "views/pairs".
        picture: (H, W, 3), RGB.
        epoch: number of epochs that are complete.
    """
    path = Path(trainer.default_root_dir) / "pictures" / name / f"epoch-{epoch:04d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, picture)
    step = max(trainer.global_step - 1, 0)  # as Lightning numbers the metrics of an epoch's end
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(name, [picture], step=step)
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(name, picture, step, dataformats="HWC")


def close_wandb(failed: bool) -> None:
    """End the process' W&B run, or the next run of this process would go on writing to it.

    Args:
        failed: whether to mark the run as crashed.
    """
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.finish(exit_code=int(failed))

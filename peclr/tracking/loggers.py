"""Where a run's numbers, images and checkpoints go: files always, W&B and TensorBoard on request."""

import contextlib
import math
import os
import socket
import sys
import threading
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.utilities import rank_zero_warn

from peclr.data.sources.images import write_image
from peclr.runs.checkpointing import RunCheckpoints
from peclr.runs.layout import BEST, last_checkpoint
from peclr.runs.metrics_file import MetricsFile

PROJECT = "peclr"
_WANDB_SERVER = "https://api.wandb.ai"
_LIGHTNINGS_PROJECT = "lightning_logs"  # what Lightning calls a W&B project that nobody named


class TensorBoard(TensorBoardLogger):
    """Lightning's logger for TensorBoard, in the run's folder: `tensorboard --logdir runs` finds all of them.

    Args:
        save_dir: the run's folder, which the command line fills in.
    """

    def __init__(self, save_dir: str = ".") -> None:
        # the hyper-parameters' own metric would be a curve of one point
        super().__init__(save_dir, name="", version="tensorboard", default_hp_metric=False)


def run_loggers(asked: Any, made: Any, folder: Path, name: str) -> list[Logger] | bool:
    """The loggers of a run: `RUN/metrics.csv`, which `peclr report` reads, and beside it whatever was asked for.

    W&B's own files, among them a `config.yaml`, go to `RUN/wandb`. Its runs have the `name` of the run and ids
    of their own, so that none continues another by accident. Where its server cannot be reached, the run is offline:
    Lightning would wait for 90 seconds, and then stop. What is `asked` is `trainer.logger` as configured: None, a bool,
    or one or more of {class_path, init_args, dict_kwargs}; `made` are the same as objects.
    """
    if asked is False:
        return False
    chosen: list[Logger] = []
    if asked not in (None, True):
        configs, loggers = (value if isinstance(value, list) else [value] for value in (asked, made))
        chosen = [_in_folder(logger, config, folder, name) for logger, config in zip(loggers, configs, strict=True)]
    if any(isinstance(logger, CSVLogger) for logger in chosen):
        return chosen
    return [MetricsFile(folder), *chosen]


def _in_folder(logger: Logger, config: Any, folder: Path, name: str) -> Logger:
    """A logger made anew for the run's folder; those that we know nothing of stay as they are."""
    if isinstance(logger, TensorBoard):
        return TensorBoard(str(folder))
    if not isinstance(logger, WandbLogger):
        return logger
    options = {**(config.get("init_args") or {}), **(config.get("dict_kwargs") or {})}
    # Lightning keeps checkpoints that its own callback writes; ours are kept by `CheckpointArtifacts`
    options |= {"save_dir": str(folder), "log_model": False, "name": options.get("name") or name}
    if options.get("project") in (None, _LIGHTNINGS_PROJECT):
        options["project"] = os.environ.get("WANDB_PROJECT", PROJECT)
    options["mode"] = "offline" if options.pop("offline", False) else options.get("mode") or _wandb_mode()
    folder.mkdir(parents=True, exist_ok=True)  # otherwise W&B writes to a temporary one
    return WandbLogger(**options)


def _wandb_mode() -> str | None:
    """The environment's mode; if none, "offline" where W&B's server cannot be reached. None is W&B's default."""
    if os.environ.get("WANDB_MODE"):
        return None
    server = os.environ.get("WANDB_BASE_URL", _WANDB_SERVER)
    if int(os.environ.get("LOCAL_RANK", "0")) or reachable(server):
        return None
    rank_zero_warn(f"{server} cannot be reached: this run is tracked offline; `wandb sync` uploads it later")
    return "offline"


def reachable(url: str, seconds: float = 3.0) -> bool:
    """Whether a connection to a server, or to the proxy that the environment names for it, comes about in time.

    A thread of its own asks, as there is no time limit on looking up a name.
    """
    server = urlsplit(url)
    if not server.hostname:
        raise ValueError(f"expected an URL such as {_WANDB_SERVER}, got {url!r}")
    proxy = None if urllib.request.proxy_bypass(server.hostname) else urllib.request.getproxies().get(server.scheme)
    asked = urlsplit(proxy if "://" in proxy else f"http://{proxy}") if proxy else server
    address = asked.hostname, asked.port or (80 if asked.scheme == "http" else 443)
    answered = threading.Event()

    def ask() -> None:
        with contextlib.suppress(OSError), socket.create_connection(address, timeout=seconds):
            answered.set()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answered.is_set()


def send_config(loggers: Sequence[Logger], config: dict[str, Any]) -> None:
    """Give trackers the whole nested config, which Lightning does not (PL #20571); CSV runs have a config.yaml."""
    for logger in loggers:
        if not isinstance(logger, CSVLogger):
            logger.log_hyperparams(config)


def send_image(trainer: pl.Trainer, name: str, image: NDArray[np.uint8]) -> None:
    """Write an image (H, W, 3), RGB, to `RUN/pictures/NAME/epoch-NNNN.png`, and show it in the trackers that can."""
    done = trainer.current_epoch + 1 if trainer.global_step else 0  # epochs, when an `EpochCallback` looks
    path = Path(trainer.default_root_dir) / "pictures" / name / f"epoch-{done:04d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, image)
    step = max(trainer.global_step - 1, 0)  # as Lightning numbers the metrics of an epoch's end
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(name, [image], step=step)
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(name, image, step, dataformats="HWC")


def close_wandb(*, failed: bool) -> None:
    """End the process' W&B run, `failed` or not, or the next run of this process would go on writing to it."""
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.finish(exit_code=int(failed))


class CheckpointArtifacts(Callback):
    """When a run has succeeded, keeps its last checkpoint and its best in W&B.

    Every run with a W&B logger gets one. Offline, `wandb sync` uploads.

    Args:
        upload: false keeps checkpoints out of W&B.
    """

    def __init__(self, *, upload: bool = True) -> None:
        self.upload = upload

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the artifacts."""
        runs = [logger.experiment for logger in trainer.loggers if isinstance(logger, WandbLogger)]
        if not (self.upload and trainer.is_global_zero and runs):
            return
        import wandb

        for path, alias, scores in _checkpoints(trainer):
            about = {**scores, "original_filename": path.name}
            for run in runs:
                artifact = wandb.Artifact(f"model-{run.id}", type="model", metadata=about)
                artifact.add_file(str(path), name="model.ckpt")
                run.log_artifact(artifact, aliases=[alias, "latest"])


def _checkpoints(trainer: pl.Trainer) -> list[tuple[Path, str, dict[str, Any]]]:
    """File, alias and scores. The last checkpoint comes last, as W&B's `latest` is what was logged last."""
    found: list[tuple[Path, str, dict[str, Any]]] = []
    last = last_checkpoint(Path(trainer.default_root_dir))
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, RunCheckpoints) and (known := callback.best.found) and last.with_name(BEST).is_file():
            found.append((last.with_name(BEST), "best", {known.metric: known.value, "step": known.step}))
        if isinstance(callback, ModelCheckpoint) and callback.best_model_path and callback.monitor:
            score = callback.best_model_score
            best = {callback.monitor: None if score is None else float(score)}
            found.append((Path(callback.best_model_path), "best", best))
    if last.is_file():
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        scores = {name: value if math.isfinite(value) else None for name, value in values.items()}
        found.append((last, "last", scores | {"epoch": trainer.current_epoch, "step": trainer.global_step}))
    return found

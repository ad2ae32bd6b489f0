"""Checkpoints as W&B artifacts, with the scores they had."""

import math
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.loggers import WandbLogger

from peclr.runs.durable import LAST_NAME


class CheckpointArtifacts(Callback):
    """When a run has succeeded, keeps its last checkpoint, and its best if one is monitored, in W&B.

    Every run with a W&B logger gets one. Offline, `wandb sync` uploads them.

    Args:
        upload: false keeps checkpoints out of W&B.
    """

    def __init__(self, upload: bool = True) -> None:
        self.upload = upload

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the artifacts."""
        loggers = [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]
        if not self.upload or not trainer.is_global_zero or not loggers:
            return
        for path, (aliases, metadata) in _checkpoints(trainer).items():
            for logger in loggers:
                _log(logger, path, aliases, metadata)


def _checkpoints(trainer: pl.Trainer) -> dict[Path, tuple[list[str], dict[str, Any]]]:
    """What there is: file, aliases, metadata. The last comes last, as W&B's `latest` is what was logged last."""
    found: dict[Path, tuple[list[str], dict[str, Any]]] = {}
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.best_model_path and callback.monitor:
            score = callback.best_model_score
            metadata = {callback.monitor: None if score is None else float(score)}
            found[Path(callback.best_model_path)] = (["best"], metadata)
    last = Path(trainer.default_root_dir) / "checkpoints" / LAST_NAME
    scores = {name: float(value) for name, value in trainer.callback_metrics.items()}
    metadata = {name: value if math.isfinite(value) else None for name, value in scores.items()}
    metadata |= {"epoch": trainer.current_epoch, "step": trainer.global_step}
    if last.is_file():
        found[last] = (["last"], metadata)
    return found


def _log(logger: WandbLogger, path: Path, aliases: list[str], metadata: dict[str, Any]) -> None:
    import wandb

    run = logger.experiment
    artifact = wandb.Artifact(f"model-{run.id}", type="model", metadata={**metadata, "original_filename": path.name})
    artifact.add_file(str(path), name="model.ckpt")
    run.log_artifact(artifact, aliases=[*aliases, "latest"])

"""`fit`, `validate` and `test`: LightningCLI with one folder per run."""

import sys
import warnings
from datetime import datetime
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from jsonargparse import Namespace
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from pytorch_lightning.loggers import CSVLogger

from peclr.data import datamodules
from peclr.losses import objectives, pose
from peclr.training import FinetuneModule, PretrainModule, callbacks

CONFIG_NAME = "config.yaml"
# a config may name the classes of modules that are loaded without their modules
NAMED_IN_CONFIGS = (datamodules, objectives, pose, callbacks, FinetuneModule, PretrainModule)


class SaveRunConfig(SaveConfigCallback):
    """Saves the config into the run's folder, whatever the logger calls its own."""

    def save_config(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Write `RUN/config.yaml`; on resuming, the config that resumed stands beside the first one."""
        folder = Path(trainer.default_root_dir)
        target = folder / CONFIG_NAME
        if target.exists():
            target = folder / f"config-{datetime.now():%Y%m%d-%H%M%S}.yaml"
        folder.mkdir(parents=True, exist_ok=True)
        config = self.config.clone()
        config.run_dir = config.trainer.default_root_dir = None  # whoever repeats the run gives it a folder of its own
        self.parser.save(config, str(target), skip_none=False, overwrite=False)


class PeclrCLI(LightningCLI):
    """LightningCLI whose every run has a folder of its own, named by `--run_dir`."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add `--run_dir`."""
        parser.add_argument(
            "--run_dir",
            type=Path | None,
            default=None,
            help="the run's folder, new or empty, or resumed from by --ckpt_path (default: runs/CONFIG/TIME)",
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse; unlike the parent, calls from Python while sys.argv holds something else are meant."""
        self.config = parser.parse_args(sys.argv[1:] if args is None else args)

    def before_instantiate_classes(self) -> None:
        """Choose and check the run's folder, before anything is read or computed."""
        config = self.config[str(self.subcommand)]
        if self.subcommand != "fit" and not config.get("ckpt_path"):
            raise ValueError(f"{self.subcommand} scores a checkpoint: give --ckpt_path RUN/checkpoints/last.ckpt")
        run_dir = Path(config.run_dir) if config.run_dir else self._default_run_dir(config)
        if run_dir.exists() and not run_dir.is_dir():
            raise ValueError(f"run_dir {run_dir} is a file; expected a folder")
        resumes = config.get("ckpt_path") and Path(config.ckpt_path).resolve().is_relative_to(run_dir.resolve())
        if run_dir.is_dir() and any(run_dir.iterdir()) and not (resumes and self.subcommand == "fit"):
            raise FileExistsError(
                f"run_dir {run_dir} is not empty; choose another, "
                f"or resume it by --ckpt_path {run_dir}/checkpoints/last.ckpt"
            )
        config.run_dir = run_dir
        config.trainer.default_root_dir = str(run_dir)

    def _default_run_dir(self, config: Namespace) -> Path:
        sources = config.get("config") or []
        name = Path(str(sources[0])).stem if sources else "run"
        if self.subcommand != "fit":
            name = f"{name}-{self.subcommand}"
        return Path("runs") / name / f"{datetime.now():%Y%m%d-%H%M%S}"

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Give the trainer the run's folder: CSV metrics, checkpoints (also on Ctrl-C) and results."""
        config = self.config_init[str(self.subcommand)]
        folder = Path(config.run_dir)
        if config.trainer.logger in (None, True):
            # on resuming, the CSV logger would delete the metrics that are there
            version = f"resumed-{datetime.now():%Y%m%d-%H%M%S}" if (folder / "metrics.csv").exists() else ""
            kwargs["logger"] = CSVLogger(save_dir=str(folder), name="", version=version)
        given = config.trainer.callbacks or []
        wanted = list(given) if isinstance(given, list) else [given]
        if self.subcommand != "fit":
            wanted = [callback for callback in wanted if not isinstance(callback, ModelCheckpoint)]
            kwargs["enable_checkpointing"] = False
        elif not any(isinstance(callback, ModelCheckpoint) for callback in wanted):
            wanted.append(ModelCheckpoint(dirpath=folder / "checkpoints", save_last=True, save_on_exception=True))
        wanted += [callbacks.FiniteLoss(), callbacks.ResultsFile(folder)]
        return super().instantiate_trainer(**kwargs, callbacks=wanted)


def run_lightning(arguments: list[str]) -> int:
    """Run `fit`, `validate` or `test` with a config.

    Args:
        arguments: the subcommand and its options.

    Returns:
        0; whatever fails raises or exits.
    """
    # Lightning 2.6 asks torch 2.11's pytree in a way that a later torch will not answer; users cannot mend it
    warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
    # scoring needs weights, not the callbacks that wrote them
    warnings.filterwarnings("ignore", message="Be aware that when using `ckpt_path`, callbacks")
    torch.set_float32_matmul_precision("high")  # TF32 where there is one; parity tests set their own
    PeclrCLI(
        model_class=pl.LightningModule,
        datamodule_class=pl.LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        auto_configure_optimizers=False,  # the modules scale the learning rate and exempt biases from decay
        save_config_callback=SaveRunConfig,
        save_config_kwargs={"save_to_log_dir": False},
        seed_everything_default=0,
        # the samplers divide an epoch among processes themselves, so that its order does not depend on their number
        trainer_defaults={"use_distributed_sampler": False},
        args=arguments,
    )
    return 0

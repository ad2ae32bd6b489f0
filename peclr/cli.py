"""`fit`, `validate` and `test`: LightningCLI with one folder per run."""

import os
import signal
import sys
from argparse import ArgumentError
from datetime import datetime
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import yaml
from jsonargparse import Namespace
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import ModelCheckpoint, ProgressBar
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from pytorch_lightning.utilities import rank_zero_warn
from pytorch_lightning.utilities.exceptions import SIGTERMException

from peclr.data import datamodules
from peclr.data.datamodules import PairedViewDataModule
from peclr.data.loading.amounts import AUTO, accumulation_for, describe
from peclr.guide.diagnosis import diagnose
from peclr.guide.hints import Option, options_of
from peclr.guide.listing import section_help, wanted_help
from peclr.guide.values import check_values
from peclr.guide.words import read_words
from peclr.losses import geometry_head, objectives, pose, simhand, soft_peclr, split, vicreg
from peclr.models import timm_encoder
from peclr.options import expand_values, own_errors, write_whole
from peclr.runs import aliases
from peclr.runs.checkpointing import DurableCheckpointIO, RunCheckpoints
from peclr.runs.durable import check_checkpoint
from peclr.runs.folder import RUN_DIR_VARIABLE, Claim, FirstStep, choose_run_folder
from peclr.runs.layout import BEST, CONFIG, find_checkpoint, last_checkpoint, read_run_config
from peclr.runs.names import check_name, name_by_settings, run_name
from peclr.runs.next_commands import next_commands
from peclr.runs.resuming import changed_values, check_fit, has_ended, settled
from peclr.tracking import images, loggers, online_probe
from peclr.training import FinetuneModule, PretrainModule, callbacks
from peclr.training.finetune import encoder_config
from peclr.training.lightning import Trainer, quiet_lightning
from peclr.training.precision import say_if_bf16_is_slow
from peclr.untrusted.text import value_at

# a config may name the classes of modules that are loaded without their modules
NAMED_IN_CONFIGS = (
    *(datamodules, geometry_head, objectives, pose, simhand, soft_peclr, split, vicreg),
    *(callbacks, loggers, online_probe, images, timm_encoder, FinetuneModule, PretrainModule),
)
_ENCODER_WEIGHTS = "model.init_args.encoder.init_args.weights"
_METHOD_OPTIONS = ("ckpt_path", "weights_only", "verbose")  # of fit, validate and test; the others are made of configs


class SaveRunConfig(SaveConfigCallback):
    """Saves the config into the run's folder, whatever the logger calls its own."""

    def save_config(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Write `RUN/config.yaml`; on resuming, the config that resumed stands beside the first one."""
        folder = Path(trainer.default_root_dir)
        target = folder / CONFIG
        if target.exists():
            target = folder / f"config-{datetime.now():%Y%m%d-%H%M%S}.yaml"
        folder.mkdir(parents=True, exist_ok=True)
        config = self.config.clone()
        config.run_dir = config.trainer.default_root_dir = None  # whoever repeats the run gives it a folder of its own
        if "view_size" in config.model.init_args:  # the data state it
            config.model.init_args.view_size = None
        text = self.parser.dump(config, skip_none=False, skip_validation=True)
        write_whole(target, text)
        loggers.send_config(trainer.loggers, yaml.safe_load(text))


class PeclrCLI(LightningCLI):
    """LightningCLI whose every run has a folder of its own, named by `--run_dir`, and held by `claim`."""

    claim: Claim | None = None

    def __init__(self, arguments: list[str], **options: Any) -> None:
        self._words = arguments
        try:
            super().__init__(args=arguments, **options)
        finally:
            if self.claim is not None:
                self.claim.release(failed=sys.exc_info()[0] is not None)
                self._say_where()

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # Lightning's is static, and of all
        """The one that is run, and which of its arguments configs do not give: a parser of each would take a while."""
        return {self._words[0]: super().subcommands()[self._words[0]]}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add `--run_dir` and `--checkpoint`; scoring has no use for the latter, but the configs of runs name it."""
        text = "of the run, in reports and of its folder (default: the config's, and settings that differ from it)"
        parser.add_argument("--name", type=str | None, default=None, help=text)
        text = "the run's folder, new or empty, or resumed from by --ckpt_path (default: runs/CONFIG/NAME or TIME)"
        parser.add_argument("--run_dir", type=Path | None, default=None, help=text)
        parser.add_class_arguments(RunCheckpoints, "checkpoint")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse; the parent would warn of arguments from Python while sys.argv holds something else."""
        try:
            self.config = expand_values(parser.parse_args(self._words))
        except ArgumentError as refusal:
            subcommand, *words = self._words
            raise diagnose(subcommand, words, _options_at_top(subcommand), str(refusal)) from refusal
        config = self.config[self.config.subcommand]
        if config.get("ckpt_path"):
            config.ckpt_path = str(find_checkpoint(config.ckpt_path))  # a run's folder means its last
            check_checkpoint(Path(config.ckpt_path))

    def _parse_ckpt_path(self) -> None:
        """Do nothing: Lightning's would run as config what a checkpoint, a stranger's perhaps, says of its model."""

    def _set_seed(self) -> None:
        """Seed without Lightning's line about it: the first line is that of the run's folder."""
        config = self.config[str(self.subcommand)]
        if (given := config.seed_everything) is not False:
            config.seed_everything = pl.seed_everything(None if given is True else given, workers=True, verbose=False)

    def _say_where(self) -> None:
        """Print where the run is, as its first line and its last; nothing if it failed to start."""
        if (folder := Path(self.config[str(self.subcommand)].run_dir)).is_dir():
            print(f"run: {folder}", flush=True)

    def before_instantiate_classes(self) -> None:
        """Choose and check the run's folder, before anything is read or computed."""
        config = self.config[str(self.subcommand)]
        key, seed = "data.init_args.seed", _data_seed(config.seed_everything, config.get("ckpt_path"))
        if config.get(key, seed) != seed:  # what is given stays
            config[key] = self.parser.parse_args(self._words, defaults=False)[str(self.subcommand)].get(key, seed)
        fits = self.subcommand == "fit"
        if not fits and not config.get("ckpt_path"):
            raise ValueError(f"{self.subcommand} scores a checkpoint: give --ckpt_path {last_checkpoint(Path('RUN'))}")
        check_values(str(self.subcommand), config)
        self._complete_model(config)
        self._take_folder(config)
        if config.get("ckpt_path"):  # what was left to the amount of data stays as it was
            for key, value in settled(Path(config.ckpt_path)).items():
                config[key] = value if config.get(key) == AUTO else config.get(key)
        if not fits:  # as `peclr evaluate` does, whatever the precision of training
            config.trainer.precision = "32-true"

    def _take_folder(self, config: Namespace) -> None:
        """Take the run's folder, and name the run."""
        fits, sources = self.subcommand == "fit", config.get("config") or []
        base = Path(str(sources[0])).stem if sources else "run"
        named = check_name(config.name) if config.name else base
        name = named if any(word.partition("=")[0] == "--name" for word in self._words) else None
        if base == Path(CONFIG).stem:  # of another run
            base = named.partition(" ")[0]
        resumed = Path(config.ckpt_path) if fits and config.get("ckpt_path") else None
        given = Path(config.run_dir) if config.run_dir else None

        def is_ours(folder: Path) -> bool:
            return not changed_values(read_run_config(last_checkpoint(folder)), self._values())

        folder = choose_run_folder(given, base if fits else f"{base}-{self.subcommand}", resumed, is_ours, name)
        self.claim, config.run_dir = folder.claim, folder.path
        config.trainer.default_root_dir = str(folder.path.absolute())  # Lightning would take some names for addresses
        os.environ[RUN_DIR_VARIABLE] = str(folder.path)  # for the processes that Lightning starts
        if self.claim is not None:
            self._say_where()
        config.name = name
        if given is None:  # a name that was taken has a number, and a time is none
            config.name = folder.path.name if name else name_by_settings(named, self._words, folder.path)
        if fits and folder.resume_from is not None:
            check_checkpoint(folder.resume_from)
            config.ckpt_path = str(folder.resume_from)

    def _complete_model(self, config: Namespace) -> None:
        """Give the model what its arguments leave to data and weights: the size of views, and the encoder."""
        model, data = config.model.init_args, config.data.init_args
        if model.get("view_size", 0) is None:
            model.view_size = data.get("view_size")
        if model.get("encoder", 0) is None:
            found = encoder_config(config.get("ckpt_path") or model.get("weights"))
            # jsonargparse types its namespaces in part
            arguments = Namespace(found["init_args"])  # type: ignore[no-untyped-call]
            model.encoder = Namespace(class_path=found["class_path"], init_args=arguments)  # type: ignore[no-untyped-call]

    def instantiate_classes(self) -> None:
        """Make data, model and trainer; an encoder's weights that others replace at once are not looked for."""
        config = self.config[str(self.subcommand)]
        weights = config.get(_ENCODER_WEIGHTS)
        if weights is not None and (config.get("ckpt_path") or config.get("model.init_args.weights")):
            config[_ENCODER_WEIGHTS] = None
        with own_errors(self.parser):
            super().instantiate_classes()
        if weights is not None:
            config[_ENCODER_WEIGHTS] = weights  # as it is saved

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Give the trainer the run's folder, for metrics, checkpoints and results, and a bar that does not slow it."""
        config = self.config_init[str(self.subcommand)]
        folder = Path(config.run_dir)
        asked = self.config[str(self.subcommand)].trainer.logger
        kwargs["accumulate_grad_batches"] = self._settle()
        kwargs["logger"] = loggers.run_loggers(asked, config.trainer.logger, folder, config.name or run_name(folder))
        given = config.trainer.callbacks or []
        wanted = list(given) if isinstance(given, list) else [given]
        if self.subcommand != "fit":
            wanted = [callback for callback in wanted if not isinstance(callback, ModelCheckpoint)]
            kwargs["enable_checkpointing"] = False
        elif config.trainer.enable_checkpointing is not False:
            wanted.append(config.checkpoint)
        plugins = config.trainer.plugins or []
        kwargs["plugins"] = [*(plugins if isinstance(plugins, list) else [plugins]), DurableCheckpointIO()]
        wanted += [FirstStep(), callbacks.FiniteLoss(), callbacks.ResultsFile(folder)]
        if config.trainer.enable_progress_bar is not False and not any(isinstance(one, ProgressBar) for one in wanted):
            wanted.append(callbacks.SparingProgressBar())
        if not any(isinstance(callback, loggers.CheckpointArtifacts) for callback in wanted):
            wanted.append(loggers.CheckpointArtifacts())
        return super().instantiate_trainer(**kwargs, callbacks=wanted)

    def _settle(self) -> int:
        """Put what data chose by their amount into the config, and say so; returns the batches of an optimizer step."""
        config, data = self.config[str(self.subcommand)], self.datamodule
        accumulation = config.trainer.accumulate_grad_batches
        if not isinstance(data, PairedViewDataModule):
            if accumulation == AUTO:
                raise ValueError(f"trainer.accumulate_grad_batches auto is for pairs, not for a {type(data).__name__}")
            return int(accumulation)
        chosen = {f"data.{name}": value for name, value in data.chosen.items()}
        for name in data.chosen:
            config.data.init_args[name] = getattr(data, name)
        if accumulation == AUTO:
            accumulation = config.trainer.accumulate_grad_batches = accumulation_for(data.pairs // data.batch_size)
            chosen["trainer.accumulate_grad_batches"] = accumulation
        if self.claim is not None and (line := describe(data.pairs, chosen)):
            print(f"peclr: {line}", file=sys.stderr)
        return int(accumulation)

    def before_fit(self) -> None:
        """Compare a checkpoint to be resumed from with the run that resumes it; say what makes the run slow."""
        say_if_bf16_is_slow(self.trainer)
        config = self.config[str(self.subcommand)]
        if config.get("ckpt_path"):
            for key, (before, after) in check_fit(Path(config.ckpt_path), self.model, self._values()).items():
                rank_zero_warn(f"resumed with another value of {key}: {before} before, {after} now")

    def fit(self, **options: Any) -> None:
        """Train; a run that has ended already stays as it is."""
        checkpoint = options.get("ckpt_path")
        if not checkpoint or not has_ended(Path(checkpoint), self.trainer):
            self.trainer.fit(**options)
        elif self.trainer.is_global_zero:
            print("peclr fit: the run has ended; a greater trainer.max_epochs or max_steps goes on", file=sys.stderr)

    def after_fit(self) -> None:
        """Say what comes next; Lightning gets here only if nothing failed."""
        run = Path(self.config[str(self.subcommand)].run_dir)
        if self.trainer.is_global_zero and last_checkpoint(run).is_file():
            if best := self.config_init[str(self.subcommand)].checkpoint.best.found:
                print(f"best: {last_checkpoint(run).with_name(BEST)}, {best}")
            print("next:", *next_commands(run, self._values()), sep="\n  ")

    def _values(self) -> dict[str, Any]:
        """The config as it would be saved."""
        config, parser = self.config[str(self.subcommand)], self._parser(self.subcommand)
        return dict(yaml.safe_load(parser.dump(config, skip_none=False, skip_validation=True)))


def _options_at_top(subcommand: str) -> dict[str, Option]:
    """What a config of a subcommand may hold, and a word begin with."""
    sections = {"trainer": Trainer, "model": pl.LightningModule, "data": pl.LightningDataModule}
    folder = {"name": str | None, "run_dir": Path | None, "checkpoint": RunCheckpoints}
    hints = {"seed_everything": bool | int, **sections, **folder}
    of_method = {name: option for name, option in options_of(Trainer, subcommand).items() if name in _METHOD_OPTIONS}
    return {name: Option(hint, needed=name in ("model", "data")) for name, hint in hints.items()} | of_method


def _data_seed(seed_everything: int, ckpt_path: str | None) -> int:
    """The seed of data for which none is given: that of the checkpoint's run, or else the one of everything."""
    config = read_run_config(Path(ckpt_path)) if ckpt_path else {}
    seed = value_at(config, "data", "init_args", "seed")
    return seed if isinstance(seed, int) else int(seed_everything)


def run_lightning(arguments: list[str]) -> int:
    """Run `fit`, `validate` or `test` with its options; 0. Whatever fails or is stopped raises or exits."""
    quiet_lightning()
    # training in TF32 where there is one, scoring as `peclr evaluate`; parity tests set their own
    torch.set_float32_matmul_precision("high" if arguments[0] == "fit" else "highest")
    given = list(read_words(arguments[0], arguments[1:]))
    if (wanted := wanted_help(given)) is not None:
        print(section_help(arguments[0], *wanted, _options_at_top(arguments[0])))
        return 0
    try:
        PeclrCLI(
            model_class=pl.LightningModule,
            datamodule_class=pl.LightningDataModule,
            trainer_class=Trainer,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,  # the modules scale the learning rate and exempt biases from decay
            save_config_callback=SaveRunConfig,
            save_config_kwargs={"save_to_log_dir": False},
            load_from_checkpoint_support=False,  # its way of making classes would bury their errors, see `own_errors`
            seed_everything_default=0,
            # the samplers divide an epoch among processes themselves, so that its order does not depend on their number
            trainer_defaults={"use_distributed_sampler": False},
            parser_kwargs={
                "parser_mode": aliases.config_mode(),
                "prog": "peclr",
                "exit_on_error": False,
                arguments[0]: {
                    "exit_on_error": False,
                    "description": "Configs name classes to run: treat one from others as a program.",
                },
            },
            arguments=aliases.renewed_arguments(arguments),
        )
    except MisconfigurationException as error:
        raise ValueError(str(error)) from error
    except SIGTERMException as stop:  # before training; Lightning would call that a success
        raise SystemExit(128 + signal.SIGTERM) from stop
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):  # before training, to which Lightning gives status 1
            raise KeyboardInterrupt from stop
        raise
    finally:
        os.environ.pop(RUN_DIR_VARIABLE, None)
        loggers.close_wandb(failed=sys.exc_info()[0] is not None)
    return 0

"""Values that the parser of `fit` takes and that no run can use, known before anything is read or computed."""

import re
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.accelerators import AcceleratorRegistry, CUDAAccelerator, XLAAccelerator

from peclr.data.options import check_given
from peclr.guide.hints import find_class
from peclr.options import UsageError, choices, did_you_mean
from peclr.runs.durable import read_checkpoint
from peclr.runs.layout import check_view_size
from peclr.training import FinetuneModule, PretrainModule

_TRUE_PRECISIONS = {"16-true", "bf16-true", "64-true", "64"}  # images are made float32


def check_values(subcommand: str, config: Any) -> None:
    """Refuse no data, sizes below 1, a device that is not there, a precision of images, a checkpoint of another kind.

    Args:
        subcommand: fit, validate or test.
        config: as parsed, a namespace.
    """
    data = config.data.init_args
    if "root" in data and "sources" in data:
        check_given(data.root, data.sources)
    for section in ("data", "model"):
        if (view_size := config.get(f"{section}.init_args.view_size")) is not None:
            check_view_size(view_size, section)
    batch_size = config.get("data.init_args.batch_size")
    if isinstance(batch_size, int) and batch_size < 1:
        raise UsageError(f"data.batch_size is {batch_size}; expected at least 1")
    if str(config.trainer.precision) in _TRUE_PRECISIONS:
        raise UsageError(f"trainer.precision {config.trainer.precision}: expected 32-true, 16-mixed or bf16-mixed")
    _check_device(config.trainer.accelerator, config.trainer.devices)
    if config.get("ckpt_path"):
        check_kind(subcommand, Path(config.ckpt_path), config.model.class_path)


def _check_device(accelerator: Any, devices: Any) -> None:
    known = {"auto", "gpu", *AcceleratorRegistry.available_accelerators()}
    if isinstance(accelerator, str) and accelerator not in known:
        meant = did_you_mean(accelerator, known)
        raise UsageError(f"trainer.accelerator is {accelerator}; expected one of {choices(sorted(known))}{meant}")
    if accelerator == "tpu" and not XLAAccelerator.is_available():
        raise UsageError("trainer.accelerator is tpu, and there is none here; auto takes what there is")
    if isinstance(devices, str) and devices != "auto" and not re.fullmatch(r"-1|\d+(, ?\d+)*,?", devices):
        raise UsageError(f"trainer.devices is {devices}; expected a number, numbers with commas between them, or auto")
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not {"gpu": any(there.values()), **there}.get(accelerator, True):
        built = "" if torch.version.cuda else f"; torch {torch.__version__} is built without CUDA"
        what = f"trainer.accelerator is {accelerator}, and torch finds none here{built}"
        raise UsageError(f"{what}\nauto takes what there is, and without a GPU the CPU")
    if there["cuda"] and accelerator in ("auto", "gpu", "cuda") and devices not in ("auto", -1, "-1"):
        CUDAAccelerator.parse_devices(devices)  # refuses more than there are


def check_kind(subcommand: str, checkpoint: Path, class_path: str) -> None:
    """Refuse a checkpoint of the other kind of run, which no option fits, and name the one that takes its weights."""
    keys = tuple(read_checkpoint(checkpoint)["state_dict"])
    made = find_class(class_path, pl.LightningModule) or object
    where = f"--ckpt_path {checkpoint}: is of a"
    if issubclass(made, FinetuneModule) and any(key.startswith("projection_head.") for key in keys):
        fit = f"use --model.weights={checkpoint} to start from its weights"
        instead = fit if subcommand == "fit" else "fine-tune it first: peclr fit --config finetune --model.weights=FILE"
        raise UsageError(f"{where} pre-training run, and model is {made.__name__}\n{instead}")
    if issubclass(made, PretrainModule) and any(key.startswith("pose_net.") for key in keys):
        instead = "use the config of its run, RUN/config.yaml"
        raise UsageError(f"{where} fine-tuning run, and model is {made.__name__}\n{instead}")

"""How both trainings optimize: learning rate by batch, weight decay, warm-up and cosine, BatchNorm on several GPUs."""

import math
import re
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any, Final, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.cli import OptimizerCallable
from pytorch_lightning.utilities import rank_zero_warn
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from peclr.models.encoders import Encoder, encoders_in
from peclr.training.gradient_cache import frozen_running_statistics
from peclr.training.optim import LARS, split_weight_decay, warmup_cosine

_NORM: Final = re.compile(r"Norm(Act|Exp|Fp32|NoBias|Tlu|[BS]?\d[ad]?)*$")  # LayerNorm2d, GroupNormAct, RmsNormFp32 …


class RecipeModule(pl.LightningModule):
    """A LightningModule with the published recipe; the learning rate follows every optimizer step.

    Args:
        optimizer: any torch optimizer, called with parameter groups.
        lr_scaling: "sqrt" multiplies the learning rate by the square root of the images per optimizer step, as
            published (SimCLR, App. B.1); "none" takes it as it is.
        weight_decay: on weights; biases and BatchNorm are exempt.
        warmup_epochs: linear warm-up, before a cosine to 0; parts of an epoch count.
        sync_batchnorm: on several GPUs, whether BatchNorm sees the batches of all: one's own statistics give away
            which views belong together (SimCLR, §3.2).
        layer_decay: factor on the learning rate from one layer of the encoder to the layer before (Clark et al.,
            "ELECTRA", ICLR 2020; for fine-tuning ViTs Bao et al., "BEiT", ICLR 2022): 0.65 to 0.8 for ViTs there;
            null is one rate for all.
    """

    lars = False

    def __init__(
        self,
        *,
        optimizer: OptimizerCallable = torch.optim.Adam,
        lr_scaling: Literal["sqrt", "none"] = "sqrt",
        weight_decay: float = 0.0,
        warmup_epochs: float = 0.0,
        sync_batchnorm: bool = True,
        layer_decay: float | None = None,
    ) -> None:
        super().__init__()
        if layer_decay is not None and not 0 < layer_decay <= 1:
            raise ValueError(f"layer_decay {layer_decay}: expected a factor from more than 0 to 1")
        self.optimizer_factory = optimizer
        self.lr_scaling = lr_scaling
        self.weight_decay = weight_decay
        self.warmup_epochs = warmup_epochs
        self.sync_batchnorm = sync_batchnorm
        self.layer_decay = layer_decay

    def configure_model(self) -> None:
        """On several GPUs, let BatchNorm layers see all of them; called before the optimizer is made."""
        if self.sync_batchnorm and wants_sync_batchnorm(self.trainer):
            encoders_in(self)[0].convert_sync_batchnorm(self)

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Go back; where gradient checkpointing computes activations again, BatchNorm does not count them again."""
        recomputes = any(encoder.grad_checkpointing for encoder in encoders_in(self))
        with frozen_running_statistics(self) if recomputes else nullcontext():
            super().backward(loss, *args, **kwargs)

    def on_train_start(self) -> None:
        """Log at least once an epoch: of few data, an epoch may be shorter than the steps between two rows."""
        trainer: Any = self.trainer  # whose type lacks what Lightning sets
        trainer.log_every_n_steps = min(trainer.log_every_n_steps, trainer.num_training_batches)

    def waiting_parts(self) -> list[tuple[Iterable[nn.Parameter], float]]:
        """Parameters, and in which part of the run, from its begin, their learning rate is 0."""
        return [(self.parameters(), 0.0)]

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """The optimizer, scaled to its batch, and its schedule."""
        parts = [
            (group, waits, scale)
            for part, waits in self.waiting_parts()
            for parameters, scale in self._by_depth(part)
            for group in split_weight_decay(parameters, self.weight_decay, self._undecayed())
        ]
        optimizer = self.optimizer_factory([group for group, _, _ in parts])
        factor = math.sqrt(optimizer_batch(self.trainer)) if self.lr_scaling == "sqrt" else 1.0
        for group, (_, _, scale) in zip(optimizer.param_groups, parts, strict=True):
            group["lr"] *= factor * scale
        if self.lars:
            optimizer = LARS(optimizer)
        warmup, total = run_length(self.trainer, self.warmup_epochs)
        waiting = [int(waits * total) for _, waits, _ in parts]
        schedule = warmup_cosine(optimizer, warmup, total, waiting)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _by_depth(self, parameters: Iterable[nn.Parameter]) -> list[tuple[list[nn.Parameter], float]]:
        """Parameters of one learning rate each, and its factor; what is not in the encoder has the last layer's."""
        if self.layer_decay is None:
            return [(list(parameters), 1.0)]
        layers = [layer for encoder in encoders_in(self) for layer in encoder.layers()]
        depths = {id(parameter): depth for depth, layer in enumerate(layers) for parameter in layer}
        found: dict[int, list[nn.Parameter]] = {}
        for parameter in parameters:
            found.setdefault(depths.get(id(parameter), len(layers) - 1), []).append(parameter)
        return [(found[depth], self.layer_decay ** (len(layers) - 1 - depth)) for depth in sorted(found)]

    def _undecayed(self) -> list[nn.Parameter]:
        return [parameter for encoder in encoders_in(self) for parameter in encoder.undecayed()]


def check_lars(encoder: Encoder) -> None:
    """Refuse LARS for encoders that have other norms than BatchNorm; warn where these are a part of their norms.

    Its trust ratio suits weights whose scale BatchNorm takes out. Elsewhere a tensor's step is bound to its own norm:
    what begins at nearly zero, LayerScale at 1e-6 for example, stays there, and ViTs are trained with AdamW (Chen, Xie
    & He, "An Empirical Study of Training Self-Supervised Vision Transformers", ICCV 2021, §5.1).
    """
    layers = [module for module in encoder.modules() if _is_norm(module)]
    others = sorted({type(layer).__name__ for layer in layers if not isinstance(layer, _BatchNorm)})
    if not others:
        return
    found = f"lars: true is for encoders with BatchNorm, and {encoder.description} has {', '.join(others)}"
    advice = "set lars: false and optimizer: torch.optim.AdamW, as pretrain_vit does"
    if not any(isinstance(layer, _BatchNorm) for layer in layers):
        raise ValueError(f"{found}: {advice}")
    rank_zero_warn(f"{found}, too; if it learns little, {advice}")


def _is_norm(module: nn.Module) -> bool:
    """Whether a module normalizes by itself, by its name, and does not only hold layers that do, as ConvNormAct."""
    holds_layers = any(True for child in module.children() for _ in child.parameters())
    return _NORM.search(type(module).__name__) is not None and not holds_layers


def wants_sync_batchnorm(trainer: pl.Trainer) -> bool:
    """Whether a run is on several GPUs: torch has no SyncBatchNorm for CPUs."""
    return trainer.world_size > 1 and trainer.strategy.root_device.type == "cuda"


def optimizer_batch(trainer: pl.Trainer) -> int:
    """Images that enter one optimizer step of all processes: batch × accumulation, or what an epoch has."""
    datamodule: Any = getattr(trainer, "datamodule", None)
    batch_size = getattr(datamodule, "batch_size", None)
    if not isinstance(batch_size, int):
        got = f"got {type(datamodule).__name__}. Use one, or set lr_scaling: none"
        raise ValueError(f"lr_scaling='sqrt' needs a data module with an integer `batch_size`; {got}")
    per_epoch, images = _epoch(trainer)
    return min(images, batch_size * batches_of_step(trainer, per_epoch))


def batches_of_step(trainer: pl.Trainer, per_epoch: int, batch_idx: int = 0) -> int:
    """Number of batches that enter the optimizer step of batch `batch_idx`: an epoch's last step takes what is left."""
    start = batch_idx - batch_idx % trainer.accumulate_grad_batches
    return min(trainer.accumulate_grad_batches, per_epoch - start)


def run_length(trainer: pl.Trainer, warmup_epochs: float) -> tuple[int, int]:
    """Optimizer steps of warm-up, and of the whole run; ValueError if it has no end."""
    per_epoch = math.ceil(_epoch(trainer)[0] / trainer.accumulate_grad_batches)
    ends = [trainer.max_steps] if trainer.max_steps > 0 else []
    if trainer.max_epochs is not None and trainer.max_epochs > 0:
        ends.append(trainer.max_epochs * per_epoch)
    if not ends:
        raise ValueError("the learning rate falls to 0 at the run's end: give trainer.max_epochs or trainer.max_steps")
    return min(*ends, round(warmup_epochs * per_epoch)), min(ends)


def _epoch(trainer: pl.Trainer) -> tuple[int, int]:
    """Batches of an epoch, and images in all of the data that it goes through.

    Counted on a loader of its own: `trainer.estimated_stepping_batches` would make the trainer's before a resumed
    run has set where it goes on, and drop that (Lightning #20550).
    """
    datamodule: pl.LightningDataModule | None = getattr(trainer, "datamodule", None)
    if datamodule is None:
        raise ValueError("the learning rate's schedule needs a data module, to count the steps of an epoch")
    loader = datamodule.train_dataloader()
    batches, limit = len(loader), trainer.limit_train_batches
    batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    return max(1, batches), loader.sampler.total

"""Contrastive pre-training of a hand encoder (SimCLR, Chen et al. 2020; PeCLR, Spurr et al. 2021)."""

import math
from collections.abc import Iterable
from typing import Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.cli import OptimizerCallable
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from peclr.data.samples import PairedViewBatch
from peclr.models.encoders import ResNetEncoder, normalise_images
from peclr.models.heads import ProjectionHead
from peclr.training.optim import LARS, split_weight_decay
from peclr.training.schedule import optimizer_batch, warmup_cosine_schedule


class PretrainModule(pl.LightningModule):
    """An encoder and a projection head, trained so that two views of a hand meet and other hands part.

    The objective decides what "meet" means: `SimCLR` compares projections as they are, `PeCLR` first undoes each
    view's rotation and translation. Both get the same batch.

    Args:
        encoder: the ResNet to train; what is kept afterwards.
        objective: (projections (B, 2, D), view_from_crop (B, 2, 3, 3)) -> loss.
        optimizer: any torch optimiser, called with parameter groups.
        lars: wrap the optimiser in LARS, as published.
        lr_scaling: "sqrt" multiplies the learning rate by the square root of the images per optimiser step, as
            published (SimCLR, App. B.1); "none" takes it as it is.
        weight_decay: on weights; biases and BatchNorm are exempt.
        warmup_epochs: linear warm-up, before a cosine to 0; both advance every optimiser step.
        projection_hidden: width of the head's hidden layer.
        projection_features: numbers per projection; PeCLR reads them as half as many points in 2-D.
    """

    def __init__(
        self,
        encoder: ResNetEncoder,
        objective: nn.Module,
        optimizer: OptimizerCallable = torch.optim.Adam,
        lars: bool = True,
        lr_scaling: Literal["sqrt", "none"] = "sqrt",
        weight_decay: float = 1e-6,
        warmup_epochs: float = 10.0,
        projection_hidden: int = 512,
        projection_features: int = 128,
    ) -> None:
        super().__init__()
        # convolutions run faster with channels last, on CPU in bf16 and on tensor cores alike
        self.encoder = encoder.to(memory_format=torch.channels_last)
        self.projection_head = ProjectionHead(encoder.feature_dim, projection_hidden, projection_features)
        self.objective = objective
        self.optimizer_factory = optimizer
        self.lars = lars
        self.lr_scaling = lr_scaling
        self.weight_decay = weight_decay
        self.warmup_epochs = warmup_epochs

    def forward(self, views: Tensor) -> Tensor:
        """Project views.

        Args:
            views: (B, 2, 3, S, S), uint8 RGB.

        Returns:
            (B, 2, D) raw projections.
        """
        images = normalise_images(views.flatten(0, 1)).contiguous(memory_format=torch.channels_last)
        projections: Tensor = self.projection_head(self.encoder(images))
        return projections.view(-1, 2, projections.shape[-1])

    def _shared_step(self, batch: PairedViewBatch, split: str) -> Tensor:
        loss: Tensor = self.objective(self(batch["views"]), batch["view_from_crop"])
        self.log(f"{split}/loss", loss, batch_size=len(batch["views"]), prog_bar=True, sync_dist=split != "train")
        return loss

    def training_step(self, batch: PairedViewBatch) -> Tensor:
        """One contrastive step."""
        return self._shared_step(batch, "train")

    def validation_step(self, batch: PairedViewBatch) -> None:
        """The same loss on held-out hands; comparable between epochs, not between objectives."""
        self._shared_step(batch, "val")

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """The optimiser, scaled to its batch, and its schedule."""
        groups: Iterable[dict[str, object]] = split_weight_decay(self, self.weight_decay)
        optimizer = self.optimizer_factory(groups)
        if self.lr_scaling == "sqrt":
            factor = math.sqrt(optimizer_batch(self.trainer))
            for group in optimizer.param_groups:
                group["lr"] *= factor
        if self.lars:
            optimizer = LARS(optimizer)
        return warmup_cosine_schedule(self.trainer, optimizer, self.warmup_epochs)

"""Contrastive pre-training of a hand encoder (SimCLR, Chen et al. 2020; PeCLR, Spurr et al. 2021)."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import MeanMetric

from peclr.collectives import gather, pairs_per_process
from peclr.data.samples import PairedViewBatch
from peclr.losses.objectives import Objective
from peclr.metrics.pose import mean_loss
from peclr.models.encoders import Encoder
from peclr.models.heads import ProjectionHead
from peclr.runs.about import KEY, About, config_of, encoder_facts
from peclr.training.gradient_cache import project_in_micro_batches
from peclr.training.recipe import RecipeModule, batches_of_step, check_lars


class PretrainModule(RecipeModule):
    """An encoder and a projection head, trained so that two views of a hand meet and other hands part.

    Args:
        encoder: the network to train; what is kept afterward.
        objective: the loss of projections and of the geometry of their views.
        lars: wrap the optimizer in LARS, as published; for BatchNorm networks, ValueError for those with other norms.
        weight_decay: on weights; biases and BatchNorm are exempt. For the rest see `RecipeModule`.
        warmup_epochs: linear warm-up of the learning rate, before a cosine to 0; parts of an epoch count.
        projection_hidden: width of the head's hidden layer.
        projection_features: numbers per projection; PeCLR reads them as half as many points in 2-D.
        micro_batch: the most pairs whose activations a process holds at once. The contrast is over the whole batch all
            the same, by gradient caching (see `gradient_cache`) and for a third more computation: batch_size 2048 with
            micro_batch 128 has 4094 negatives, where accumulating 16 batches of 128 has 254.
        view_size: side of the views, pixels, for encoders that depend on it. None leaves the encoder as it is, and is
            in a config that of the data.
    """

    def __init__(
        self,
        encoder: Encoder,
        objective: Objective,
        *,
        lars: bool = True,
        weight_decay: float = 1e-6,
        warmup_epochs: float = 10.0,
        projection_hidden: int = 512,
        projection_features: int = 128,
        micro_batch: int | None = None,
        view_size: int | None = None,
        **recipe: Any,
    ) -> None:
        if micro_batch is not None and micro_batch < 2:
            raise ValueError(f"BatchNorm needs a micro_batch of at least 2 pairs, got {micro_batch}")
        if lars:
            check_lars(encoder)
        super().__init__(weight_decay=weight_decay, warmup_epochs=warmup_epochs, **recipe)
        if view_size is not None:
            encoder.for_view_size(view_size)
        # convolutions run faster with channels last, on CPU in bf16 and on tensor cores alike
        self.encoder: Any = encoder  # an `Encoder`, whose layers its users know
        self.encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stub lacks it
        self.projection_head = ProjectionHead(encoder.feature_dim, projection_hidden, projection_features)
        objective.build(encoder.feature_dim)
        self.objective = objective
        self.lars = lars
        self.micro_batch = micro_batch
        self.val_loss = mean_loss()

    def setup(self, stage: str) -> None:
        """Check that data and encoder agree on the size of a view, before anything is computed."""
        seen = getattr(getattr(self.trainer, "datamodule", None), "view_size", None)
        if seen is not None and self.encoder.view_size not in (None, seen):
            wanted = f"data.view_size is {seen}: give PretrainModule view_size={seen}"
            raise ValueError(f"{self.encoder.description} takes views of {self.encoder.view_size} px and {wanted}")

    def forward(self, views: Tensor) -> Tensor:
        """Raw projections (B, 2, D) of views (B, 2, 3, S, S), uint8 RGB."""
        return self._project(views)[0]

    def _project(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """Projections (B, 2, D) of views (B, 2, 3, S, S), and the features (B, 2, F) that they are made from."""
        images = self.encoder.normalize(views.flatten(0, 1)).contiguous(memory_format=torch.channels_last)
        features = self.encoder(images)
        return self.projection_head(features).unflatten(0, (-1, 2)), features.unflatten(0, (-1, 2))

    def _shared_step(self, batch: PairedViewBatch, split: str) -> Tensor:
        views = batch["views"]
        if self.micro_batch is None:
            projections, features = self._project(views)
        else:
            largest = max(pairs_per_process(len(views)))
            projections, features = project_in_micro_batches(self._project, views, self.micro_batch, self, largest)
        loss: Tensor = self.objective(projections, batch["view_from_crop"], **self._known(batch, features))
        logged: Tensor | MeanMetric = loss
        if split == "val":  # every process knows the loss of all; the sums are over their shares of it
            self.val_loss.update(loss, len(views))
            logged = self.val_loss
        self.log(f"{split}/loss", logged, batch_size=len(views), prog_bar=True)
        return loss

    def _known(self, batch: PairedViewBatch, features: Tensor) -> dict[str, Tensor]:
        """Values that the objective needs beside projections and geometry."""
        known: dict[str, Tensor] = {"features": features}
        known |= {name: batch[name] for name in ("joints_2d", "hand") if name in batch}
        if missing := self.objective.needs - known.keys():
            lacking = f"{type(self.objective).__name__} needs {', '.join(sorted(missing))} of the batch, which has none"
            raise ValueError(f"{lacking}: set with_joints: true in the data module, or choose another objective")
        return {name: known[name] for name in self.objective.needs}

    def training_step(self, batch: PairedViewBatch) -> Tensor:
        """One contrastive step."""
        return self._shared_step(batch, "train")

    def validation_step(self, batch: PairedViewBatch) -> None:
        """The same loss on held-out hands; comparable between epochs, not between objectives."""
        self._shared_step(batch, "val")

    def on_train_batch_start(self, batch: PairedViewBatch, batch_idx: int) -> None:
        """Log what an anchor is contrasted with and what the optimizer steps on, of all processes.

        `effective_negatives` are the views of other pairs in the contrast, `false_negatives` those of them that show
        the anchor's own hand, on average over anchors; `optimizer_batch` are the pairs of an optimizer step.
        """
        counts, device = pairs_per_process(len(batch["views"])), batch["views"].device
        pairs = sum(counts)
        step = pairs * batches_of_step(self.trainer, int(self.trainer.num_training_batches), batch_idx)
        sizes = {"effective_negatives": 2 * pairs - 2, "optimizer_batch": step}
        metrics = {name: torch.full((), float(size), device=device) for name, size in sizes.items()}
        if "hand" in batch:
            metrics["false_negatives"] = false_negatives(gather(batch["hand"], counts))
        self.log_dict({f"train/{name}": value for name, value in metrics.items()}, batch_size=len(batch["views"]))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let the checkpoint say what it is."""
        view_size = getattr(getattr(self.trainer, "datamodule", None), "view_size", None)
        facts, objective = encoder_facts(self.encoder), config_of(self.objective)
        checkpoint[KEY] = About(kind="pretrain", objective=objective, view_size=view_size, **facts).as_dict()


def false_negatives(hands: Tensor) -> Tensor:
    """Number of negatives that show an anchor's own hand, on average; (N,) ids of the pairs' hands to a scalar."""
    same = hands[:, None] == hands
    others = same.sum(dtype=torch.float32) - len(hands)
    return 2 * others / len(hands)  # a pair has two views

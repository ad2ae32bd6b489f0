"""Fine-tuning on labeled hands: 2.5-D pose with a refined root depth (PeCLR §4.4–4.6; code never published)."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import torch
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor, nn

from peclr.checkpoints import load_encoder
from peclr.collectives import mean_over_processes
from peclr.data.samples import LabeledBatch
from peclr.losses.pose import PUBLISHED_VIEW_SIZE, KnownLabels, PoseLoss, PoseLossTerms
from peclr.metrics.pose import PoseMetrics, TermMeans
from peclr.models.encoders import Encoder, ResNetEncoder, class_path_of
from peclr.models.pose_net import PoseNet25D, PoseOutput, comparable_keypoints, targets_from_labels
from peclr.runs.about import KEY, About, config_of, encoder_facts
from peclr.training.head_start import solve_head
from peclr.training.recipe import RecipeModule

# what the published encoders, of which this is the smaller one, were before pre-training
PUBLISHED_START: Final[dict[str, Any]] = {"name": "resnet50", "width": 1.0, "weights": "IMAGENET1K_V1"}
# what is logged of a split: the terms of `PoseLossTerms`
_LOSSES = ("loss", "loss_keypoints_2d", "loss_depth", "loss_root")


def encoder_config(weights: Path | str | None) -> dict[str, Any]:
    """Class path and arguments of the encoder in a checkpoint, or of the published one before pre-training."""
    if weights is not None:
        found = config_of(load_encoder(weights))
        return found | {"init_args": found["init_args"] | {"weights": None}}
    return {"class_path": class_path_of(ResNetEncoder), "init_args": PUBLISHED_START}


class FinetuneModule(RecipeModule):
    """A pose network on a pre-trained encoder, trained with labels and scored as FreiHAND is.

    Args:
        encoder: with ImageNet's weights or others, or none to start from scratch. None takes that of `weights` or,
            without these, the published ResNet.
        weights: encoder weights: a pre-training run's checkpoint, a published one, or torchvision's.
        freeze_encoder: train the head alone, as in the paper's ablations.
        head_first: part of the run, from 0 to less than 1, in which the head alone learns: its first gradients would
            spoil what pre-training has taught (Kumar et al., "Fine-Tuning can Distort Pretrained Features", ICLR
            2022). BatchNorm statistics do not wait.
        solve_head: start with the last layer that a ridge regression of the pose on the encoder's features finds, not
            with all joints in the middle of the view: better in a few seconds than a head that learned first. For
            encoders with weights: features of random ones, whose BatchNorm has counted nothing, soon are others.
        view_size: side of the views, pixels: where an untrained network expects the hand. None is the published side,
            and in a config that of the data.
        loss: of the pose; what is not given of it is as published, pixels counted as if views were 224 px.
        weight_decay: on weights; biases and BatchNorm are exempt. For the rest see `RecipeModule`.
    """

    def __init__(
        self,
        encoder: Encoder | None = None,
        weights: Path | None = None,
        *,
        freeze_encoder: bool = False,
        head_first: float = 0.0,
        solve_head: bool = False,
        view_size: int | None = None,
        loss: PoseLoss | None = None,
        weight_decay: float = 2e-4,
        **recipe: Any,
    ) -> None:
        super().__init__(weight_decay=weight_decay, **recipe)
        if not 0 <= head_first < 1:
            raise ValueError(f"head_first {head_first}: expected a part of the run, from 0 to less than 1")
        view_size = PUBLISHED_VIEW_SIZE if view_size is None else view_size
        if weights is not None:
            loaded = load_encoder(weights, expect=encoder).for_view_size(view_size)
            encoder = loaded if encoder is None else encoder.for_view_size(view_size)
            encoder.load_state_dict(loaded.state_dict())
            encoder.mean, encoder.std = loaded.mean, loaded.std
        elif encoder is None:
            encoder = ResNetEncoder(**PUBLISHED_START)
        self.pose_net = PoseNet25D(encoder.for_view_size(view_size)).init_for(view_size)
        # convolutions run faster with channels last
        self.pose_net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stub lacks it
        if freeze_encoder:
            self.pose_net.freeze_encoder()
        self.head_first, self.solve_head = head_first, solve_head
        self.view_size = view_size
        self.loss = (loss or PoseLoss()).for_view_size(view_size)
        self.losses = TermMeans(len(_LOSSES) - 1)
        self.val_scores = PoseMetrics("val/")
        self.test_scores = PoseMetrics("test/")

    def setup(self, stage: str) -> None:
        """Check that data and network agree on the size of a view, before anything is computed."""
        data = getattr(self.trainer, "datamodule", None)
        seen, batch_size = getattr(data, "view_size", self.view_size), getattr(data, "batch_size", 2)
        if seen != self.view_size:
            raise ValueError(f"model.view_size is {self.view_size} and data.view_size {seen}: expected the same")
        if stage == "fit" and batch_size < 2 and next(self.pose_net.backend_model.parameters()).requires_grad:
            raise ValueError(f"data.batch_size is {batch_size}: BatchNorm needs at least 2 images")

    def forward(self, images: Tensor, K: Tensor) -> PoseOutput:
        """Predict hands of images (B, 3, S, S), uint8 RGB, whose cameras are K (B, 3, 3), pixels of the view."""
        output: PoseOutput = self.pose_net(self._normalized(images), K)
        return output

    def features(self, images: Tensor) -> Tensor:
        """What the encoder makes of images (B, 3, S, S), uint8 RGB: features (B, F)."""
        features: Tensor = self.pose_net.backend_model(self._normalized(images))
        return features

    def _normalized(self, images: Tensor) -> Tensor:
        normalized: Tensor = self.pose_net.backend_model.normalize(images)
        return normalized.contiguous(memory_format=torch.channels_last)

    def on_train_start(self) -> None:
        """Solve for the head where a run begins; one that resumes has it."""
        super().on_train_start()
        if self.solve_head and self.global_step == 0:
            solve_head(self, self.trainer)

    def _shared_step(self, batch: LabeledBatch, split: str) -> tuple[Tensor, PoseOutput]:
        output, has_3d = self(batch["image"], batch["K"]), batch["has_3d"]
        joints = batch["joints_3d"], batch["joints_25d"][..., :2]
        target = targets_from_labels(*joints, batch["K"], batch["joint_valid"], has_3d)
        joints_25d, raw = torch.cat((target["keypoints_2d"], target["depth_rel"][..., None]), dim=-1), output["raw"]
        known = KnownLabels(target["joint_valid"], has_3d)
        counts = known.counts()
        if split == "train":  # every process has as many hands, but may know more of them
            counts = mean_over_processes(counts)
        predicted = raw["keypoints_2d"], raw["depth_rel"], raw["root_depth"]
        terms = self.loss(*predicted, joints_25d, target["root_depth"], known, counts)
        if split == "train":
            self._log_loss(terms, len(batch["image"]))
        else:
            self.losses.update(torch.stack(terms[1:]).detach(), counts)
        return terms.total, output

    def _log_loss(self, terms: PoseLossTerms, size: int) -> None:
        """Log means over the batch of all processes, of which these have equal shares."""
        shared = dict(zip(_LOSSES, mean_over_processes(torch.stack(terms).detach()), strict=True))
        self.log("train/loss", shared.pop("loss"), prog_bar=True, batch_size=size)
        self.log_dict({f"train/{name}": value for name, value in shared.items()}, batch_size=size)

    def _score(self, batch: LabeledBatch, split: str) -> None:
        _, output = self._shared_step(batch, split)
        scores = self.val_scores if split == "val" else self.test_scores
        # the hand's true scale, which FreiHAND gives, turns bone lengths into metres
        joints_3d = output["joints_3d"] * batch["scale_m"][:, None, None]
        labels_2d, has_3d = batch["joints_25d"][..., :2], batch["has_3d"]
        predicted_2d = comparable_keypoints(output, has_3d)
        scores.update(joints_3d, batch["joints_3d"], predicted_2d, labels_2d, batch["joint_valid"], has_3d)

    def _log_scores(self, split: str) -> None:
        """Log losses and scores over the hands of all processes: those of which something was known."""
        scores = self.val_scores if split == "val" else self.test_scores
        means, counts = self.losses.compute()
        losses = dict(zip(_LOSSES, (self.loss.total(*means), *means), strict=True))
        unknown = [name for name, count in zip(_LOSSES[1:], counts.tolist(), strict=True) if not count]
        found = {f"{split}/{name}": value for name, value in losses.items() if name not in unknown} | scores.compute()
        for name, value in found.items():  # all processes have the same
            self.log(name, value, prog_bar=name.endswith(("/loss", "pa_epe_mm")), sync_dist=True)
        self.losses.reset()
        scores.reset()

    def training_step(self, batch: LabeledBatch) -> Tensor:
        """One step on labeled hands."""
        return self._shared_step(batch, "train")[0]

    def validation_step(self, batch: LabeledBatch) -> None:
        """Score held-out hands of the training split."""
        self._score(batch, "val")

    def on_validation_epoch_end(self) -> None:
        """Log their scores."""
        self._log_scores("val")

    def test_step(self, batch: LabeledBatch) -> None:
        """Score the evaluation split."""
        self._score(batch, "test")

    def on_test_epoch_end(self) -> None:
        """Log its scores."""
        self._log_scores("test")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let the checkpoint say what it is, and how to use it."""
        checkpoint[KEY] = About(
            kind="finetune",
            objective=config_of(self.loss),
            view_size=self.view_size,
            **encoder_facts(self.pose_net.backend_model),
            **self._views(),
        ).as_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Warn if a checkpoint is to be scored on other views than those it has learned from."""
        trainer, said = self._trainer, checkpoint.get(KEY)
        if trainer is None or trainer.state.fn is TrainerFn.FITTING or not isinstance(said, dict):
            return  # who goes on training with other values is warned of all of them
        for name, here in self._views().items():
            if None not in (here, learned := said.get(name)) and here != learned:
                rank_zero_warn(f"scored with data.{name} {here}, but the checkpoint has learned with {learned}")

    def _views(self) -> dict[str, Any]:
        """What the data module says of views beside their size; None where there is none, or it does not say."""
        data = self._trainer and getattr(self._trainer, "datamodule", None)
        return {name: getattr(data, name, None) for name in ("border", "crop_margin")}

    def waiting_parts(self) -> list[tuple[Iterable[nn.Parameter], float]]:
        """The head, and the encoder, which may wait."""
        head = self.pose_net.head_parameters()
        of_head = set(map(id, head))
        encoder = [parameter for parameter in self.pose_net.parameters() if id(parameter) not in of_head]
        return [(head, 0.0), (encoder, self.head_first)]

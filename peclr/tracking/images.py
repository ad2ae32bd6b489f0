"""Pictures of a run: what it trains on, what its projections do, what it predicts; for any logger.

Each is drawn once in n epochs from the same few samples, between two steps; see `EpochCallback`. They lie in
`RUN/pictures`, and W&B and TensorBoard show them as well.
"""

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import default_collate

from peclr.data.datamodules import LabeledHandDataModule, PairedViewDataModule
from peclr.data.datasets import LabeledHandDataset
from peclr.data.samples import LabeledBatch, PairedViewBatch
from peclr.drawing.views import draw_items
from peclr.losses.objectives import as_points
from peclr.metrics.pose import aligned_errors
from peclr.tracking.drawing import DrawnHand, draw_hands, draw_projections
from peclr.tracking.epochs import EpochCallback, epochs_done
from peclr.tracking.loggers import send_picture
from peclr.training import FinetuneModule, PretrainModule


class ViewImages(EpochCallback):
    """View pairs as `peclr inspect` draws them: `views/pairs`; misaligned geometry shows as colored edges.

    Args:
        count: number of pairs; the hands stay, their views are those of the epoch.
        every_n_epochs: how often.
    """

    def __init__(self, count: int = 4, every_n_epochs: int = 10) -> None:
        super().__init__(every_n_epochs)
        self.count = check_count(count)

    def prepare(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Choose the hands."""
        self._indices = evenly(len(pairs_of(trainer, self).train_set), self.count)

    def look(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw."""
        keys = [(trainer.current_epoch, index) for index in self._indices]
        send_picture(trainer, "views/pairs", draw_items(pairs_of(trainer, self).train_set, keys), epochs_done(trainer))


class ProjectionImages(EpochCallback):
    """Projections of two views, read as points, before and after the inversion: `projections/pairs`.

    After the inversion of a well-trained PeCLR, the points of both views lie on each other. Objectives that have no
    inversion are shown with the published one.

    Args:
        count: number of pairs; always the same views.
        every_n_epochs: how often.
    """

    def __init__(self, count: int = 3, every_n_epochs: int = 10) -> None:
        super().__init__(every_n_epochs)
        self.count = check_count(count)

    def prepare(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Make the views."""
        if not isinstance(pl_module, PretrainModule):
            raise ValueError(
                f"ProjectionImages draws a PretrainModule's projections, not a {type(pl_module).__name__}'s"
            )
        dataset = pairs_of(trainer, self).train_set
        self._batch: PairedViewBatch = default_collate([dataset[index] for index in evenly(len(dataset), self.count)])

    def look(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Project and draw."""
        projections = pl_module(self._batch["views"].to(pl_module.device)).float().cpu()
        assert isinstance(pl_module, PretrainModule)
        undone = pl_module.objective.undo(projections, self._batch["view_from_crop"])
        before, after = (as_points(torch.nn.functional.normalize(p, dim=-1)).numpy() for p in (projections, undone))
        views = self._batch["views"].permute(0, 1, 3, 4, 2).numpy()
        send_picture(trainer, "projections/pairs", draw_projections(views, before, after), epochs_done(trainer))


class PoseImages(EpochCallback):
    """Predicted and true skeletons of validation hands: `poses/samples`, always the same, and `poses/worst`.

    Args:
        count: number of hands in each picture.
        every_n_epochs: how often.
        num_hands: validation images among which the worst are sought, by error after similarity alignment.
    """

    def __init__(self, count: int = 4, every_n_epochs: int = 10, num_hands: int = 256) -> None:
        super().__init__(every_n_epochs)
        self.count, self.num_hands = check_count(count), check_count(num_hands)

    def prepare(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Read the hands."""
        module = getattr(trainer, "datamodule", None)
        if not isinstance(module, LabeledHandDataModule) or not isinstance(pl_module, FinetuneModule):
            raise ValueError("PoseImages draws the predictions of a FinetuneModule on a LabeledHandDataModule")
        if module.val_set is None:
            raise ValueError("PoseImages draws validation hands, and val_fraction is 0: hold some out")
        dataset: LabeledHandDataset = module.val_set
        self._batch: LabeledBatch = default_collate(
            [dataset[index] for index in evenly(len(dataset), max(self.num_hands, self.count))]
        )

    def look(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Predict, and draw."""
        hands = self._predict(pl_module)
        worst = sorted(hands, key=lambda hand: -hand.error_mm)[: self.count]
        fixed = [hands[index] for index in evenly(len(hands), self.count)]
        for name, drawn in (("poses/samples", fixed), ("poses/worst", worst)):
            send_picture(trainer, name, draw_hands(drawn), epochs_done(trainer))

    def _predict(self, pl_module: pl.LightningModule) -> list[DrawnHand]:
        batch, hands = self._batch, []
        for start in range(0, len(batch["image"]), 64):
            part = slice(start, start + 64)
            output = pl_module(batch["image"][part].to(pl_module.device), batch["K"][part].to(pl_module.device))
            true = batch["joints_3d"][part].double()
            predicted = output["joints_3d"].double().cpu() * batch["scale_m"][part, None, None]
            aligned, errors = aligned_errors(predicted, true)
            rows = zip(
                batch["image"][part].permute(0, 2, 3, 1).contiguous().numpy(),
                batch["joints_25d"][part, :, :2].double().numpy(),
                output["keypoints_2d"].double().cpu().numpy(),
                true.numpy(),
                aligned.numpy(),
                errors.mean(dim=-1).tolist(),
                strict=True,
            )
            hands += [DrawnHand(*row) for row in rows]
        return hands


def pairs_of(trainer: pl.Trainer, callback: EpochCallback) -> PairedViewDataModule:
    """The run's paired views; ValueError if it trains on something else."""
    module = getattr(trainer, "datamodule", None)
    if not isinstance(module, PairedViewDataModule):
        raise ValueError(f"{type(callback).__name__} needs a PairedViewDataModule, got {type(module).__name__}")
    return module


def check_count(count: int) -> int:
    """Return `count` if it is a number of samples."""
    if count < 1:
        raise ValueError(f"expected a count of at least 1, got {count}")
    return count


def evenly(length: int, count: int) -> list[int]:
    """At most `count` indices, spread evenly over `length` items."""
    return [round(index) for index in np.linspace(0, length - 1, min(count, length)).tolist()]

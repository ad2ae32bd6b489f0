"""Images of a run, in `RUN/pictures`, W&B and TensorBoard: what it trains on, projects to and predicts."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import cv2
import numpy as np
import pytorch_lightning as pl
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pytorch_lightning.utilities import rank_zero_warn
from torch.nn.functional import normalize
from torch.utils.data import default_collate

from peclr.data.datamodules import LabeledHandDataModule
from peclr.data.samples import LabeledBatch, PairedViewBatch
from peclr.drawing.series import BLUE, VERMILLION
from peclr.drawing.skeleton import draw_skeleton, draw_skeleton_3d
from peclr.drawing.tiles import Image, sheet
from peclr.drawing.views import draw_items
from peclr.geometry.planar import move, view_from_box, whole_image
from peclr.losses.objectives import as_points
from peclr.metrics.pose import aligned_errors
from peclr.models.pose_net import comparable_keypoints
from peclr.tracking.epochs import EpochCallback, evenly, pairs_of
from peclr.tracking.loggers import send_image
from peclr.training import FinetuneModule, PretrainModule

_BATCH: Final = 64
_SIDE: Final = 256  # px of a tile
_INCHES, _DPI = 2.6, 100
_VIEWS: Final = {"color": VERMILLION, "marker": "o"}, {"color": BLUE, "marker": "x"}


class ViewImages(EpochCallback):
    """`count` view pairs as `peclr inspect` draws them: `views/pairs`; misaligned geometry shows as colored edges.

    The hands stay, their views are those of the epoch.

    Args:
        count: pairs of views on each image.
        every_n_epochs: how often to draw; also before training and after the last epoch.
    """

    def __init__(self, count: int = 4, every_n_epochs: int = 10) -> None:
        super().__init__(every_n_epochs, count=count)
        self.count = count

    def prepare(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Choose the hands."""
        self._indices = evenly(len(pairs_of(trainer, self).train_set), self.count)

    def look(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw."""
        keys = [(trainer.current_epoch, index) for index in self._indices]
        send_image(trainer, "views/pairs", draw_items(pairs_of(trainer, self).train_set, keys))


class ProjectionImages(EpochCallback):
    """Projections of two views, read as points, before and after the inversion: `projections/pairs`.

    After the inversion of a well-trained PeCLR, the points of both views lie on each other. Objectives that have no
    inversion are shown with the published one. The `count` pairs of views are always the same.

    Args:
        count: pairs of views on each image.
        every_n_epochs: how often to draw; also before training and after the last epoch.
    """

    def __init__(self, count: int = 3, every_n_epochs: int = 10) -> None:
        super().__init__(every_n_epochs, count=count)
        self.count = count

    def prepare(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Make the views."""
        if not isinstance(pl_module, PretrainModule):
            raise ValueError(f"ProjectionImages needs a PretrainModule, got a {type(pl_module).__name__}")
        dataset = pairs_of(trainer, self).train_set
        self._batch: PairedViewBatch = default_collate([dataset[index] for index in evenly(len(dataset), self.count)])

    def look(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Project and draw."""
        assert isinstance(pl_module, PretrainModule)
        projections = pl_module(self._batch["views"].to(pl_module.device)).float().cpu()
        undone = pl_module.objective.undo(projections, self._batch["view_from_crop"])
        before, after = (as_points(normalize(part, dim=-1)).numpy() for part in (projections, undone))
        views = self._batch["views"].permute(0, 1, 3, 4, 2).numpy()
        send_image(trainer, "projections/pairs", draw_projections(views, before, after))


class PoseImages(EpochCallback):
    """Predicted and true skeletons of `count` validation hands: `poses/samples`, always the same, and `poses/worst`.

    The worst of `num_hands` validation images, by error after similarity alignment. Hands of which not all joints are
    known in 3-D are not among them as long as there are others, and drawn in 2-D alone.

    Args:
        count: hands on each image.
        every_n_epochs: how often to draw; also before training and after the last epoch.
        num_hands: validation images to predict.
    """

    def __init__(self, count: int = 4, every_n_epochs: int = 10, num_hands: int = 256) -> None:
        super().__init__(every_n_epochs, count=count, num_hands=num_hands)
        self.count, self.num_hands = count, num_hands

    def prepare(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Read the hands."""
        module = getattr(trainer, "datamodule", None)
        if not isinstance(module, LabeledHandDataModule) or not isinstance(pl_module, FinetuneModule):
            raise ValueError("PoseImages draws the predictions of a FinetuneModule on a LabeledHandDataModule")
        self._batch: LabeledBatch | None = None
        if module.val_set is None:
            rank_zero_warn("PoseImages draws validation hands: with a val_fraction of 0 it draws none")
            return
        indices = evenly(len(module.val_set), max(self.num_hands, self.count))
        self._batch = default_collate([module.val_set[index] for index in indices])

    def look(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Predict, and draw."""
        if (batch := self._batch) is None:
            return
        device = pl_module.device
        parts = zip(*(torch.split(batch[key], _BATCH) for key in ("image", "K", "has_3d")), strict=True)
        outputs = [(pl_module(image.to(device), K.to(device)), has_3d.to(device)) for image, K, has_3d in parts]
        flat = torch.cat([comparable_keypoints(*output).double().cpu() for output in outputs])
        deep = torch.cat([output["joints_3d"].double().cpu() for output, _ in outputs])
        true = batch["joints_3d"].double()
        aligned, errors = aligned_errors(deep * batch["scale_m"][:, None, None], true)
        valid = batch["joint_valid"]
        seen = torch.where(valid[..., None], batch["joints_25d"][..., :2].double(), torch.nan)
        rows = zip(
            batch["image"].permute(0, 2, 3, 1).contiguous().numpy(),
            seen.numpy(),
            flat.numpy(),
            true.numpy(),
            aligned.numpy(),
            torch.where(batch["has_3d"] & valid.all(dim=1), errors.mean(dim=-1), -torch.inf).tolist(),
            strict=True,
        )
        hands = [DrawnHand(*row) for row in rows]
        worst = sorted(hands, key=lambda hand: -hand.error_mm)[: self.count]
        send_image(trainer, "poses/samples", draw_hands([hands[index] for index in evenly(len(hands), self.count)]))
        send_image(trainer, "poses/worst", draw_hands(worst))


class DrawnHand(NamedTuple):
    """A prediction with its truth."""

    image: Image  # (S, S, 3), RGB
    true_2d: NDArray[np.float64]  # (21, 2), pixels, NaN where unknown
    predicted_2d: NDArray[np.float64]
    true_3d: NDArray[np.float64]  # (21, 3), metres, camera frame
    predicted_3d: NDArray[np.float64]  # after similarity alignment
    error_mm: float  # mean distance between the last two; not finite where they are not to be drawn


def draw_hands(hands: Sequence[DrawnHand]) -> Image:
    """One row for each hand: true and predicted, over the image and in 3-D; (H, W, 3), RGB."""
    tiles, titles = [], []
    for hand in hands:
        image = cv2.resize(hand.image, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC).astype(np.uint8, copy=False)
        tile_from_image = view_from_box(whole_image(*hand.image.shape[1::-1]), _SIDE)
        flat = [draw_skeleton(image, move(tile_from_image, points)) for points in (hand.true_2d, hand.predicted_2d)]
        error_px = float(np.nanmean(np.linalg.norm(hand.predicted_2d - hand.true_2d, axis=1)))
        in_space = [np.full((_SIDE, 2 * _SIDE, 3), 255, np.uint8)] * 2, ["not all known in 3-D", ""]
        if np.isfinite(hand.error_mm):
            drawn = [draw_skeleton_3d(points, size=_SIDE) for points in (hand.true_3d, hand.predicted_3d)]
            in_space = drawn, ["true", f"predicted, aligned: {hand.error_mm:.1f} mm"]
        tiles.append([*flat, *in_space[0]])
        titles.append(["true", f"predicted: {error_px:.1f} px", *in_space[1]])
    return sheet(tiles, titles)


def draw_projections(views: Image, before: NDArray[np.float32], after: NDArray[np.float32]) -> Image:
    """One row for each pair: its views, and their projections as points, before and after the inversion.

    Views (B, 2, S, S, 3), RGB; points (B, 2, P, 2), of unit length as vectors, as NT-Xent compares them.
    """
    widths = (1, 1, 1.2, 1.2)
    figure = Figure((_INCHES * sum(widths), _INCHES * len(views) * 1.1), dpi=_DPI, layout="constrained")
    grid = figure.subplots(len(views), 4, width_ratios=widths, squeeze=False)
    for number, axes in enumerate(grid):
        for view, ax in enumerate(axes[:2]):
            ax.imshow(views[number, view])
            ax.set_title(f"view {view + 1}", fontsize=8)
            ax.set_axis_off()
        for ax, points, title in zip(axes[2:], (before[number], after[number]), ("before", "after"), strict=True):
            ax.plot(*points.transpose(2, 0, 1), color="#BBBBBB", linewidth=0.6, zorder=1)  # a line from point to point
            for view, style in enumerate(_VIEWS):
                ax.scatter(*points[view].T, s=10, linewidth=0.8, label=f"view {view + 1}", zorder=2, **style)
            ax.set_title(f"{title} the inversion: cosine {float((points[0] * points[1]).sum()):.3f}", fontsize=8)
            reach = 1.1 * float(np.abs(points).max())
            ax.set(xlim=(-reach, reach), ylim=(reach, -reach), aspect="equal")  # y points down, as in views
            ax.tick_params(labelsize=6)
    grid[0][2].legend(fontsize=7, loc="upper left")
    figure.supxlabel("points: x and y of the projection divided by its length, without unit", fontsize=7)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib types its canvas in part
    pixels = np.asarray(canvas.buffer_rgba(), np.uint8)  # type: ignore[no-untyped-call]
    return np.ascontiguousarray(pixels[..., :3])

"""Does the run learn pose? The contrastive loss cannot tell, and cannot be compared between objectives."""

import time
from itertools import pairwise
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import Tensor

from peclr.data.samples import HandSource
from peclr.data.sources.freihand import FreiHAND, Split
from peclr.data.sources.selection import SelectedHands, split_hands
from peclr.metrics.probe import EncodedHands, ridge_probe
from peclr.models.encoders import normalize_images
from peclr.tracking.epochs import EpochCallback
from peclr.tracking.images import pairs_of
from peclr.tracking.probe_hands import COLOR, MOVES, ProbeHands, read_probe_hands
from peclr.tracking.probe_scores import agreement, pose_distances, retrieval
from peclr.training import PretrainModule

_BATCH = 128
_FEWEST = 8  # two to fit, two to choose the strength by, four to score


class OnlineProbe(EpochCallback):
    """Scores the encoder during pre-training on a few labeled hands; nothing is learned from their labels.

    - `probe/error_2d_px`, `probe/epe_mm` (relative to the wrist), `probe/pa_epe_mm`: a ridge regression from frozen
      features, fitted to one half of the hands, its strength chosen on a quarter, scored on the last quarter.
    - `probe/retrieval_pa_mm`: how far the pose of the nearest neighbor in feature space is, among the scored hands;
      `probe/retrieval_best_pa_mm` and `…_random_pa_mm` are what it could be at best, and by chance.
    - `probe/invariance_CHANGE`, `probe/equivariance_MOVE`: how much nearer a projection is to that of the same hand,
      changed, than to others', see `agreement`; as it is, and after the objective's inversion (PeCLR's published one
      if it has none). MOVE is rotation, translation or scale; CHANGE one of them, or color.
    - `probe/seconds`: what all of this took.

    Views are as large as the run's, and not augmented.

    Args:
        root: folder of labeled hands in FreiHAND's layout; null takes the validation hands of the run's first source,
            which the run does not train on.
        split: of `root`.
        every_n_epochs: how often.
        num_hands: how many hands to read, at most.
        num_moved: how many of them to look at after known changes, at most.
        seed: of the choice of hands.
    """

    def __init__(
        self,
        root: Path | None = None,
        split: Split = "training",
        every_n_epochs: int = 1,
        num_hands: int = 800,
        num_moved: int = 128,
        seed: int = 0,
    ) -> None:
        super().__init__(every_n_epochs)
        if num_hands < _FEWEST or num_moved < 2:
            raise ValueError(f"expected num_hands ≥ {_FEWEST} and num_moved ≥ 2, got {num_hands} and {num_moved}")
        self.root, self.split, self.seed = root, split, seed
        self.num_hands, self.num_moved = num_hands, num_moved

    def prepare(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Read the hands."""
        data = pairs_of(trainer, self)
        if not isinstance(pl_module, PretrainModule):
            raise ValueError(f"OnlineProbe probes a PretrainModule, got a {type(pl_module).__name__}")
        if self.root is not None:
            source: HandSource = FreiHAND(self.root, self.split)
            source = SelectedHands(source, split_hands(source.num_hands, 0, self.seed)[0][: self.num_hands])
        elif data.val_set is not None:
            source = data.val_set.sources[0]  # in a random order already
        else:
            raise ValueError("OnlineProbe without a root probes validation hands, and val_fraction is 0")
        if source.num_hands < _FEWEST:
            raise ValueError(f"OnlineProbe needs at least {_FEWEST} hands, {source.name} gives {source.num_hands}")
        dataset = data.train_set
        self._hands = read_probe_hands(source, self.num_hands, self.num_moved, dataset.view_size, dataset.border)
        half, quarter = _parts(len(self._hands.views))
        self._distances = pose_distances(self._hands.joints_3d[half + quarter :])

    def look(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure and log."""
        assert isinstance(pl_module, PretrainModule)  # `prepare` has looked
        started = time.perf_counter()
        metrics = measure(pl_module, self._hands, self._distances)
        metrics["probe/seconds"] = time.perf_counter() - started
        if trainer.global_step == 0:  # nothing can be logged through the module yet
            for logger in trainer.loggers:
                logger.log_metrics(metrics, step=0)
            return
        pl_module.log_dict(metrics, rank_zero_only=True)


def measure(module: PretrainModule, hands: ProbeHands, distances: Tensor) -> dict[str, float]:
    """All numbers of `OnlineProbe` but the time.

    Args:
        module: in evaluation mode.
        hands: at least 8.
        distances: `pose_distances` of the hands that are scored, the last quarter.
    """
    features = _encode(module, hands.views)
    half, quarter = _parts(len(features))
    ends = (0, half, half + quarter, len(features))
    fit, choose, score = (
        EncodedHands(features[start:end], hands.joints_2d[start:end], hands.joints_3d[start:end])
        for start, end in pairwise(ends)
    )
    scores = ridge_probe(fit, choose, score)
    neighbors = retrieval(score.features, distances)
    metrics = {
        "error_2d_px": scores.error_2d_px,
        "epe_mm": scores.root_relative_epe_mm,
        "pa_epe_mm": scores.pa_epe_mm,
        "retrieval_pa_mm": neighbors.found,
        "retrieval_best_pa_mm": neighbors.best,
        "retrieval_random_pa_mm": neighbors.random,
        **_follow(module, features, hands),
    }
    return {f"probe/{name}": value for name, value in metrics.items()}


def _follow(module: PretrainModule, features: Tensor, hands: ProbeHands) -> dict[str, float]:
    """Invariance and equivariance of the projections under known changes."""
    plain = _project(module, features[: len(hands.changed[COLOR])])
    still = torch.eye(3).expand(len(plain), 3, 3)
    found = {}
    for name, pictures in hands.changed.items():
        changed = _project(module, _encode(module, pictures))
        found[f"invariance_{name}"] = agreement(plain, changed)
        if name in MOVES:
            pair, geometry = torch.stack((plain, changed), 1), torch.stack((still, hands.view_from_crop[name]), 1)
            back = module.objective.undo(pair, geometry)
            found[f"equivariance_{name}"] = agreement(back[:, 0], back[:, 1])
    return found


def _encode(module: PretrainModule, views: Tensor) -> Tensor:
    """Features (N, F), float32, on the CPU, of views (N, 3, S, S), uint8."""
    batches = []
    for part in torch.split(views, _BATCH):
        images = normalize_images(part.to(module.device)).contiguous(memory_format=torch.channels_last)
        batches.append(module.encoder(images))
    return torch.cat(batches).float().cpu()


def _project(module: PretrainModule, features: Tensor) -> Tensor:
    projections: Tensor = module.projection_head(features.to(module.device)).float().cpu()
    return projections


def _parts(count: int) -> tuple[int, int]:
    """How many of the hands fit the ridge, and how many choose its strength; the rest score it."""
    return count // 2, count // 4

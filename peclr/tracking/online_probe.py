"""Does the run learn pose? The contrastive loss cannot say, and cannot be compared between objectives."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn.functional import normalize

from peclr.data.samples import HandSample, HandSource
from peclr.data.sources.composed import SelectedHands
from peclr.data.sources.freihand import FreiHAND, Split
from peclr.data.sources.selection import split_hands
from peclr.data.views.geometric import Border, ViewGeometry, render_view
from peclr.data.views.photometric import Photometric, Recolor
from peclr.drawing.tiles import Image
from peclr.geometry.joints import WRIST
from peclr.geometry.planar import Matrix, move
from peclr.metrics.pose import aligned_errors
from peclr.metrics.probe import EncodedHands, ridge_probe
from peclr.tracking.epochs import EpochCallback, pairs_of
from peclr.training import PretrainModule

# Near the ends of the published ranges: rotation ±45°, translation 15 of about 180 px, scale 0.72 to 1.2.
_TURN, _SHIFT, _SCALES = np.deg2rad(30.0), 15 / 180, (0.8, 1.2)

# What is done to a view to see how its projection moves. Every other hand is moved the other way.
MOVES: Final[dict[str, tuple[ViewGeometry, ViewGeometry]]] = {
    "rotation": (ViewGeometry(angle=_TURN), ViewGeometry(angle=-_TURN)),
    "translation": (ViewGeometry(translation=(_SHIFT, _SHIFT)), ViewGeometry(translation=(-_SHIFT, _SHIFT))),
    "scale": (ViewGeometry(scale=_SCALES[0]), ViewGeometry(scale=_SCALES[1])),
}
COLOR: Final = "color"
_BATCH: Final = 128
_FEWEST: Final = 8  # two to fit, two to choose the strength by, four to score


class OnlineProbe(EpochCallback):
    """Scores the encoder during pre-training on a few labeled hands; nothing is learned from their labels.

    - `probe/error_2d_px`, `probe/root_relative_epe_mm`, `probe/pa_epe_mm`: a ridge regression from frozen features,
      fitted to one half of the hands, its strength chosen on a quarter, scored on the last quarter.
    - `probe/retrieval_pa_mm`: distance of the pose of the nearest neighbor by features, among the scored hands;
      `probe/retrieval_best_pa_mm` and `…_random_pa_mm` are what it could be at best, and by chance.
    - `probe/invariance_CHANGE`, `probe/equivariance_MOVE`: `agreement` of projections with those of the same hands,
      changed; as they are, and after the objective's inversion (PeCLR's published one if it has none). MOVE is
      rotation, translation or scale; CHANGE one of them, or color.
    - `probe/seconds`: what all of this took.

    Args:
        root: folder of labeled hands in FreiHAND's layout; null takes the validation hands of the run's first source,
            which the run does not train on.
        split: of `root`.
        every_n_epochs: how often to look; also before training and after the last epoch.
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
        size, border = data.train_set.view_size, data.train_set.augmentation.border
        self._hands = read_probe_hands(source, self.num_hands, self.num_moved, size, border)
        self._distances = pose_distances(self._hands.joints_3d[_parts(len(self._hands.views))[1] :])

    def look(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure and log."""
        assert isinstance(pl_module, PretrainModule)  # `prepare` has looked
        started = time.perf_counter()
        metrics = measure(pl_module, self._hands, self._distances)
        metrics["probe/seconds"] = time.perf_counter() - started
        if trainer.global_step:
            # with both, nothing is exchanged, and Lightning does not advise each value to be
            pl_module.log_dict(metrics, rank_zero_only=True, sync_dist=True)
        else:  # nothing can be logged through the module yet
            for logger in trainer.loggers:
                logger.log_metrics(metrics, step=0)


@dataclass(frozen=True)
class ProbeHands:
    """Hands with labels, as un-augmented views, and the first M of them changed in known ways."""

    views: Tensor  # (N, 3, S, S), uint8, RGB
    joints_2d: Tensor  # (N, 21, 2), pixels of the view
    joints_3d: Tensor  # (N, 21, 3), metres, relative to the wrist
    changed: dict[str, Tensor]  # per change, (M, 3, S, S), uint8: moved by one of MOVES, or recolored
    view_from_crop: dict[str, Tensor]  # per move, (M, 3, 3), normalized


def read_probe_hands(source: HandSource, num_hands: int, num_moved: int, size: int, border: Border) -> ProbeHands:
    """Decode and crop a source's first hands, one image of each, of all versions in turn; views have `size` px.

    Hands of which not all joints are known are left out.
    """
    read = (_read(source, hand) for hand in range(min(num_hands, source.num_hands)))
    samples = [sample for sample in read if _is_whole(sample)]
    if len(samples) < _FEWEST:
        needed = f"needs at least {_FEWEST} hands with all joints in space and in the image: give OnlineProbe a root"
        raise ValueError(f"{source.name}: {len(samples)} hands have such labels, and a probe {needed}")
    plain = [_view(sample, ViewGeometry(), size, border) for sample in samples]
    moved = samples[:num_moved]
    changed, matrices = {}, {}
    for name, ways in MOVES.items():
        turns = [ways[number % 2] for number in range(len(moved))]
        changed[name] = _stack([_view(*pair, size, border)[0] for pair in zip(moved, turns, strict=True)])
        # translations are fractions of the crop box: its side does not matter
        matrices[name] = torch.tensor(np.stack([turn.view_from_crop(1.0) for turn in turns]), dtype=torch.float32)
    recolor, rng = Recolor(Photometric()), np.random.default_rng(0)
    changed[COLOR] = _stack([recolor(view, rng) for view, _ in plain[:num_moved]])
    joints_2d = torch.tensor(np.stack([joints for _, joints in plain]), dtype=torch.float32)
    joints_3d = torch.tensor(np.array([sample["joints_3d"] for sample in samples]))
    joints_3d = joints_3d - joints_3d[:, WRIST, None]
    return ProbeHands(_stack([view for view, _ in plain]), joints_2d, joints_3d, changed, matrices)


def _read(source: HandSource, hand: int) -> HandSample:
    versions = source.versions_of(hand)
    return source[versions[hand % len(versions)]]


def _is_whole(sample: HandSample) -> bool:
    """Whether all joints of a hand are known."""
    labels = sample["joints_2d"], sample["joints_3d"]
    return all(joints is not None and bool(np.isfinite(joints).all()) for joints in labels)


def _view(sample: HandSample, geometry: ViewGeometry, size: int, border: Border) -> tuple[Image, Matrix]:
    """A view (S, S, 3) and its joints (21, 2), px."""
    assert sample["joints_2d"] is not None  # `_is_whole` has looked
    view = render_view(sample, geometry, size, border)
    return view.image, move(view.view_from_image, sample["joints_2d"])


def _stack(views: Sequence[Image]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(np.stack(views).transpose(0, 3, 1, 2)))


def measure(module: PretrainModule, hands: ProbeHands, distances: Tensor) -> dict[str, float]:
    """All numbers of `OnlineProbe` but the time, of a module in evaluation mode.

    `distances` are the `pose_distances` of the hands that are scored, the last quarter.
    """
    features = _encode(module, hands.views)
    ends = (0, *_parts(len(features)), len(features))
    fit, choose, score = (
        EncodedHands(features[start:end], hands.joints_2d[start:end], hands.joints_3d[start:end])
        for start, end in pairwise(ends)
    )
    scores = ridge_probe(fit, choose, score)
    errors = {name: getattr(scores, name) for name in ("error_2d_px", "root_relative_epe_mm", "pa_epe_mm")}
    metrics = {**errors, **retrieval(score.features, distances), **_follow(module, features, hands)}
    return {f"probe/{name}": value for name, value in metrics.items()}


def _parts(count: int) -> tuple[int, int]:
    """The ends of the hands that fit the ridge, and of those that choose its strength; the rest score it."""
    return count // 2, count // 2 + count // 4


def _follow(module: PretrainModule, features: Tensor, hands: ProbeHands) -> dict[str, float]:
    """Invariance and equivariance of the projections under known changes."""
    plain = _project(module, features[: len(hands.changed[COLOR])])
    still = torch.eye(3).expand(len(plain), 3, 3)
    found = {}
    for name, views in hands.changed.items():
        changed = _project(module, _encode(module, views))
        found[f"invariance_{name}"] = agreement(plain, changed)
        if name in MOVES:
            pair, geometry = torch.stack((plain, changed), 1), torch.stack((still, hands.view_from_crop[name]), 1)
            back = module.objective.undo(pair, geometry)
            found[f"equivariance_{name}"] = agreement(back[:, 0], back[:, 1])
    return found


def _encode(module: PretrainModule, views: Tensor) -> Tensor:
    """Features (N, F), float32, on the CPU, of views (N, 3, S, S), uint8."""
    parts = (module.encoder.normalize(part.to(module.device)) for part in torch.split(views, _BATCH))
    features = [module.encoder(images.contiguous(memory_format=torch.channels_last)) for images in parts]
    return torch.cat(features).float().cpu()


def _project(module: PretrainModule, features: Tensor) -> Tensor:
    projections: Tensor = module.projection_head(features.to(module.device)).float().cpu()
    return projections


def pose_distances(joints_3d: Tensor) -> Tensor:
    """Between all pairs of hands (N, 21, 3), metres: (N, N), mm after similarity alignment; infinite to itself."""
    hands = joints_3d.double()
    distances = torch.stack([aligned_errors(hands, hand.expand_as(hands))[1].mean(dim=-1) for hand in hands])
    # which of two hands is scaled to the other makes a difference, but not to how alike they are
    return ((distances + distances.mT) / 2).fill_diagonal_(torch.inf)


def retrieval(features: Tensor, distances: Tensor) -> dict[str, float]:
    """Mean distance, mm, of a hand's pose to that of its nearest neighbor by features (N, F), to the nearest, to any.

    The cosine is of centered features, as the features of all hands share most of their direction.
    """
    centered = normalize(features.double() - features.double().mean(dim=0), dim=-1)
    nearest = (centered @ centered.mT).fill_diagonal_(-torch.inf).argmax(dim=1)
    return {
        "retrieval_pa_mm": float(distances[torch.arange(len(distances)), nearest].mean()),
        "retrieval_best_pa_mm": float(distances.amin(dim=1).mean()),
        "retrieval_random_pa_mm": float(distances[distances.isfinite()].mean()),
    }


def agreement(projections: Tensor, changed: Tensor) -> float:
    """The part by which a hand's projection is nearer to that of the same hand, changed, than to those of other hands.

    (own − others) / (1 − others) of the mean cosines of (N, D), (N, D): 1 if the change makes no difference, 0 if the
    changed hand is as far away as another one, or all projections are equal.
    """
    cosines = normalize(projections.double(), dim=-1) @ normalize(changed.double(), dim=-1).mT
    count = len(cosines)
    own = float(cosines.diagonal().mean())
    others = float((cosines.sum() - cosines.diagonal().sum()) / (count * (count - 1)))
    room = 1 - others
    return (own - others) / room if room > torch.finfo(torch.float32).eps else 0.0

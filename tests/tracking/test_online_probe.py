"""The online probe measures what it says, and leaves no trace in the training."""

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor, nn

from peclr.data.datamodules import PairedViewDataModule
from peclr.data.sources.composed import JoinedHands, SelectedHands
from peclr.data.sources.freihand import FreiHAND
from peclr.geometry.affine import apply_affine, compose, rotation, scaling, translation
from peclr.geometry.procrustes import similarity_align
from peclr.losses.objectives import AffinePeCLR, PeCLR, SimCLR
from peclr.models.encoders import Encoder, ResNetEncoder
from peclr.tracking.images import ProjectionImages, ViewImages
from peclr.tracking.online_probe import (
    COLOR,
    MOVES,
    OnlineProbe,
    ProbeHands,
    agreement,
    measure,
    pose_distances,
    read_probe_hands,
    retrieval,
)
from peclr.training import PretrainModule
from tests.data.partial_hands import PartialHands
from tests.trainer import quiet_trainer


class Lookup(Encoder):
    """An "encoder" that knows what each view shows: its features are planted, in the views' pixels."""

    mean, std = (0.0, 0.0, 0.0), (0.5, 0.5, 0.5)  # its own, not ImageNet's

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.features = features
        self.register_parameter("unused", nn.Parameter(torch.zeros(1)))

    def forward(self, images: Tensor) -> Tensor:
        # the first pixel's red and green are the number of the view
        low, high = (images[:, :2, 0, 0] / 2 * 255).round().long().unbind(-1)
        return self.features[low + 256 * high]


def numbered(first: int, count: int) -> Tensor:
    """Views that say their number."""
    numbers = torch.arange(first, first + count)
    views = torch.zeros(count, 3, 4, 4, dtype=torch.uint8)
    views[:, 0, 0, 0], views[:, 1, 0, 0] = numbers % 256, numbers // 256
    return views


def planted(
    objective: nn.Module, *, follow: bool, hands: int = 400, moved: int = 20
) -> tuple[PretrainModule, ProbeHands]:
    """A network whose features are the joints, in coordinates of the view that has moved, or stays.

    Its projections are these features: 21 points in normalized coordinates of the view.
    """
    torch.manual_seed(0)
    points, depth = 0.3 * torch.randn(hands, 21, 2), 0.1 * torch.randn(hands, 21, 1)
    joints_3d = torch.cat((0.1 * points, depth.expand(-1, 21, 1) * 0), dim=-1)
    ways = [{"angle": 0.5, "scale": 1.0, "x": 0.0}, {"angle": 0.0, "scale": 1.0, "x": 0.2}]
    ways.append({"angle": 0.0, "scale": 1.3, "x": 0.0})
    rows, changed, matrices = [points], {}, {}
    for number, (name, way) in enumerate(zip(MOVES, ways, strict=True)):
        matrix = compose(
            translation(torch.tensor([way["x"], 0.0])),
            rotation(torch.tensor(way["angle"])),
            scaling(torch.tensor(way["scale"])),
        )
        rows.append(apply_affine(matrix, points[:moved]) if follow else points[:moved])
        changed[name] = numbered(hands + number * moved, moved)
        matrices[name] = matrix.expand(moved, 3, 3)
    changed[COLOR] = numbered(0, moved)  # colors make no difference to this network
    module: Any = PretrainModule.__new__(PretrainModule)
    nn.Module.__init__(module)
    module.encoder, module.projection_head = Lookup(torch.cat(rows).flatten(1)), nn.Identity()
    module.objective = objective
    module._device = torch.device("cpu")
    views = ProbeHands(numbered(0, hands), 16 * points + 16, joints_3d - joints_3d[:, :1], changed, matrices)
    return module, views


def scores_of(objective: nn.Module, *, follow: bool) -> dict[str, float]:
    module, hands = planted(objective, follow=follow)
    with torch.no_grad():
        return measure(module, hands, pose_distances(hands.joints_3d[300:]))


def test_a_network_whose_features_are_the_pose_has_almost_no_error_and_finds_similar_poses() -> None:
    scores = scores_of(PeCLR(), follow=True)
    assert scores["probe/error_2d_px"] < 0.5  # the joints spread over 5 px; the ridge shrinks a little
    assert scores["probe/pa_epe_mm"] < 3
    assert (
        scores["probe/retrieval_best_pa_mm"] <= scores["probe/retrieval_pa_mm"] < scores["probe/retrieval_random_pa_mm"]
    )


def test_points_that_follow_the_view_are_equivariant_and_those_that_stay_invariant() -> None:
    exact = scores_of(AffinePeCLR(), follow=True)
    for name in MOVES:
        assert exact[f"probe/equivariance_{name}"] == pytest.approx(1, abs=1e-5)
    assert exact["probe/invariance_rotation"] < 0.95
    assert exact["probe/invariance_color"] == pytest.approx(1, abs=1e-5)
    still = scores_of(PeCLR(), follow=False)
    for name in MOVES:
        assert still[f"probe/invariance_{name}"] == pytest.approx(1, abs=1e-5)
    assert still["probe/equivariance_rotation"] < 0.95


def test_the_published_inversion_measures_rotation_and_scale_about_the_middle_exactly() -> None:
    module, hands = planted(PeCLR(), follow=True)
    points = module.encoder.features
    points -= points.view(-1, 21, 2).mean(1).repeat(1, 21)  # it turns about the points' mean
    with torch.no_grad():
        scores = measure(module, hands, pose_distances(hands.joints_3d[300:]))
    assert scores["probe/equivariance_rotation"] == pytest.approx(1, abs=1e-5)
    assert scores["probe/equivariance_scale"] == pytest.approx(1, abs=1e-5)


def test_an_objective_without_an_inversion_is_measured_with_the_published_one() -> None:
    assert scores_of(SimCLR(), follow=True) == scores_of(PeCLR(), follow=True)


def test_agreement_is_one_for_the_same_nothing_for_another_hand_and_for_a_collapsed_network() -> None:
    torch.manual_seed(0)
    projections = torch.randn(200, 16) + 5  # most of it is common to all
    assert agreement(projections, 3 * projections) == pytest.approx(1)
    assert agreement(projections, projections.roll(1, 0)) == pytest.approx(0, abs=0.1)
    assert agreement(torch.ones(5, 4), torch.ones(5, 4)) == 0


def test_retrieval_finds_the_nearest_pose_by_features_that_know_it() -> None:
    torch.manual_seed(0)
    joints = torch.randn(6, 21, 3)
    twins = torch.cat((joints, joints + 0.01 * torch.randn(6, 21, 3)))
    distances = pose_distances(twins)
    for a, b in ((0, 1), (3, 9)):
        one, other = (
            1000 * (similarity_align(twins[i, None], twins[j, None]) - twins[j]).norm(dim=-1).mean()
            for i, j in ((a, b), (b, a))
        )
        assert distances[a, b] == pytest.approx(float(one + other) / 2, rel=1e-4)
    found, best, random = retrieval(twins.flatten(1), distances).values()
    assert found == pytest.approx(best)
    assert best < 0.1 * random
    assert retrieval(torch.randn(12, 5), distances)["retrieval_pa_mm"] > 2 * found


def test_views_and_joints_are_those_of_the_data_and_move_with_their_matrices(rendered_hands: Path) -> None:
    hands = read_probe_hands(FreiHAND(rendered_hands), 8, 4, 48, "reflect")
    assert hands.views.shape == (8, 3, 48, 48)
    assert {name: tuple(views.shape) for name, views in hands.changed.items()} == dict.fromkeys(
        [*MOVES, COLOR], (4, 3, 48, 48)
    )
    assert (hands.joints_3d[:, 0] == 0).all()
    middle = (hands.joints_2d.amax(1) + hands.joints_2d.amin(1)) / 2
    assert (middle - 23.5).abs().max() < 12, "the crop is around the hand"
    angles = torch.atan2(hands.view_from_crop["rotation"][:, 0, 1], hands.view_from_crop["rotation"][:, 0, 0])
    torch.testing.assert_close(angles.rad2deg(), torch.tensor([30.0, -30, 30, -30]))
    # turned back, the middle of a turned view is that of the plain one
    for number, turned in enumerate(hands.changed["rotation"]):
        plain = hands.views[number].float()
        back = _rotate(turned.float(), hands.view_from_crop["rotation"][number])
        inner = (slice(None), slice(12, 36), slice(12, 36))
        assert (back[inner] - plain[inner]).abs().mean() < 0.5 * (turned.float()[inner] - plain[inner]).abs().mean()


def test_hands_of_which_not_all_is_known_are_left_out(rendered_hands: Path) -> None:
    whole = FreiHAND(rendered_hands)
    joined = JoinedHands([PartialHands(rendered_hands, "no thumb"), SelectedHands(whole, range(8))])
    hands = read_probe_hands(joined, joined.num_hands, 4, 48, "black")
    torch.testing.assert_close(hands.views, read_probe_hands(whole, 8, 4, 48, "black").views)
    for knows in ("pixels", "no thumb"):
        with pytest.raises(ValueError, match=r"partial: 0 hands have such labels, and a probe needs at least 8 hands"):
            read_probe_hands(PartialHands(rendered_hands, knows), 12, 4, 48, "black")


def _rotate(image: Tensor, view_from_crop: Tensor) -> Tensor:
    """Resample a image at where `view_from_crop` took each of its pixels."""
    grid = nn.functional.affine_grid(view_from_crop[None, :2], [1, *image.shape], align_corners=False)
    return nn.functional.grid_sample(image[None], grid, align_corners=False)[0]


def fit(hands: Path, folder: Path, *callbacks: Callback, **options: Any) -> dict[str, Tensor]:
    """Pre-train two epochs; returns the weights."""
    torch.manual_seed(0)
    data = PairedViewDataModule(sources=FreiHAND(hands), view_size=32, batch_size=8, val_fraction=0.4)
    module = PretrainModule(ResNetEncoder("resnet18", width=0.125), PeCLR(), warmup_epochs=0)
    logger = CSVLogger(str(folder), name="", version="")
    logged: dict[str, Any] = {"max_epochs": 2, "log_every_n_steps": 1, "logger": logger, "callbacks": list(callbacks)}
    quiet_trainer(folder, **logged, **options).fit(module, datamodule=data)
    return module.state_dict()


def probed(folder: Path) -> list[dict[str, str]]:
    """Rows of the metrics that a probe has written."""
    with (folder / "metrics.csv").open() as file:
        return [row for row in csv.DictReader(file) if row["probe/pa_epe_mm"]]


def test_training_is_bitwise_the_same_with_probe_and_images(rendered_hands: Path, tmp_path: Path) -> None:
    probe = OnlineProbe(rendered_hands, num_hands=16, num_moved=4)
    plain = fit(rendered_hands, tmp_path / "plain")
    watched = fit(rendered_hands, tmp_path / "probed", probe, ViewImages(count=2), ProjectionImages(count=2))
    assert plain.keys() == watched.keys()
    assert all(torch.equal(plain[key], watched[key]) for key in plain)
    rows = probed(tmp_path / "probed")
    assert len(rows) == 3, "before training and after each of two epochs"
    assert all(float(row["probe/retrieval_best_pa_mm"]) <= float(row["probe/retrieval_pa_mm"]) for row in rows)
    drawn = [tmp_path / "probed" / "pictures" / name for name in ("projections/pairs", "views/pairs")]
    for folder in drawn:
        assert sorted(path.name for path in folder.iterdir()) == ["epoch-0000.png", "epoch-0002.png"]


@pytest.mark.parametrize(
    ("probe", "val_fraction", "message"),
    [
        ({}, 0.0, "val_fraction is 0"),
        ({}, 0.1, "gives 2"),
        ({"root": Path("/nowhere")}, 0.0, "/nowhere"),
    ],
)
def test_a_probe_without_hands_says_why(
    rendered_hands: Path, probe: dict[str, Any], val_fraction: float, message: str
) -> None:
    data = PairedViewDataModule(sources=FreiHAND(rendered_hands), view_size=32, batch_size=8, val_fraction=val_fraction)
    module = PretrainModule(ResNetEncoder("resnet18", width=0.125), PeCLR())
    trainer = cast(pl.Trainer, SimpleNamespace(datamodule=data))
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        OnlineProbe(**probe).prepare(trainer, module)


@pytest.mark.parametrize("wrong", [{"num_hands": 3}, {"num_moved": 1}, {"every_n_epochs": 0}])
def test_a_probe_of_too_little_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        OnlineProbe(**wrong)


@pytest.mark.filterwarnings("error:.*sync_dist")  # advice that does not hold for what one process measures
@pytest.mark.filterwarnings("ignore::UserWarning")  # of torch.distributed, about how it was started
def test_of_two_processes_one_probes_and_the_other_waits(rendered_hands: Path, tmp_path: Path) -> None:
    probe = OnlineProbe(num_hands=8, num_moved=4)
    fit(rendered_hands, tmp_path, probe, devices=2, strategy="ddp_fork")
    assert len(probed(tmp_path)) == 3

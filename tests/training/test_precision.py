"""Half precision: geometry stays in float32, nothing overflows, steps agree with float32, chosen where it pays."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from peclr.data.datamodules import LabeledHandDataModule, PairedViewDataModule
from peclr.data.sources.freihand import FreiHAND
from peclr.geometry.affine import invert
from peclr.geometry.camera import back_project, project
from peclr.geometry.pose25d import from_25d, solve_root_depth
from peclr.losses.objectives import AffinePeCLR, Objective, PeCLR, SimCLR
from peclr.models.encoders import ResNetEncoder
from peclr.models.pose_net import PoseNet25D
from peclr.training import FinetuneModule, PretrainModule, precision
from tests.test_cli import pretrain
from tests.trainer import quiet_trainer

BONE = (9, 10)
HALF = [torch.bfloat16, torch.float16]


def cameras(n: int) -> Tensor:
    """Cameras of rotated crops of 224 px."""
    K = torch.tensor([[500.0, 80.0, 112.0], [-80.0, 500.0, 110.0], [0.0, 0.0, 1.0]])
    return K.expand(n, 3, 3)


def hands(n: int) -> Tensor:
    """Hands (n, 21, 3) half a metre away."""
    generator = torch.Generator().manual_seed(0)
    return 0.05 * torch.randn(n, 21, 3, generator=generator) + torch.tensor([0.0, 0.0, 0.5])


GEOMETRY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "K⁻¹": lambda joints, K: invert(K),
    "projection": project,
    "back-projection": lambda joints, K: back_project(joints[..., :2], joints[..., 2], K),
    "root depth": lambda joints, K: solve_root_depth(joints, K, BONE),
    "2.5-D to 3-D": lambda joints, K: from_25d(joints, torch.ones(len(joints)), K, 0, BONE),
}


@pytest.mark.parametrize("name", GEOMETRY)
@pytest.mark.parametrize("dtype", HALF)
def test_autocast_does_not_reach_geometry(name: str, dtype: torch.dtype) -> None:
    joints, K = hands(4), cameras(4)
    expected = GEOMETRY[name](joints, K)
    with torch.autocast("cpu", dtype):
        under_autocast = GEOMETRY[name](joints, K)
    assert under_autocast.dtype == torch.float32
    assert torch.equal(under_autocast, expected)


@pytest.mark.parametrize("name", GEOMETRY)
@pytest.mark.parametrize("dtype", HALF)
def test_half_precision_inputs_are_computed_with_in_float32(name: str, dtype: torch.dtype) -> None:
    joints, K = hands(4).to(dtype), cameras(4).to(dtype)
    result = GEOMETRY[name](joints, K)
    assert result.dtype == torch.float32
    assert torch.equal(result, GEOMETRY[name](joints.float(), K.float()))


@pytest.mark.parametrize("dtype", [*HALF, torch.float32])
@pytest.mark.parametrize("magnitude", [0.0, 1e-8, 1e-3, 1.0, 1e4])
def test_root_depth_and_its_gradient_are_finite_whatever_is_regressed(dtype: torch.dtype, magnitude: float) -> None:
    generator = torch.Generator().manual_seed(1)
    joints = (magnitude * torch.randn(8, 21, 3, generator=generator)).to(dtype).requires_grad_()
    depth = solve_root_depth(joints, cameras(8), BONE)
    (gradient,) = torch.autograd.grad(depth.sum(), joints)
    assert depth.isfinite().all()
    if dtype != torch.float16:  # the network's own root depth is detached: see `PoseNet25D`
        assert gradient.isfinite().all()


@pytest.mark.parametrize("magnitude", [1e-8, 1.0, 1e4])
def test_the_pose_network_is_finite_whatever_its_last_layer_says(magnitude: float) -> None:
    torch.manual_seed(0)
    network = PoseNet25D(ResNetEncoder("resnet18", width=0.125))
    with torch.no_grad():
        network.backend_model.fc.weight *= magnitude
    images = torch.randn(4, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        output = network(images, cameras(4))
    torch.autograd.backward(output["joints_3d"].square().mean().log1p())
    assert output["joints_3d"].dtype == torch.float32
    assert output["joints_3d"].isfinite().all()
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)


@pytest.fixture(scope="module")
def pairs(rendered_hands: Path) -> Any:
    source = FreiHAND(rendered_hands)
    data = PairedViewDataModule(sources=source, pairing="across_versions", view_size=32, batch_size=16, val_fraction=0)
    return next(iter(data.train_dataloader()))


@pytest.fixture(scope="module")
def labeled(rendered_hands: Path) -> Any:
    data = LabeledHandDataModule(rendered_hands, view_size=32, batch_size=16, num_labels=16, val_fraction=0.25)
    data.setup("fit")
    return next(iter(data.train_dataloader()))


def step(module: Any, batch: Any, *, bfloat16: bool) -> tuple[Tensor, Tensor]:
    """Loss and all gradients of a training step, in one vector."""
    module.zero_grad()
    with patch.object(module, "log"), patch.object(module, "log_dict"), torch.autocast("cpu", enabled=bfloat16):
        loss = module.training_step(batch)
    torch.autograd.backward(loss)
    return loss.detach(), torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


# bfloat16 keeps 8 bits, 0.4 % per rounding. Over an untrained ResNet-18 with BatchNorm over few small images, measured:
# 0.92 to 0.93; losses move by 0.1 % in pre-training and by 3 % in fine-tuning, where few roots are very far at first.
MIN_GRADIENT_COSINE = 0.85


@pytest.mark.parametrize(
    "objective", [SimCLR(), PeCLR(), AffinePeCLR()], ids=lambda objective: type(objective).__name__
)
def test_a_pretraining_step_in_bfloat16_agrees_with_float32(pairs: Any, objective: Objective) -> None:
    torch.manual_seed(0)
    module = PretrainModule(ResNetEncoder("resnet18", width=0.25), objective)
    (loss, gradient), (rough_loss, rough_gradient) = (
        step(module, pairs, bfloat16=bfloat16) for bfloat16 in (False, True)
    )
    assert rough_loss.item() == pytest.approx(loss.item(), rel=0.01)
    assert torch.cosine_similarity(gradient, rough_gradient, dim=0) > MIN_GRADIENT_COSINE


def test_a_finetuning_step_in_bfloat16_agrees_with_float32(labeled: Any) -> None:
    torch.manual_seed(0)
    module = FinetuneModule(ResNetEncoder("resnet18", width=0.25), view_size=32)
    (loss, gradient), (rough_loss, rough_gradient) = (
        step(module, labeled, bfloat16=bfloat16) for bfloat16 in (False, True)
    )
    assert rough_loss.item() == pytest.approx(loss.item(), rel=0.05)
    assert torch.cosine_similarity(gradient, rough_gradient, dim=0) > MIN_GRADIENT_COSINE


@pytest.mark.parametrize(("in_bf16", "pays"), [(0.6, "bf16-mixed"), (9.0, "32-true")])
def test_the_faster_precision_is_chosen(in_bf16: float, pays: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_seconds", lambda layer, images, bf16: in_bf16 if bf16 else 1.0)
    precision.bf16_cost.cache_clear()
    try:
        assert (precision.bf16_cost(), precision.precision_that_pays()) == (in_bf16, pays)
    finally:
        precision.bf16_cost.cache_clear()


def test_timing_takes_half_a_second_and_changes_nothing() -> None:
    threads, rng = torch.get_num_threads(), torch.get_rng_state()
    started = time.thread_time()
    assert 0.05 < precision.bf16_cost.__wrapped__() < 50
    assert time.thread_time() - started < 2  # half a second, on a machine that does nothing else
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), rng)


def test_fit_says_what_bf16_costs_where_it_is_slow(
    rendered_hands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(precision, "bf16_cost", lambda: 9.04)
    options = ["--trainer.fast_dev_run=1", "--trainer.precision=bf16-mixed"]
    assert pretrain(rendered_hands, tmp_path / "run", *options) == 0
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "float32" in line]
    assert "bf16-mixed takes about 9.0 times as long as float32 on this CPU" in line


@pytest.mark.parametrize(("chosen", "cost"), [("bf16-mixed", 0.6), ("32-true", 9.0)])
def test_nothing_is_said_where_nothing_is_lost(
    chosen: Any, cost: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(precision, "bf16_cost", lambda: cost)
    precision.say_if_bf16_is_slow(quiet_trainer(tmp_path, precision=chosen))
    assert "float32" not in capsys.readouterr().err

"""A GPU computes what the CPU does: losses, gradients, whole networks, in float32 and in half precision."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from peclr.geometry.camera import project
from peclr.geometry.joints import SCALE_BONE, WRIST
from peclr.losses.pose import PoseLoss
from peclr.models.encoders import ResNetEncoder
from peclr.models.pose_net import PoseNet25D
from peclr.training import FinetuneModule
from peclr.training.optim import LARS
from tests.distributed.worker import OBJECTIVES, OnFeatures, OnViews, batch_of
from tests.gpu.correctness import measured
from tests.waiting import no_waiting

pytestmark = pytest.mark.cuda

Gradients = dict[str, Tensor]
# of ‖g − g₃₂‖ / ‖g₃₂‖ and of the loss: about one and a half times, and four times, what a CPU's half precision gives
BOUNDS = {torch.bfloat16: (0.35, 5e-3), torch.float16: (0.12, 5e-4)}
K = torch.tensor([[70.0, 0, 32], [0, 70, 32], [0, 0, 1]])


def on(device: str, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.to(device) for key, value in batch.items()}


def gradients(model: nn.Module, loss: Tensor) -> Gradients:
    """The loss and all gradients, on the CPU."""
    model.zero_grad()
    torch.autograd.backward(loss)
    found = {name: weight.grad.cpu().clone() for name, weight in model.named_parameters() if weight.grad is not None}
    return {"loss": loss.detach().cpu(), **found}


def assert_close(found: Gradients, expected: Gradients, bound: float, loss_bound: float = math.inf) -> None:
    """‖found − expected‖ / ‖expected‖ of all gradients as one vector, and the loss, are within bounds."""
    assert found.keys() == expected.keys()
    names = [name for name in expected if name != "loss"]
    a, b = (torch.cat([one[name].flatten().double() for name in names]) for one in (found, expected))
    far, off = float((a - b).norm() / b.norm()), found["loss"].item() / expected["loss"].item() - 1
    measured.update(gradients_off=max(far, measured.get("gradients_off", 0.0)), bound=bound)
    assert far <= bound
    assert abs(off) <= loss_bound


def pretraining(name: str, micro_batch: int | None = None) -> OnViews:
    return OnViews(OBJECTIVES[name](), micro_batch)


def finetuning() -> tuple[Any, dict[str, Tensor]]:
    """A module that logs nowhere, and a batch for it."""
    torch.manual_seed(0)
    module: Any = FinetuneModule(ResNetEncoder("resnet50", 0.25), view_size=64)
    module.log = module.log_dict = lambda *arguments, **options: None
    module.loss = PoseLoss(keypoints_2d_weight=0.01)  # L1's gradient jumps where rounding changes a residual's sign
    images = torch.randint(256, (8, 3, 64, 64), dtype=torch.uint8)
    joints = 0.05 * torch.randn(8, 21, 3) + torch.tensor([0, 0, 0.6])
    known, has_3d = torch.rand(8, 21) < 0.8, torch.arange(8) < 5  # of some hands pixels alone
    known[:, [WRIST, *SCALE_BONE]] = True
    labels = {"joints_3d": joints, "joints_25d": project(joints, K), "joint_valid": known, "has_3d": has_3d}
    return module, {"image": images, "K": K.repeat(8, 1, 1), **labels}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_and_their_gradients(device: str, name: str) -> None:
    def of(where: str) -> Gradients:
        model = OnFeatures(OBJECTIVES[name]()).to(where)
        return gradients(model, model(on(where, batch_of(48))))

    found, expected = of(device), of("cpu")
    assert len(found) > 1
    for key, value in expected.items():
        assert (found[key] - value).abs().max() <= 1e-5 * value.abs().max().clamp_min(1e-6), key


@pytest.mark.parametrize("mode", ["train", "eval", "fine-tuning"])
def test_networks_in_float32(device: str, mode: str) -> None:
    def of(where: str) -> Gradients:
        if mode == "fine-tuning":
            module, batch = finetuning()
            return gradients(module.eval().to(where), module.training_step(on(where, batch)))
        model = pretraining("PeCLR").train(mode == "train").to(where)
        return gradients(model, model(on(where, batch_of(16))))

    assert_close(of(device), of("cpu"), 1e-3, 1e-4)


def test_resnet50_gives_the_same_hands(device: str) -> None:
    network = PoseNet25D(ResNetEncoder("resnet50")).init_for(64).eval()
    images, cameras = torch.randn(2, 3, 64, 64), K.repeat(2, 1, 1)
    with torch.inference_mode():
        expected = network(images, cameras)
        found = network.to(device)(images.to(device), cameras.to(device))
    for name in ("keypoints_2d", "joints_3d", "root_depth"):
        assert (found[name].cpu() - expected[name]).abs().max() <= 1e-3 * expected[name].abs().max(), name


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("dtype", BOUNDS, ids=str)
def test_half_precision_is_near_float32(device: str, name: str, dtype: torch.dtype) -> None:
    batch = on(device, batch_of(16))

    def of(precision: torch.dtype) -> Gradients:
        model = pretraining(name).to(device)
        with torch.autocast(device, precision, enabled=precision != torch.float32):
            loss = model(batch)
        return gradients(model, 2**10 * loss)  # as a scaler does, or small ones are 0 in float16

    assert_close(of(dtype), of(torch.float32), *BOUNDS[dtype])


@pytest.mark.parametrize("name", ["PeCLR", "SiMHand", "GeometryHead"])
def test_gradient_caching_in_fp16_is_the_large_batch(device: str, name: str) -> None:
    batch = on(device, batch_of(16))

    def of(micro_batch: int | None) -> Gradients:
        model = pretraining(name, micro_batch).to(device)
        scaler = torch.amp.grad_scaler.GradScaler(device, init_scale=2.0**10)
        with torch.autocast(device, torch.float16):
            loss = model(batch)
        found = gradients(model, scaler.scale(loss))
        scaler.step(LARS(torch.optim.Adam(model.parameters())))
        scaler.update()
        assert scaler.get_scale() == 2.0**10  # nothing has overflowed
        return found

    assert_close(of(4), of(None), BOUNDS[torch.float16][0] / 4)


@pytest.mark.parametrize("name", [*OBJECTIVES, "fine-tuning"])
def test_the_host_does_not_wait(device: str, name: str) -> None:
    if name != "fine-tuning":
        model, batch = pretraining(name, micro_batch=4).train().to(device), on(device, batch_of(16))
    elif device == "cuda":
        module, batch = finetuning()
        model, batch = module.to(device).training_step, on(device, batch)
    else:
        pytest.skip("looks at the labels on a CPU; tests/training/test_waiting.py shows the rest")
    with torch.autocast(device, torch.bfloat16):
        torch.autograd.backward(model(batch))  # libraries wait when they are loaded
        with no_waiting(device):
            torch.autograd.backward(model(batch))

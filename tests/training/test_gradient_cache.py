"""Gradient caching: the gradient of the whole batch with the activations of a micro-batch."""

import gc
import weakref
from collections.abc import Callable
from typing import Any, ClassVar
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from peclr.losses.objectives import Objective, PeCLR
from peclr.models.encoders import ResNetEncoder
from peclr.training import PretrainModule
from peclr.training.gradient_cache import project_in_micro_batches
from tests.distributed.worker import OBJECTIVES, batch_of

PAIRS = 10


def batch() -> Any:
    return batch_of(PAIRS)


def module(
    objective: Objective, micro_batch: int | None, *, training: bool = False, dropout: float = 0.0
) -> PretrainModule:
    torch.manual_seed(0)
    encoder = ResNetEncoder("resnet18", width=0.125)
    pretraining = PretrainModule(encoder, objective, projection_features=16, micro_batch=micro_batch)
    if dropout:
        pretraining.encoder.layer3.append(nn.Dropout(dropout))
    return pretraining.train(training)


def step(
    pretraining: PretrainModule, backward: Callable[[Tensor], None] = torch.autograd.backward
) -> dict[str, Tensor]:
    """Loss and gradients of a training step."""
    with patch.object(pretraining, "log"):
        loss: Tensor = pretraining.training_step(batch())
    backward(loss)
    gradients = {name: p.grad for name, p in pretraining.named_parameters() if p.grad is not None}
    return {"loss": loss.detach(), **gradients}


def assert_same(actual: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 1e-5) -> None:
    assert actual.keys() == expected.keys()
    assert len(actual) > 10
    for name, value in expected.items():
        assert (actual[name] - value).abs().max() <= tolerance * value.abs().max().clamp_min(1e-6), name


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("micro_batch", [4, 16])
def test_loss_and_gradients_are_those_of_the_whole_batch(name: str, micro_batch: int) -> None:
    cached, whole = (module(OBJECTIVES[name](), size) for size in (micro_batch, None))
    assert_same(step(cached), step(whole))


def test_in_bfloat16_too() -> None:
    def under_autocast(micro_batch: int | None) -> dict[str, Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            pretraining = module(PeCLR(), micro_batch)
            with patch.object(pretraining, "log"):
                loss = pretraining.training_step(batch())
        torch.autograd.backward(loss)  # outside, as Lightning does
        return {"loss": loss, **{name: p.grad for name, p in pretraining.named_parameters() if p.grad is not None}}

    cached, whole = under_autocast(4), under_autocast(None)
    assert cached["loss"].item() == pytest.approx(whole["loss"].item(), rel=1e-3)
    for name, gradient in whole.items():
        assert (cached[name] - gradient).norm() <= 0.02 * gradient.norm(), name


def test_a_gradient_scaler_scales_both_passes() -> None:
    scaler = GradScaler("cpu", init_scale=2.0**10)

    def scaled(loss: Tensor) -> None:
        torch.autograd.backward(scaler.scale(loss))

    cached, whole = step(module(PeCLR(), 4), scaled), step(module(PeCLR(), None))
    assert_same({name: value if name == "loss" else value / 2**10 for name, value in cached.items()}, whole)


def test_running_statistics_follow_the_first_pass_alone() -> None:
    cached, by_hand = module(PeCLR(), 5, training=True), module(PeCLR(), None, training=True)
    step(cached)
    with torch.no_grad():
        for part in batch()["views"].tensor_split(2):
            by_hand(part)
    buffers = dict(by_hand.named_buffers())
    assert {name: value for name, value in buffers.items() if "num_batches" in name}
    for name, buffer in cached.named_buffers():
        torch.testing.assert_close(buffer, buffers[name], rtol=0, atol=0)
    assert all(
        layer.momentum == 0.1 for layer in cached.modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)
    )


def test_in_training_each_micro_batch_is_normalized_by_itself() -> None:
    """The gradient is the one of plain autograd through projections of the parts."""
    cached, plain = module(PeCLR(), 5, training=True), module(PeCLR(), None, training=True)
    data = batch()
    projections = torch.cat([plain(part) for part in data["views"].tensor_split(2)])
    torch.autograd.backward(plain.objective(projections, data["view_from_crop"]))
    gradients = {name: p.grad for name, p in plain.named_parameters() if p.grad is not None}
    cached_step = step(cached)
    cached_step.pop("loss")
    assert_same(cached_step, gradients)


def test_the_second_pass_repeats_the_random_numbers_of_the_first() -> None:
    cached, plain = (module(PeCLR(), 5, dropout=0.5, training=False) for _ in range(2))
    for pretraining in (cached, plain):
        pretraining.encoder.layer3[-1].train()
    torch.manual_seed(1)
    cached_step = step(cached)
    after = torch.rand(1)
    torch.manual_seed(1)
    data = batch()
    projections = torch.cat([plain(part) for part in data["views"].tensor_split(2)])
    assert torch.equal(after, torch.rand(1))  # the second pass used up none
    loss = plain.objective(projections, data["view_from_crop"])
    torch.autograd.backward(loss)
    gradients = {name: p.grad for name, p in plain.named_parameters() if p.grad is not None}
    assert_same(cached_step, {"loss": loss.detach(), **gradients})


class Recording(nn.Module):
    """A layer that counts how many of its activations are alive, by the number of pairs they are of."""

    alive: ClassVar[weakref.WeakSet[Tensor]] = weakref.WeakSet()
    most: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))

    def forward(self, views: Tensor) -> Tensor:
        activation = views * self.weight.sum()
        activation = activation.exp()  # saved for the backward pass
        Recording.alive.add(activation)
        Recording.most = max(Recording.most, sum(len(tensor) for tensor in Recording.alive))
        return activation.sin()


@pytest.mark.parametrize("micro_batch", [1, 4])
def test_activations_of_one_micro_batch_are_alive(micro_batch: int) -> None:
    gc.collect()
    Recording.most = 0
    recording = Recording()
    views = torch.linspace(0, 1, 12 * 4).reshape(12, 2, 2)
    (projections,) = project_in_micro_batches(lambda part: (recording(part),), views, micro_batch, recording)
    torch.autograd.backward(projections.square().sum())
    assert Recording.most <= micro_batch


def test_micro_batches_are_of_equal_size_and_as_many_as_those_of_the_largest_process() -> None:
    sizes: list[int] = []

    def project(views: Tensor) -> tuple[Tensor, Tensor]:
        sizes.append(len(views))
        return views, -views

    views = torch.arange(54.0).view(9, 2, 3)
    torch.testing.assert_close(project_in_micro_batches(project, views, 4, nn.Identity()), (views, -views))
    assert sizes == [3, 3, 3]
    sizes.clear()
    project_in_micro_batches(project, views, 4, nn.Identity(), largest=14)
    assert sizes == [3, 2, 2, 2]


def test_validation_in_micro_batches_gives_the_same_projections() -> None:
    pretraining = module(PeCLR(), 3)
    views = batch()["views"]
    with torch.no_grad():
        together = project_in_micro_batches(pretraining._project, views, 3, pretraining)
        torch.testing.assert_close(together, pretraining._project(views), rtol=1e-5, atol=1e-5)


def test_micro_batches_of_less_than_two_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="micro_batch of at least 2 pairs, got 1"):
        module(PeCLR(), 1)

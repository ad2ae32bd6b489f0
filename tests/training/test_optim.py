"""Optimization: LARS by hand, its life inside schedulers and checkpoints, and the schedule."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from peclr.training.optim import LARS, linear_warmup_cosine, split_weight_decay, warmup_cosine


def parameter(*values: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values))


def test_step_follows_the_formula() -> None:
    weight, gradient = torch.tensor([3.0, 4.0]), torch.tensor([0.6, 0.8])  # norms 5 and 1
    lr, decay, eta = 0.1, 0.2, 0.01
    p = nn.Parameter(weight.clone())
    p.grad = gradient.clone()
    inner = torch.optim.SGD([p], lr=lr, weight_decay=decay)
    LARS(inner, trust_coefficient=eta).step()
    ratio = eta * 5 / (1 + decay * 5 + 1e-8) / lr  # 0.25: below the cap
    torch.testing.assert_close(p.detach(), weight - lr * ratio * (gradient + decay * weight))
    assert inner.param_groups[0]["weight_decay"] == decay


def test_clipping_never_lengthens_a_step() -> None:
    weight, gradient = torch.tensor([3.0, 4.0]), torch.tensor([0.6, 0.8])
    for clip, expected in ((True, 1.0), (False, 0.5 * 5)):
        p = nn.Parameter(weight.clone())
        p.grad = gradient.clone()
        LARS(torch.optim.SGD([p], lr=0.1), trust_coefficient=0.5, clip=clip).step()
        torch.testing.assert_close(p.detach(), weight - 0.1 * expected * gradient)


@pytest.mark.parametrize(
    ("weight", "gradient"), [([0.0, 0.0], [1.0, 2.0]), ([1.0, 2.0], [0.0, 0.0])], ids=["weight", "gradient"]
)
def test_zero_tensors_are_left_to_the_wrapped_optimizer(weight: list[float], gradient: list[float]) -> None:
    p = nn.Parameter(torch.tensor(weight))
    p.grad = torch.tensor(gradient)
    LARS(torch.optim.SGD([p], lr=0.5, weight_decay=0.1)).step()
    torch.testing.assert_close(p.detach(), torch.tensor(weight) - 0.5 * torch.tensor(gradient))


def test_tensors_are_scaled_one_by_one_and_groups_keep_their_decay() -> None:
    a, b, unused = parameter(3.0, 4.0), parameter(1.0, 0.0), parameter(1.0)
    a.grad, b.grad = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 10.0])
    groups: list[dict[str, Any]] = [{"params": [a], "weight_decay": 0.5}, {"params": [b, unused]}]
    LARS(torch.optim.SGD(groups, lr=1.0)).step()
    ratio_a, ratio_b = 1e-3 * 5 / (1 + 0.5 * 5), 1e-3 / 10
    torch.testing.assert_close(a.detach(), torch.tensor([3 - ratio_a * 2.5, 4 - ratio_a * 2.0]))
    torch.testing.assert_close(b.detach(), torch.tensor([1.0, -ratio_b * 10]))
    assert unused.item() == 1


def test_learning_rate_zero_moves_nothing() -> None:
    p = parameter(3.0, 4.0)
    p.grad = torch.ones(2)
    LARS(torch.optim.SGD([p], lr=0.0)).step()
    assert p.tolist() == [3, 4]


def train(optimizer: LARS, p: nn.Parameter, steps: int) -> list[Tensor]:
    """Minimize a quadratic through closures, as Lightning calls an optimizer."""
    path = []

    def closure() -> float:
        optimizer.zero_grad()
        loss = (p - torch.arange(4.0)).square().sum()
        torch.autograd.backward(loss)
        return loss.item()

    for _ in range(steps):
        optimizer.step(closure)
        path.append(p.detach().clone())
    return path


def make(lr: float = 0.1) -> tuple[LARS, nn.Parameter]:
    p = nn.Parameter(torch.ones(4))
    return LARS(torch.optim.Adam([p], lr=lr, weight_decay=1e-3)), p


def test_gradients_of_the_closure_are_the_ones_that_are_scaled() -> None:
    optimizer, p = make()
    with_closure = train(optimizer, p, 5)
    optimizer, p = make()
    for expected in with_closure:
        optimizer.zero_grad()
        torch.autograd.backward((p - torch.arange(4.0)).square().sum())
        optimizer.step()
        torch.testing.assert_close(p.detach(), expected)


def test_state_survives_a_round_trip() -> None:
    optimizer, p = make()
    train(optimizer, p, 3)
    resumed, q = make(lr=7.0)
    q.data.copy_(p.data)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))  # as a file would
    assert resumed.param_groups[0]["lr"] == 0.1
    assert resumed.param_groups is resumed.optimizer.param_groups
    for expected, found in zip(train(optimizer, p, 3), train(resumed, q, 3), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_scheduler_drives_the_wrapped_optimizer() -> None:
    optimizer, p = make(lr=1.0)
    schedule = warmup_cosine(optimizer, warmup_steps=2, total_steps=4)
    rates = []
    for _ in range(5):
        rates.append(optimizer.optimizer.param_groups[0]["lr"])
        train(optimizer, p, 1)
        schedule.step()
    assert rates == pytest.approx([0.5, 1.0, 1.0, 0.5, 0.0])


def test_gradient_scaler_steps_it_and_skips_overflows() -> None:
    optimizer, p = make()
    scaler = GradScaler("cpu", init_scale=8.0)
    torch.autograd.backward(scaler.scale(p.square().sum()))
    scaler.step(optimizer)
    scaler.update()
    reference, q = make()
    torch.autograd.backward(q.square().sum())
    reference.step()
    torch.testing.assert_close(p, q)
    before = p.detach().clone()
    assert p.grad is not None
    p.grad.fill_(math.inf)
    scaler.scale(torch.zeros(()))  # begins the next iteration
    scaler.step(optimizer)
    assert torch.equal(p, before)


def test_groups_can_be_added_later() -> None:
    optimizer, p = make()
    q = nn.Parameter(torch.ones(4))
    optimizer.add_param_group({"params": [q]})
    torch.autograd.backward(p.sum() + q.sum())
    optimizer.step()
    assert (q != 1).all()


def test_wrong_coefficients_are_refused() -> None:
    with pytest.raises(ValueError, match="trust_coefficient > 0"):
        LARS(torch.optim.SGD([parameter(1.0)], lr=0.1), trust_coefficient=0.0)


def test_schedule_is_linear_then_a_cosine_to_zero() -> None:
    factors = [linear_warmup_cosine(step, 10, 110) for step in range(112)]
    assert factors[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    for step in range(10, 110):
        assert factors[step] == pytest.approx(math.cos(math.pi * (step - 10) / 200) ** 2)
    assert factors[60] == pytest.approx(0.5)
    assert factors[110:] == [0, 0]


def test_schedule_without_or_with_nothing_but_warmup() -> None:
    assert linear_warmup_cosine(0, 0, 5) == 1
    assert [linear_warmup_cosine(step, 2, 2) for step in range(3)] == [0.5, 1, 0]


@pytest.mark.parametrize(("warmup", "total"), [(-1, 5), (6, 5)])
def test_impossible_schedules_are_refused(warmup: int, total: int) -> None:
    with pytest.raises(ValueError, match=f"got {warmup} and {total}"):
        warmup_cosine(make()[0], warmup, total)


def test_biases_and_normalization_do_not_decay() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    module[3].weight.requires_grad = False
    decayed, others = split_weight_decay(module.parameters(), 0.1)
    assert decayed["weight_decay"] == 0.1
    assert others["weight_decay"] == 0
    assert [id(p) for p in decayed["params"]] == [id(module[0].weight)]
    names = {id(p): name for name, p in module.named_parameters()}
    assert {names[id(p)] for p in others["params"]} == {"0.bias", "1.weight", "1.bias", "3.bias"}


def test_module_without_biases_has_one_group() -> None:
    assert len(split_weight_decay(nn.Linear(2, 2, bias=False).parameters(), 0.1)) == 1

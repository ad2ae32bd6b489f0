"""On a device, nothing in a training step would make the host wait: it is shown without one."""

from typing import Any

import pytest
import torch

from peclr.losses.objectives import Objective
from peclr.models.encoders import ResNetEncoder
from peclr.training import FinetuneModule, PretrainModule
from peclr.training.optim import LARS, split_weight_decay
from tests.distributed.worker import OBJECTIVES, batch_of
from tests.waiting import no_waiting


@pytest.fixture
def encoder() -> ResNetEncoder:
    return ResNetEncoder("resnet18", 0.125)


def unlogged(module: Any) -> Any:
    """The module, without a trainer to log to."""
    module.log = module.log_dict = lambda *arguments, **options: None
    return module


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("micro_batch", [None, 3])
def test_pretraining_does_not_wait(encoder: ResNetEncoder, name: str, micro_batch: int | None) -> None:
    objective: Objective = OBJECTIVES[name]()
    module = unlogged(PretrainModule(encoder, objective, projection_features=16, micro_batch=micro_batch))
    optimizer = LARS(torch.optim.SGD(split_weight_decay(module.parameters(), 1e-6), lr=0.1, momentum=0.9))
    batch = batch_of(6)
    with no_waiting("cpu"):
        module.training_step(batch).backward()
        optimizer.step()
    assert encoder.conv1.weight.grad.abs().sum() > 0


def test_finetuning_does_not_wait(encoder: ResNetEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    module = unlogged(FinetuneModule(encoder, view_size=32))
    joints = 0.05 * torch.randn(4, 21, 3) + torch.tensor([0, 0, 0.6])
    K = torch.tensor([[50.0, 0, 16], [0, 50, 16], [0, 0, 1]]).expand(4, 3, 3)
    known, has_3d = torch.rand(4, 21) < 0.8, torch.tensor([True, True, True, False])
    labels = {"joints_3d": joints, "joints_25d": joints, "joint_valid": known, "has_3d": has_3d}
    batch = {"image": torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8), "K": K, **labels}
    # what it looks at on a CPU alone
    monkeypatch.setattr("peclr.models.pose_net.to_25d", lambda joints, K, **options: (joints, joints[:, 0, 2]))
    with no_waiting("cpu"):
        module.training_step(batch).backward()
    assert encoder.conv1.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "work",
    [
        lambda x: torch.tensor([1.0, 2.0]),
        lambda x: x[[1, 0]],
        lambda x: x[x > 0],
        lambda x: x.sum().item(),
        lambda x: x.max() > 0 and x,
        lambda x: x.__setitem__((torch.arange(2), torch.arange(2)), 0.0),
    ],
)
def test_waiting_is_noticed(work: Any) -> None:
    with pytest.raises(RuntimeError, match="the host waits"), no_waiting("cpu"):
        work(torch.randn(2, 3))

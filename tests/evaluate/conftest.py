"""What tests of evaluation share."""

from pathlib import Path

import pytest
import torch

from peclr.models.encoders import ResNetEncoder
from peclr.models.pose_net import PoseNet25D

SIZE = 32


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fine-tuned checkpoint that has learned nothing; its views are of 32 px."""
    torch.manual_seed(0)
    state = PoseNet25D(ResNetEncoder("resnet18", 0.125)).init_for(SIZE).state_dict()
    path = tmp_path_factory.mktemp("network") / "last.ckpt"
    torch.save({"state_dict": {f"pose_net.{key}": value for key, value in state.items()}}, path)
    return path

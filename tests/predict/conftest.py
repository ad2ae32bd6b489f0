"""Fixtures of the tests of `peclr predict`: a tiny network, and one that sees a given hand everywhere."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from peclr.models.encoders import ResNetEncoder
from peclr.models.pose_net import PoseNet25D
from peclr.predict.network import TrainedNetwork

VIEW_SIZE = 32


@pytest.fixture(scope="session")
def trained() -> TrainedNetwork:
    """A narrow network with random weights whose joints spread over its 32 px views."""
    torch.manual_seed(0)
    network = PoseNet25D(ResNetEncoder("resnet18", 0.125)).init_for(VIEW_SIZE).eval()
    with torch.no_grad():
        network.backend_model.fc.bias[:63] += 4 * torch.randn(63)
        network.backend_model.fc.weight.mul_(5)  # what it sees matters
    return TrainedNetwork(network, VIEW_SIZE, Path("net.ckpt"))


@pytest.fixture
def run(trained: TrainedNetwork, tmp_path: Path) -> Path:
    """A fine-tuning run's folder with that network."""
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    state = {f"pose_net.{key}": value for key, value in trained.network.state_dict().items()}
    torch.save({"state_dict": state}, folder / "checkpoints" / "last.ckpt")
    (folder / "config.yaml").write_text(f"model:\n  init_args:\n    view_size: {VIEW_SIZE}\n")
    return folder


@pytest.fixture(scope="session")
def picture() -> Callable[..., NDArray[np.uint8]]:
    """Makes smooth random pictures (height, width, 3)."""

    def make(height: int = 60, width: int = 80, seed: int = 0) -> NDArray[np.uint8]:
        coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
        return cv2.resize(coarse, (width, height)).astype(np.uint8)

    return make

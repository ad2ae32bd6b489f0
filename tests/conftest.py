"""Fixtures that tests of several layers share."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from peclr.models.pose_net import PoseNet25D

torch.set_num_threads(1)  # two test processes share two cores


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of reference vectors, computed once with the published code."""
    return Path(__file__).parent / "reference"


def reference_weights(shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    """The weights with which the reference vectors were computed; the recipe is theirs."""
    rng = np.random.default_rng(7)
    state: dict[str, Tensor] = {}
    value: NDArray[np.float64]
    for key, shape in sorted(shapes.items()):
        if key.endswith("num_batches_tracked"):
            continue
        if key.endswith("running_var"):
            value = np.ones(shape)
        elif key.endswith("running_mean"):
            value = np.zeros(shape)
        elif len(shape) >= 2:
            value = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
        elif key.endswith("weight"):
            value = rng.uniform(0.2, 0.5, shape)
        else:
            value = rng.uniform(-0.1, 0.1, shape)
        if key == "backend_model.fc.weight":
            value *= np.concatenate([np.tile([40, 40, 1], 21), [1]])[:, None]
        if key == "backend_model.fc.bias":
            pose = rng.standard_normal((21, 3)) * [40, 40, 0.4] + [112, 112, 0]
            value = np.concatenate([pose.ravel(), [0]])
        state[key] = torch.tensor(value, dtype=torch.float32)
    return state


@pytest.fixture(scope="session")
def published(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> "PoseNet25D":
    """A published fine-tuned checkpoint, read from a file; for all tests, so nobody may change it."""
    from peclr.checkpoints import load_pose_net

    shapes = json.loads((reference / "pose_net_rn50_state_dict.json").read_text())
    path = tmp_path_factory.mktemp("published") / "rn50_peclr_yt3d-fh_pt_fh_ft.pth"
    torch.save({"state_dict": reference_weights(shapes)}, path)
    network = load_pose_net(path).eval()
    path.unlink()
    return network


@pytest.fixture(scope="session")
def embedded_hands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny embedded data set in FreiHAND's layout: 24 training hands in two versions, 8 for evaluation, 64 px."""
    from peclr.data.synthetic.writer import write_freihand_layout

    out = tmp_path_factory.mktemp("embedded") / "hands"
    write_freihand_layout(out, train=24, evaluation=8, seed=0, size=64, versions=2, workers=1, progress=False)
    return out


@pytest.fixture(scope="session")
def real_hands() -> Path:
    """Real photographs in FreiHAND's layout, where PECLR_REAL_HANDS names them."""
    folder = os.environ.get("PECLR_REAL_HANDS")
    if folder is None:
        pytest.skip("PECLR_REAL_HANDS is not set: the photographs' licences forbid shipping them")
    return Path(folder)

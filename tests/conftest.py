"""Fixtures that tests of several layers share."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import settings
from jsonargparse._common import nested_links, parent_parser
from jsonargparse._typehints import ActionTypeHint
from jsonargparse._util import import_object
from numpy.typing import NDArray
from torch import Tensor

from peclr.weights.catalog import CACHE_VARIABLE

if TYPE_CHECKING:
    from peclr.inference.network import TrainedNetwork
    from peclr.models.pose_net import PoseNet25D

VIEW_SIZE = 32  # px, of the fixture `trained`

torch.set_num_threads(1)  # two test processes share two cores
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as shells start what is in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

# CI sees the same examples each time; `--hypothesis-profile=search` looks for new ones, which then become @example.
# A shared machine takes as long as it takes, and what failed belongs into the test, not into a folder.
settings.register_profile("peclr", deadline=None, database=None, max_examples=60, derandomize=True)
settings.register_profile("search", deadline=None, database=None, max_examples=1000)
settings.load_profile("peclr")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


@pytest.fixture(scope="session", autouse=True)
def _class_parsers() -> Iterator[None]:
    """Keep the parsers that jsonargparse makes of classes, again for every option: half of the time of a short run."""
    make: Any = ActionTypeHint.get_class_parser
    made: dict[Any, Any] = {}

    def frozen(value: Any) -> Any:
        if isinstance(value, dict):
            return frozenset((key, frozen(inside)) for key, inside in value.items())
        return frozenset(map(frozen, value)) if isinstance(value, set | list | tuple) else value

    def get_class_parser(val_class: Any, sub_add_kwargs: Any = None, skip_args: Any = None) -> Any:
        made_class = import_object(val_class) if isinstance(val_class, str) else val_class
        asked = tuple(map(frozen, (sub_add_kwargs, skip_args, nested_links.get())))
        key = (made_class, *asked, type(parent_parser.get()))
        if key not in made:
            made[key] = make(made_class, sub_add_kwargs, skip_args)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ActionTypeHint, "get_class_parser", staticmethod(get_class_parser))
        yield


@pytest.fixture(scope="session", autouse=True)
def _empty_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No published file is at hand, whatever the developer has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache") / "empty"))
        yield


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks a host up or opens a connection fails."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr("socket.getaddrinfo", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)


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
def rendered_hands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny rendered data set in FreiHAND's layout: 24 training hands in two versions, 8 for evaluation, 64 px."""
    from peclr.synthetic.writer import write_freihand_layout

    out = tmp_path_factory.mktemp("rendered") / "hands"
    write_freihand_layout(out, train=24, evaluation=8, seed=0, size=64, versions=2, workers=1, progress=False)
    return out


def _named(variable: str, what: str) -> Path:
    path = os.environ.get(variable)
    if path is None:
        pytest.skip(f"{variable} is not set: it names {what}")
    return Path(path)


@pytest.fixture(scope="session")
def real_hands() -> Path:
    return _named("PECLR_REAL_HANDS", "real images in FreiHAND's layout, whose licenses forbid shipping them")


@pytest.fixture(scope="session")
def photographs() -> Path:
    """A folder with wild/ and real_hands/photos/."""
    return _named("PECLR_PHOTOGRAPHS", "a folder of photographs whose licenses forbid shipping them")


@pytest.fixture(scope="session")
def task_file() -> Path:
    return _named("PECLR_HAND_LANDMARKER", "hand_landmarker.task, which is fetched by hand")


@pytest.fixture(scope="session")
def trained() -> "TrainedNetwork":
    """A narrow network with random weights whose joints spread over its 32 px views."""
    from peclr.inference.network import TrainedNetwork
    from peclr.models.encoders import ResNetEncoder
    from peclr.models.pose_net import PoseNet25D

    torch.manual_seed(0)
    network = PoseNet25D(ResNetEncoder("resnet18", 0.125)).init_for(VIEW_SIZE).eval()
    with torch.no_grad():
        network.backend_model.fc.bias[:63] += 4 * torch.randn(63)
        network.backend_model.fc.weight.mul_(5)  # what it sees matters
    return TrainedNetwork(network, VIEW_SIZE, Path("net.ckpt"))


@pytest.fixture
def run(trained: "TrainedNetwork", tmp_path: Path) -> Path:
    """A fine-tuning run's folder with that network."""
    from tests.saved_run import save_run

    return save_run(tmp_path / "run", trained.network, VIEW_SIZE)


@pytest.fixture(scope="session")
def make_image() -> Callable[..., NDArray[np.uint8]]:
    """Makes smooth random images (height, width, 3)."""

    def make(height: int = 60, width: int = 80, seed: int = 0) -> NDArray[np.uint8]:
        coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
        return cv2.resize(coarse, (width, height)).astype(np.uint8)

    return make

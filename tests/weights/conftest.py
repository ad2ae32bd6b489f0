"""A cache of the test's own, and published files that this machine serves."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch

from peclr.models.encoders import ResNetEncoder
from peclr.weights import catalog as catalogs
from peclr.weights.catalog import CACHE_VARIABLE, Published


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache's folder, which is not there yet; the working folder is empty."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def encoder_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a narrow encoder, as torch.save writes them."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "net.pth"
    torch.save({"state_dict": dict(ResNetEncoder("resnet18", 0.125).state_dict())}, path)
    return path


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> Callable[[Published], None]:
    """Puts a published file on the list."""
    known: Mapping[str, Published] = catalogs.catalog()

    def add(published: Published) -> None:
        for module in ("catalog", "command"):
            monkeypatch.setattr(f"peclr.weights.{module}.catalog", lambda: {**known, published.name: published})

    return add

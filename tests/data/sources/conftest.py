"""The labeled sources that crops and shards are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from peclr.data.sources.freihand import FreiHAND
from peclr.data.sources.youtube3d import YouTube3DHands

if TYPE_CHECKING:
    from pathlib import Path

    from peclr.data.samples import HandSource
    from tests.data.conftest import Layout, YouTube


@pytest.fixture(params=["freihand", "youtube3d"])
def source(request: pytest.FixtureRequest, layout: Layout, youtube: YouTube, regressor: Path) -> HandSource:
    if request.param == "freihand":
        return FreiHAND(layout.root)
    return YouTube3DHands(youtube.root, mano=regressor)

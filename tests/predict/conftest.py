"""Tests predict as where no detector is, unless they ask for it."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _no_detector(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PECLR_HAND_LANDMARKER", raising=False)
    monkeypatch.setenv("PECLR_CACHE", str(tmp_path / "cache"))

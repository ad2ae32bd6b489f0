"""The detector, for all tests, as loading it takes a while."""

from pathlib import Path

import pytest

from peclr.detection import MediaPipeHands


@pytest.fixture(scope="session")
def detector(task_file: Path) -> MediaPipeHands:
    return MediaPipeHands(task_file)

"""The hand landmarker's networks and photographs, where environment variables name them; neither may be shipped."""

import os
from pathlib import Path

import pytest

from peclr.detection import MediaPipeHands


def named(variable: str, what: str) -> Path:
    path = os.environ.get(variable)
    if path is None:
        pytest.skip(f"{variable} is not set: it names {what}")
    return Path(path)


@pytest.fixture(scope="session")
def task_file() -> Path:
    return named("PECLR_HAND_LANDMARKER", "hand_landmarker.task, which is fetched by hand")


@pytest.fixture(scope="session")
def detector(task_file: Path) -> MediaPipeHands:
    return MediaPipeHands(task_file)


@pytest.fixture(scope="session")
def photographs() -> Path:
    """A folder with wild/ and real_hands/photos/."""
    return named("PECLR_PHOTOGRAPHS", "a folder of photographs whose licenses forbid shipping them")

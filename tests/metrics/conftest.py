"""The official code's scores, which tests compare with."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray


@pytest.fixture(scope="module")
def vectors(request: pytest.FixtureRequest, reference: Path) -> dict[str, NDArray[Any]]:
    """Points and their official scores, by name: of a module test_NAME.py, those of NAME_eval.npz."""
    with np.load(reference / f"{request.path.stem.removeprefix('test_')}_eval.npz") as archive:
        return {key: archive[key] for key in archive}

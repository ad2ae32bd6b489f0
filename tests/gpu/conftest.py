"""The device of the tests with the marker `cuda`, and exact arithmetic on it."""

import os
from collections.abc import Iterator

import pytest
import torch

from tests.gpu.correctness import DEVICE_VARIABLE


@pytest.fixture(scope="session")
def device() -> str:
    """CUDA; a CPU if the dry run asks for it."""
    asked = os.environ.get(DEVICE_VARIABLE, "cuda")
    if asked == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no CUDA device: `make gpu` where there is one")
    return asked


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    """Float32 that is float32, no TF32, and weights by seed; what a test makes deterministic ends with it."""
    precision, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    torch.manual_seed(0)
    yield
    torch.set_float32_matmul_precision(precision)
    torch.backends.cudnn.allow_tf32 = convolutions
    torch.use_deterministic_algorithms(mode=False)

"""A hash of what a source holds, by which files that number its hands find it again."""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


def hash_of(name: str, *arrays: NDArray[Any]) -> str:
    """Hashes a name and arrays, with their types and shapes."""
    digest = hashlib.sha256(name.encode())
    for array in arrays:
        digest.update(f" {array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()

"""JSON files, and the numbers in them as arrays: true, null and "1.5" are none, whatever NumPy makes of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def read_json(path: Path) -> Any:
    """Read a JSON file; ValueError names it and says why it cannot be read."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{path} is missing") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:  # not JSON, or not text
        raise ValueError(f"{path} is not valid JSON: {error}") from error


def as_numbers(values: Any, shape: tuple[int, ...]) -> NDArray[np.float64] | None:
    """Nested lists as an array of a shape; None if they are anything but numbers of this shape, finite or not."""
    try:
        array = np.asarray(values, object)
        if array.shape != shape or not all(type(leaf) in (int, float) for leaf in array.flat):
            return None
        return array.astype(np.float64)
    except (ValueError, OverflowError):  # lists of different lengths; an int beyond all floats
        return None

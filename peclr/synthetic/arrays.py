"""Array types of the renderer, and smooth random fields: the raw material of skin, wood, cloth and leaves."""

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float64]
Floats32: TypeAlias = NDArray[np.float32]
Indices: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]


def fractal_noise(
    rng: np.random.Generator, height: int, width: int, cells: float, octaves: int, stretch: float = 1.0
) -> Floats32:
    """Noise (height, width) around zero with unit-order amplitude.

    `cells` bumps cross the width in the coarsest octave, `stretch` times longer than high; each next octave has half
    the size and 0.6 of the amplitude.
    """
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        columns = max(int(cells * 2**octave / stretch), 1) + 1
        rows = max(int(cells * 2**octave * height / width), 1) + 1
        lattice = rng.uniform(-1, 1, (min(rows, height), min(columns, width))).astype(np.float32)
        total += 0.6**octave * cv2.resize(lattice, (width, height), interpolation=cv2.INTER_CUBIC)
    return total

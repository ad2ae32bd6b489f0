"""Objects with memory-mapped arrays, which go to other processes as the names of the files that these are in."""

import mmap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class _Place(NamedTuple):
    """Where an array lies in a file."""

    path: Path
    offset: int  # bytes
    kind: str
    shape: tuple[int, ...]

    def map(self) -> NDArray[Any]:
        return np.asarray(np.memmap(self.path, np.dtype(self.kind), "r", self.offset, self.shape))


class SharesFiles:
    """Pickled without what is in the files that its own arrays are mapped from: whoever loads it maps them again."""

    def __getstate__(self) -> dict[str, Any]:
        return {name: _place_of(value) or value for name, value in self.__dict__.items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= {name: value.map() if isinstance(value, _Place) else value for name, value in state.items()}


def _place_of(array: object) -> _Place | None:
    """Where a whole array lies in a file; None if it is in memory, is a view with gaps, or no array."""
    if not isinstance(array, np.ndarray) or not array.flags.c_contiguous or not array.size:
        return None
    root: Any = array
    while isinstance(root, np.ndarray) and not isinstance(root.base, mmap.mmap):
        root = root.base
    if not isinstance(root, np.memmap) or root.filename is None or root.mode != "r":
        return None
    first = root.offset + array.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    return _Place(Path(root.filename), first, array.dtype.str, array.shape)

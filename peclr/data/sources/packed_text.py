"""Many texts as two arrays, which can be memory-mapped: their bytes, one after the other, and where each ends."""

from collections.abc import Iterable, Sequence
from typing import Final, overload

import numpy as np
from numpy.typing import NDArray

_BLOCK: Final = 2**20  # texts that are checked at a time


class PackedText(Sequence[str]):
    """Texts by their numbers; ValueError if the arrays do not fit together."""

    def __init__(self, text: NDArray[np.uint8], ends: NDArray[np.int64]) -> None:
        """Wrap UTF-8 `text` (bytes,), in which text i ends before byte `ends[i]` (N,)."""
        are_others = text.dtype != np.uint8 or ends.dtype.kind != "i" or text.ndim != 1 or ends.ndim != 1
        if are_others or (ends[-1] if len(ends) else 0) != len(text) or not _ascends(ends):
            raise ValueError(f"packed text is {text.dtype} {text.shape}, ends {ends.dtype} {ends.shape} do not fit")
        self.text, self.ends = text, ends

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"text {index} of {len(self)}")
        index %= len(self)
        start = int(self.ends[index - 1]) if index else 0
        return bytes(self.text[start : self.ends[index]]).decode(errors="surrogateescape")


def _ascends(ends: NDArray[np.int64]) -> bool:
    """Whether none is below 0 or the one before."""
    return not len(ends) or bool(
        ends[0] >= 0
        and all((np.diff(ends[start : start + _BLOCK + 1]) >= 0).all() for start in range(0, len(ends), _BLOCK))
    )


def pack_texts(texts: Iterable[str]) -> PackedText:
    """Pack texts; those of file names, which may be any bytes, come out as they went in."""
    encoded = [text.encode(errors="surrogateescape") for text in texts]
    ends = np.cumsum([len(one) for one in encoded], dtype=np.int64)
    return PackedText(np.frombuffer(b"".join(encoded), np.uint8), ends)

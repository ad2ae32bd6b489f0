"""Text that is written piece by piece, as it may be longer than memory."""

import json
from pathlib import Path
from typing import Any, Self, TextIO

from peclr.options import naming


class JsonList:
    """A JSON file of a list, as a context; what is no UTF-8 is escaped."""

    def __init__(self, path: Path) -> None:
        self._path, self._between = path, "["

    def __enter__(self) -> Self:
        self._file: TextIO = open_text(self._path)
        return self

    def append(self, entry: Any) -> None:
        """Write an entry."""
        with naming(self._path):
            self._file.write(self._between + json.dumps(entry, separators=(",", ":")))
        self._between = ",\n"

    def __exit__(self, *_: object) -> None:
        with naming(self._path), self._file:
            self._file.write("[]\n" if self._between == "[" else "]\n")


def open_text(path: Path) -> TextIO:
    """A new file for text with names of files, which may be any bytes."""
    return path.open("w", encoding="utf-8", errors="surrogateescape", newline="")

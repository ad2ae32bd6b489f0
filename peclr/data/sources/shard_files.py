"""Reads crops where they are in tar files, by `os.pread`: no file is opened for a crop, and no position is shared."""

import os
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from peclr.data.sources.images import BadImageError, in_threads
from peclr.data.sources.layouts import Depth
from peclr.data.sources.remote import FULL
from peclr.data.sources.shard_format import FOLDER, Opened, Shard, key_of
from peclr.untrusted.binary import sha256_of

OPEN: Final = os.O_RDONLY | os.O_NONBLOCK  # of what may be a pipe, for which nobody waits
_TOUCH: Final = 10.0  # seconds
_MOST_OPEN: Final = 64  # shards of a process: open files are few


class ShardFiles:
    """The tar files of a folder; opened when they are needed, in every process and thread."""

    def __init__(
        self,
        root: Path,
        opened: Opened,
        open_shard: Callable[[int], int] | None = None,
        touch: Callable[[int], None] | None = None,
    ) -> None:
        """Take checked labels.

        Args:
            root: Of the folder.
            opened: Its labels.
            open_shard: The descriptor of a shard, by its number; where it is None, of the file in the folder.
            touch: Notes now and then that a shard, by its descriptor, is in use.
        """
        self._shards = opened.facts.shards
        self._paths = [root / FOLDER / shard.name for shard in self._shards]
        self._ends = np.cumsum([shard.crops for shard in self._shards], dtype=np.int64)
        self._offset, self._length, self._crc = (opened.arrays[name] for name in ("offset", "length", "crc"))
        self._open = _OpenShards(open_shard or partial(_open, self._paths), touch)

    def key(self, index: int) -> str:
        """The name of crop `index`, without an ending."""
        shard = self.shard_of(index)
        task, _, number = self._shards[shard].name.removesuffix(".tar").partition("-")
        # crops are numbered through a task's shards
        first = int(self._ends[shard - int(number) - 1]) if shard > int(number) else 0
        return key_of(int(task), index - first)

    def shard_of(self, index: int) -> int:
        """The number of the shard that holds crop `index`."""
        return int(np.searchsorted(self._ends, index, side="right"))

    def where(self, index: int) -> str:
        """The shard and the member that hold crop `index`, for messages."""
        return f"{self.path_of(self.shard_of(index))}, {self.key(index)}.jpg"

    def path_of(self, shard: int) -> str:
        """Where a shard is."""
        return str(self._paths[shard])

    def read(self, index: int) -> bytes:
        """The JPEG of crop `index`.

        Raises:
            BadImageError: names the shard, the crop and what was expected.
            OSError: no crop is to blame: the host of remote shards cannot be reached, or the disk for them is full.
        """
        shard = self.shard_of(index)
        offset, length = int(self._offset[index]), int(self._length[index])
        try:
            content = os.pread(self._open(shard).number, length, offset)
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and (isinstance(error, ConnectionError) or error.errno in FULL):
                raise
            reason = getattr(error, "strerror", None) or error
            raise BadImageError(f"{self.where(index)}: cannot be read ({reason})") from error
        if zlib.crc32(content) != self._crc[index]:
            found = "are others than were written" if len(content) == length else f"are only {len(content):,}"
            expected = f"expected a shard of {self._shards[shard].bytes:,} bytes, SHA-256 {self._shards[shard].sha256}"
            raise BadImageError(f"{self.where(index)}: its {length:,} bytes at {offset:,} {found}; {expected}")
        return content

    def find_problems(self, depth: Depth = "headers", workers: int = 1, *, progress: bool = False) -> dict[str, str]:
        """Shards that are missing or of another length than was written, or at depth "decode" of another content."""
        expected = dict(zip(self._paths, self._shards, strict=True))

        def problem(path: Path) -> str | None:
            return problem_of_shard(path, expected[path], depth)

        looked_at = in_threads(problem, self._paths, workers, "shards", progress=progress and depth == "decode")
        return {str(path): reason for path, reason in looked_at if reason}


def problem_of_shard(path: Path, shard: Shard, depth: Depth) -> str | None:
    """What is wrong with a shard, without its name; None if nothing is."""
    if not path.is_file():
        return "is missing"
    if (found := path.stat().st_size) != shard.bytes:
        return f"has {found:,} bytes, expected {shard.bytes:,}"
    if depth == "decode" and (digest := sha256_of(path)) != shard.sha256:
        return f"has SHA-256 {digest}, expected {shard.sha256}"
    return None


def _open(paths: list[Path], shard: int) -> int:
    return os.open(paths[shard], OPEN)


class _OpenShards:
    """Shards that this process has open, which closes them when it is gone itself; any thread may ask, without a lock.

    A file that was removed, as from a cache, takes up its room for as long as it is open: until the next is opened.
    """

    def __init__(self, open_shard: Callable[[int], int], touch: Callable[[int], None] | None) -> None:
        self._open_shard, self._touch, self._kept = open_shard, touch, dict[int, _Descriptor]()

    def __call__(self, shard: int) -> "_Descriptor":
        """An open shard."""
        if (found := self._kept.get(shard)) is not None:
            if self._touch is not None and (now := time.monotonic()) > found.touched + _TOUCH:
                found.touched = now
                with suppress(OSError):  # of another user
                    self._touch(found.number)
            return found
        opened = _Descriptor(self._open_shard(shard))
        for number, one in list(self._kept.items()):
            if len(self._kept) >= _MOST_OPEN or os.fstat(one.number).st_nlink == 0:
                self.close(number)
        self._kept[shard] = opened
        return opened

    def close(self, shard: int) -> None:
        """Keep a shard no longer."""
        self._kept.pop(shard, None)


class _Descriptor:
    """An open file, closed when nobody uses it any more: another thread may, when it is no longer kept."""

    def __init__(self, number: int) -> None:
        self.number, self.touched = number, time.monotonic()

    def __del__(self) -> None:
        os.close(self.number)

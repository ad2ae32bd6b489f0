"""Shards of remote sets in a folder of bounded size that all processes of a machine share, by their SHA-256.

A file with a shard's name is whole and was compared with its sum: it gets the name last. Which processes are at work is
said by locks, which end with them, so that what a killed one has left is removed by the next. fsspec's own cache of
files has no bound that several processes keep, no sums, and appends to what a killed process has begun.
"""

import fcntl
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from peclr.data.sources.shard_format import Shard
from peclr.options import check_writable, locked, open_lock
from peclr.untrusted.text import limit
from peclr.weights.catalog import CACHE_VARIABLE, cache_folder

CACHE_GB_VARIABLE: Final = "PECLR_CACHE_GB"
_CACHE_GB: Final = 50.0
LOCKS: Final = "locks"
_LOCK: Final = "all"  # who makes room
_POLL: Final = 0.05  # seconds
_SILENCE: Final = 600.0  # seconds without a byte, longer than any host is waited for


@dataclass(frozen=True)
class ShardCache:
    """Fetched shards, of any sets; those that nobody has used for the longest time make room for others.

    Attributes:
        folder: Where they are.
        most_bytes: Of all shards, with those that are being fetched.
    """

    folder: Path
    most_bytes: int

    @classmethod
    def at(cls, cache_dir: str | Path | None, cache_gb: float | None) -> "ShardCache":
        """Make the folder; None is `PECLR_CACHE`, or the user's folder for caches, and `PECLR_CACHE_GB`, or 50."""
        most_gb = limit(CACHE_GB_VARIABLE, _CACHE_GB) if cache_gb is None else cache_gb
        if not 0 < most_gb < float("inf"):
            raise ValueError(f"cache_gb {most_gb}: expected a size above 0, in GB")
        folder = (cache_folder() if cache_dir is None else Path(cache_dir).expanduser()).absolute() / "shards"
        try:
            (folder / LOCKS).mkdir(parents=True, exist_ok=True)
            check_writable(folder)
        except OSError as error:
            reason = f"cannot be used ({error.strerror}); cache_dir, or {CACHE_VARIABLE}, names another"
            raise OSError(error.errno, f"a cache of shards {reason}", str(folder)) from error
        return cls(folder, int(most_gb * 1e9))

    def path(self, shard: Shard) -> Path:
        """Where a shard is, or will be."""
        return self.folder / f"{shard.sha256}.tar"

    def lock(self, name: str) -> Path:
        """The lock of whoever fetches what has this sum."""
        return self.folder / LOCKS / name

    def open(self, shard: Shard, fetch: Callable[[Path], None]) -> int:
        """The descriptor of a whole shard, to be closed; what `fetch` writes must be right.

        Whoever has it open can read it to the end, also when it has had to make room.
        """
        if (found := self._find(shard)) is not None:
            return found
        with locked(self.lock(shard.sha256)):
            if (found := self._find(shard)) is not None:  # by another one, meanwhile
                return found
            partial = self._reserve(shard)
            try:
                fetch(partial)
                descriptor = os.open(partial, os.O_RDONLY)
                partial.replace(self.path(shard))
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
            return descriptor

    def holds(self, shard: Shard) -> bool:
        """Whether a shard is here."""
        return self.path(shard).is_file()

    def stored_bytes(self) -> int:
        """Of all shards that are here."""
        return sum(size for _, _, size in self._stored())

    def drop(self, shard: Shard) -> None:
        """Remove a shard, whose content has changed."""
        self.path(shard).unlink(missing_ok=True)

    def _find(self, shard: Shard) -> int | None:
        try:
            descriptor = os.open(self.path(shard), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        if os.fstat(descriptor).st_size != shard.bytes:  # the machine went down before all of it was on the disk
            os.close(descriptor)
            return None
        with suppress(OSError):  # of another user
            os.utime(descriptor)  # it is in use
        return descriptor

    def _reserve(self, shard: Shard) -> Path:
        """Make room for a shard; returns a new empty file for it, whose name counts as its size."""
        with locked(self.lock(_LOCK)):
            while True:
                stored, coming = self._stored(), self._coming(shard.sha256)
                over = sum(size for _, _, size in stored) + coming + shard.bytes - self.most_bytes
                for _, path, size in sorted(stored):
                    if over > 0:
                        path.unlink(missing_ok=True)
                        over -= size
                if over <= 0 or not coming:
                    break
                time.sleep(_POLL)  # others will have theirs soon, which then can make room
            partial = self.folder / f".{shard.sha256}.{shard.bytes}.{secrets.token_hex(4)}"
            partial.touch(exist_ok=False)
            return partial

    def _stored(self) -> list[tuple[int, Path, int]]:
        """When they were last used, path and bytes of all shards."""
        found = []
        for path in self.folder.glob("[!.]*.tar"):
            with suppress(FileNotFoundError):
                status = path.stat()
                found.append((status.st_mtime_ns, path, status.st_size))
        return found

    def _coming(self, own: str) -> int:
        """Bytes that others will have fetched; what killed processes have left is removed, of one's own shard, too."""
        sizes = dict[str, int]()
        for path in self.folder.glob(".*.*.*"):
            sha256, size = path.name.split(".")[1:3]
            if sha256 == own:  # of which this process has the lock
                path.unlink(missing_ok=True)
            elif size.isdecimal() and not self._is_left(sha256, path):
                sizes[sha256] = int(size)
        return sum(sizes.values())

    def _is_left(self, sha256: str, path: Path) -> bool:
        """Whether nobody is at work on a file, which then is removed."""
        descriptor = open_lock(self.lock(sha256))
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # as `locked`
        except BlockingIOError:
            return False
        except OSError:  # nothing can be locked here
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime < _SILENCE:
                    return False
        finally:
            os.close(descriptor)
        path.unlink(missing_ok=True)
        return True

"""Locks of folders and runs, kept by every process that holds the open file."""

import fcntl
import os
import platform
import uuid
from pathlib import Path
from typing import IO, Final

from peclr.options import open_lock

STALE_SECONDS: Final = 600.0
_MACHINE: Final = f"{platform.node()} {uuid.getnode():x}"


def hold(path: Path) -> IO[str]:
    """Lock a file until it is closed by this process and by all that were given it; ValueError if another holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.fdopen(open_lock(path), "a+")
    if _lock(file) is False:
        file.close()
        raise ValueError(f"{path.parent}: another process works here, or a run that it started goes on")
    file.truncate(0)
    file.write(_MACHINE)
    file.flush()
    return file


def is_held(path: Path) -> bool:
    """Whether a process that locked the file is alive.

    On its own machine the lock says so. Of another one, whose locks may not be seen here, it is believed for ten
    minutes after it touched the file; "now" is the file system's, as machines' clocks differ.
    """
    if not path.exists():
        return False
    with path.open("r+") as file:
        locked = _lock(file)
        if locked is False or (locked and file.read() == _MACHINE):
            return not locked
        clock = path.with_name(".clock")
        os.utime(clock_file := open_lock(clock))
        os.close(clock_file)
        return clock.stat().st_mtime - os.fstat(file.fileno()).st_mtime < STALE_SECONDS


def _lock(file: IO[str]) -> bool | None:
    """Lock an open file: False if another process has, None on a file system without locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if isinstance(error, BlockingIOError) else None
    return True

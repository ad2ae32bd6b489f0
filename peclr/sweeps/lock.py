"""Locks of folders and runs, kept by every process that holds the open file."""

import fcntl
import os
import platform
import uuid
from pathlib import Path
from typing import IO, Final

STALE_SECONDS: Final = 600.0
_MACHINE: Final = f"{platform.node()} {uuid.getnode():x}"


def hold(path: Path) -> IO[str]:
    """Lock a file for this machine until it is closed by this process and by all that were given it.

    Raises:
        ValueError: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+")
    if _flock(file) is False:
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
    try:
        with path.open("r+") as file:
            taken = _flock(file)
            if taken is False or (taken and file.read() == _MACHINE):
                return not taken
            seen = os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return False
    clock = path.with_name(".clock")
    clock.touch()
    return clock.stat().st_mtime - seen < STALE_SECONDS


def _flock(file: IO[str]) -> bool | None:
    """Whether the lock was taken; None where the file system has none."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True

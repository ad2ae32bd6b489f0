"""Locks of folders and of runs, which a process that is given the descriptor keeps after the one that took them."""

import fcntl
import os
import platform
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

LOCK_NAME: Final = ".lock"
STALE_SECONDS: Final = 600.0
_MACHINE: Final = f"{platform.node()} {uuid.getnode():x}"


def hold(path: Path) -> IO[str]:
    """Mark a run as this machine's, until the file is closed by this process and by all that were given it."""
    path.parent.mkdir(exist_ok=True)
    file = path.open("w")
    _flock(file)
    file.write(_MACHINE)
    file.flush()
    return file


def is_held(path: Path) -> bool:
    """Whether a process that marked a run is alive.

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
    clock = path.parent / LOCK_NAME
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


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keep other processes from working in a folder, which is made if it is not there.

    Raises:
        ValueError: it is a file, or another process holds it.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; expected a folder")
    out.mkdir(parents=True, exist_ok=True)
    with (out / LOCK_NAME).open("w") as file:
        if _flock(file) is False:
            raise ValueError(f"{out}: another process works here, or a run that it started goes on")
        yield

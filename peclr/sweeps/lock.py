"""Locks of folders and runs, kept by every process that holds the open file."""

import fcntl
import os
import platform
import uuid
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from peclr.options import open_lock

STALE_SECONDS: Final = 600.0
_MACHINE: Final = f"{platform.node()} {uuid.getnode():x}"


def hold(path: Path) -> IO[str]:
    """Lock a file for this machine until it is closed by this process and by all that were given it.

    Raises:
        ValueError: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.fdopen(open_lock(path), "a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ValueError(f"{path.parent}: another process works here, or a run that it started goes on") from None
    except OSError:  # a file system without locks
        pass
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
        with suppress(OSError):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            if file.read() == _MACHINE:
                return False
        seen = os.fstat(file.fileno()).st_mtime
    clock = path.with_name(".clock")
    clock.touch()
    return clock.stat().st_mtime - seen < STALE_SECONDS

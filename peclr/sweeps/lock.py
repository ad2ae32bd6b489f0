"""One process at a time works in a folder of many runs."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

LOCK_NAME: Final = ".lock"


@contextmanager
def locked(out: Path) -> Iterator[int]:
    """Keep other processes from working in a folder, which is made if it is not there.

    A process that is given the descriptor keeps the lock: if a sweep is killed, its folder stays locked while its runs
    go on.

    Args:
        out: the folder.

    Yields:
        The descriptor that holds the lock.

    Raises:
        ValueError: it is a file, or another process holds it.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; expected a folder")
    out.mkdir(parents=True, exist_ok=True)
    with (out / LOCK_NAME).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{out}: another process works here, or a run that it started goes on") from None
        yield file.fileno()

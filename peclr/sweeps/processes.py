"""One run of a sweep: a process of its own, its output in a file, its results read from its folder."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

RESULTS: Final = "results.json"
_LAST: Final = Path("checkpoints", "last.ckpt")
_TAIL_BYTES: Final = 8192
_LONGEST_ERROR: Final = 160
# What a shell, and Python, call a process that Ctrl-C or SIGTERM ended.
_STOPPED: Final = {128 + signal.SIGINT, 128 + signal.SIGTERM, -signal.SIGINT, -signal.SIGTERM}


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        status: its exit status; below 0 for the signal that killed it.
        seconds: what it took.
        error: the last line that it wrote, if it failed.
    """

    status: int
    seconds: float
    error: str | None

    @property
    def stopped(self) -> bool:
        """Whether somebody stopped it; it then goes on when the sweep is run again."""
        return self.status in _STOPPED


class Processes:
    """The processes of a sweep, which stop together.

    Each is the leader of a group of its own, so that Ctrl-C in a terminal reaches the sweep alone; the sweep then asks
    each run once to stop, and waits until it has saved its checkpoint. A run that was asked twice would drop it.
    """

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.RLock()  # a second signal may come while the first is handled
        self.stopping = False

    def run(self, words: list[str], log: Path, environment: Mapping[str, str], held: int) -> Ended | None:
        """Run a command to its end.

        Args:
            words: of the command.
            log: its output is appended to this file.
            environment: on top of this process's.
            held: a file descriptor that it keeps open, and with it the sweep's lock.

        Returns:
            None if it was not started, as the sweep stops.
        """
        started = time.monotonic()
        with self._lock:
            if self.stopping:
                return None
            with log.open("ab") as output:
                process = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **environment},
                    process_group=0,
                    pass_fds=(held,),
                )
            self._running.add(process)
        status = process.wait()
        with self._lock:
            self._running.discard(process)
        return Ended(status, time.monotonic() - started, last_line(log) if status else None)

    def stop(self) -> None:
        """Start no more; ask those that run to save a checkpoint and end."""
        with self._lock:
            self.stopping = True
            for process in self._running:
                process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """End what did not end when asked, with all of its own processes."""
        with self._lock:
            for process in self._running:
                with contextlib.suppress(ProcessLookupError):  # it has just ended
                    os.killpg(process.pid, signal.SIGKILL)


def folder_options(folder: Path) -> list[str]:
    """The options by which a run begins in its folder, or goes on from what it saved there."""
    last = folder / _LAST
    resumed = [f"--ckpt_path={last}"] if last.is_file() else []
    return [*resumed, f"--run_dir={folder}"]


def put_aside(folder: Path) -> None:
    """Rename what a run left that ended before it saved anything: a new one begins in an empty folder."""
    if not folder.is_dir() or (folder / _LAST).is_file() or not any(folder.iterdir()):
        return
    number = 1
    while (aside := folder.with_name(f"{folder.name}.aside{number}")).exists():
        number += 1
    folder.rename(aside)


def read_metrics(folder: Path) -> dict[str, float | None] | None:
    """What a run that has ended well logged last; None for any other.

    Raises:
        ValueError: its results are not what `peclr fit` writes.
    """
    path = folder / RESULTS
    if not path.is_file():
        return None
    try:
        metrics: Any = json.loads(path.read_text(encoding="utf-8"))["metrics"]
        return {str(name): None if value is None else float(value) for name, value in metrics.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not the results of a run: {error!r}") from error


def last_line(log: Path) -> str | None:
    """The last line of a log that says something, shortened."""
    with log.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - _TAIL_BYTES))
        text = file.read().decode(errors="replace")
    lines = [line.strip() for line in text.replace("\r", "\n").splitlines() if line.strip()]
    return lines[-1][:_LONGEST_ERROR] if lines else None

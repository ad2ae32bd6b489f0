"""Tasks for tests: they leave a file each, and some have accidents."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from peclr.options import write_whole
from peclr.parallel import Advance, Job


@dataclass(frozen=True)
class Leave:
    """Task i writes its number into a file, unless it has one of the accidents below, some of them always."""

    folder: Path
    accidents: dict[int, str]

    def __call__(self, task: int, advance: Advance, /) -> None:
        accident, tried = self.accidents.get(task), self.folder / f"tried-{task}"
        if accident == "crash" or (accident == "once" and not tried.exists()):
            tried.touch()
            os.kill(os.getpid(), signal.SIGSEGV)
        if accident == "error":
            raise ValueError(f"file {task} is damaged")
        if accident == "disk" and not tried.exists():
            tried.touch()
            raise OSError(5, "a weak moment")
        if accident == "wait" and not (self.folder / "go").exists():
            (self.folder / f"pid-{os.getpid()}").touch()
            time.sleep(60)
        if accident == "slow":
            (self.folder / f"pid-{os.getpid()}").touch()
            for _ in range(300):
                time.sleep(0.1)
                advance(0)
        advance(1, hands=2)
        write_whole(self.folder / str(task), str(task))


def job_of(folder: Path, tasks: int, accidents: dict[int, str] | None = None) -> Job:
    return Job(Leave(folder, accidents or {}), [1] * tasks, lambda task: (folder / str(task)).exists(), "images")

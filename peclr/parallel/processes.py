"""Tasks by processes of this machine, one task a process at a time, so that a crash names its task and ends no other.

`concurrent.futures` cannot say which task a process died of, and gives up all others with it. Processes are spawned:
libraries' threads do not survive a fork.
"""

import multiprocessing
import os
import pickle
import signal
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Final

from peclr.parallel.job import Advance, Advanced, Ended, Event

Work = Callable[[int, Advance], None]

_TRIES: Final = 2  # of a task whose process died, or that had trouble with files: machines have weak moments
_PATIENCE: Final = 5.0  # seconds in which a process that has nothing to do ends


def in_this_process(work: Work, tasks: Sequence[int]) -> Iterator[Event]:
    """Do tasks one after the other; their advance comes when they end."""
    for task in tasks:
        yield from do(work, task)


def do(work: Work, task: int) -> tuple[Advanced, Ended]:
    """Do a task, again if that may help: what it has done in the end, and how it ended."""
    units, counted = 0, Counter[str]()

    def advance(more: int = 1, /, **counts: int) -> None:
        nonlocal units
        units += more
        counted.update(counts)

    problem, again = attempt(work, task, advance)
    if again:
        units, counted = 0, Counter()
        problem, _ = attempt(work, task, advance)
    return Advanced(task, units, counted), Ended(task, problem)


def in_processes(work: Work, tasks: Sequence[int], workers: int) -> Iterator[Event]:
    """Do tasks by so many processes, and yield what happens; closing the iterator kills them."""
    waiting, tries, pickled = deque(tasks), Counter[int](), pickle.dumps(work)
    team = [_Worker(pickled) for _ in range(min(workers, len(waiting)))]
    try:
        while True:
            for worker in team:
                if worker.task is None and waiting:
                    worker.give(waiting.popleft())
            busy: dict[Any, _Worker] = {worker.connection: worker for worker in team if worker.task is not None}
            if not busy:
                return
            for connection in wait(list(busy)):
                worker = busy[connection]
                message = worker.message()
                assert worker.task is not None
                if isinstance(message, Advanced):
                    yield message
                    continue
                task, (problem, again), worker.task = worker.task, message, None
                if not worker.process.is_alive():
                    team[team.index(worker)] = _Worker(pickled)
                tries[task] += 1
                if again and tries[task] < _TRIES:
                    waiting.append(task)
                else:
                    yield Ended(task, problem)
    finally:
        for worker in team:
            worker.end()


class _Worker:
    """A process that does one task after the other."""

    def __init__(self, work: bytes) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.task: int | None = None
        self.process: BaseProcess = context.Process(target=_serve, args=(theirs, work), daemon=True)
        self.process.start()
        theirs.close()  # so that its end is noticed

    def give(self, task: int) -> None:
        self.task = task
        with suppress(OSError):  # it has died: its message will say so
            self.connection.send(task)

    def message(self) -> Any:
        """An `Advanced`, or the problem (None for none) and whether to try again."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode or 0
            reason = signal.Signals(-code).name if code < 0 else f"status {code}"
            hint = ", as for want of memory" if code == -signal.SIGKILL else ""
            return f"its process ended by {reason}{hint}", True

    def end(self) -> None:
        """End the process: at once if it is at work, whose output then does not appear."""
        self.connection.close()
        if self.task is None:
            self.process.join(_PATIENCE)
        self.process.kill()
        self.process.join()
        self.process.close()


def _serve(connection: Connection, pickled: bytes) -> None:
    """Do the tasks that come, until the other end is closed."""
    # Ctrl-C goes to all processes of a terminal: the first one ends the others
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # before the libraries that read it are imported: processes are as many as there are cores
    for library in ("OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
        os.environ.setdefault(library, "1")
    work: Work = pickle.loads(pickled)  # noqa: S301 (from the process that started this one)
    # the other end is gone, perhaps killed: there is no one to work for
    with suppress(EOFError, OSError):
        while True:
            task = connection.recv()

            def advance(units: int = 1, /, *, _task: int = task, **counts: int) -> None:
                try:
                    connection.send(Advanced(_task, units, counts))
                except OSError:
                    os._exit(1)

            connection.send(attempt(work, task, advance))


def attempt(work: Work, task: int, advance: Any) -> tuple[str | None, bool]:
    """Do a task: the problem, None for none, and whether another try may help."""
    try:
        work(task, advance)
    except OSError as error:
        return str(error), True
    except ValueError as error:
        return str(error), False
    except Exception as error:  # noqa: BLE001 (a bug costs its task; it is shown, and makes the status 1)
        traceback.print_exc()
        return f"{type(error).__name__}: {error}", False
    return None, False

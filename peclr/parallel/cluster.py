"""Tasks on a Dask cluster: whoever is free gets the next, and those of a worker that is lost go to others.

Its launchers start workers on SLURM, Kubernetes or by SSH, of one thread each; all of them, and this process, see the
job's folders, and the one that it runs in, under the same names. Needs `pip install peclr[cluster]`.
"""

import os
import pickle
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from peclr.parallel.job import Advanced, Ended, Event
from peclr.parallel.processes import Work, do

_PATIENCE: Final = 60  # seconds, for the first worker

_of_thread = threading.local()


def on_cluster(work: Work, tasks: Sequence[int], scheduler: str) -> Iterator[Event]:
    """Do tasks by the workers of a scheduler, such as tcp://node7:8786; their advance comes when they end.

    Dask suspects every task of a worker that has died, so each that it gives up is tried again, alone. ValueError if
    Dask is not installed, or there is no worker.
    """
    try:
        from distributed import Client, as_completed
    except ImportError as error:
        raise ValueError("--scheduler needs Dask; `pip install peclr[cluster]` brings it") from error

    pickled, waiting, suspects = pickle.dumps(work), deque(tasks), deque[int]()
    if not tasks:
        return
    with Client(scheduler, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        try:
            client.wait_for_workers(1, timeout=_PATIENCE)
        except TimeoutError as error:
            start = f"`dask worker {scheduler} --nthreads 1` on each machine"
            raise ValueError(f"{scheduler} has no worker; start some: {start}") from error
        running = dict[str, int]()
        done = as_completed(loop=client.loop, with_results=True, raise_errors=False)  # type: ignore[no-untyped-call]

        def fill() -> None:
            threads = max(1, sum(client.nthreads().values()))
            while (waiting and len(running) < threads) or (suspects and not running):
                task = waiting.popleft() if waiting else suspects.popleft()
                future = client.submit(_do, pickled, str(Path.cwd()), task, key=f"peclr-{uuid4().hex}", pure=False)
                running[future.key] = task
                done.add(future)  # type: ignore[no-untyped-call]

        alone = False
        fill()
        for future, result in done:
            task = running.pop(future.key)
            if future.status == "finished":
                yield from result
            elif alone:
                yield Ended(task, str(result[1]) if isinstance(result, tuple) else str(result))
            else:
                suspects.append(task)
            alone = alone or not (waiting or running)
            fill()


def _do(pickled: bytes, folder: str, task: int) -> tuple[Advanced, Ended]:
    """Do a task on a worker."""
    os.chdir(folder)  # paths may be relative
    known: tuple[bytes, Any] | None = getattr(_of_thread, "work", None)
    if known is None or known[0] != pickled:
        known = _of_thread.work = (pickled, pickle.loads(pickled))  # noqa: S301 (from who runs this cluster)
    return do(known[1], task)

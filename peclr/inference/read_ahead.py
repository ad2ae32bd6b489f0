"""Applies a function in a thread pool to the items of an iterator, a bounded number of them ahead."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class ReadAhead(Generic[Item, Result]):
    """Gives items in order, each with the future of what the function makes of it.

    The iterator is advanced in a thread of its own: a video is decoded while it is. What it raises is raised again
    where the items are consumed.

    Args:
        items: to go through.
        pool: runs the function.
        prepare: the function.
        depth: items to be ahead at most.
    """

    def __init__(
        self, items: Iterable[Item], pool: ThreadPoolExecutor, prepare: Callable[[Item], Result], depth: int
    ) -> None:
        self._items, self._pool, self._prepare = items, pool, prepare
        self._queue: queue.Queue[tuple[Item, Future[Result]] | BaseException | None] = queue.Queue(depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name="peclr-reader", daemon=True)

    def __enter__(self) -> Self:
        """Begin to read."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop reading, also early."""
        self._stop.set()
        while self._thread.is_alive():  # it may wait for room in the queue
            _drain(self._queue)
            self._thread.join(timeout=0.05)

    def __iter__(self) -> Iterator[tuple[Item, Future[Result]]]:
        """The items that are left."""
        while (entry := self._queue.get()) is not None:
            if isinstance(entry, BaseException):
                raise entry
            yield entry

    def _read(self) -> None:
        try:
            for item in self._items:
                if self._stop.is_set():
                    return
                self._queue.put((item, self._pool.submit(self._prepare, item)))
            self._queue.put(None)
        except Exception as error:  # noqa: BLE001  (raised again where the items are consumed)
            self._queue.put(error)


def _drain(waiting: queue.Queue[Any]) -> None:
    with suppress(queue.Empty):
        while True:
            waiting.get_nowait()

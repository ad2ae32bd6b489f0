"""Apply a function in a thread pool to the items of an iterator, a bounded number of them ahead."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(
    items: Iterable[Item], prepare: Callable[[Item], Result], pool: ThreadPoolExecutor, depth: int
) -> Generator[Result, None, None]:
    """Yield what the function makes of each item, in order.

    The iterator is advanced in a thread of its own: a video is decoded while it is. What it raises, and what the
    function raises, is raised where the result would be. Close the generator to stop early.

    Args:
        items: to go through.
        prepare: the function.
        pool: runs the function.
        depth: items to be ahead at most.
    """
    iterator = iter(items)

    def advance() -> Future[Result] | None:
        for item in iterator:
            return pool.submit(prepare, item)
        return None

    reader = ThreadPoolExecutor(1, "peclr-reader")
    try:
        ahead = deque(reader.submit(advance) for _ in range(depth))
        while (future := ahead.popleft().result()) is not None:
            ahead.append(reader.submit(advance))
            yield future.result()
    finally:
        reader.shutdown(cancel_futures=True)

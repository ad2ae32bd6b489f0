"""What to do with images that cannot be read: stop, or take another one and keep a list."""

import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Literal, TypeVar

from peclr.data.sources.images import BadImageError

OnBadImage = Literal["error", "skip"]
SKIPPED_NAME: Final = "skipped_images.txt"
_MOST_IN_A_ROW: Final = 100  # more than chance damage: a disk that is gone, a folder of other files

_log = logging.getLogger(__name__)

Item = TypeVar("Item")


class SkipList:
    """The images that had to be skipped, one line each, in a file that all worker processes append to."""

    def __init__(self) -> None:
        """Begins without a file: until `write_to`, the list is only logged."""
        self._path: Path | None = None
        self._seen: set[str] = set()

    def write_to(self, folder: Path) -> None:
        """Keeps the list in `folder/skipped_images.txt`, of a run for example, which is made when it is needed."""
        self._path = folder / SKIPPED_NAME

    @property
    def path(self) -> Path | None:
        """The file, if there is one."""
        return self._path if self._path is not None and self._path.exists() else None

    def add(self, problem: str) -> None:
        """Notes an image, unless this process has noted it before.

        Args:
            problem: Names the image and says what is wrong with it.
        """
        if problem in self._seen:
            return
        self._seen.add(problem)
        _log.warning("skipped %s", problem)
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        line = " ".join(problem.split()) + "\n"
        # one write at the end of a file: lines of several processes do not mix
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line.encode("utf-8", "backslashreplace"))
        finally:
            os.close(descriptor)

    def problems(self) -> list[str]:
        """All that was noted, by all processes if there is a file: each once, in order of the alphabet."""
        if self.path is None:
            return sorted(self._seen)
        return sorted(set(self.path.read_text(encoding="utf-8").splitlines()))

    def report(self) -> None:
        """Says how many there are, and where."""
        if problems := self.problems():
            where = f"{self.path} lists them" if self.path else "see the warnings above"
            _log.warning("%d images could not be read and were skipped; %s", len(problems), where)


def first_readable(make: Callable[[int], Item], candidates: Iterable[int], skipped: SkipList) -> Item:
    """Makes the first item whose images can be read.

    Args:
        make: Gives the item of an index, or raises BadImageError.
        candidates: Indices in the order to try.
        skipped: Where to note the others.

    Raises:
        BadImageError: If too many in a row cannot be read.
    """
    problem = None
    for _, index in zip(range(_MOST_IN_A_ROW), candidates, strict=False):
        try:
            return make(index)
        except BadImageError as error:
            problem = error
            skipped.add(str(error))
    assert problem is not None
    raise BadImageError(f"{problem}; so many images in a row cannot be read that none is skipped") from problem

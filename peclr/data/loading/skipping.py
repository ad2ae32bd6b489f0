"""What to do with images that cannot be read: stop, or take another one and keep a list."""

import logging
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Final, Literal, TypeVar, get_args

from peclr.data.sources.images import BadImageError

OnBadImage = Literal["error", "skip"]
SKIPPED_NAME: Final = "skipped_images.txt"
_MOST_IN_A_ROW: Final = 100  # more than chance damage: a disk that is gone, a folder of other files

_log = logging.getLogger(__name__)

Item = TypeVar("Item")


class SkipList:
    """The images that had to be skipped, one line each, in a file that all worker processes append to."""

    def __init__(self, on_bad_image: OnBadImage) -> None:
        """Begin without a file: until `write_to`, the list is only logged."""
        if on_bad_image not in get_args(OnBadImage):
            raise ValueError(f"on_bad_image {on_bad_image!r} does not exist; expected one of {get_args(OnBadImage)}")
        self.on_bad_image = on_bad_image
        self._path: Path | None = None
        self._seen: set[str] = set()

    def write_to(self, folder: Path) -> None:
        """Keep the list in `folder/skipped_images.txt`, of a run for example; both are made when they are needed."""
        self._path = folder / SKIPPED_NAME

    def first_readable(self, make: Callable[[int], Item], candidates: Iterable[int]) -> Item:
        """Make the first candidate, or the first readable one; BadImageError if that is none, or too far."""
        problem = None
        for index in islice(candidates, _MOST_IN_A_ROW):
            try:
                return make(index)
            except BadImageError as error:
                if self.on_bad_image == "error":
                    raise
                problem = error
                self._add(str(error))
        raise BadImageError(f"{problem}; so many images in a row cannot be read that none is skipped") from problem

    def _add(self, problem: str) -> None:
        """Note an image, unless this process has noted it before."""
        if problem in self._seen:
            return
        self._seen.add(problem)
        _log.warning("skipped %s", problem)
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        line = " ".join(problem.split()) + "\n"
        with self._path.open("ab", buffering=0) as file:  # one write at its end: lines of several processes do not mix
            file.write(line.encode("utf-8", "backslashreplace"))

    def problems(self) -> list[str]:
        """List what was noted, by all processes if there is a file: each once, sorted."""
        if self._path is None or not self._path.exists():
            return sorted(self._seen)
        return sorted(set(self._path.read_text(encoding="utf-8").splitlines()))

    def report(self) -> None:
        """Say how many there are, and where."""
        if problems := self.problems():
            where = f"{self._path} lists them" if self._path else "see the warnings above"
            _log.warning("%d images could not be read and were skipped; %s", len(problems), where)

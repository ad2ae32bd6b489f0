"""JSON files of gigabytes that are not ours: mapped, what they list is decoded one by one, and nothing is copied."""

import mmap
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from tqdm import tqdm

from peclr.untrusted.text import printable

Head = TypeVar("Head")
Entry = TypeVar("Entry")

_RELEASE_EVERY: Final = 500  # entries, megabytes of JSON
_CONTEXT: Final = 30  # bytes shown before and after a fault


def map_json(path: Path, head: type[Head], looks: str, *, nan_is_null: bool = False) -> tuple[Head, Callable[[], None]]:
    """Decode a file, of which `msgspec.Raw` parts stay where they are, and return what gives their memory back.

    ValueError names the file, the place and what is there, and what it is expected to look like. NaN, which Python
    writes and JSON does not have, may be read as null, from a copy of the file.
    """
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # a missing and an empty file
        raise ValueError(f"{path} cannot be read ({error}); expected a label file") from error
    has_nan = nan_is_null and mapped.find(b"NaN") >= 0
    try:
        content = msgspec.json.decode(
            re.sub(rb"\bNaN\b", b"null", mapped) if has_nan else memoryview(mapped), type=head
        )
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: {error}{_at(error, mapped)}; expected {looks}") from None

    def release() -> None:
        if hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)  # what has been read need not stay resident

    return content, release


def each(
    path: Path,
    entries: Sequence[msgspec.Raw],
    kind: type[Entry],
    release: Callable[[], None],
    *,
    what: str = "annotation",
    progress: bool = False,
) -> Iterator[tuple[int, Entry]]:
    """Decode the annotations, or `what` a mapped file lists, numbered; ValueError names the file and the entry."""
    decoder = msgspec.json.Decoder(kind)
    for number, encoded in enumerate(tqdm(entries, path.name, disable=not progress, mininterval=0.5)):
        try:
            entry = decoder.decode(encoded)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"{path}: {what} {number}: {error}") from None
        yield number, entry
        if number % _RELEASE_EVERY == 0:
            release()


def _at(error: Exception, content: mmap.mmap) -> str:
    """What is around the byte that an error names."""
    if not (found := re.search(r"\(byte (\d+)\)", str(error))):
        return ""
    place = int(found[1])
    around = content[max(0, place - _CONTEXT) : place + _CONTEXT].decode(errors="replace")
    return f", in {printable(around)!r}"

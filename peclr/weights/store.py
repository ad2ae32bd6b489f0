"""The cache of published files: each is fetched or given, checked, unpacked, and appears whole or not at all."""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from peclr import __version__
from peclr.options import locked, naming, write_whole
from peclr.untrusted.archives import read_archived
from peclr.untrusted.binary import damage_of_zip, is_zip, read_zip_member, sha256_of
from peclr.untrusted.text import as_type, read_json, shown
from peclr.weights.catalog import Published
from peclr.weights.fetching import Patience, download, forget

# of a download, and unpacked: the largest, a ResNet-152 with what an optimizer keeps of it, would have 0.7 GB
MOST_MB: Final = 4_000.0
_RECORD: Final = "record.json"
_LOCK: Final = ".lock"
_BEGIN: Final = 512  # bytes
_PIECE: Final = 1 << 20  # bytes
_PAGES: Final = (b"<!doctype", b"<html", b"<?xml")
_PICKLE: Final = b"\x80"  # as files of torch.save begin that are older than its zips
_PATIENCE: Final = Patience()


@dataclass(frozen=True)
class Record:
    """Where a file of the cache is from; kept beside it."""

    source: str  # an address, or the path of a file that was given
    date: str  # ISO 8601, UTC
    size: int  # bytes, as it was fetched or given
    sha256: str  # of the same
    file_sha256: str  # of the file itself, which may have been unpacked
    is_checked: bool  # whether a published sum agreed
    license: str  # that was accepted
    terms: str  # the same
    peclr: str = __version__


def get(published: Published, given: Path | None = None, patience: Patience = _PATIENCE) -> Path:
    """Put a published file into the cache, from a file, or else, unless it is there, from its address.

    Nobody is asked: whoever calls this has accepted the terms. Several processes wait for one another.

    Args:
        published: what to get.
        given: the download, or what was unpacked from it, where it was fetched otherwise; it stays as it is.
        patience: with the host.

    Raises:
        ValueError: it is not what is expected.
        OSError: it cannot be fetched, as `download`, or the cache cannot be written.
    """
    published.folder.mkdir(parents=True, exist_ok=True)
    notice = f"another process is at work in {published.folder}; waiting for it"
    with locked(published.folder / _LOCK, notice):  # who waits finds the file there
        if given is not None:
            is_packed = published.packed and given.suffix != published.path.suffix
            _put(published, given, str(given), is_packed=is_packed)
        elif not published.path.is_file():
            fetched = published.folder / f".{published.file}.download"
            download(published.url, fetched, MOST_MB, patience)
            try:
                _put(published, fetched, published.url, is_packed=published.packed)
            except ValueError:
                forget(fetched)  # going on from it would not make it right
                raise
            forget(fetched)
        return published.path


def read_record(published: Published) -> Record | None:
    """Where the cached file is from; None if nothing says it."""
    path = published.folder / _RECORD
    try:
        return as_type(read_json(path), Record, path)
    except FileNotFoundError:
        return None


def _put(published: Published, source: Path, origin: str, *, is_packed: bool) -> None:
    """Unpack or copy what was fetched or given, check it, and let it appear with its record."""
    partial = published.folder / f".{published.file}.partial"
    partial.unlink(missing_ok=True)
    sha256 = sha256_of(source)
    expected = published.sha256 if is_packed or not published.packed else None
    try:
        if _begin(source).lstrip().lower().startswith(_PAGES):
            raise ValueError("it is a web page")
        if not sha256.startswith(expected or ""):
            raise ValueError(f"its SHA-256 is {sha256}, expected one that begins {expected}")
        with naming(partial), partial.open("xb") as file:
            file.writelines(read_archived(source, published.file, MOST_MB) if is_packed else _pieces(source))
            file.flush()
            os.fsync(file.fileno())
        _check(published, partial)
        record = Record(
            source=origin,
            date=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            size=source.stat().st_size,
            sha256=sha256,
            file_sha256=sha256_of(partial),
            is_checked=bool(expected or published.sha256_inside),
            license=published.license,
            terms=published.terms,
        )
        write_whole(published.folder / _RECORD, json.dumps(asdict(record), indent=2))
        partial.replace(published.path)
    except ValueError as error:
        reason = str(error).removeprefix(f"{source}: ").removeprefix(f"{partial}: ")
        raise ValueError(f"{origin}: not {published.name}: {reason}") from error
    finally:
        partial.unlink(missing_ok=True)


def _check(published: Published, path: Path) -> None:
    """Refuse what is not the published file, as far as sums can say: those that are published, or its own."""
    for name, expected in published.sha256_inside.items():
        if (found := hashlib.sha256(read_zip_member(path, name, name)).hexdigest()) != expected:
            raise ValueError(f"{name} in it has SHA-256 {found}, expected {expected}")
    if published.sha256_inside:
        return
    if is_zip(path):
        if reason := damage_of_zip(path):
            raise ValueError(reason)
    elif not (begin := _begin(path)).startswith(_PICKLE):
        raise ValueError(f"it begins with {shown(begin[:16])}, as no file of torch.save does")


def _begin(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_BEGIN)


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece

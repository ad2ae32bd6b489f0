"""Writes the crops of one task: its shards, and an index of them that appears last, when the task is done.

A task's shards, and the keys in them, have its number in their names, so that tasks need to know nothing of each other.
The same crops make the same bytes.
"""

import fcntl
import hashlib
import io
import os
import secrets
import tarfile
import zlib
from collections import Counter
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec
import numpy as np
import orjson

from peclr.data.prepare.cutting import Crop, Row
from peclr.data.sources.packed_text import pack_texts
from peclr.data.sources.shard_format import COLUMNS, FOLDER, OF_CROP, SIDES, TEXTS, About, Shard, key_of
from peclr.options import naming, write_whole
from peclr.untrusted.text import printable

INDEXES: Final = "tasks"  # folder of the indexes, until they are merged
DEFAULT_SHARD_BYTES: Final = 500_000_000

_BLOCK: Final = tarfile.BLOCKSIZE


class IndexFacts(msgspec.Struct):
    """What an index says beside its arrays: the task's shards; counts and problems are the task's to choose.

    Tracks are numbered within the task, or through all tasks.
    """

    task: int
    shards: list[Shard]
    counts: dict[str, int]
    problems: list[str]
    tracks_through: bool = False


def index_file(folder: Path, task: int) -> Path:
    """The index of a task's crops; the task is done if it is there."""
    return folder / INDEXES / f"{task:06d}.npz"


class ShardWriter:
    """Takes the crops of one task, as a context; its shards and index appear at the end, and nothing after an error.

    Whatever a killed try has left is removed, by the merge where files cannot be locked. Any number of writers, also of
    one task, may be at work in a folder.

    Attributes:
        counts: of anything, "images" or "too small" for example; sums over all tasks are in the manifest.
        problems: messages of what could not be read, for the manifest.
    """

    def __init__(
        self, folder: Path, task: int, shard_bytes: int = DEFAULT_SHARD_BYTES, *, tracks_through: bool = False
    ) -> None:
        """Begin to write a task's crops.

        Args:
            folder: Of all tasks.
            task: Its number.
            shard_bytes: Size at which a shard is ended, and the next begun.
            tracks_through: Whether tracks are numbered through all tasks, and not within each.
        """
        self.folder, self.task, self._shard_bytes, self._tracks_through = folder, task, shard_bytes, tracks_through
        self.counts, self.problems = Counter[str](), list[str]()
        self._rows: list[Row] = []
        self._texts: dict[str, list[str]] = {name: [] for name in TEXTS}
        self._shards: list[Shard] = []
        self._tar: _Tar | None = None

    def __enter__(self) -> Self:
        for folder in (FOLDER, INDEXES):
            (self.folder / folder).mkdir(parents=True, exist_ok=True)
        for left in (self.folder / FOLDER).glob(f".{self.task:06d}-*"):
            _remove_if_left(left)
        return self

    def add(self, crop: Crop, about: About) -> None:
        """Append a crop with all that is known of it."""
        if self._tar is None:
            self._tar = _Tar(self.folder / FOLDER / f"{self.task:06d}-{len(self._shards):02d}.tar")
        row = {name: crop.labels.get(name, column.unknown) for name, column in COLUMNS.items()}
        row |= {name: getattr(about, name) for name in OF_CROP}
        texts = {"id": crop.labels["id"], "file": about.file, "group": about.group, "class": about.class_name}
        key = key_of(self.task, len(self._rows))
        row |= {"length": len(crop.encoded), "crc": zlib.crc32(crop.encoded)}
        row["offset"] = self._tar.append(f"{key}.jpg", crop.encoded)
        self._tar.append(f"{key}.json", _as_json(row, texts, None if self._tracks_through else self.task))
        self._tar.crops += 1
        self._rows.append(row)
        for name, text in texts.items():
            self._texts[name].append(text)
        if self._tar.size >= self._shard_bytes:
            self._end_shard()

    def _end_shard(self) -> None:
        if self._tar is not None:
            self._shards.append(self._tar.finish())
            self._tar = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            if self._tar is not None:
                self._tar.abandon()
            return
        self._end_shard()
        arrays: dict[str, Any] = {}
        for name, column in COLUMNS.items():
            rows = [row[name] for row in self._rows]
            array = np.full((len(rows), *column.shape), 0 if column.unknown is None else column.unknown, column.kind)
            for number, value in enumerate(rows):
                array[number] = value
            arrays[name] = array
        for name, texts in self._texts.items():
            packed = pack_texts(texts)
            arrays |= {f"{name}_text": packed.text, f"{name}_ends": packed.ends}
        # files' names may be any bytes
        problems, counts = list(map(printable, self.problems)), dict(sorted(self.counts.items()))
        facts = IndexFacts(self.task, self._shards, counts, problems, self._tracks_through)
        arrays["facts"] = np.frombuffer(msgspec.json.encode(facts), np.uint8)
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **arrays)
        write_whole(index_file(self.folder, self.task), content.getvalue(), shared=True)
        # of one that was killed, when there was more to be read: no other task has shards of this name
        for left in (self.folder / FOLDER).glob(f"{self.task:06d}-*.tar"):
            if left.name not in {shard.name for shard in self._shards}:
                left.unlink(missing_ok=True)


class _Tar:
    """A tar file that is being written, under another name until it is whole."""

    def __init__(self, path: Path) -> None:
        self.crops, self.size, self._path, self._sum = 0, 0, path, hashlib.sha256()
        self._partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        with naming(self._partial):
            self._file = self._partial.open("xb")
        with suppress(OSError):  # not every file system locks
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def append(self, name: str, content: bytes) -> int:
        """Write a member; returns the offset of its content."""
        self._write(_header(name, len(content)))
        offset = self.size
        self._write(content + bytes(-len(content) % _BLOCK))
        return offset

    def finish(self) -> Shard:
        """Give the file its name."""
        end = self.size + 2 * _BLOCK
        self._write(bytes(2 * _BLOCK + -end % tarfile.RECORDSIZE))
        with naming(self._partial):
            self._file.flush()
            os.fsync(self._file.fileno())  # the index, which says that it is whole, must not survive it
            self._file.close()
        self._partial.replace(self._path)
        return Shard(self._path.name, self.size, self._sum.hexdigest(), self.crops)

    def abandon(self) -> None:
        """Remove the file."""
        self._partial.unlink(missing_ok=True)
        with suppress(OSError):  # what is still to be written does not fit on a full disk
            self._file.close()

    def _write(self, content: bytes) -> None:
        with naming(self._partial):
            self._file.write(content)
        self._sum.update(content)
        self.size += len(content)


# of no time and nobody: the same crops make the same bytes
_HEADER: Final = tarfile.TarInfo().tobuf(tarfile.USTAR_FORMAT)


def _header(name: str, size: int) -> bytes:
    """The header of a member with a short name in ASCII, as tarfile would make it in ten times the time."""
    header = bytearray(_HEADER)
    header[: len(name)] = name.encode("ascii")
    header[124:135] = b"%011o" % size
    header[148:156] = b" " * 8  # the sum counts itself as blanks
    header[148:155] = b"%06o\0" % sum(header)
    return bytes(header)


def _remove_if_left(partial: Path) -> None:
    """Remove a file that nobody is writing any more."""
    with suppress(OSError), partial.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        partial.unlink()


def _as_json(row: Row, texts: dict[str, str], task: int | None) -> bytes:
    """Labels of a crop for other programs; what is unknown is left out, or null for a joint.

    The task is that within which tracks are numbered, None where they are numbered through.
    """
    known: dict[str, Any] = {name: printable(text) for name, text in texts.items() if text}
    for name, column in COLUMNS.items():
        if name in ("offset", "length", "crc"):
            continue
        if column.shape:
            value = np.asarray(row[name], column.kind)
            is_known = column.unknown is None or not np.isnan(value).all()
        else:
            value = column.kind(row[name]).item()
            is_known = value >= 0  # and no NaN
        if is_known:
            known[name] = value
    known["side"] = SIDES[row["side"]]
    if "track" in known and task is not None:
        known["track"] = key_of(task, row["track"])
    return orjson.dumps(known, option=orjson.OPT_SERIALIZE_NUMPY)

"""One file of a tar or a zip that is not ours: its content alone, so that no name or link in it leads anywhere."""

import gzip
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any, Final, NamedTuple

from peclr.untrusted.binary import is_zip, naming_damage
from peclr.untrusted.text import check_size, shown

_LONGEST_READ: Final = 1 << 20  # bytes: a header's texts are read at once, contents are copied in pieces
_MOST_MEMBERS: Final = 10_000
_GZIP: Final = b"\x1f\x8b"


class _Member(NamedTuple):
    name: str
    is_folder: bool
    is_file: bool  # neither of the two: a link, a device
    size: int  # bytes, unpacked
    open: Callable[[], IO[bytes] | None]


def read_archived(archive: Path, name: str, most_mb: float) -> Iterator[bytes]:
    """Yield the content of the file called `name` of a .tar, .tar.gz or .zip, in whatever folder of it, in pieces.

    Where none has the name, the only file with its suffix is meant. ValueError if the archive is damaged, has more than
    `most_mb` unpacked, or has anything but files and folders below itself: that was not made in good faith.
    """
    with naming_damage(archive, "archive"), _opened(archive, most_mb) as members:
        for member in members:
            _check(member)
        files = [member for member in members if not member.is_folder]
        check_size(sum(member.size for member in files), "unpacked", most_mb)
        visible = [file for file in files if not PurePosixPath(file.name).name.startswith(".")]  # macOS adds ._NAME
        suffix = PurePosixPath(name).suffix
        chosen = [file for file in visible if PurePosixPath(file.name).name == name]
        chosen = chosen or [file for file in visible if file.name.endswith(suffix)]
        content = chosen[0].open() if len(chosen) == 1 else None
        if content is None:
            found = shown([file.name for file in files[:9]])
            raise ValueError(f"expected {name} in it, or one other {suffix} file, found {found}")
        with content:
            while piece := content.read(_LONGEST_READ):
                yield piece


def _check(member: _Member) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or PureWindowsPath(member.name).drive:
        raise ValueError(f"it holds {shown(member.name)}, which leads outside")
    if not (member.is_file or member.is_folder):
        raise ValueError(f"it holds {shown(member.name)}, which is no file: a link or a device")


@contextmanager
def _opened(archive: Path, most_mb: float) -> Iterator[list[_Member]]:
    """The members of an archive while it is open."""
    if is_zip(archive):
        with zipfile.ZipFile(archive) as zipped:
            yield [_zip_member(zipped, info) for info in zipped.infolist()]
        return
    with archive.open("rb") as file:
        packed = file.read(len(_GZIP)) == _GZIP
    with gzip.open(archive) if packed else archive.open("rb") as plain:
        limited: Any = _Limited(plain, most_mb)
        with tarfile.open(fileobj=limited, mode="r:") as tar:
            members = []
            for info in tar:
                members.append(_tar_member(tar, info))
                if len(members) > _MOST_MEMBERS:
                    raise ValueError(f"it holds more than {_MOST_MEMBERS:,} files")
            while limited.read(_LONGEST_READ):  # to the sum at the end
                pass
            yield members


def _zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the writer has no such thing
    is_file = kind in (0, stat.S_IFREG) and not info.is_dir()
    return _Member(info.filename, info.is_dir(), is_file, info.file_size, lambda: archive.open(info))


def _tar_member(archive: tarfile.TarFile, info: tarfile.TarInfo) -> _Member:
    is_file = info.isreg() and not info.issparse()  # a sparse file may declare any size
    return _Member(info.name, info.isdir(), is_file, info.size, lambda: archive.extractfile(info))


class _Limited:
    """An unpacked stream that raises ValueError instead of giving more than a limit, or much at once."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile, most_mb: float) -> None:
        self._file, self._most_mb = file, most_mb

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LONGEST_READ:
            raise ValueError(f"a header of {size:,} bytes")
        content = self._file.read(size)
        check_size(self._file.tell(), "unpacked", self._most_mb)
        return content

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_SET:
            check_size(offset, "unpacked", self._most_mb)
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

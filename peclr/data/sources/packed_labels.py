"""Labels packed into memory-mapped arrays beside a manifest, so that workers share them and nothing is parsed twice.

`peclr prepare` writes a folder of NAME.npy files with a `manifest.json`: what was packed, and size, time and hash of
the files it came from. Readers use the folder while those files are the same. A folder appears whole or not at all.
"""

import logging
import os
import shutil
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from stat import S_ISREG
from typing import Annotated, Any, Final, Literal, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from peclr import __version__
from peclr.data.sources.layouts import (
    LAYOUTS,
    MANIFEST,
    DataSet,
    check_labels,
    label_files,
    prepare_command,
    prepared_folder,
)
from peclr.options import naming, write_whole
from peclr.untrusted.binary import read_array, sha256_of
from peclr.untrusted.text import as_type, read_json

Array = NDArray[Any]

_SUMMED: Final = 2**26  # bytes; larger files are mapped in order not to be read, and are compared where they are copied
_PIECE: Final = 2**20  # bytes
_log = logging.getLogger(__name__)

PARTIAL: Final = ".partial-"  # in the names of folders that are being written


class Stamp(msgspec.Struct):
    """Size, time and hash of a file."""

    bytes: int
    mtime_ns: int
    sha256: str


class Manifest(msgspec.Struct):
    """What a prepared folder holds: counts and settings are facts."""

    kind: str
    sources: dict[str, Stamp]
    arrays: dict[Annotated[str, msgspec.Meta(pattern=r"^\w+$")], Any]  # the CRC-32 of each; format 1 had none
    facts: dict[str, Any]
    format: Literal[1, 2]  # the last is written
    peclr: str = __version__


class PackedArrays(dict[str, Array]):
    """The arrays of a prepared folder, read-only and memory-mapped: all processes share their pages.

    Pickled as the folder's path, so that workers that are spawned map the files again and copy nothing. ValueError
    names the file if the folder is not whole.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).resolve()
        path = self.folder / MANIFEST
        if not path.is_file():
            raise ValueError(f"{path} is missing; prepare it again")
        self.manifest = as_type(read_json(path), Manifest, f"{path}, which peclr {__version__} cannot read")
        super().__init__({name: _map(self.folder / f"{name}.npy", crc) for name, crc in self.manifest.arrays.items()})

    def __missing__(self, name: str) -> Array:
        raise ValueError(f"{self.folder} has no {name}, which peclr {__version__} needs; prepare it again")

    def __reduce__(self) -> tuple[type[Self], tuple[Path]]:
        return type(self), (self.folder,)


def open_fresh(dataset: DataSet, root: Path, split: str) -> PackedArrays | None:
    """Open the packed labels of a split; None if there are none.

    ValueError if they are not whole, or not those of the label files as they are now: a file of the same size and time
    is taken to be the same; of one of the same size and another time, a copy perhaps, the hash is compared.
    """
    folder = prepared_folder(dataset, root, split)
    if not folder.is_dir():
        return None
    packed = PackedArrays(folder)
    stamps = packed.manifest.sources
    files = {name_below(root, path): path for path in label_files(dataset, root, split)}
    for name in sorted(stamps.keys() | files.keys()):
        if not _is_same(files.get(name), stamps.get(name)):
            raise ValueError(f"{folder} is stale: {root / name} is missing, new or has changed")
    return packed


def labels_of(dataset: DataSet, root: Path, split: str, *, use_prepared: bool) -> Mapping[str, Array]:
    """The labels of a split: `PackedArrays` where they are fresh and may be used, or else those of its files.

    ValueError if there is no such split, or a label file is missing.
    """
    check_labels(dataset, root, split)
    packed = open_if_fresh(dataset, root, split) if use_prepared else None
    if packed is not None:
        return packed
    if use_prepared and (slow := LAYOUTS[dataset].slow):
        _log.warning("%s: %s; `%s` does it once", root, slow, prepare_command(dataset, root, split))
    return read_labels(dataset, root, split)


def read_labels(dataset: DataSet, root: Path, split: str, **options: Any) -> Mapping[str, Array]:
    """Read the label files of a split; ValueError names the file and value that is wrong."""
    module = LAYOUTS[dataset].reader.partition(".")[0]
    labels: Mapping[str, Array]
    labels = import_module(f"peclr.data.sources.{module}_labels").read_labels(dataset, root, split, **options)
    return labels


def open_if_fresh(dataset: DataSet, root: Path, split: str) -> PackedArrays | None:
    """Open the packed labels of a split; None, with a warning, where they cannot be used."""
    try:
        return open_fresh(dataset, root, split)
    except ValueError as error:
        warnings.warn(
            f"prepared labels are not used: {error}. The original files are read instead, which is slower; "
            f"`{prepare_command(dataset, root, split)}` fixes it",
            stacklevel=4,  # of who makes a reader
        )
        return None


def name_below(root: Path, path: Path) -> str:
    """Name of a label file in a manifest."""
    return path.relative_to(root).as_posix()


def stamp_of(path: Path) -> Stamp:
    """Size, time and hash of a file."""
    status = path.stat()
    return Stamp(status.st_size, status.st_mtime_ns, sha256_of(path))


def _is_same(file: Path | None, stamp: Stamp | None) -> bool:
    if file is None or stamp is None:
        return False
    try:
        status = file.stat()
    except OSError:
        return False
    same_size = S_ISREG(status.st_mode) and status.st_size == stamp.bytes
    return same_size and (status.st_mtime_ns == stamp.mtime_ns or sha256_of(file) == stamp.sha256)


def write_packed(
    folder: Path, kind: str, arrays: Mapping[str, Array], sources: Mapping[str, Stamp], facts: Mapping[str, Any]
) -> None:
    """Write arrays, none of them empty, and, last, their manifest, see `PackedArrays`.

    NAME.npy files that are already in the folder, see `replacing`, are taken to be the arrays.
    """
    for name, array in arrays.items():
        path = folder / f"{name}.npy"
        if not path.exists():
            with naming(path):
                np.save(path, array, allow_pickle=False)
    sums = {name: crc_of(folder / f"{name}.npy") for name in arrays}
    manifest = Manifest(kind, dict(sources), sums, dict(facts), 2)
    with naming(folder / MANIFEST):
        write_whole(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a new folder to write into, which takes the place of `target` at the end, and vanishes on errors.

    A process that is killed leaves a hidden folder with `PARTIAL` in its name, which nothing reads.
    """
    parent_is_new = not target.parent.exists()
    partial = target.with_name(f".{target.name}{PARTIAL}{os.getpid()}")
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise ValueError(f"{partial} cannot be made ({error.strerror}); expected a folder to write to") from error
    try:
        yield partial
        replaced = partial.with_name(f"{partial.name}-replaced")
        with suppress(FileNotFoundError):
            target.rename(replaced)
        partial.rename(target)
        shutil.rmtree(replaced, ignore_errors=True)
    except BaseException:  # Ctrl-C, too
        shutil.rmtree(partial, ignore_errors=True)
        if parent_is_new:
            with suppress(OSError):  # someone else's things are in it by now
                target.parent.rmdir()
        raise


def crc_of(path: Path) -> int:
    """CRC-32 of a file."""
    crc = 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            crc = zlib.crc32(piece, crc)
    return crc


def _map(path: Path, expected: object) -> Array:
    try:
        if isinstance(expected, int) and path.stat().st_size <= _SUMMED and crc_of(path) != expected:
            raise ValueError("its content is not what was written")
        return read_array(path, mapped=True)
    except (OSError, ValueError) as error:  # missing, or shorter than its header says
        raise ValueError(f"{path} cannot be mapped: {error}") from error

"""Labels packed into memory-mapped arrays beside a manifest, so that workers share them and nothing is parsed twice.

`peclr prepare` writes a folder of NAME.npy files with a `manifest.json`: what was packed, and size, time and hash of
the files it came from. Readers use the folder while those files are the same. A folder appears whole or not at all.
"""

import hashlib
import json
import os
import shutil
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from peclr import __version__
from peclr.data.sources.json_files import read_json
from peclr.data.sources.layouts import MANIFEST, DataSet, label_files, prepare_command, prepared_folder
from peclr.options import naming
from peclr.untrusted.binary import read_array
from peclr.untrusted.text import shown

Array = NDArray[Any]
Stamp = dict[str, int | str]  # of a file: bytes, mtime_ns, sha256

FORMATS: Final = (1, 2)  # of manifests that are read; the last is written
_SUMMED: Final = 2**26  # bytes
PARTIAL: Final = ".partial-"  # in the names of folders that are being written


class PackedArrays(Mapping[str, Array]):
    """The arrays of a prepared folder, read-only and memory-mapped: all processes share their pages.

    Pickled as the folder's path, so that workers that are spawned map the files again and copy nothing. `manifest`
    holds its format, kind, the version that wrote it, stamps of its sources, sums of its arrays by name, and facts:
    counts and settings. ValueError names the file if the folder is not whole.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).resolve()
        path = self.folder / MANIFEST
        self.manifest: dict[str, Any] = read_json(path)
        expected = {"format", "kind", "sources", "arrays", "facts"}
        if not isinstance(self.manifest, dict) or not expected <= self.manifest.keys():
            raise ValueError(f"{path}: expected an object with {', '.join(sorted(expected))}; prepare it again")
        if self.manifest["format"] not in FORMATS:
            found = f"format {self.manifest['format']!r}, but this peclr {__version__} reads {FORMATS}"
            raise ValueError(f"{path}: {found}; prepare it again")
        names = self.manifest["arrays"]
        if not isinstance(names, list | dict) or not all(
            isinstance(name, str) and name.isidentifier() for name in names
        ):
            raise ValueError(f"{path}: arrays are {shown(names)}; expected names of files in {self.folder}")
        sums = names if isinstance(names, dict) else {}
        self._arrays = {name: _map(self.path(name), sums.get(name)) for name in names}

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __reduce__(self) -> tuple[type[Self], tuple[Path]]:
        return type(self), (self.folder,)

    def path(self, name: str) -> Path:
        """The file of array `name`."""
        return self.folder / f"{name}.npy"


def open_fresh(dataset: DataSet, root: Path, split: str) -> PackedArrays | None:
    """Open the packed labels of a split; None if there are none.

    ValueError if they are not whole, or not those of the label files as they are now: a file of the same size and time
    is taken to be the same; of one of the same size and another time, a copy perhaps, the hash is compared.
    """
    folder = prepared_folder(dataset, root, split)
    if not folder.is_dir():
        return None
    packed = PackedArrays(folder)
    stamps, files = packed.manifest["sources"], {path.name: path for path in label_files(dataset, root, split)}
    keys = {"bytes", "mtime_ns", "sha256"}
    if not isinstance(stamps, dict) or not all(isinstance(one, dict) and keys <= one.keys() for one in stamps.values()):
        raise ValueError(
            f"{folder / MANIFEST}: sources are {shown(stamps)}; expected {', '.join(sorted(keys))} of each"
        )
    if files.keys() != stamps.keys():
        made, now = (", ".join(sorted(names)) for names in (stamps, files))
        raise ValueError(f"{folder} is stale: it was made from {made}, now there are {now}")
    for name, path in files.items():
        if not path.is_file() or not _is_same(path, stamps[name]):
            raise ValueError(f"{folder} is stale: {path} is missing or has changed")
    return packed


def open_if_fresh(dataset: DataSet, root: Path, split: str) -> PackedArrays | None:
    """Open the packed labels of a split; None, with a warning, where they cannot be used."""
    try:
        return open_fresh(dataset, root, split)
    except ValueError as error:
        warnings.warn(
            f"prepared labels are not used: {error}. The original files are read instead, which is slower; "
            f"`{prepare_command(dataset, root, split)}` fixes it",
            stacklevel=3,
        )
        return None


def stamp_of(path: Path) -> Stamp:
    """Size, time and hash of a file."""
    status = path.stat()
    return {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": _hash_of(path)}


def _is_same(path: Path, stamp: Stamp) -> bool:
    status = path.stat()
    same_time = status.st_mtime_ns == stamp["mtime_ns"]
    return status.st_size == stamp["bytes"] and (same_time or _hash_of(path) == stamp["sha256"])


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
    manifest = {
        "format": FORMATS[-1],
        "kind": kind,
        "peclr": __version__,
        "sources": dict(sources),
        "arrays": {name: _sum_of(folder / f"{name}.npy") for name in arrays},
        "facts": dict(facts),
    }
    with naming(folder / MANIFEST):
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


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


def _sum_of(path: Path) -> int | None:
    """Checksum of a file; None for one so large that it is mapped in order not to be read."""
    return zlib.crc32(path.read_bytes()) if path.stat().st_size <= _SUMMED else None


def _map(path: Path, expected: object) -> Array:
    try:
        if isinstance(expected, int) and _sum_of(path) not in (expected, None):
            raise ValueError("its content is not what was written")
        return read_array(path, mapped=True)
    except (OSError, ValueError) as error:  # missing, or shorter than its header says
        raise ValueError(f"{path} cannot be mapped: {error}") from error

"""Labels packed into memory-mapped arrays beside a manifest, so that workers share them and nothing is parsed twice.

`peclr prepare` writes a folder of NAME.npy files with a `manifest.json`: what was packed, and size, time and hash of
the files it came from. Readers use the folder while those files are the same. A folder appears whole or not at all.
"""

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypedDict

import numpy as np
from numpy.typing import NDArray

from peclr import __version__
from peclr.options import naming

Array = NDArray[Any]

FORMAT = 1  # of the manifest; readers refuse others
MANIFEST = "manifest.json"
PARTIAL = ".partial-"  # in the names of folders that are being written


class SourceStamp(TypedDict):
    """A file that labels came from."""

    bytes: int
    mtime_ns: int
    sha256: str


class ArrayStamp(TypedDict):
    """An array as it was written."""

    dtype: str
    shape: list[int]
    bytes: int


class Manifest(TypedDict):
    """What a prepared folder holds.

    Attributes:
        format: `FORMAT`.
        kind: What was packed, "freihand_training" for example.
        peclr: The version that wrote it.
        sources: By name, relative to the root of the data set.
        arrays: By name; the file is NAME.npy.
        facts: Counts and settings, for people and tables.
    """

    format: int
    kind: str
    peclr: str
    sources: dict[str, SourceStamp]
    arrays: dict[str, ArrayStamp]
    facts: dict[str, Any]


class PackedArrays(Mapping[str, Array]):
    """The arrays of a prepared folder, read-only and memory-mapped: all processes share their pages.

    Pickled as the folder's path, so that workers that are spawned map the files again and copy nothing.
    """

    def __init__(self, folder: str | Path) -> None:
        """Maps the arrays.

        Args:
            folder: Holds `manifest.json` and the arrays.

        Raises:
            ValueError: If the folder is not whole; the message names the file and what was expected.
        """
        self.folder = Path(folder).resolve()
        self.manifest = read_manifest(self.folder)
        self._arrays = {name: _map(self.path(name), stamp) for name, stamp in self.manifest["arrays"].items()}

    def __getitem__(self, name: str) -> Array:
        """The array `name`."""
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        """Names of the arrays."""
        return iter(self._arrays)

    def __len__(self) -> int:
        """Number of arrays."""
        return len(self._arrays)

    def __reduce__(self) -> tuple[type[Self], tuple[Path]]:
        return type(self), (self.folder,)

    def path(self, name: str) -> Path:
        """The file of array `name`."""
        return self.folder / f"{name}.npy"


def prepared_folder(root: str | Path, kind: str) -> Path:
    """Where `peclr prepare` puts the labels of a data set, and where readers look for them."""
    return Path(root) / "prepared" / kind


def open_if_fresh(
    root: str | Path, kind: str, sources: Sequence[Path], command: str | None = None
) -> PackedArrays | None:
    """The packed labels of a data set, if they are those of its files as they are now.

    A file of the same size and time is taken to be the same; one of the same size and another time, a copy perhaps,
    is read and its hash compared.

    Args:
        root: Folder of the data set.
        kind: Name of the prepared folder.
        sources: Files below the root that labels would be read from otherwise.
        command: What prepares this data set, for a warning if the folder is stale or not whole; None gives none.

    Returns:
        None if there are none, or none that can be used.
    """
    folder = prepared_folder(root, kind)
    if not folder.is_dir():
        return None
    try:
        return open_fresh(root, kind, sources)
    except ValueError as error:
        if command is not None:
            warnings.warn(
                f"the prepared labels in {folder} are not used: {error}. The original files are read instead, which "
                f"is slower; `{command}` fixes it",
                stacklevel=3,
            )
        return None


def open_fresh(root: str | Path, kind: str, sources: Sequence[Path]) -> PackedArrays:
    """As `open_if_fresh`; ValueError says why they cannot be used."""
    folder = prepared_folder(root, kind)
    packed = PackedArrays(folder)
    if packed.manifest["kind"] != kind:
        raise ValueError(f"{folder / MANIFEST}: kind is {packed.manifest['kind']!r}, expected {kind!r}")
    reason = staleness(packed.manifest, Path(root), sources)
    if reason is not None:
        raise ValueError(f"{folder} is stale: {reason}")
    return packed


def staleness(manifest: Manifest, root: Path, sources: Sequence[Path]) -> str | None:
    """Why a prepared folder is not that of `sources`, files below `root`; None if it is."""
    stamps = manifest["sources"]
    names = {path.relative_to(root).as_posix(): path for path in sources}
    if names.keys() != stamps.keys():
        return f"it was made from {', '.join(sorted(stamps))}, and now there are {', '.join(sorted(names))}"
    for name, path in names.items():
        if not path.is_file():
            return f"{path} is missing"
        status, stamp = path.stat(), stamps[name]
        if status.st_size != stamp["bytes"]:
            return f"{path} has {status.st_size} bytes, and had {stamp['bytes']}"
        if status.st_mtime_ns != stamp["mtime_ns"] and sha256_of(path) != stamp["sha256"]:
            return f"{path} has changed"
    return None


def read_manifest(folder: Path) -> Manifest:
    """Reads and checks the manifest of a prepared folder; ValueError names what is wrong with it."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror})") from error
    except ValueError as error:  # not JSON, or not text
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    expected = Manifest.__required_keys__
    if not isinstance(manifest, dict) or not expected <= manifest.keys():
        raise ValueError(f"{path}: expected an object with {', '.join(sorted(expected))}")
    if manifest["format"] != FORMAT:
        raise ValueError(f"{path}: format {manifest['format']!r}, but this peclr {__version__} reads {FORMAT}")
    checked: Manifest = {key: manifest[key] for key in Manifest.__annotations__}  # type: ignore[assignment]  # a dict of these keys
    return checked


def stamp_source(path: Path) -> SourceStamp:
    """Size, time and hash of a file."""
    status = path.stat()
    return {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": sha256_of(path)}


def write_packed(
    folder: Path,
    kind: str,
    arrays: Mapping[str, Array],
    sources: Mapping[str, SourceStamp],
    facts: Mapping[str, Any],
) -> None:
    """Writes arrays and, last, their manifest.

    Args:
        folder: An existing folder, see `replacing`. NAME.npy files that are already there are taken to be the arrays.
        kind: What is packed.
        arrays: By name, none of them empty.
        sources: Files that they came from, relative to the data set's root.
        facts: Counts and settings that can be written as JSON.
    """
    stamps: dict[str, ArrayStamp] = {}
    for name, array in arrays.items():
        path = folder / f"{name}.npy"
        if not path.exists():
            with naming(path):
                np.save(path, array, allow_pickle=False)
        stamps[name] = {
            "dtype": array.dtype.str,
            "shape": list(array.shape),
            "bytes": path.stat().st_size,
        }
    manifest: Manifest = {
        "format": FORMAT,
        "kind": kind,
        "peclr": __version__,
        "sources": dict(sources),
        "arrays": stamps,
        "facts": dict(facts),
    }
    with naming(folder / MANIFEST):
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Gives a new folder to write into, which takes the place of `target` at the end, and vanishes on errors.

    A process that is killed leaves a hidden folder with `PARTIAL` in its name, which nothing reads.
    """
    partial = target.with_name(f".{target.name}{PARTIAL}{os.getpid()}")
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise ValueError(f"{partial} cannot be made ({error.strerror}); expected a folder to write to") from error
    try:
        yield partial
        if target.exists():
            replaced = partial.with_name(f"{partial.name}-replaced")
            target.rename(replaced)
            partial.rename(target)
            shutil.rmtree(replaced)
        else:
            partial.rename(target)
    except BaseException:  # Ctrl-C, too
        shutil.rmtree(partial, ignore_errors=True)
        raise


def sha256_of(path: Path) -> str:
    """Hash of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _map(path: Path, stamp: ArrayStamp) -> Array:
    """One array, without reading it, after checking that it is as long as it was."""
    try:
        size = path.stat().st_size
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be mapped: {error}") from error
    found = (size, array.dtype.str, list(array.shape))
    expected = (stamp["bytes"], stamp["dtype"], stamp["shape"])
    if found != expected:
        raise ValueError(f"{path} has (bytes, type, shape) {found}, expected {expected}")
    return np.asarray(array)  # a plain view: indexing np.memmap costs more

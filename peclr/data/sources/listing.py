"""Which files count: one rule for folders and patterns, in training, predicting and checking.

Images and videos count by the ends of their names, in small letters or capitals, in all folders below, those behind
links included, each folder once. Hidden files and folders do not count, such as the ._photo.jpg of macOS and the
.ipynb_checkpoints of Jupyter; nor do masks, which are no images of hands: files below a folder that is called mask or
masks, and 1_mask.png beside 1.jpg. What looks like an image or a video and does not count is counted with the reason.
"""

import glob
import logging
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, NamedTuple

from peclr.untrusted.text import shown

if TYPE_CHECKING:  # light commands list files, too
    import numpy as np
    from numpy.typing import NDArray

HAS_HEIF: Final = find_spec("pillow_heif") is not None
HEIF_EXTRA: Final = "pip install 'peclr[images]'"
_HEIF: Final = (".heic", ".heif")
IMAGES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif", *(_HEIF if HAS_HEIF else ()))
VIDEOS: Final = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg")
_OTHERS: Final = (
    *(*_HEIF, ".jfif", ".jp2", ".jxl", ".gif", ".psd", ".svg"),
    *(".dng", ".raw", ".arw", ".cr2", ".cr3", ".nef", ".orf", ".rw2"),
    *(".wmv", ".flv", ".3gp", ".mts", ".m2ts", ".ogv"),
)

_MASKS, _MASK = re.compile(r"(^|/)masks?/", re.IGNORECASE), re.compile(r"(.+)[_.-]mask", re.IGNORECASE)

_LONGEST: Final = 4096  # characters of a path, as of Linux
_NAMED: Final = 5

_log = logging.getLogger(__name__)


class Listing(NamedTuple):
    """Files below a folder that count."""

    folder: Path  # that was given, or of a pattern the part before the first wildcard
    files: list[str]  # relative to the folder, with / between folders, sorted
    left_out: Counter[str]  # how many images and videos do not count, by reason


def list_files(root: str | Path, suffixes: Sequence[str], what: str, *, warns: bool = True) -> Listing:
    """List the files of a kind below a folder, or those that a pattern matches; ValueError if there are none.

    A pattern is as of a shell, with ** for any folders. Suffixes are in small letters; `what` names the kind.
    """
    folder = Path(root)
    pattern: tuple[str, ...] = ("**", "*")
    if not folder.is_dir():
        if not glob.has_magic(str(root)):
            near = f"a folder of {what}, or a pattern such as {root}/**/*"
            near = f"the folder that holds it, {folder.parent}" if folder.is_file() else near
            raise ValueError(f"{root} is not a folder; expected {near}")
        parts = folder.parts
        plain = next(number for number, part in enumerate(parts) if glob.has_magic(part))
        folder, pattern = Path(*parts[:plain]), parts[plain:]
    found, left_out = list[str](), Counter[str]()
    for file, reason in _below(folder, None if "**" in pattern else len(pattern)):
        suffix = os.path.splitext(file)[1].lower()  # noqa: PTH122 (a Path for each of a million files takes seconds)
        if file.endswith("/"):
            left_out[reason or ""] += 1
        elif suffix in (*IMAGES, *VIDEOS, *_OTHERS) and _matches(file.split("/"), pattern):
            reason = reason or ("masks" if _MASKS.search(file) else None if suffix in suffixes else suffix)
            if reason is None:
                found.append(file)
            else:
                left_out[f"{reason} ({HEIF_EXTRA} reads them)" if reason in _HEIF else reason] += 1
    names = {os.path.splitext(file)[0] for file in found}  # noqa: PTH122 (the same)
    if masks := {name for name in names if (mask := _MASK.fullmatch(name)) and mask[1] in names}:
        left_out["masks"] += len(found)
        found = [file for file in found if os.path.splitext(file)[0] not in masks]  # noqa: PTH122 (the same)
        left_out["masks"] -= len(found)
    if not found:
        reasons = f"; {describe_left_out(left_out)}" if left_out else ""
        raise ValueError(f"{root}: no {what}; expected files ending in {', '.join(suffixes)}{reasons}")
    if left_out and warns:
        _log.warning("%s: %s", root, describe_left_out(left_out))
    return Listing(folder, sorted(found), left_out)


def describe_left_out(left_out: Counter[str]) -> str:
    """Numbers of files that were left out, and why."""
    return "left out " + ", ".join(f"{count:,} {reason}" for reason, count in sorted(left_out.items()))


def some(names: Sequence[str], between: str = ", ") -> str:
    """The first few of many names, and how many more there are, for messages."""
    return between.join([*names[:_NAMED], *([f"and {len(names) - _NAMED:,} more"] if len(names) > _NAMED else [])])


def is_below(name: str) -> bool:
    """Whether a name from a file of labels stays in the folder that it is relative to."""
    path = PurePosixPath(name)
    return 0 < len(name) < _LONGEST and not path.is_absolute() and ".." not in path.parts and "\0" not in name


def are_there(root: Path, names: "NDArray[np.bytes_]") -> "NDArray[np.bool_]":
    """Which files (N,) below a folder exist, by names of file systems; ValueError for one that is not below it.

    Folders are listed, once each: separate looks at 100,000 files take seconds.
    """
    import numpy as np

    listed: dict[bytes, set[bytes]] = {}
    there = np.empty(len(names), np.bool_)
    for number, name in enumerate(names.tolist()):
        folder, _, file = name.rpartition(b"/")
        if folder not in listed:
            if not is_below(os.fsdecode(name)):
                raise ValueError(f"{root}: its labels name {shown(os.fsdecode(name))}, which is not below it")
            path = os.path.join(os.fsencode(root), folder)  # noqa: PTH118 (of bytes)
            listed[folder] = set(os.listdir(path)) if os.path.isdir(path) else set()  # noqa: PTH112, PTH208
        there[number] = file in listed[folder]
    return there


def natural_order(name: str) -> tuple[list[str | int], str]:
    """A key that sorts frame_2 before frame_10."""
    parts = re.split(r"(\d+)", name)
    return [int(part) if number % 2 else part for number, part in enumerate(parts)], name


def _below(folder: Path, depth: int | None) -> Iterator[tuple[str, str | None]]:
    """Names of all files below a folder, relative to it, and why they do not count; None where they may.

    Real folders come first, then links in order of their names, so that a folder goes by its own name.
    """
    folders, links, seen = [""], list[str](), set[str]()
    while folders or links:
        relative = folders.pop() if folders else links.pop(0)
        path = os.path.realpath(folder / relative)
        if path in seen:
            continue
        seen.add(path)
        try:
            with os.scandir(path) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            yield f"{relative}/", f"folders that cannot be listed ({error.strerror})"
            continue
        for entry in entries:
            name = f"{relative}/{entry.name}" if relative else entry.name
            if entry.is_dir():
                if not entry.name.startswith(".") and (depth is None or name.count("/") + 1 < depth):
                    (links if entry.is_symlink() else folders).append(name)
            elif entry.name.startswith("."):
                yield name, "hidden"
            else:
                yield name, None if entry.is_file() else "links to nothing"


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a relative path matches a pattern of as many parts, ** being any number of folders."""
    if not parts or not pattern:
        return not parts and all(part == "**" for part in pattern)
    if pattern[0] == "**":
        return _matches(parts, pattern[1:]) or _matches(parts[1:], pattern)
    return fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])

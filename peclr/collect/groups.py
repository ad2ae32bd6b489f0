"""Persons, or whatever else must not be divided, and classes of images and videos, by a table."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from peclr.data.sources.inputs import Input
from peclr.data.sources.listing import some
from peclr.untrusted.text import read_table

_COLUMNS: Final = ("file", "group", "class")


class Group(NamedTuple):
    """What a hand belongs to; splits keep its hands together."""

    name: str
    class_name: str = ""  # a class that somebody gave, "" for none


def groups_of(inputs: Sequence[Input], table: Path | None) -> list[Group]:
    """The group of each input: as a CSV file says, or else a video's is the video, and an image's its folder.

    The file has the columns file, group and, perhaps, class; a file is named as it was given, relative to the folder
    given, or by its name alone. ValueError if an input has no row.
    """
    if table is None:
        return [Group(one.file if one.kind == "video" else str(PurePosixPath(one.file).parent)) for one in inputs]
    known = _read(table)
    found = [next((known[name] for name in one.names if name in known), None) for one in inputs]
    if missing := [one.file for one, group in zip(inputs, found, strict=True) if group is None]:
        raise ValueError(f"{table}: {len(missing):,} of {len(inputs):,} files have no group: {some(missing)}")
    return [group for group in found if group is not None]


def _read(table: Path) -> dict[str, Group]:
    groups = dict[str, Group]()
    for number, row in enumerate(read_table(table), 1):
        cells = {name.strip().lower(): cell.strip() for name, cell in row.items()}
        if not {"file", "group"} <= cells.keys() <= {*_COLUMNS}:
            raise ValueError(f"{table}: its columns are {', '.join(row)}; expected file, group and, perhaps, class")
        group = Group(cells["group"], cells.get("class", ""))
        if not cells["file"] or not group.name:
            raise ValueError(f"{table}: row {number} is {row}; expected a file and its group")
        if groups.setdefault(cells["file"], group) != group:
            raise ValueError(f"{table}: {cells['file']} has the groups {groups[cells['file']]} and {group}")
    return groups

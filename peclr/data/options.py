"""Options that the data modules share: data by path or by readers, sizes, ranges of augmentation by name."""

from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args

from peclr.data.loading.amounts import AUTO, Auto
from peclr.data.samples import HandSource
from peclr.data.views.geometric import GeometryRange
from peclr.data.views.photometric import Photometric

GEOMETRY: Final = GeometryRange()
PHOTOMETRIC: Final = Photometric()

Published = Literal["published", "reference"]  # the second is its name before 0.2

Ranges = TypeVar("Ranges", GeometryRange, Photometric)


def one_of(root: Any, sources: HandSource | list[HandSource] | None) -> tuple[str | Path, list[HandSource]]:
    """Return a path, or else readers; ValueError unless there is exactly one of the two."""
    if isinstance(root, HandSource | list):  # in version 0.1, readers stood in its place
        root, sources = None, root
    listed = as_list(sources)
    check_given(root, listed)
    return root or "", listed


def check_given(root: Any, sources: Any) -> None:
    """Refuse data of neither path nor readers, or of both."""
    if bool(root) == bool(sources):
        if sources:
            raise ValueError(f"data.root {root} and data.sources are both given; expected one of them, the other null")
        kinds = "data.root, the path of a data set, of images or of videos, or data.sources, readers with options"
        raise ValueError(f"no data: give {kinds}")


def as_list(sources: HandSource | list[HandSource] | None) -> list[HandSource]:
    """Readers, however many were given."""
    return sources if isinstance(sources, list) else [] if sources is None else [sources]


def check_sizes(view_size: int, batch_size: int | Auto) -> None:
    """Refuse sizes below 1 before anything is read."""
    for name, size in (("view_size", view_size), ("batch_size", batch_size)):
        if size != AUTO and size < 1:
            raise ValueError(f"{name} {size}: expected at least 1")


def ranges(option: str, chosen: Ranges | Published | None, published: Ranges) -> Ranges | None:
    """Return the ranges that were chosen, the published ones by name; ValueError for another name."""
    if not isinstance(chosen, str):
        return chosen
    if chosen not in get_args(Published):
        raise ValueError(f"{option} {chosen!r} does not exist; by name there is only 'published'")
    return published

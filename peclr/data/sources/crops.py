"""Crops as versions before 0.3 cut them out: a folder of JPEG files, one each, with packed labels; only read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from peclr.data.sources.image_faults import find_problems
from peclr.data.sources.images import BadImageError
from peclr.data.sources.layouts import MANIFEST, Depth
from peclr.data.sources.packed_labels import Array, PackedArrays
from peclr.data.sources.packed_text import pack_texts
from peclr.data.sources.shard_format import CUT, NUMBERED, SIDES, Column, Facts, Opened, check_shapes
from peclr.untrusted.text import as_type

KIND: Final = "crops"  # in the manifest
_FOLDER_SIZE: Final = 1000  # crops in one folder
_COLUMNS: Final = {name: Column(column.kind, column.shape) for name, column in CUT.items()} | {
    **dict.fromkeys(("hand", "version", "hand_of_version"), Column(np.int64)),
    "id": Column(np.bytes_),
}


class _OldFacts(msgspec.Struct):
    source: str
    skipped: dict[str, str]


def open_old_labels(packed: PackedArrays) -> Opened:
    """Check the arrays, and name them as those of shards."""
    facts = as_type(packed.manifest.facts, _OldFacts, f"{packed.folder / MANIFEST}, facts")
    count = len(hand) if (hand := packed.get("hand")) is not None and hand.ndim else 0
    check_shapes(packed, packed.folder, _COLUMNS, count)
    hand, version, of_version, side = (packed[name] for name in ("hand", "version", "hand_of_version", "side"))
    numbers = np.unique(hand, return_inverse=True)[1]
    order = np.argsort(numbers, kind="stable")
    expected = [
        (hand, numbers),
        (version, order),
        (of_version, numbers[order]),
        (side, np.minimum(side, len(SIDES) - 1)),
    ]
    if not all(np.array_equal(*pair) for pair in expected):
        raise ValueError(f"{packed.folder}: hand, version, hand_of_version and side contradict each other")
    arrays: Mapping[str, Array] = {name: packed[name] for name in (*CUT, "hand")} | {
        "versions": version,
        **{name: np.zeros(len(hand), np.int32) for name in NUMBERED},
    }
    texts = {name: pack_texts([""]) for name in NUMBERED}
    texts["id"] = pack_texts([one.decode(errors="surrogateescape") for one in packed["id"].tolist()])
    settings = {name: value for name, value in packed.manifest.facts.items() if name not in ("source", "skipped")}
    problems = list(facts.skipped.values())
    return Opened(Facts(f"crops of {facts.source}", "true", [], {}, problems, settings), arrays, texts)


class CropFiles:
    """The JPEG files of a folder."""

    def __init__(self, root: Path, count: int) -> None:
        self._root, self._count = root, count

    def where(self, index: int) -> str:
        """The file of crop `index`."""
        return str(self._path(index))

    def read(self, index: int) -> bytes:
        """The JPEG of crop `index`; BadImageError names the file."""
        try:
            return self._path(index).read_bytes()
        except OSError as error:
            raise BadImageError(f"{self.where(index)}: cannot be read ({error.strerror})") from error

    def find_problems(self, depth: Depth = "headers", workers: int = 1, *, progress: bool = False) -> dict[str, str]:
        """Files that are missing or no images."""
        paths = [self._path(index) for index in range(self._count)]
        problems = find_problems(paths, depth, workers, progress=progress)
        return {str(path): problem for path, problem in problems.items()}

    def _path(self, index: int) -> Path:
        return self._root / f"{index // _FOLDER_SIZE:05d}" / f"{index:08d}.jpg"

"""Mined pairs on disk: for each hand of a source, the hands that are most like it. An .npz file without pickles.

It holds `header`, JSON as bytes, and for the source number S of those that were mined `neighbors_S` and `distances_S`.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from peclr import __version__
from peclr.options import writing_whole
from peclr.untrusted.binary import map_arrays
from peclr.untrusted.text import parse_json

FORMAT: Final = 1  # readers refuse others
_BLOCK: Final = 2**16  # hands that are checked at a time
NOBODY: Final = -1  # where a hand has fewer neighbors than others


class MinedPairs(NamedTuple):
    """The neighbors of each hand of one source."""

    source: str  # its name
    identity: str  # see `HandSource.identity`
    neighbors: NDArray[np.int32]  # (hands, K), numbers of hands, nearest first; NOBODY behind the last
    distances: NDArray[np.float32]  # (hands, K), in the units of the descriptors; NaN behind the last


def write_pairs(path: Path, mined: Sequence[MinedPairs], facts: Mapping[str, Any]) -> None:
    """Write a new file of the pairs of sources, and how they were mined, in JSON for people; FileExistsError."""
    if path.exists():
        raise FileExistsError(f"{path} exists; pairs are written to a new file")
    sources = [{"name": pairs.source, "identity": pairs.identity, "hands": len(pairs.neighbors)} for pairs in mined]
    header = {"format": FORMAT, "peclr": __version__, "sources": sources, "facts": dict(facts)}
    arrays = {"header": np.frombuffer(json.dumps(header).encode(), np.uint8)}
    for number, pairs in enumerate(mined):
        arrays[f"neighbors_{number}"] = pairs.neighbors.astype(np.int32, copy=False)
        arrays[f"distances_{number}"] = pairs.distances.astype(np.float32, copy=False)
    with writing_whole(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_pairs(path: Path) -> tuple[list[MinedPairs], dict[str, Any]]:
    """Map and check a file of pairs: those of each source, and how they were mined; ValueError names it."""
    try:
        arrays = map_arrays(path)
        header = parse_json(arrays["header"].tobytes(), f"{path}, header")
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error}); expected a file of `peclr mine`") from error
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} is not a pairs file of `peclr mine`: {error}") from error
    found = header.get("format") if isinstance(header, dict) else header
    if not isinstance(header, dict) or found != FORMAT:
        raise ValueError(f"{path}: format {found!r}, but this peclr {__version__} reads {FORMAT}")
    try:
        mined = [
            MinedPairs(str(source["name"]), str(source["identity"]), arrays[f"neighbors_{n}"], arrays[f"distances_{n}"])
            for n, source in enumerate(header["sources"])
        ]
        facts = dict(header["facts"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: the header and the arrays {', '.join(arrays)} do not fit: {error}") from error
    for pairs in mined:
        _check(path, pairs)
    return mined, facts


def _check(path: Path, pairs: MinedPairs) -> None:
    neighbors, hands = pairs.neighbors, len(pairs.neighbors)
    if neighbors.ndim != 2 or neighbors.dtype.kind != "i" or neighbors.shape != pairs.distances.shape:
        raise ValueError(
            f"{path}: neighbors of {pairs.source} are {neighbors.dtype} {neighbors.shape} and distances "
            f"{pairs.distances.shape}; expected integers (hands, K) and as many distances"
        )
    for start in range(0, hands, _BLOCK):
        block = neighbors[start : start + _BLOCK]
        wrong = (block < NOBODY) | (block >= hands) | (block == np.arange(start, start + len(block))[:, None])
        if not wrong.any():
            continue
        hand, place = (int(at[0]) for at in np.nonzero(wrong))
        hand += start
        wrong_one = f"hand {hand} of {pairs.source} has neighbor {neighbors[hand, place]}"
        raise ValueError(f"{path}: {wrong_one}; expected others of the {hands} hands")

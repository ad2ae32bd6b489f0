"""How many shards to read from at once: of sets at an address few, as long as nothing needs all of them at any time."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from peclr.data.loading.amounts import AUTO, Auto
from peclr.data.loading.shard_order import ByShard
from peclr.data.loading.source_pairs import SourcePairs
from peclr.data.samples import HandSource, HasShards
from peclr.data.sources.composed import JoinedHands, SelectedHands
from peclr.data.sources.some_hands import listed

AT_ONCE: Final = 16  # of 8,192 crops: as many are mixed as fit into 2 GB
_LOOKED_AT: Final = 1024  # pairs
_FEW: Final = 0.01  # of them; a shard is fetched for each


def in_shards(source: HandSource) -> list[HasShards]:
    """The sets of shards that a source's images are from."""
    if isinstance(source, SelectedHands):
        return in_shards(source.source)
    if isinstance(source, JoinedHands):
        return [found for part in source.sources for found in in_shards(part)]
    return [source] if isinstance(source, HasShards) and source.num_shards else []


def shards_at_once_of(given: int | Auto, sources: Sequence[HandSource]) -> int:
    """The number of shards to read from at once, 0 for any; "auto" is 16 where a source is at an address."""
    found = [shards for source in sources for shards in in_shards(source)]
    if given == AUTO:
        return AT_ONCE if any(shards.is_remote for shards in found) else 0
    if given < 0:
        raise ValueError(f"shards_at_once {given}: expected a number of shards, or 0 for all of them")
    if given and not found:
        names = ", ".join(source.name for source in sources)
        raise ValueError(f"shards_at_once {given}: {names} is not in shards; `peclr prepare … --shards` makes them")
    return given


def by_shard(pairs: SourcePairs, source: HandSource) -> ByShard | int:
    """The pairs of a source by the shard of their first image; their number where it is not in shards."""
    shards = _shard_of_images(source)
    return len(pairs) if shards is None else ByShard(shards[pairs.first_images()])


def fetch_ahead(sources: Sequence[HandSource], number: int, needed: list[int]) -> None:
    """Begin to fetch shards of a source."""
    for shards in in_shards(sources[number]):
        shards.fetch_ahead(needed)


def check_caches(pairs: Sequence[SourcePairs], sources: Sequence[HandSource], at_once: int, held_out: float) -> None:
    """Refuse a remote set that does not fit into its cache, if what is read at once does not either; ValueError."""
    for of_source, source in zip(pairs, sources, strict=True):
        for shards in in_shards(source):
            reason = None
            if not at_once:
                reason = "data.shards_at_once is 0"
            elif held_out:
                reason = f"data.val_fraction {held_out:g} holds out hands of all shards, where 0 would not"
            elif shards.is_remote and _are_scattered(of_source, source):
                reason = "the two images of a pair are of any two shards, which only pairing same_image would change"
            shards.check_cache(None if reason else at_once, reason or f"data.shards_at_once is {at_once}")


def _shard_of_images(source: HandSource) -> NDArray[np.integer] | None:
    if isinstance(source, SelectedHands):
        whole = _shard_of_images(source.source)
        return None if whole is None else whole[listed(source.images)]
    return source.shard_of_images() if isinstance(source, HasShards) and source.num_shards else None


def _are_scattered(pairs: SourcePairs, source: HandSource) -> bool:
    """Whether more than a few pairs are of two shards."""
    shards, rng = _shard_of_images(source), np.random.default_rng(0)
    assert shards is not None
    items = rng.integers(len(pairs), size=_LOOKED_AT).tolist()
    drawn = np.array([pairs.draw(item, rng) for item in items])
    return float((shards[drawn[:, 0]] != shards[drawn[:, 1]]).mean()) > _FEW

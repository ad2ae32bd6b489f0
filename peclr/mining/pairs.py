"""From the joints of a source's hands to mined pairs: neighbors, and a drawing of some."""

import time
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from peclr.data.loading.pairs_file import NOBODY, MinedPairs
from peclr.data.samples import HandSource, HasVideos
from peclr.data.sources.selection import ByTrack, same_hand
from peclr.data.views.geometric import ViewGeometry, render_view
from peclr.drawing.skeleton import draw_skeleton
from peclr.drawing.tiles import sheet
from peclr.geometry.planar import move
from peclr.mining.descriptors import describe
from peclr.mining.joints import first_version
from peclr.mining.neighbors import nearest

_TILE: Final = 144  # px
_COLUMNS: Final = 5  # neighbors drawn of each hand


def video_of_hands(source: HandSource) -> NDArray[np.int64]:
    """(hands,), the number of the video that each hand is from; ValueError where it is not known."""
    if not isinstance(source, HasVideos):
        raise ValueError(f"--other-video: which video a hand of {source.name} is from is not known")
    return source.video_of_hands()


def hands_apart(source: HandSource) -> NDArray[np.int64] | None:
    """(hands,), a number that those share that are one hand, of a track or seen by several cameras; None if unknown."""
    same = same_hand(source)
    return same[np.arange(source.num_hands)] if isinstance(same, ByTrack) else same


class Search(NamedTuple):
    """How neighbors are found."""

    neighbors: int  # of each hand
    components: int
    memory_gb: float


def mine(
    source: HandSource, joints: NDArray[np.float32], groups: NDArray[np.int64] | None, search: Search, folder: Path
) -> MinedPairs:
    """Find the nearest hands of each hand by its joints (21, 2), px, and print how well that went.

    Where groups (hands,) are given, only hands of other ones. What is large is in `folder`. ValueError if these joints
    cannot be compared.
    """
    started = time.perf_counter()
    try:
        descriptors, share = describe(joints, search.components, folder / "descriptors.npy")
    except ValueError as error:
        raise ValueError(f"{source.name}: {error}") from error
    found, distances = nearest(
        descriptors, search.neighbors, groups, memory_gb=search.memory_gb, folder=folder, progress=True
    )
    seconds = time.perf_counter() - started
    alone = int((found[:, 0] == NOBODY).sum())
    print(
        f"{source.name}: {source.num_hands:,} hands in {seconds:.1f} s; {descriptors.shape[1]} components explain "
        f"{share:.1%}; median distance {np.nanmedian(distances[:, 0]) if alone < len(found) else np.nan:.3f}"
        + (f"; {alone:,} hands without a neighbor" if alone else "")
    )
    return MinedPairs(source.name, source.identity(), found, distances)


def draw_pairs(source: HandSource, joints: NDArray[np.floating], mined: MinedPairs, rows: int = 8) -> NDArray[np.uint8]:
    """Draw some hands, evenly chosen, each before its nearest neighbors with their distances; (H, W, 3), RGB."""

    def tile(hand: int) -> NDArray[np.uint8]:
        crop = render_view(first_version(source, hand), ViewGeometry(), _TILE)
        return draw_skeleton(crop.image, move(crop.view_from_image, joints[hand]))

    tiles, titles = [], []
    for hand in np.unique(np.linspace(0, source.num_hands - 1, rows).astype(int)).tolist():
        row = zip(mined.neighbors[hand, :_COLUMNS].tolist(), mined.distances[hand, :_COLUMNS].tolist(), strict=True)
        near = {other: f"{other}: {distance:.2f}" for other, distance in row if other != NOBODY}
        tiles.append([tile(number) for number in (hand, *near)])
        titles.append([f"hand {hand}", *near.values()])
    return sheet(tiles, titles)

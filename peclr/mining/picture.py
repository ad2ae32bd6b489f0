"""A picture of mined pairs: a hand on the left, then those that are most like it."""

import numpy as np
from numpy.typing import NDArray

from peclr.data.loading.pairs_file import NOBODY, MinedPairs
from peclr.data.samples import HandSource
from peclr.data.views.geometric import warp
from peclr.drawing.skeleton import draw_skeleton
from peclr.drawing.tiles import box_to_tile, move, sheet

_TILE = 144  # px


def draw_pairs(
    source: HandSource, joints: NDArray[np.floating], mined: MinedPairs, rows: int, columns: int = 5
) -> NDArray[np.uint8]:
    """Draw hands, evenly chosen, with their nearest neighbors and the distances.

    Args:
        source: where the hands are from.
        joints: (hands, 21, 2), pixels of each hand's first version: what they were compared by.
        mined: their neighbors.
        rows: number of hands.
        columns: neighbors shown of each.

    Returns:
        (H, W, 3), RGB.
    """
    tiles, titles = [], []
    for hand in np.unique(np.linspace(0, source.num_hands - 1, rows).astype(int)).tolist():
        others, distances = mined.neighbors[hand, :columns].tolist(), mined.distances[hand, :columns].tolist()
        near = [(other, f"{other}: {far:.2f}") for other, far in zip(others, distances, strict=True) if other != NOBODY]
        tiles.append([_tile(source, number, joints[number]) for number in (hand, *(other for other, _ in near))])
        titles.append([f"hand {hand}", *(title for _, title in near)])
    return sheet(tiles, titles)


def _tile(source: HandSource, hand: int, joints: NDArray[np.floating]) -> NDArray[np.uint8]:
    """The crop of a hand's first version, with its joints (21, 2)."""
    sample = source[source.versions_of(hand)[0]]
    tile_from_image = box_to_tile(sample["crop_box"], _TILE)
    return draw_skeleton(warp(sample["image"], tile_from_image, _TILE), move(tile_from_image, joints))

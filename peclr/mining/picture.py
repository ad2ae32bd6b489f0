"""A picture of mined pairs: a hand on the left, then those that are most like it."""

import cv2
import numpy as np
from numpy.typing import NDArray

from peclr.data.loading.pairs_file import NOBODY, MinedPairs
from peclr.data.samples import HandSource
from peclr.data.views.geometric import view_from_image, warp
from peclr.drawing.skeleton import draw_skeleton

_TILE, _GAP, _TITLE = 144, 4, 16  # px


def draw_pairs(
    source: HandSource, joints: NDArray[np.floating], mined: MinedPairs, rows: int, columns: int = 5
) -> NDArray[np.uint8]:
    """Draws hands, evenly chosen, with their nearest neighbours and the distances.

    Args:
        source: Where the hands are from.
        joints: (hands, 21, 2), pixels of each hand's first version: what they were compared by.
        mined: Their neighbours.
        rows: Number of hands.
        columns: Neighbours shown of each.

    Returns:
        (H, W, 3), RGB.
    """
    chosen = np.unique(np.linspace(0, source.num_hands - 1, rows).astype(int))
    columns = min(columns, mined.neighbours.shape[1])
    step_down, step_right = _TILE + _TITLE + _GAP, _TILE + _GAP
    sheet = np.full((len(chosen) * step_down, (1 + columns) * step_right, 3), 255, np.uint8)
    for row, hand in enumerate(chosen.tolist()):
        shown = [(hand, f"hand {hand}")]
        for place in range(columns):
            other = int(mined.neighbours[hand, place])
            if other != NOBODY:
                shown.append((other, f"{other}: {mined.distances[hand, place]:.2f}"))
        for column, (number, title) in enumerate(shown):
            top, left = row * step_down, column * step_right
            sheet[top + _TITLE : top + _TITLE + _TILE, left : left + _TILE] = _tile(source, number, joints[number])
            place_of_title = (left + 2, top + _TITLE - 4)
            cv2.putText(sheet, title, place_of_title, cv2.FONT_HERSHEY_SIMPLEX, 0.38, (40, 40, 40), 1, cv2.LINE_AA)
    return sheet


def _tile(source: HandSource, hand: int, joints: NDArray[np.floating]) -> NDArray[np.uint8]:
    """The crop of a hand's first version, with its joints (21, 2)."""
    sample = source[source.versions_of(hand)[0]]
    matrix = view_from_image(np.eye(3), sample["crop_box"], _TILE)
    tile = warp(sample["image"], matrix, _TILE)
    return draw_skeleton(tile, joints @ matrix[:2, :2].T + matrix[:2, 2])

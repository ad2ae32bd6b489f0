"""Sheets of tiles, and hands over their images."""

import numpy as np
import pytest

from peclr.drawing.tiles import overlays, sheet

GAP, TOP = 6, 26


def plain(value: int, width: int = 40) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    return np.full((30, width, 3), value, np.uint8)


def test_tiles_stand_in_rows_below_their_titles_and_short_rows_end_in_white() -> None:
    drawn = sheet([[plain(10), plain(20, 50)], [plain(30)]], [["a", "b"]])
    assert drawn.shape == (TOP + 30 + GAP + 30 + GAP, 40 + GAP + 50, 3)
    assert (drawn[TOP : TOP + 30, :40] == 10).all()
    assert (drawn[TOP : TOP + 30, 40 + GAP :] == 20).all()
    second = drawn[TOP + 30 + GAP :][:30]  # has no title
    assert (second[:, :40] == 30).all()
    assert (second[:, 40:] == 255).all()
    assert (drawn[:TOP] < 255).any()


def test_a_long_title_is_written_above_its_tile_alone() -> None:
    title = "a title that is far longer than the tile is wide"
    drawn = sheet([[plain(255), plain(255)]], [[title, ""]])
    assert (drawn[:TOP, :40] < 255).any()
    assert (drawn[:, 40:] == 255).all()


@pytest.mark.parametrize("shift", [0.0, -0.05, 0.05])
def test_an_overlay_shows_the_hand_and_nothing_beyond_the_image(shift: float) -> None:
    rng = np.random.default_rng(0)
    label = rng.uniform(-0.02, 0.02, (21, 3)) + np.array([shift, shift, 0.5])
    K = np.array([[400.0, 0, 60], [0, 400.0, 60], [0, 0, 1]])
    image = np.full((120, 120, 3), 200, np.uint8)
    off = label + np.array([0.01, 0, 0])
    behind = off.copy()
    behind[5, 2] = -0.5
    predicted, drawn_label = overlays(image, K, off, label)
    assert not np.array_equal(predicted, drawn_label)
    assert np.array_equal(*overlays(image, K, label, label))
    corners = drawn_label[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners > 150).all()  # the image's gray, not the black of what is outside it
    # a bone less
    assert (overlays(image, K, behind, label)[0] == 200).sum() > (predicted == 200).sum()

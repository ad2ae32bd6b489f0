"""What became of all images: a table for people, JSON, and a sheet of hands to look at."""

import json
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from peclr.collect.work import CAMERA, CORRECTED, EMPTY, HANDS, IMAGES, LEFT_OUT
from peclr.data.sources.layouts import PROVENANCE
from peclr.data.sources.shard_format import Facts
from peclr.data.sources.shards import Shards
from peclr.data.views.geometric import ViewGeometry, render_view
from peclr.drawing.skeleton import draw_skeleton
from peclr.drawing.tiles import sheet
from peclr.geometry.planar import move

TEACHER: Final = "MediaPipe's hand landmarker, float16/1"
SHEET: Final = "sheet.png"
_TILE, _COLUMNS, _ROWS = 144, 8, 6
_SHOWN: Final = 10  # damaged files


def table(facts: Facts) -> str:
    """Numbers of images and hands, and why some were left out, for a terminal."""
    counts = facts.counts
    rows = [("images", counts[IMAGES]), ("  without hands", counts.get(EMPTY, 0))] if IMAGES in counts else []
    rows += [("could not be read", len(facts.problems))] if facts.problems else []
    left_out = {name: count for name, count in counts.items() if name.startswith(LEFT_OUT)}
    rows += [("hands found", counts.get(HANDS, 0) + sum(left_out.values()))]
    rows += [(f"  {name}", count) for name, count in left_out.items()]
    rows += [("hands kept", counts.get(HANDS, 0))]
    rows += [(f"  {name}", count) for name, count in counts.items() if name.startswith((CAMERA, CORRECTED))]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {count:>9,}" for name, count in rows]
    lines += [f"not read: {problem}" for problem in facts.problems[:_SHOWN]]
    hidden = len(facts.problems) - _SHOWN
    return "\n".join(lines + ([f"not read: {hidden:,} more, listed in {PROVENANCE}"] if hidden > 0 else []))


def summary(facts: Facts) -> str:
    """The same as JSON, with the settings and all that could not be read."""
    content: dict[str, Any] = {"labels": facts.labels, "teacher": TEACHER, "counts": facts.counts}
    content |= {"not_read": facts.problems, "settings": facts.settings}
    return json.dumps(content, indent=1) + "\n"


def draw_sheet(hands: Shards) -> NDArray[np.uint8]:
    """Draw some hands, evenly chosen, with their joints; (H, W, 3), RGB."""
    tiles, titles = [], []
    for hand in np.unique(np.linspace(0, len(hands) - 1, _COLUMNS * _ROWS).astype(int)).tolist():
        sample = hands[hand]
        crop = render_view(sample, ViewGeometry(), _TILE)
        assert sample["joints_2d"] is not None
        tiles.append(draw_skeleton(crop.image, move(crop.view_from_image, sample["joints_2d"])))
        titles.append(f"{hand} {sample['hand']} {hands.about(hand).score:.2f}")
    rows = [slice(start, start + _COLUMNS) for start in range(0, len(tiles), _COLUMNS)]
    return sheet([tiles[row] for row in rows], [titles[row] for row in rows])

"""A tiny YouTube3DHands on disk, with a bright dot drawn at each finger tip."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tests.data.conftest import DrawDots

TIPS = [744, 320, 443, 555, 672]  # MANO, thumb to little finger


@dataclass
class Films:
    """The data set and what was written into it.

    Attributes:
        root: Its folder.
        vertices: (N, 778, 3), of all annotations, px of frames as annotated.
    """

    root: Path
    vertices: NDArray[np.float64]

    @property
    def labels(self) -> Path:
        """The label file of the training split."""
        return self.root / "youtube_train.json"

    def edit(self, change: Callable[[Any], object]) -> None:
        """Rewrites the labels after `change` has changed them in place."""
        labels = json.loads(self.labels.read_text())
        change(labels)
        self.labels.write_text(json.dumps(labels))


FRAMES: list[dict[str, Any]] = [
    {"name": "youtube/filmA/video/frames/1.png", "width": 120, "height": 80, "id": 10},
    {"name": "youtube/filmA/video/frames/2.png", "width": 240, "height": 160, "id": 11},  # is half as large
    {"name": "youtube/filmB/video/frames/1.png", "width": 120, "height": 80, "id": 12},  # is missing
    {"name": "youtube/filmA/video/frames/3.png", "width": 120, "height": 80, "id": 13},  # shows no hand
]
# Frame, side, where the hand's middle is, px as annotated. Two hands share the first frame.
HANDS = [(10, 0, (30, 40)), (10, 1, (90, 40)), (11, 0, (160, 80)), (12, 1, (60, 40)), (11, 1, (70, 90))]


@pytest.fixture
def films(tmp_path: Path, dots: DrawDots) -> Films:
    """Five annotated hands, two of them left and usable, one without its frame."""
    rng = np.random.default_rng(1)
    vertices = np.stack([rng.uniform(-15, 15, (778, 3)) + np.array([*centre, 0]) for _, _, centre in HANDS])
    annotations = [
        {"vertices": points.tolist(), "is_left": side, "image_id": frame, "id": 100 + number}
        for number, ((frame, side, _), points) in enumerate(zip(HANDS, vertices, strict=True))
    ]
    root = tmp_path / "films"
    for frame, suffix in ((FRAMES[0], ".png"), (FRAMES[1], ".jpg"), (FRAMES[3], ".png")):
        half = frame["id"] == 11
        tips = [v[TIPS, :2] for v, (id_, _, _) in zip(vertices, HANDS, strict=True) if id_ == frame["id"]]
        points = np.concatenate(tips) if tips else np.zeros((1, 2))
        picture = dots(120, (points + 0.5) / 2 - 0.5 if half else points)[:80]
        path = (root / frame["name"]).with_suffix(suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, 95] if suffix == ".jpg" else [])
    result = Films(root, vertices)
    result.labels.write_text(json.dumps({"images": FRAMES, "annotations": annotations}))
    return result


@pytest.fixture
def regressor(tmp_path: Path) -> Path:
    """A file like MANO's joint regressor: each joint is a weighted mean of a few vertices."""
    rng = np.random.default_rng(2)
    weights = np.zeros((16, 778))
    for row in weights:
        row[rng.choice(778, 8, replace=False)] = rng.dirichlet(np.ones(8))
    path = tmp_path / "J_regressor.npy"
    np.save(path, weights)
    return path

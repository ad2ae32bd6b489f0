"""Tiny data sets on disk, FreiHAND and YouTube3DHands, with bright dots drawn at joints and finger tips."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.json_files import edit_json

SIZE = 112
BACKGROUNDS = [(40, 0, 0), (0, 40, 0), (0, 0, 40), (30, 30, 0)]  # RGB, one per version


@dataclass
class Layout:
    """A data set on disk and what was written into it."""

    root: Path
    K: NDArray[np.float64]
    xyz: NDArray[np.float64]
    versions: int

    def edit(self, file: str, change: Callable[[Any], object]) -> None:
        """Rewrites a JSON file after `change` has changed its contents in place."""
        edit_json(self.root / file, change)


def draw_dots(
    size: int, points: NDArray[np.float64], background: Sequence[int] = (0, 0, 0), sigma: float = 2.0
) -> NDArray[np.uint8]:
    """Draws white Gaussian dots at sub-pixel positions: (size, size, 3) uint8."""
    y, x = np.mgrid[:size, :size]
    squared = (x - points[:, 0, None, None]) ** 2 + (y - points[:, 1, None, None]) ** 2
    dots: NDArray[np.float64] = np.exp(-squared / (2 * sigma**2)).max(axis=0)[..., None]
    image: NDArray[np.uint8] = np.round(dots * 255 + (1 - dots) * np.array(background)).astype(np.uint8)
    return image


def hands_in_space(hands: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Joints of flat hands with fingers spread, turned in the image and shaken: (hands, 21, 3), metres."""
    angles = np.radians([-60, -20, 0, 20, 40])[:, None] + rng.uniform(-np.pi, np.pi, (hands, 1, 1))
    reach = np.array([[0.04, 0.07, 0.09, 0.11], *[[0.085, 0.12, 0.14, 0.16]] * 4])
    fingers = np.stack([reach * np.sin(angles), -reach * np.cos(angles), np.zeros((hands, 5, 4))], axis=-1)
    joints = np.concatenate([np.zeros((hands, 1, 3)), fingers.reshape(hands, 20, 3)], axis=1)
    shaken: NDArray[np.float64] = joints - joints.mean(axis=1, keepdims=True) + rng.normal(0, 0.004, joints.shape)
    shaken[..., 2] += 0.6
    return shaken


def write_split(
    root: Path, split: str, hands: int, versions: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Writes one split; returns K and xyz."""
    (root / split / "rgb").mkdir(parents=True)
    focal = rng.uniform(250, 350, (hands, 1))
    K = np.zeros((hands, 3, 3))
    K[:, [0, 1], [0, 1]], K[:, :2, 2], K[:, 2, 2] = focal, SIZE / 2 + rng.normal(0, 3, (hands, 2)), 1
    xyz = hands_in_space(hands, rng)
    scale = np.linalg.norm(xyz[:, 9] - xyz[:, 10], axis=-1)
    for kind, values in {"K": K, "xyz": xyz, "scale": scale}.items():
        (root / f"{split}_{kind}.json").write_text(json.dumps(values.tolist()))
    projected = np.einsum("nij,npj->npi", K, xyz)
    for version in range(versions):
        for hand, points in enumerate(projected[..., :2] / projected[..., 2:]):
            image = draw_dots(SIZE, points, BACKGROUNDS[version])
            file = root / split / "rgb" / f"{hand + hands * version:08d}.jpg"
            cv2.imwrite(str(file), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    return K, xyz


DrawDots = Callable[..., NDArray[np.uint8]]


@pytest.fixture(scope="session")
def written_layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    root, rng = tmp_path_factory.mktemp("layout"), np.random.default_rng(0)
    K, xyz = write_split(root, "training", 6, 3, rng)
    write_split(root, "evaluation", 2, 1, rng)
    return Layout(root, K, xyz, 3)


@pytest.fixture
def layout(tmp_path: Path, written_layout: Layout) -> Layout:
    """Six training hands in three versions, two evaluation hands."""
    shutil.copytree(written_layout.root, tmp_path, dirs_exist_ok=True)
    return replace(written_layout, root=tmp_path)


@pytest.fixture(scope="session")
def dots() -> DrawDots:
    """The function that draws images of dots."""
    return draw_dots


TIPS = [744, 320, 443, 555, 672]  # MANO, thumb to little finger


@dataclass
class YouTube:
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
        edit_json(self.labels, change)


FRAMES: list[dict[str, Any]] = [
    {"name": "youtube/filmA/video/frames/1.png", "width": 120, "height": 80, "id": 10},
    {"name": "youtube/filmA/video/frames/2.png", "width": 240, "height": 160, "id": 11},  # is half as large
    {"name": "youtube/filmB/video/frames/1.png", "width": 120, "height": 80, "id": 12},  # is missing
    {"name": "youtube/filmA/video/frames/3.png", "width": 120, "height": 80, "id": 13},  # shows no hand
]
# Frame, side, where the hand's middle is, px as annotated. Two hands share the first frame.
HANDS = [(10, 0, (30, 40)), (10, 1, (90, 40)), (11, 0, (160, 80)), (12, 1, (60, 40)), (11, 1, (70, 90))]


@pytest.fixture
def youtube(tmp_path: Path, written_youtube: YouTube) -> YouTube:
    """Five annotated hands, two of them left and usable, one without its frame."""
    shutil.copytree(written_youtube.root, tmp_path / "youtube3d")
    return replace(written_youtube, root=tmp_path / "youtube3d")


@pytest.fixture(scope="session")
def written_youtube(tmp_path_factory: pytest.TempPathFactory, dots: DrawDots) -> YouTube:
    rng = np.random.default_rng(1)
    vertices = np.stack([rng.uniform(-15, 15, (778, 3)) + np.array([*center, 0]) for _, _, center in HANDS])
    annotations = [
        {"vertices": points.tolist(), "is_left": side, "image_id": frame, "id": 100 + number}
        for number, ((frame, side, _), points) in enumerate(zip(HANDS, vertices, strict=True))
    ]
    root = tmp_path_factory.mktemp("written") / "youtube3d"
    for frame, suffix in ((FRAMES[0], ".png"), (FRAMES[1], ".jpg"), (FRAMES[3], ".png")):
        half = frame["id"] == 11
        tips = [v[TIPS, :2] for v, (id_, _, _) in zip(vertices, HANDS, strict=True) if id_ == frame["id"]]
        points = np.concatenate(tips) if tips else np.zeros((1, 2))
        image = dots(120, (points + 0.5) / 2 - 0.5 if half else points)[:80]
        path = (root / frame["name"]).with_suffix(suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 95] if suffix == ".jpg" else [])
    result = YouTube(root, vertices)
    result.labels.write_text(json.dumps({"images": FRAMES, "annotations": annotations}))
    return result


@pytest.fixture(scope="session")
def regressor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file like MANO's joint regressor: each joint is a weighted mean of a few vertices."""
    rng = np.random.default_rng(2)
    weights = np.zeros((16, 778))
    for row in weights:
        row[rng.choice(778, 8, replace=False)] = rng.dirichlet(np.ones(8))
    path = tmp_path_factory.mktemp("mano") / "J_regressor.npy"
    np.save(path, weights)
    return path

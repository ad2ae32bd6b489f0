"""Large frames are decoded at a reduced scale, and nothing but the time it takes may show it."""

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from peclr.data.datasets import Augmentation, PairedViewDataset
from peclr.data.samples import HandSample
from peclr.data.sources.youtube3d import YouTube3DHands
from peclr.data.views.geometric import GeometryRange, ViewGeometry, pixels_to_keep, render_view
from peclr.geometry.joints import TIPS

VIEW_SIZE = 48
ANNOTATED = (1200, 900)
FILES = {"as annotated": ANNOTATED, "odd and smaller": (1005, 753), "a little stretched": (1501, 1110)}


class Whole(YouTube3DHands):
    """Never decodes less than everything."""

    def read(self, index: int, min_side: float) -> HandSample:
        return super().read(index, math.inf)


@cache
def blurred_noise(width: int, height: int) -> NDArray[np.uint8]:
    """Structures of a view pixel and more: finer ones differ by the filter, not by where they are."""
    noise = np.random.default_rng(0).normal(size=(height // 6, width // 6, 3))
    smooth = cv2.resize(cv2.GaussianBlur(noise, (0, 0), 3), (width, height), interpolation=cv2.INTER_CUBIC)
    content: NDArray[np.uint8] = np.clip(128 + 40 * smooth / smooth.std(), 0, 255).astype(np.uint8)
    return content


def some_vertices() -> NDArray[np.float64]:
    """A mesh (778, 3) that has no shape, around the middle of the frame, px as annotated."""
    return np.random.default_rng(1).uniform([360, 225, -230], [820, 685, 230], (778, 3))


def write_frames(root: Path, size: tuple[int, int], content: NDArray[np.uint8] | None = None) -> None:
    """Writes one frame with two hands at the same place, the second a left one."""
    name = "youtube/hands/video/frames/1.png"
    file = (root / name).with_suffix(".jpg")
    file.parent.mkdir(parents=True)
    frame = cv2.resize(blurred_noise(*ANNOTATED), size) if content is None else content
    cv2.imwrite(str(file), frame, [cv2.IMWRITE_JPEG_QUALITY, 97])
    annotations = [{"vertices": some_vertices().tolist(), "is_left": n, "image_id": 7, "id": n} for n in (0, 1)]
    images = [{"name": name, "width": ANNOTATED[0], "height": ANNOTATED[1], "id": 7}]
    (root / "youtube_train.json").write_text(json.dumps({"images": images, "annotations": annotations}))


@pytest.mark.parametrize("with_mano", [False, True])
@pytest.mark.parametrize("size", FILES.values(), ids=FILES)
def test_views_are_those_of_the_whole_frame(
    tmp_path: Path, regressor: Path, size: tuple[int, int], *, with_mano: bool
) -> None:
    write_frames(tmp_path / "youtube3d", size)
    options: dict[str, Any] = {"mano": regressor} if with_mano else {}
    # so narrow that no view reaches beyond the frame, where a mirror image depends on the last pixel
    options["crop_margin"] = 0.8 if with_mano else 1.0
    ours, whole = (of(tmp_path / "youtube3d", **options) for of in (YouTube3DHands, Whole))
    augmentation = Augmentation(GeometryRange(scale=(0.7, 0.9)))
    settings: dict[str, Any] = {"view_size": VIEW_SIZE, "augmentation": augmentation, "with_joints": True}
    views = [PairedViewDataset([source], **settings) for source in (ours, whole)]
    for hand, side in enumerate(("right", "left")):
        sample = ours.read(hand, pixels_to_keep(VIEW_SIZE, 0.9))
        assert sample["hand"] == side
        assert sample["image"].shape[1] <= math.ceil(size[0] / 2), "decoded at a reduced scale"
        for epoch in range(4):
            reduced, full = (dataset[epoch, hand] for dataset in views)
            for key in ("view_from_image", "view_from_crop", "joints_2d"):
                torch.testing.assert_close(reduced[key], full[key], rtol=0, atol=0, equal_nan=True)
            difference = (reduced["views"].float() - full["views"].float()).abs()
            assert difference.mean() < 1
            assert difference.max() < 12


@pytest.mark.parametrize("min_side", [100.0, 200.0, math.inf])
@pytest.mark.parametrize("size", FILES.values(), ids=FILES)
@pytest.mark.parametrize("hand", [0, 1], ids=["right", "left"])
def test_a_dot_at_a_joint_is_seen_where_the_matrices_say(
    tmp_path: Path, size: tuple[int, int], hand: int, min_side: float
) -> None:
    """Whatever is decoded: the brightest place of a view is where its own joint lands, within a tenth of a pixel."""
    thumb = (some_vertices()[744, :2] + 0.5) * np.array(size) / ANNOTATED - 0.5
    y, x = np.mgrid[: size[1], : size[0]]
    dot = 255 * np.exp(-((x - thumb[0]) ** 2 + (y - thumb[1]) ** 2) / (2 * 24**2))
    write_frames(tmp_path / "youtube3d", size, np.repeat(dot[..., None], 3, axis=2).astype(np.uint8))
    sample = YouTube3DHands(tmp_path / "youtube3d").read(hand, min_side)
    assert ("image_from_decoded" in sample) == (min_side < 300)
    assert sample["joints_2d"] is not None
    rendered = render_view(sample, ViewGeometry(), 64)
    view = rendered.image[..., 0].astype(float)
    expected = (rendered.view_from_image @ [*sample["joints_2d"][TIPS[0]], 1])[:2]
    # its moments, without what the JPEG has around it
    weight = np.where(view > 20, view, 0)
    rows, columns = np.mgrid[:64, :64]
    found = [(weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum()]
    np.testing.assert_allclose(found, expected, atol=0.1)


def test_small_crops_of_large_frames_keep_their_pixels(tmp_path: Path) -> None:
    write_frames(tmp_path / "youtube3d", ANNOTATED)
    sample = YouTube3DHands(tmp_path / "youtube3d").read(0, 400.0)  # of a box of 575 px
    assert sample["image"].shape == (*ANNOTATED[::-1], 3)
    assert "image_from_decoded" not in sample

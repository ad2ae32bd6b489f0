"""Views of large images are means over areas, from pixels to views and from JPEG files to views."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from peclr.data.datasets import Augmentation, PairedViewDataset
from peclr.data.samples import HandSource
from peclr.data.sources.image_files import ImageFiles
from peclr.data.sources.images import read_image
from peclr.data.sources.youtube3d import YouTube3DHands
from peclr.data.views.geometric import Border, GeometryRange, ViewGeometry, pixels_to_keep, warp
from peclr.geometry.planar import Matrix, view_from_image


def natural_image(size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Noise with the spectrum of natural images, amplitude 1/f (Field 1987), standard deviation 45 gray levels."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    frequency[0, 0] = np.inf
    channels = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(3, size, size))) / frequency)
    image: NDArray[np.uint8] = np.clip(128 + 45 * np.moveaxis(channels / channels.std(), 0, -1), 0, 255).astype(
        np.uint8
    )
    return image


def area_means(image: NDArray[np.uint8], view_from_image: Matrix, size: int, samples: int) -> Matrix:
    """Means of the image's pixels over each pixel of the view, samples × samples of them."""
    fine_from_view = np.array([[samples, 0, (samples - 1) / 2], [0, samples, (samples - 1) / 2], [0, 0, 1]])
    side = samples * size
    fine = cv2.warpAffine(image, (fine_from_view @ view_from_image)[:2], (side, side), flags=cv2.INTER_NEAREST)
    means: Matrix = fine.reshape(size, samples, size, samples, 3).mean(axis=(1, 3))
    return means


@pytest.mark.parametrize("reduction", [2.0, 2.4, 2.9, 3.4, 3.9, 5.5, 7.6, 10.0, 14.0])
def test_reduced_views_are_means_over_areas(reduction: float) -> None:
    rng = np.random.default_rng(round(reduction * 10))
    size = 40
    half = reduction * size / 2
    side = 2 * math.ceil(1.5 * half)  # holds the view, whichever way it is turned
    image = natural_image(side, rng)
    box = side / 2 + np.array([0.3 - half, 0.6 - half, 0.3 + half, 0.6 + half])
    for degrees in (0, 17, 45):
        matrix = view_from_image(ViewGeometry(math.radians(degrees)).view_from_crop(1.0), box, size)
        expected = area_means(image, matrix, size, 16)
        error = warp(image, matrix, size) - expected
        one_sample = cv2.warpAffine(image, matrix[:2], (size, size)) - expected
        assert math.sqrt((error**2).mean()) < 4
        assert (error**2).mean() < (one_sample**2).mean() / 9
        assert abs(error.mean()) < 0.6


def test_strong_reduction_does_not_shimmer() -> None:
    # a video: the camera moves by half a pixel of the view in sixteen steps; a pixel of the view should hardly change
    rng = np.random.default_rng(0)
    image, size, reduction = natural_image(800, rng), 40, 9.0
    views, view_from_crop = [], ViewGeometry(0.3).view_from_crop(1.0)
    for step in np.linspace(0, reduction / 2, 16):
        box = np.array([200.0, 200.0, 560.0, 560.0]) + step
        views.append(warp(image, view_from_image(view_from_crop, box, size), size).astype(float))
    jumps = np.abs(np.diff(views, axis=0)).mean()
    traveled = np.abs(views[-1] - views[0]).mean()
    assert jumps < 0.3 * traveled  # 1 / 15 if all moved evenly and one way; plain bilinear samples make more than 1


FRAME = (800, 600)
HALF_PIXEL = np.array([0.5, 0.5, 0.0])
BOXES = {"whole": (10, 10, 590, 590), "half": (150, 125, 450, 425), "third": (210, 190, 405, 385)}  # px


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image as cameras take them: the spectrum of natural images, slightly out of focus, JPEG."""
    width, height = FRAME
    image = cv2.GaussianBlur(natural_image(width, np.random.default_rng(0))[:height], (0, 0), 1.0)
    path = tmp_path_factory.mktemp("large") / "1.jpg"
    cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
    return path


@pytest.fixture(scope="module")
def whole(large: Path) -> NDArray[np.uint8]:
    return read_image(large)


def images(root: Path, large: Path) -> HandSource:
    """An image with boxes."""
    rows = "\n".join(f"1.jpg,{','.join(map(str, box))}" for box in BOXES.values())
    (root / "boxes.csv").write_text(f"file,left,top,right,bottom\n{rows}\n")
    return ImageFiles(large.parent, root / "boxes.csv")


def videos(root: Path, large: Path) -> HandSource:
    """A frame with right hands, annotated at half its resolution."""
    frames = root / "youtube/film/video/frames"
    frames.mkdir(parents=True)
    shutil.copy(large, frames)
    annotations = []
    for number, (left, top, right, bottom) in enumerate(BOXES.values()):
        corners = (np.array([[left, top, 0.0], [right, bottom, 0.0]]) + HALF_PIXEL) / 2 - HALF_PIXEL
        vertices = np.linspace(corners[0], corners[1], 778)
        annotations.append({"vertices": vertices.tolist(), "is_left": 0, "image_id": 0, "id": number})
    image = {"name": "youtube/film/video/frames/1.png", "width": FRAME[0] // 2, "height": FRAME[1] // 2, "id": 0}
    (root / "youtube_train.json").write_text(json.dumps({"images": [image], "annotations": annotations}))
    return YouTube3DHands(root, crop_margin=1.0)


@pytest.mark.parametrize("make", [images, videos])
@pytest.mark.parametrize("box", [0, 1, 2], ids=list(BOXES))
def test_views_of_a_jpeg_are_means_over_areas_of_the_whole_image(
    tmp_path: Path, large: Path, whole: NDArray[np.uint8], make: Any, box: int
) -> None:
    """End to end: decoded at a reduced scale or not, the matrix says over which pixels of the image to average."""
    source, size, geometry = make(tmp_path, large), 24, GeometryRange(scale=(0.9, 1.1))
    assert "image_from_decoded" in source.read(box, pixels_to_keep(size, 1.1)), "decoded at a reduced scale"
    dataset = PairedViewDataset([source], view_size=size, augmentation=Augmentation(geometry))
    for epoch in range(2):
        item = dataset[epoch, box]
        for view, matrix in zip(item["views"].numpy(), item["view_from_image"].double().numpy(), strict=True):
            samples = math.ceil(2 / math.sqrt(np.linalg.det(matrix[:2, :2])))
            expected = area_means(whole, matrix, size, samples)
            error = np.moveaxis(view, 0, -1) - expected
            one_sample = cv2.warpAffine(whole, matrix[:2], (size, size)) - expected
            assert math.sqrt((error**2).mean()) < 3
            assert (error**2).mean() < (one_sample**2).mean() / 16
            assert abs(error.mean()) < 0.6


@pytest.mark.parametrize("border", ["black", "reflect"])
def test_blocks_that_are_not_shown_change_nothing(border: Border, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        width, height = (int(side) for side in rng.integers(40, 400, 2))
        image = rng.integers(0, 256, (height, width, 3), np.uint8)
        center, half = rng.uniform(-0.2, 1.2, 2) * (width, height), rng.uniform(20, 200)
        box = np.concatenate([center - half, center + half])
        matrix = view_from_image(ViewGeometry(rng.uniform(-3, 3)).view_from_crop(2 * half), box, 9)
        view = warp(image, matrix, 9, border)
        with monkeypatch.context() as patch:
            everything = "peclr.data.views.geometric._blocks_shown"
            patch.setattr(
                everything, lambda matrix, width, height, size, block: ((0, 0), (width // block, height // block))
            )
            whole = warp(image, matrix, 9, border)
        np.testing.assert_array_equal(view, whole)

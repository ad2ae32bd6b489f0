"""The preset `published`, measured in the views of a data set: matrices and pixels have the published distribution."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from peclr.data.datamodules import PairedViewDataModule

SIDE, EPOCHS = 96, 350  # px of the image; two views each
HUE, SATURATION, BRIGHT, DARK = 120, 200, 200, 100  # as OpenCV counts: hue of 180


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Matrices (V, 3, 3), normalized view ← crop; HSV colors (V, 2, 3) of each view, bright and dark."""
    folder: Path = tmp_path_factory.mktemp("photos")
    colors = np.full((SIDE, SIDE, 3), (HUE, SATURATION, BRIGHT), np.uint8)
    colors[SIDE // 2 :, :, 2] = DARK
    cv2.imwrite(str(folder / "a.png"), cv2.cvtColor(colors, cv2.COLOR_HSV2BGR))
    module = PairedViewDataModule(
        folder,
        view_size=16,
        batch_size=2,
        epoch_length=2,
        val_fraction=0.0,
        geometry="published",
        photometric="published",
        border="reflect",
    )
    items = [module.train_set[epoch, 0] for epoch in range(EPOCHS)]
    pixels = [cv2.cvtColor(np.moveaxis(v.numpy(), 0, -1), cv2.COLOR_RGB2HSV) for item in items for v in item["views"]]
    # the colors mix along the edge, between the brightest and the darkest pixel
    extremes = [p.reshape(-1, 3)[[p[..., 2].argmax(), p[..., 2].argmin()]] for p in pixels]
    matrices = np.concatenate([item["view_from_crop"].double().numpy() for item in items])
    return matrices, np.array(extremes, np.float64)


def agrees(values: NDArray[np.float64], low: float, high: float) -> bool:
    """Whether values are as of a uniform distribution, by Kolmogorov's and Smirnov's test."""
    return bool(stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 0.001)


def test_geometry_is_as_published(views: tuple[NDArray[np.float64], NDArray[np.float64]]) -> None:
    """Spurr et al. 2021 and its code: whole degrees, ±45; U(0, 15) px each way; margin U(0.9, 1.5)."""
    matrices, _ = views
    scale = 1 / np.sqrt(np.linalg.det(matrices[:, :2, :2]))
    degrees = np.degrees(np.arctan2(matrices[:, 0, 1], matrices[:, 0, 0]))
    np.testing.assert_allclose(degrees, degrees.round(), atol=1e-3)
    assert set(degrees.round()) == set(range(-45, 46)), "both ends are drawn, too"
    assert agrees(degrees + np.random.default_rng(0).uniform(-0.5, 0.5, len(degrees)), -45.5, 45.5)
    shifts = matrices[:, :2, 2].T * scale / 2 * SIDE
    assert all(agrees(shift, 0, 15) for shift in shifts)
    assert agrees(1.25 * scale, 0.9, 1.5)
    assert np.abs(np.corrcoef(np.stack([degrees, *shifts, scale])) - np.eye(4)).max() < 0.2


def test_colors_are_as_published(views: tuple[NDArray[np.float64], NDArray[np.float64]]) -> None:
    """Its code: hue × U(0.01, 1), saturation × U(0.01, 1), value × U(0.5, 1) + U(5, 20)."""
    _, colors = views
    hue, saturation, value = np.moveaxis(colors, -1, 0)  # each (V, 2)
    factor = (value[:, 0] - value[:, 1]) / (BRIGHT - DARK)
    assert agrees(factor, 0.5, 1)
    # bytes are rounded: what is left of 15 gray levels is right to about one
    offset = 2 * value[:, 1] - value[:, 0]
    assert abs(offset.mean() - 12.5) < 1
    assert abs(offset.std() - 15 / np.sqrt(12)) < 0.6
    assert offset.min() > 2
    assert offset.max() < 23
    assert agrees(saturation[:, 0] / SATURATION, 0.01, 1)
    strong = saturation[:, 0] > 80  # the hue of what is nearly gray is not in its bytes
    assert strong.sum() > 300
    assert agrees(hue[strong, 0] / HUE, 0.01, 1)
    drawn = np.stack([hue[strong, 0], saturation[strong, 0], factor[strong]])
    assert np.abs(np.corrcoef(drawn) - np.eye(3)).max() < 0.2

import colorsys
import copy
import os
from typing import Any

import numpy as np
import pytest

from peclr.data.views import photometric
from peclr.data.views.photometric import Image, Photometric, Recolor

OFF = {"color_jitter": 0.0}


def recolor(**switches: Any) -> Recolor:
    return Recolor(Photometric(**switches))


@pytest.fixture
def image() -> Image:
    """Smooth colors: (48, 48, 3)."""
    y, x = np.mgrid[:48, :48] / 47
    return np.stack([200 * x + 30, 180 * y + 20, 120 * (1 - x * y) + 60], axis=-1).astype(np.uint8)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_same_rng_same_image(image: Image) -> None:
    everything = recolor(color_jitter=0.9, color_drop=0.5, blur=0.5, noise=0.5, sobel=0.3, cut_out=0.5)
    first, second = np.random.default_rng(3), np.random.default_rng(3)
    ours = [everything(image, first) for _ in range(10)]
    again = [copy.deepcopy(everything)(image, second) for _ in range(10)]
    np.testing.assert_array_equal(ours, again)
    assert len({image.tobytes() for image in ours}) == 10
    assert not np.array_equal(ours[0], everything(image, np.random.default_rng(4)))


def test_image_is_left_as_it_is(image: Image, rng: np.random.Generator) -> None:
    before = image.copy()
    recolor(color_drop=1, blur=1, noise=1, cut_out=1)(image, rng)
    np.testing.assert_array_equal(image, before)


def test_everything_off_is_the_identity(image: Image, rng: np.random.Generator) -> None:
    np.testing.assert_array_equal(Recolor(None)(image, rng), image)
    np.testing.assert_array_equal(recolor(**OFF)(image, rng), image)


def test_jitter_is_the_published_formula(rng: np.random.Generator) -> None:
    hue, saturation, value, offset = 0.6, 0.5, 0.8, 12.0
    colors = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    fixed = recolor(
        hue=(hue, hue), saturation=(saturation, saturation), value=(value, value), value_offset=(offset, offset)
    )
    expected, hues = np.empty(colors.shape), np.empty(colors.shape[:2])
    for place in np.ndindex(40, 40):
        h, s, v = colorsys.rgb_to_hsv(*(colors[place] / 255))
        v = min(v * value + offset / 255, 1)
        expected[place] = np.array(colorsys.hsv_to_rgb(h * hue, s * saturation, v)) * 255
        hues[place] = h * 360
    # OpenCV counts 8-bit hue in steps of 2°: a thirtieth of the way from one primary color to the next, and a
    # hue just below 360° is 0° to it
    error = np.abs(fixed(colors, rng) - expected)[hues < 358]
    assert error.max() <= 6
    assert error.mean() < 1


def test_jitter_depends_on_color_alone(rng: np.random.Generator) -> None:
    colors = np.random.default_rng(2).integers(0, 256, (5, 3), dtype=np.uint8)
    places = np.random.default_rng(3).integers(0, 5, (32, 32))
    recolored = recolor()(colors[places], rng)
    for color in range(5):
        assert len(np.unique(recolored[places == color], axis=0)) == 1


def test_jitter_draws_from_the_published_ranges(monkeypatch: pytest.MonkeyPatch, image: Image) -> None:
    drawn: list[tuple[float, ...]] = []
    monkeypatch.setattr(photometric, "jitter_hsv", lambda image, *jitter: drawn.append(jitter))
    published, rng = Recolor(Photometric.published()), np.random.default_rng(0)
    for _ in range(2000):
        published(image, rng)
    np.testing.assert_allclose(np.min(drawn, axis=0), [0.01, 0.01, 0.5, 5], atol=0.02)
    np.testing.assert_allclose(np.max(drawn, axis=0), [1, 1, 1, 20], atol=0.02)
    np.testing.assert_allclose(np.mean(drawn, axis=0), [0.505, 0.505, 0.75, 12.5], rtol=0.05)


def test_color_drop_makes_gray(image: Image, rng: np.random.Generator) -> None:
    gray = recolor(color_drop=1, **OFF)(image, rng)
    assert np.ptp(gray, axis=-1).max() == 0
    assert np.ptp(gray) > 50


def test_blur_smooths_and_noise_roughens(image: Image, rng: np.random.Generator) -> None:
    def roughness(image: Image) -> float:
        return float(np.abs(np.diff(image.astype(int), axis=0)).mean())

    noisy = recolor(noise=1, **OFF)(image, rng)
    assert roughness(noisy) > 2 * roughness(image)
    blurred = recolor(blur=1, blur_sigma=(2.0, 2.0), **OFF)(noisy, rng)
    assert roughness(blurred) < roughness(noisy) / 2
    assert abs(blurred.mean() - noisy.mean()) < 2


def test_cut_out_blackens_one_rectangle(image: Image, rng: np.random.Generator) -> None:
    cut = recolor(cut_out=1, cut_out_side=(0.25, 0.25), **OFF)(image, rng)
    black = (cut == 0).all(axis=-1)
    rows, columns = black.any(axis=1), black.any(axis=0)
    assert black.sum() == rows.sum() * columns.sum() == 12 * 12
    np.testing.assert_array_equal(cut[~black], image[~black])


def test_sobel_shows_edges_alone(rng: np.random.Generator) -> None:
    step = np.zeros((16, 16, 3), np.uint8)
    step[:, 8:] = 255
    edges = recolor(sobel=1, **OFF)(step, rng)
    assert np.ptp(edges, axis=-1).max() == 0
    assert (edges[:, 7:9] == 255).all()
    assert not edges[:, :7].any()
    assert not edges[:, 9:].any()
    np.testing.assert_array_equal(recolor(sobel=1, **OFF)(step.transpose(1, 0, 2), rng), edges.transpose(1, 0, 2))


def test_probabilities_are_frequencies(image: Image, rng: np.random.Generator) -> None:
    for switch in ("color_jitter", "color_drop"):
        sometimes = recolor(**{**OFF, switch: 0.3})
        changed = sum(not np.array_equal(sometimes(image, rng), image) for _ in range(500))
        assert 110 < changed < 190, switch


@pytest.mark.parametrize("options", [{"blur": 1.5}, {"noise": -0.1}, {"hue": (1.0, 0.5)}, {"value": (-1.0, 1.0)}])
def test_what_is_no_probability_or_range_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Photometric(**options)


def test_importing_asks_no_server() -> None:
    assert os.environ["NO_ALBUMENTATIONS_UPDATE"] == "1"

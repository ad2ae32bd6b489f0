"""Photometric augmentation recolors pixels and moves none; the one module that imports albumentations."""

import os
import random
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

# Otherwise, importing albumentations asks a server for its newest version, and warns when there is none.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A  # type: ignore[import-untyped]  # noqa: N812 (its documentation's name)

Image = NDArray[np.uint8]
Range = tuple[float, float]


class _RngRandom(random.Random):
    """The interface of `random` over a NumPy generator, so that one generator drives all of albumentations."""

    rng: np.random.Generator

    def random(self) -> float:
        """Uniform in [0, 1)."""
        return self.rng.random()

    def getrandbits(self, k: int, /) -> int:
        """Uniform in [0, 2^k)."""
        return int.from_bytes(self.rng.bytes((k + 7) // 8), "little") >> (-k % 8)


def jitter_hsv(image: Image, hue: float, saturation: float, value: float, value_offset: float) -> Image:
    """Recolor an image (H, W, 3), RGB: the published color jitter, factors and an offset in gray levels."""
    # no transform of albumentations, which would take as long again for what it does around it
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    # apart, the channels are scaled in half the time of a look-up table or a matrix
    channels = list(np.empty((3, *image.shape[:2]), np.uint8))
    cv2.split(pixels, channels)
    for channel, factor, offset in zip(channels, (hue, saturation, value), (0, 0, value_offset), strict=True):
        cv2.convertScaleAbs(channel, channel, factor, offset)
    cv2.merge(channels, pixels)
    return cv2.cvtColor(pixels, cv2.COLOR_HSV2RGB).astype(np.uint8, copy=False)


class Sobel(A.ImageOnlyTransform):  # type: ignore[misc]  # albumentations is not typed
    """Edges instead of the image: the length of the gray levels' gradient (Chen et al. 2020, Fig. 4)."""

    def apply(self, img: Image, **params: object) -> Image:
        """Filter one RGB image; a step from black to white becomes white."""
        gray = cv2.cvtColor(img, cv2.COLOR_RGB2GRAY)
        across, down = (cv2.Sobel(gray, cv2.CV_16S, *order).astype(np.int32) for order in ((1, 0), (0, 1)))
        # the kernel's weights on each side of an edge sum to 4. cv2.magnitude rounds as the memory is aligned: the same
        # view would not always be the same
        length = np.sqrt((across**2 + down**2).astype(np.float32)) / 4
        edges = np.minimum(length + 0.5, 255).astype(np.uint8)
        return cv2.cvtColor(edges, cv2.COLOR_GRAY2RGB).astype(np.uint8, copy=False)


@dataclass(frozen=True, kw_only=True)
class Photometric:
    """The photometric augmentations of a view; the default is the published color jitter alone.

    The first six are probabilities, applied in this order: the ablation of the paper, which used one at a time.

    Attributes:
        color_jitter: Color jitter in HSV.
        color_drop: Gray.
        blur: Gaussian blur.
        noise: Gaussian noise, independent for each pixel and channel.
        sobel: Edges instead of the image.
        cut_out: One black rectangle.
        hue: Factor of the hue. Published, as the next three; hue 0 is red, so this draws colors toward red.
        saturation: Factor of the saturation.
        value: Factor of the value.
        value_offset: Gray levels, added to the value.
        blur_sigma: Pixels; SimCLR App. A.
        noise_std: Fraction of the full range; not published.
        cut_out_side: Sides, fraction of the view's; not published.
    """

    color_jitter: float = 1.0
    color_drop: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    sobel: float = 0.0
    cut_out: float = 0.0
    hue: Range = (0.01, 1.0)
    saturation: Range = (0.01, 1.0)
    value: Range = (0.5, 1.0)
    value_offset: Range = (5.0, 20.0)
    blur_sigma: Range = (0.1, 2.0)
    noise_std: Range = (0.02, 0.1)
    cut_out_side: Range = (0.1, 0.4)

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, int | float):
                if not 0 <= value <= 1:
                    raise ValueError(f"{name} {value} is not a probability")
            elif not 0 <= value[0] <= value[1]:
                raise ValueError(f"{name} {value} is not a range 0 ≤ low ≤ high")

    @classmethod
    def published(cls) -> Self:
        """Give the color jitter of the published pre-training, which is the default."""
        return cls()


class Recolor:
    """Applies photometric augmentations to views, or none."""

    def __init__(self, ranges: Photometric | None) -> None:
        ranges = Photometric(color_jitter=0) if ranges is None else ranges
        self._jitter, side = ranges.color_jitter, ranges.cut_out_side
        self._hsv = (ranges.hue, ranges.saturation, ranges.value, ranges.value_offset)
        transforms = (
            A.ToGray(p=ranges.color_drop),
            A.GaussianBlur(blur_limit=0, sigma_limit=ranges.blur_sigma, p=ranges.blur),
            A.GaussNoise(std_range=ranges.noise_std, p=ranges.noise),
            Sobel(p=ranges.sobel),
            A.CoarseDropout((1, 1), hole_height_range=side, hole_width_range=side, fill=0, p=ranges.cut_out),
        )
        self._transforms = [transform for transform in transforms if transform.p > 0]
        self._random = _RngRandom() if self._transforms else None

    def __call__(self, image: Image, rng: np.random.Generator) -> Image:
        """Recolor a view (S, S, 3), uint8, RGB, which is left as it is; all randomness is from `rng`."""
        if self._jitter == 1 or (self._jitter and rng.random() < self._jitter):
            drawn = zip(self._hsv, rng.random(4).tolist(), strict=True)
            image = jitter_hsv(image, *(low + (high - low) * draw for (low, high), draw in drawn))
        if self._random is not None:
            # albumentations ignores global seeds; some of its transforms draw from NumPy, others from `random`
            self._random.rng = rng
        for transform in self._transforms:
            transform.set_random_state(rng, self._random)
            image = transform(image=image)["image"]
        return image

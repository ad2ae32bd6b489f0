"""Photometric augmentation recolors pixels and moves none; the one module that imports albumentations."""

import os
import random
from dataclasses import dataclass
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

# Otherwise, importing albumentations asks a server for its newest version, and warns when there is none.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A  # type: ignore[import-untyped]  # noqa: N812 (its documentation's name)

Image = NDArray[np.uint8]
Range = tuple[float, float]


class _RngRandom(random.Random):
    """The interface of `random` over a NumPy generator, so that one stream drives all of albumentations."""

    stream: np.random.Generator

    def random(self) -> float:
        """Uniform in [0, 1)."""
        return self.stream.random()

    def getrandbits(self, k: int, /) -> int:
        """Uniform in [0, 2^k)."""
        return int.from_bytes(self.stream.bytes((k + 7) // 8), "little") >> (-k % 8)


class HsvJitter(A.ImageOnlyTransform):  # type: ignore[misc]  # albumentations is not typed
    """The published color jitter: random factors of hue, saturation and value, an offset to the value."""

    def __init__(self, hue: Range, saturation: Range, value: Range, value_offset: Range, p: float = 1.0) -> None:
        """Takes ranges of factors, and of an offset in gray levels."""
        super().__init__(p=p)
        self.hue, self.saturation, self.value, self.value_offset = hue, saturation, value, value_offset

    def get_params(self) -> dict[str, Any]:
        """Draws the factors and the offset."""
        return {"jitter": self.draw(self.random_generator)}

    def draw(self, stream: np.random.Generator) -> list[float]:
        """Draws factors of hue, saturation and value, and the offset in gray levels."""
        ranges = (self.hue, self.saturation, self.value, self.value_offset)
        draws = stream.random(4).tolist()
        return [low + (high - low) * draw for (low, high), draw in zip(ranges, draws, strict=True)]

    def apply(self, img: Image, jitter: list[float], **params: object) -> Image:
        """Recolors one RGB image."""
        *factors, value_offset = jitter
        pixels = cv2.cvtColor(img, cv2.COLOR_RGB2HSV)
        # apart, the channels are scaled in half the time of a look-up table or a matrix
        channels = list(np.empty((3, *img.shape[:2]), np.uint8))
        cv2.split(pixels, channels)
        for channel, factor, offset in zip(channels, factors, (0, 0, value_offset), strict=True):
            cv2.convertScaleAbs(channel, channel, factor, offset)
        cv2.merge(channels, pixels)
        return cv2.cvtColor(pixels, cv2.COLOR_HSV2RGB).astype(np.uint8, copy=False)

    def recolor(self, image: Image, stream: np.random.Generator) -> Image:
        """What calling the transform does, without what albumentations does around it, which takes as long again."""
        if self.p < 1 and stream.random() >= self.p:
            return image
        return self.apply(image, self.draw(stream))


class Sobel(A.ImageOnlyTransform):  # type: ignore[misc]  # albumentations is not typed
    """Edges instead of the picture: the length of the gray levels' gradient (Chen et al. 2020, Fig. 4)."""

    def apply(self, img: Image, **params: object) -> Image:
        """Filters one RGB image; a step from black to white becomes white."""
        gray = cv2.cvtColor(img, cv2.COLOR_RGB2GRAY)
        across, down = (cv2.Sobel(gray, cv2.CV_16S, *order).astype(np.int32) for order in ((1, 0), (0, 1)))
        # the kernel's weights on each side of an edge sum to 4. cv2.magnitude rounds as the memory is aligned: the same
        # view would not always be the same
        length = np.sqrt((across**2 + down**2).astype(np.float32)) / 4
        edges = np.minimum(length + 0.5, 255).astype(np.uint8)
        return cv2.cvtColor(edges, cv2.COLOR_GRAY2RGB).astype(np.uint8, copy=False)


@dataclass(frozen=True)
class Photometric:
    """Which photometric augmentations a view gets; the default is the published color jitter alone.

    Each of the first six is a probability, 0 is off. They are applied in this order. Together with the switches of
    `GeometryRange` they are the ablation of the paper, which used one at a time and then chose the jitter.

    Attributes:
        color_jitter: Color jitter in HSV.
        color_drop: Gray.
        blur: Gaussian blur.
        noise: Gaussian noise, independent for each pixel and channel.
        sobel: Edges instead of the picture.
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
        """Refuses what is not a probability or not a range."""
        for name, value in vars(self).items():
            if isinstance(value, int | float):
                if not 0 <= value <= 1:
                    raise ValueError(f"{name} {value} is not a probability")
            elif not 0 <= value[0] <= value[1]:
                raise ValueError(f"{name} {value} is not a range 0 ≤ low ≤ high")

    @classmethod
    def published(cls) -> Self:
        """The color jitter of the published pre-training, which is the default."""
        return cls()


class Recolor:
    """Applies photometric augmentations to views."""

    def __init__(self, ranges: Photometric) -> None:
        """Makes the transforms that are not off."""
        self._jitter = None
        if ranges.color_jitter > 0:
            hsv = (ranges.hue, ranges.saturation, ranges.value, ranges.value_offset)
            self._jitter = HsvJitter(*hsv, p=ranges.color_jitter)
        side = ranges.cut_out_side
        transforms = (
            A.ToGray(p=ranges.color_drop),
            A.GaussianBlur(blur_limit=0, sigma_limit=ranges.blur_sigma, p=ranges.blur),
            A.GaussNoise(std_range=ranges.noise_std, p=ranges.noise),
            Sobel(p=ranges.sobel),
            A.CoarseDropout((1, 1), hole_height_range=side, hole_width_range=side, fill=0, p=ranges.cut_out),
        )
        self._transforms = [transform for transform in transforms if transform.p > 0]
        self._python_stream = _RngRandom()

    def __call__(self, image: Image, stream: np.random.Generator) -> Image:
        """Recolors a view.

        Args:
            image: (S, S, 3), uint8, RGB; left as it is.
            stream: All randomness comes from here.

        Returns:
            (S, S, 3), uint8, RGB.
        """
        if self._jitter is not None:
            image = self._jitter.recolor(image, stream)
        # albumentations ignores global seeds; some of its transforms draw from NumPy, others from `random`
        self._python_stream.stream = stream
        for transform in self._transforms:
            transform.set_random_state(stream, self._python_stream)
            image = transform(image=image)["image"]
        return image

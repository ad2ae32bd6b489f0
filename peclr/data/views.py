"""Geometric augmentation: sampled parameters → one matrix → one warp from photograph to view.

The published code rotates the image about the hand, cuts out a square of random size around it, shifts that
square and resizes it. In coordinates that run from −1 to +1 across the un-augmented crop box and across the
view, all of it is

    view_from_crop = translation · rotation · 1/scale

This is computed for every view by every worker, hence in NumPy: a torch operation on nine numbers costs as
much as all of it. The tests hold it against `peclr.geometry.affine`.
"""

import math
from dataclasses import dataclass, fields
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

# The published shift is at most 15 px of the photograph, whose un-augmented crops (FreiHAND, margin 1.25) are
# 150 to 200 px wide.
PUBLISHED_TRANSLATION = 15 / 180


@dataclass(frozen=True)
class GeometryRange:
    """Uniform ranges of a view's rotation, translation and scale; the defaults have the published magnitudes.

    Attributes:
        rotation: Degrees, OpenCV sign: positive turns the picture counter-clockwise. Published: whole
            degrees, ±45.
        translation: Along each axis, as a fraction of the crop box's side; positive moves the hand right and
            down. Symmetric, unlike the published one, whose mean is a shift that every view has and no view
            can tell.
        scale: Side of the square that the view shows over the side of the crop box. Published: margin
            U(0.9, 1.5) in place of 1.25.
    """

    rotation: tuple[float, float] = (-45.0, 45.0)
    translation: tuple[float, float] = (-PUBLISHED_TRANSLATION, PUBLISHED_TRANSLATION)
    scale: tuple[float, float] = (0.72, 1.2)

    def __post_init__(self) -> None:
        """Refuses ranges that are not."""
        for field in fields(self):
            low, high = getattr(self, field.name)
            if not (math.isfinite(low) and math.isfinite(high) and low <= high):
                raise ValueError(f"{field.name} {(low, high)} is not a finite range (low, high)")
        if self.scale[0] <= 0:
            raise ValueError(f"scale {self.scale} must be positive: it is a ratio of lengths")

    @classmethod
    def published(cls) -> Self:
        """The published ranges with their quirk: the shift is never negative."""
        return cls(translation=(0.0, PUBLISHED_TRANSLATION))

    def sample(self, stream: np.random.Generator) -> Matrix:
        """Draws one `view_from_crop` (3, 3), normalised."""
        ranges = (self.rotation, self.translation, self.translation, self.scale)
        draws = stream.random(4).tolist()
        angle, shift_x, shift_y, scale = (
            low + (high - low) * draw for (low, high), draw in zip(ranges, draws, strict=True)
        )
        return view_from_crop(math.radians(angle), (shift_x, shift_y), scale)


def view_from_crop(angle: float, translation: tuple[float, float], scale: float) -> Matrix:
    """The augmentation as a matrix (3, 3), normalised view ← normalised crop box.

    Args:
        angle: Radians, OpenCV sign.
        translation: Fractions of the crop box's side, like the published pixels independent of `scale`.
        scale: Side that the view shows over the side of the crop box.
    """
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    shift_x, shift_y = (2 * shift / scale for shift in translation)  # normalised coordinates span 2
    return np.array([[cos, sin, shift_x], [-sin, cos, shift_y], [0.0, 0.0, 1.0]])


def view_from_image(view_from_crop: Matrix, crop_box: Matrix, size: int) -> Matrix:
    """Completes an augmentation to a matrix (3, 3), view pixels ← image pixels.

    Args:
        view_from_crop: (3, 3), normalised.
        crop_box: (4,), px of the image.
        size: Side of the view, px.
    """
    left, top, right, bottom = crop_box.tolist()
    x, y = 2 / (right - left), 2 / (bottom - top)
    crop_from_image = np.array([[x, 0, -x * (left + right) / 2], [0, y, -y * (top + bottom) / 2], [0, 0, 1]])
    pixels_from_view = np.array([[size / 2, 0, (size - 1) / 2], [0, size / 2, (size - 1) / 2], [0, 0, 1]])
    matrix: Matrix = pixels_from_view @ view_from_crop @ crop_from_image
    return matrix


def warp(image: NDArray[np.uint8], view_from_image: Matrix, size: int) -> NDArray[np.uint8]:
    """Renders a view: bilinear, black beyond the image.

    Where the view is less than half as fine as the image, bilinear samples would skip pixels. The image is
    then first averaged over square blocks, and the matrix accounts for it.

    Args:
        image: (H, W, 3), uint8.
        view_from_image: (3, 3), view pixels ← image pixels.
        size: Side of the view, px.

    Returns:
        (size, size, 3), uint8.
    """
    (a, b, _), (c, d, _), _ = view_from_image.tolist()
    block = min(int(1 / math.sqrt(abs(a * d - b * c))), *image.shape[:2])
    if block > 1:
        image = _average_blocks(image, block)
        # pixel edges meet, not pixel centres: block · (p' + ½) = p + ½
        shift = (block - 1) / 2
        view_from_image = view_from_image @ np.array([[block, 0, shift], [0, block, shift], [0, 0, 1]])
    view = cv2.warpAffine(image, view_from_image[:2], (size, size), flags=cv2.INTER_LINEAR)
    return view.astype(np.uint8, copy=False)


def _average_blocks(image: NDArray[np.uint8], block: int) -> NDArray[np.uint8]:
    """Means over block × block pixels; incomplete blocks, a fraction of a view's pixel, are left out."""
    height, width = (side // block for side in image.shape[:2])
    whole = image[: height * block, : width * block]
    reduced = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
    return reduced.astype(np.uint8, copy=False)

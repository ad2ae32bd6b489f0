"""Geometric augmentation: sampled parameters → one matrix → one warp from photograph to view.

The published code rotates the image about the hand, cuts out a square of random size around it, shifts that
square and resizes it. In coordinates that run from −1 to +1 across the un-augmented crop box and across the
view, all of it is

    view_from_crop = translation · rotation · 1/scale

This is computed for every view by every worker, hence in NumPy: a torch operation on nine numbers costs as
much as all of it. The tests hold it against `peclr.geometry.affine`.
"""

import math
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Self

import cv2
import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

# What a view shows beyond the photograph. Black corners tell how a view was turned and shifted: PeCLR can then
# undo it without a look at the hand. The photograph's mirror image does not tell.
Border = Literal["black", "reflect"]
_BORDER_MODES: Final[dict[Border, int]] = {"black": cv2.BORDER_CONSTANT, "reflect": cv2.BORDER_REFLECT_101}

# The published shift is at most 15 px of the photograph, whose un-augmented crops (FreiHAND, margin 1.25) are
# 150 to 200 px wide.
PUBLISHED_TRANSLATION_PX = (0.0, 15.0)
PUBLISHED_TRANSLATION = 15 / 180


Range = tuple[float, float]


class ViewGeometry(NamedTuple):
    """The geometric augmentation of one view, as drawn.

    Attributes:
        angle: Radians, OpenCV sign.
        translation: Right and down, fractions of the crop box's side.
        translation_px: Right and down, pixels of the photograph, added to `translation`.
        scale: Side that the view shows over the side of the crop box.
    """

    angle: float = 0.0
    translation: tuple[float, float] = (0.0, 0.0)
    translation_px: tuple[float, float] = (0.0, 0.0)
    scale: float = 1.0

    def view_from_crop(self, side: float) -> Matrix:
        """The augmentation as a matrix (3, 3), normalized, for a crop box of that side, px."""
        (x, y), (x_px, y_px) = self.translation, self.translation_px
        return view_from_crop(self.angle, (x + x_px / side, y + y_px / side), self.scale)


@dataclass(frozen=True)
class GeometryRange:
    """Uniform ranges of a view's rotation, translation and scale; the defaults have the published magnitudes.

    The ablation's switches: rotation (0, 0) is off; translation (0, 0) is no "crop"; scale (1, 1) is no "random crop".

    Attributes:
        rotation: Degrees, OpenCV sign: positive turns the picture counter-clockwise. Published: whole
            degrees, ±45.
        translation: Along each axis, as a fraction of the crop box's side; positive moves the hand right and
            down. Symmetric, unlike the published one, whose mean is a shift that every view has and no view
            can tell.
        scale: Side of the square that the view shows over the side of the crop box. Published: margin
            U(0.9, 1.5) in place of 1.25.
        translation_px: In pixels of the photograph, in place of `translation`. Published: 0 to 15.
        whole_degrees: Draws rotations of whole degrees, both ends included.
    """

    rotation: Range = (-45.0, 45.0)
    translation: Range = (-PUBLISHED_TRANSLATION, PUBLISHED_TRANSLATION)
    scale: Range = (0.72, 1.2)
    translation_px: Range | None = None
    whole_degrees: bool = False

    def __post_init__(self) -> None:
        """Refuses ranges that are not."""
        for name in ("rotation", "translation", "scale", "translation_px"):
            if getattr(self, name) is None:
                continue
            low, high = getattr(self, name)
            if not (math.isfinite(low) and math.isfinite(high) and low <= high):
                raise ValueError(f"{name} {(low, high)} is not a finite range (low, high)")
        if self.scale[0] <= 0:
            raise ValueError(f"scale {self.scale} must be positive: it is a ratio of lengths")

    @classmethod
    def published(cls) -> Self:
        """The distribution of the published views, quirks included: a shift in pixels that is never negative.

        It is that around crop boxes with the margin 1.25, which readers give unless told otherwise. The published code
        turns the picture about the middle of the keypoints' box and then centers the crop on the keypoints' mean:
        what the crop shows does not depend on what it was turned about.
        """
        return cls(translation_px=PUBLISHED_TRANSLATION_PX, whole_degrees=True)

    def draw(self, stream: np.random.Generator) -> ViewGeometry:
        """Draws the geometry of one view."""
        turn, right, down, size = stream.random(4).tolist()
        low, high = self.rotation
        degrees = math.floor(low + (high - low + 1) * turn) if self.whole_degrees else low + (high - low) * turn
        in_px = self.translation_px is not None
        low, high = self.translation if self.translation_px is None else self.translation_px
        shift = (low + (high - low) * right, low + (high - low) * down)
        low, high = self.scale
        nothing = (0.0, 0.0)
        return ViewGeometry(
            math.radians(degrees), nothing if in_px else shift, shift if in_px else nothing, low + (high - low) * size
        )


def view_from_crop(angle: float, translation: tuple[float, float], scale: float) -> Matrix:
    """The augmentation as a matrix (3, 3), normalized view ← normalized crop box.

    Args:
        angle: Radians, OpenCV sign.
        translation: Fractions of the crop box's side, like the published pixels independent of `scale`.
        scale: Side that the view shows over the side of the crop box.
    """
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    shift_x, shift_y = (2 * shift / scale for shift in translation)  # normalized coordinates span 2
    return np.array([[cos, sin, shift_x], [-sin, cos, shift_y], [0.0, 0.0, 1.0]])


def view_from_image(view_from_crop: Matrix, crop_box: Matrix, size: int) -> Matrix:
    """Completes an augmentation to a matrix (3, 3), view pixels ← image pixels.

    Args:
        view_from_crop: (3, 3), normalized, affine.
        crop_box: (4,), px of the image.
        size: Side of the view, px.
    """
    (a, b, shift_x), (c, d, shift_y), _ = view_from_crop.tolist()
    left, top, right, bottom = crop_box.tolist()
    # pixels_from_view @ view_from_crop @ crop_from_image, multiplied out: three arrays cost ten times as much
    half = size / 2
    x, y = 2 / (right - left), 2 / (bottom - top)
    left, top = -x * (left + right) / 2, -y * (top + bottom) / 2  # of the image's origin, normalized
    return np.array(
        [
            [half * a * x, half * b * y, half * (a * left + b * top + shift_x + 1) - 0.5],
            [half * c * x, half * d * y, half * (c * left + d * top + shift_y + 1) - 0.5],
            [0.0, 0.0, 1.0],
        ]
    )


def pixels_to_keep(size: int, finest: float) -> float:
    """Number of pixels across the crop box that views need for antialiasing, see `warp`.

    Args:
        size: Side of the views, px.
        finest: The smallest side that any of them shows over the side of the crop box.
    """
    return 2 * size / finest


def warp(
    image: NDArray[np.uint8], view_from_image: Matrix, size: int | tuple[int, int], border: Border = "black"
) -> NDArray[np.uint8]:
    """Renders a view, bilinear.

    Where the view is less than half as fine as the image, bilinear samples would skip pixels. Then four samples are
    averaged for each pixel of the view, of an image that was averaged over square blocks where even these would skip
    pixels. In pictures with the spectrum of photographs, the root mean square difference from the mean over each
    pixel's area is below 4 gray levels, a third of that of one sample or less.

    Args:
        image: (H, W, 3), uint8.
        view_from_image: (3, 3), view pixels ← image pixels.
        size: Side of the view, px; or width and height.
        border: What is beyond the image.

    Returns:
        (size, size, 3), uint8; or (height, width, 3).
    """
    width, height = (size, size) if isinstance(size, int) else size
    (a, b, _), (c, d, _), _ = view_from_image.tolist()
    mode = _BORDER_MODES[border]
    reduction = 1 / math.sqrt(abs(a * d - b * c))
    if reduction < 2:
        view = cv2.warpAffine(image, view_from_image[:2], (width, height), borderMode=mode)
        return view.astype(np.uint8, copy=False)
    double_from_image = _from_blocks(2) @ view_from_image  # pixels of the view are blocks of the doubled one
    block = min(int(reduction / 2), *image.shape[:2])
    if block > 1:
        image = _average_blocks(image, block)
        double_from_image = double_from_image @ _from_blocks(block)
    double = cv2.warpAffine(image, double_from_image[:2], (2 * width, 2 * height), borderMode=mode)
    return cv2.resize(double, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _from_blocks(block: int) -> Matrix:
    """Pixels ← blocks of them: edges meet, not centers, so block · (p' + ½) = p + ½."""
    shift = (block - 1) / 2
    return np.array([[block, 0, shift], [0, block, shift], [0, 0, 1]])


def _average_blocks(image: NDArray[np.uint8], block: int) -> NDArray[np.uint8]:
    """Means over block × block pixels; incomplete blocks, a fraction of a view's pixel, are left out."""
    height, width = (side // block for side in image.shape[:2])
    whole = image[: height * block, : width * block]
    reduced = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
    return reduced.astype(np.uint8, copy=False)

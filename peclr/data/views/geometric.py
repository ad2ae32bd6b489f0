"""Geometric augmentation: sampled parameters → one matrix → one warp from image to view.

The published code rotates the image about the hand, cuts out a square of random size around it, shifts that square and
resizes it. In coordinates from −1 to +1 across the un-augmented crop box and across the view, all of it is

    view_from_crop = translation · rotation · 1/scale

In NumPy: a torch operation on nine numbers costs as much as all of it.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from peclr.geometry.planar import Matrix, from_reduced, similarity, view_from_image

if TYPE_CHECKING:  # light commands use this module, and samples are made of tensors
    from peclr.data.samples import HandSample

# What a view shows beyond the image. Black corners show PeCLR how to undo a view without a look at the hand; the mirror
# image does not.
Border = Literal["black", "reflect"]
_BORDER_MODES: Final[dict[Border, int]] = {"black": cv2.BORDER_CONSTANT, "reflect": cv2.BORDER_REFLECT_101}


def check_border(value: object, where: object) -> Border:
    """Return a border that something says views have; ValueError if there is none of that name."""
    if value not in _BORDER_MODES:
        raise ValueError(f"{where}: border {value!r}, expected one of {', '.join(_BORDER_MODES)}")
    return value


PUBLISHED_TRANSLATION = 15 / 180  # at most 15 px of an image; crops of FreiHAND, margin 1.25, are 150 to 200 px wide

Range = tuple[float, float]


class ViewGeometry(NamedTuple):
    """The geometric augmentation of one view, as drawn."""

    angle: float = 0.0  # radians, OpenCV sign
    translation: tuple[float, float] = (0.0, 0.0)  # right and down, fractions of the crop box's side
    translation_px: tuple[float, float] = (0.0, 0.0)  # right and down, pixels of the image, added to it
    scale: float = 1.0  # side that the view shows over the side of the crop box

    def view_from_crop(self, side: float) -> Matrix:
        """Make the matrix (3, 3), normalized view ← normalized crop box, for a crop box of that side, px."""
        (x, y), (x_px, y_px) = self.translation, self.translation_px
        unit = 2 / self.scale  # normalized coordinates span 2; like the published pixels, shifts do not scale
        return similarity(1 / self.scale, self.angle, (unit * (x + x_px / side), unit * (y + y_px / side)))


@dataclass(frozen=True, kw_only=True)
class GeometryRange:
    """Uniform ranges of a view's rotation, translation and scale; the defaults have the published magnitudes.

    The ablation's switches: rotation (0, 0) is off; translation (0, 0) is no "crop"; scale (1, 1) is no "random crop".

    Attributes:
        rotation: Degrees, OpenCV sign: positive turns the image counter-clockwise. Published: whole degrees, ±45.
        translation: Along each axis, as a fraction of the crop box's side; positive moves the hand right and down.
            Published: `translation_px`, whose mean is a shift that all views have in common.
        scale: Side that the view shows over the side of the crop box. Published: margin U(0.9, 1.5) in place of 1.25.
        translation_px: In pixels of the image, in place of `translation`. Published: 0 to 15.
        whole_degrees: Draws rotations of whole degrees, both ends included.
    """

    rotation: Range = (-45.0, 45.0)
    translation: Range = (-PUBLISHED_TRANSLATION, PUBLISHED_TRANSLATION)
    scale: Range = (0.72, 1.2)
    translation_px: Range | None = None
    whole_degrees: bool = False

    def __post_init__(self) -> None:
        for name in ("rotation", "translation", "scale", "translation_px"):
            low, high = getattr(self, name) or (0, 0)
            if not -math.inf < low <= high < math.inf:
                raise ValueError(f"{name} {(low, high)} is not a finite range (low, high)")
        if self.scale[0] <= 0:
            raise ValueError(f"scale {self.scale} must be positive: it is a ratio of lengths")

    @classmethod
    def published(cls) -> Self:
        """Give the published distribution, quirks included, around boxes with the margin 1.25, the readers' default.

        The published code turns about another point than it centers the crop on, of which the crop shows nothing.
        """
        return cls(translation_px=(0.0, 15.0), whole_degrees=True)

    def draw(self, rng: np.random.Generator) -> ViewGeometry:
        """Draw the geometry of one view."""
        turn, right, down, size = rng.random(4).tolist()
        low, high = self.rotation
        degrees = math.floor(low + (high - low + 1) * turn) if self.whole_degrees else low + (high - low) * turn
        low, high = self.translation_px or self.translation
        shift = (low + (high - low) * right, low + (high - low) * down)
        low, high = self.scale
        angle, scale = math.radians(degrees), low + (high - low) * size
        if self.translation_px:
            return ViewGeometry(angle, translation_px=shift, scale=scale)
        return ViewGeometry(angle, shift, scale=scale)


class RenderedView(NamedTuple):
    """A rendered view."""

    image: NDArray[np.uint8]  # (S, S, 3), RGB
    view_from_image: Matrix  # (3, 3), view pixels ← pixels of the image at full size
    view_from_crop: Matrix  # (3, 3), the augmentation alone, normalized


def render_view(sample: "HandSample", geometry: ViewGeometry, size: int, border: Border = "black") -> RenderedView:
    """Render the view of a hand, `size` px wide, that a geometry makes of its crop box; border as for `warp`."""
    box = sample["crop_box"]
    view_from_crop = geometry.view_from_crop(float(box[2] - box[0]))
    matrix = view_from_image(view_from_crop, box, size)
    from_decoded = matrix @ sample["image_from_decoded"] if "image_from_decoded" in sample else matrix
    return RenderedView(warp(sample["image"], from_decoded, size, border), matrix, view_from_crop)


def pixels_to_keep(size: int, finest: float) -> float:
    """Number of pixels across the crop box that views of `size` px and at least scale `finest` need, see `warp`."""
    return 2 * size / finest


def warp(image: NDArray[np.uint8], view_from_image: Matrix, size: int, border: Border = "black") -> NDArray[np.uint8]:
    """Warp an image (H, W, …) to a view (size, size, …) by view pixels ← image pixels, bilinear.

    Where the view is less than half as fine as the image, four samples are averaged for each pixel of the view, of an
    image that was averaged over square blocks where even these would skip pixels. On the spectrum of natural images,
    the root mean square difference from the mean over each pixel's area is below 4 gray levels, a third of that of one
    sample or less.
    """
    cv2.ipp.setUseIPP(False)  # in this thread: it adds 4 µs to small calls, a tenth of a warp, and changes no pixel
    mode = _BORDER_MODES[border]
    (a, b, _), (c, d, _), _ = view_from_image.tolist()
    reduction = 1 / math.sqrt(abs(a * d - b * c))
    if reduction < 2:
        view = cv2.warpAffine(image, view_from_image[:2], (size, size), borderMode=mode)
        return view.astype(np.uint8, copy=False)
    double_from_image = from_reduced(2, 2) @ view_from_image  # of which the view is reduced twice
    block = min(int(reduction / 2), *image.shape[:2])
    if block > 1:
        # of a large image, blocks that are not shown take longer to average than all the rest
        (left, top), (right, bottom) = _blocks_shown(view_from_image, image.shape[1], image.shape[0], size, block)
        part = image[top * block : bottom * block, left * block : right * block]
        image = cv2.resize(part, (right - left, bottom - top), interpolation=cv2.INTER_AREA).astype(
            np.uint8, copy=False
        )
        double_from_image = double_from_image @ from_reduced(block, block) @ similarity(shift=(left, top))
    double = cv2.warpAffine(image, double_from_image[:2], (2 * size, 2 * size), borderMode=mode)
    return cv2.resize(double, (size, size), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _blocks_shown(view_from_image: Matrix, width: int, height: int, size: int, block: int) -> NDArray[np.int64]:
    """First blocks of an image that a view shows, or its border reflects, and those after the last: ((x, y), (x, y)).

    Incomplete blocks, at the right and bottom, are left out.
    """
    corners = np.array([[x, y, 1.0] for x in (-1, size) for y in (-1, size)])
    seen = corners @ np.linalg.inv(view_from_image).T[:, :2]
    low, high = seen.min(axis=0), seen.max(axis=0)
    edges = np.array([width, height])
    first, last = np.minimum(low, 2 * edges - high), np.maximum(high, -low)  # mirrored at the edges, once
    whole = edges // block
    start = np.clip(np.floor(first / block) - 3, 0, whole - 1)
    stop = np.clip(np.ceil(last / block) + 3, start + 1, whole)
    far = (high - low > edges) | (low > edges) | (high < 0)  # mirrored more often
    return np.array([np.where(far, 0, start), np.where(far, whole, stop)]).astype(np.int64)

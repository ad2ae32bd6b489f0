"""Other backgrounds than a network could recognize views of one image by: they do not turn and shift with the view."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple, Self

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from peclr.data.rng import KeyedRng
from peclr.data.samples import HandSample, HandSource, require_masks
from peclr.data.sources.image_files import ImageFiles
from peclr.data.views.geometric import RenderedView, warp
from peclr.geometry.planar import Matrix, view_from_box

Image = NDArray[np.uint8]
Replace = Callable[[RenderedView, HandSample], Image]

_MARGIN: Final = 1.25  # of the side of a view: a background is larger, and each view shows another part of it
_PAIRS_PER_NEW: Final = 1024  # pairs of an epoch for each background that is new in it: every process makes them all
_OUTLINES: Final = 2**16  # of hands, kept: about 64 MB, of all of FreiHAND's
_RIM: Final = 0.03  # of an image's side, painted over around a hand for its shadow and its soft edge


class ReplaceBackground:
    """Other backgrounds for views: how often, and where from.

    No dataclass: of its `class_path`, jsonargparse 4 would make None if an option of a nested class came before.
    """

    def __init__(
        self, probability: float = 0.5, folder: str | None = None, *, feather: int = 1, bank: int = 256
    ) -> None:
        """Check the settings.

        Args:
            probability: Of each view.
            folder: Images to take backgrounds from; by default the sources' own, their hands painted over.
            feather: Pixels of the view over which a hand fades, inwards: half of its outline is of the old background.
            bank: Number of backgrounds of an epoch, some of which the next exchanges; 256 of 128 px are 20 MB.
        """
        limits = (("probability", probability, 0, 1), ("feather", feather, 0, 16), ("bank", bank, 1, math.inf))
        for name, value, low, high in limits:
            if not low <= value <= high:
                raise ValueError(f"{name} {value} is outside {low} … {high}")
        self.probability, self.folder, self.feather, self.bank = probability, folder, feather, bank


class Outline(NamedTuple):
    """The outline of a hand: a kilobyte instead of a mask, drawn in a third of the time that warping the mask takes."""

    shape: tuple[int, ...]  # of the image at full size
    polygons: list[NDArray[np.float32]]  # (P, 1, 2) each, px; inside an odd number of them is hand, which has gaps

    @classmethod
    def of(cls, mask: Image) -> Self:
        """Trace a mask (H, W) of 0 and 1, at most half a pixel from it."""
        contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        return cls(mask.shape, [cv2.approxPolyDP(contour, 0.5, closed=True).astype(np.float32) for contour in contours])

    def draw(self, view_from_image: Matrix, size: int) -> Image:
        """Draw the hand, 255 on 0, in a view (size, size)."""
        matrix = 16 * view_from_image[:2]  # to 1/16 px
        hand = np.zeros((size, size), np.uint8)
        cv2.fillPoly(hand, [cv2.transform(p, matrix).astype(np.int32) for p in self.polygons], 255, shift=4)
        return hand


def replace_background(new: Image, outline: Outline, feather: int, view: RenderedView, sample: HandSample) -> Image:
    """Show `new` instead of what is not the hand in the view of a sample; ValueError if the mask does not fit it."""
    if "image_from_decoded" not in sample and outline.shape != (shape := sample["image"].shape[:2]):
        mask, image = (f"{width} × {height}" for height, width in (outline.shape, shape))
        raise ValueError(f"{sample['id']}: the mask has {mask} px, the image {image}")
    hand: MatLike = outline.draw(view.view_from_image, len(view.image))
    if feather:
        hand = cv2.blur(hand, (2 * feather + 1,) * 2)
        hand = cv2.addWeighted(hand, 2, hand, 0, -255)  # inwards: half becomes none
    weight = cv2.cvtColor(hand, cv2.COLOR_GRAY2RGB).astype(np.uint8, copy=False)
    # 8 bits suffice: weights add up to 255, so that rounding does not pass it
    shown, back = (cv2.multiply(*pair, scale=1 / 255) for pair in ((view.image, weight), (new, ~weight)))
    return (shown + back).astype(np.uint8, copy=False)  # in a fifth of the time of cv2.add


class Backgrounds:
    """Backgrounds for views of one size; an epoch's are a window on an endless sequence that the seed decides."""

    def __init__(
        self, settings: ReplaceBackground, sources: Sequence[HandSource], *, size: int, pairs: int, seed: int
    ) -> None:
        """Look for masks of all hands, and for images if a folder is given; ValueError where there are none."""
        self._masks = [require_masks(source) for source in sources]
        for masks in self._masks:
            masks.check_masks()
        self._settings, self._sources, self._size = settings, sources, size
        self._donors = sources if settings.folder is None else [ImageFiles(settings.folder)]
        self._new = min(settings.bank, max(1, pairs // _PAIRS_PER_NEW))
        self._rng, self._rng_of_bank = KeyedRng("background", seed), KeyedRng("bank", seed)
        self._made, self._outlines = dict[int, Image](), dict[tuple[int, int], Outline]()

    def draw(self, epoch: int, index: int, source: int, images: tuple[int, int]) -> list[Replace | None]:
        """Draw what replaces the background of each of the two views of an item, or None to keep it."""
        new: list[Replace | None] = [None, None]
        for view, (chance, *place) in enumerate(self._rng.at(epoch, index).random((2, 4)).tolist()):
            if chance < self._settings.probability:
                hand = source, self._sources[source].hand_of(images[view])
                if hand not in self._outlines:
                    if len(self._outlines) >= _OUTLINES:
                        del self._outlines[next(iter(self._outlines))]
                    self._outlines[hand] = Outline.of(self._masks[source].read_mask(hand[1]))
                part, feather = self._part(epoch, *place), self._settings.feather
                new[view] = partial(replace_background, part, self._outlines[hand], feather)
        return new

    def _part(self, epoch: int, which: float, right: float, down: float) -> Image:
        """Cut a part (S, S, 3) out of one of the epoch's backgrounds, from three numbers in [0, 1)."""
        first = epoch * self._new
        number = first + int(which * self._settings.bank)
        if number not in self._made:
            self._made = {made: image for made, image in self._made.items() if made >= first}
            self._made[number] = self._make(number)
        left, top = (int(share * (len(self._made[number]) - self._size + 1)) for share in (right, down))
        part = self._made[number][top : top + self._size, left : left + self._size]
        return part.copy()  # OpenCV takes five times as long where rows are not next to each other

    def _make(self, number: int) -> Image:
        """Make the square in the middle of any donor's image, its hand painted over, half of them mirrored."""
        rng = self._rng_of_bank.at(0, number)
        chosen = int(rng.integers(len(self._donors)))
        donor = self._donors[chosen]
        index, side = int(rng.integers(len(donor))), round(_MARGIN * self._size)
        background = _middle(donor.read(index, 2 * side)["image"], side)
        if self._settings.folder is None:
            hand = _middle(self._masks[chosen].read_mask(donor.hand_of(index)), side)
            if hand.any():
                cv2.fillConvexPoly(hand, cv2.convexHull(cv2.findNonZero(hand)), 1)
            rim = np.ones((2 * max(1, round(_RIM * side)) + 1,) * 2, np.uint8)
            background = cv2.inpaint(background, cv2.dilate(hand, rim), 3, cv2.INPAINT_TELEA).astype(np.uint8)
        return np.ascontiguousarray(background[:, :: 1 - 2 * int(rng.integers(2))])


def _middle(image: Image, side: int) -> Image:
    """Resize the square in the middle of an image (H, W, …)."""
    middle, half = np.array([image.shape[1] - 1, image.shape[0] - 1]) / 2, min(image.shape[:2]) / 2
    return warp(image, view_from_box(np.concatenate((middle - half, middle + half)), side), side, "reflect")

"""Another background for a view: the hand stays where it is, pixel for pixel, and everything around it is replaced.

Views of one photograph share what is behind the hand, and a network can tell them from others by that alone. With a
mask of the hand, each view gets a background of its own. It is not turned and shifted with the view: nothing but the
hand tells the view's geometry.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from peclr.data.photos import Photos
from peclr.data.samples import HandSample, HandSource
from peclr.data.sampling import RandomStreams
from peclr.data.views import Matrix, warp

Image = NDArray[np.uint8]

# Of the side of a view: a background is larger, and each view takes another part of it.
_MARGIN: Final = 1.25
# JPEG leaves noise in masks; below and above these shares, a pixel is wholly background or wholly hand.
_NOISE: Final = 0.125
_HAND: Final = np.clip((np.arange(256, dtype=np.float32) / 255 - _NOISE) / (1 - 2 * _NOISE), 0, 1)
# Of a picture's side: how far around a hand that is removed its surroundings are averaged.
_FILL: Final = 0.1


@dataclass(frozen=True)
class ReplaceBackground:
    """How often views get another background, and where from.

    Attributes:
        probability: Of each view.
        folder: Photographs to take backgrounds from; by default the sources' own, their hands painted over.
        feather: Standard deviation of the blur of the mask's edge, pixels of the view.
        bank: Number of backgrounds in an epoch, drawn anew for each. They are decoded once and kept: one for
            each view would cost as much as all the rest of it: 256 for views of 128 px are 20 MB in each worker.
    """

    probability: float = 0.5
    folder: str | None = None
    feather: float = 1.0
    bank: int = 256

    def __post_init__(self) -> None:
        """Refuses what cannot be."""
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability {self.probability} is not a probability")
        if not 0 <= self.feather <= 16:
            raise ValueError(f"feather {self.feather} is outside 0 … 16 px")
        if self.bank < 1:
            raise ValueError(f"bank {self.bank}: expected at least 1 background")


class Behind(NamedTuple):
    """What to show behind a hand.

    Attributes:
        background: (S, S, 3), RGB, of the size of the view.
        mask: (H, W), the hand in the photograph at full size, 255 where it shows.
        feather: See `ReplaceBackground`.
    """

    background: Image
    mask: Image
    feather: float

    def put(self, view: Image, view_from_photo: Matrix, sample: HandSample) -> Image:
        """Replaces what surrounds the hand.

        Args:
            view: (S, S, 3), before photometric augmentation.
            view_from_photo: (3, 3), pixels of the view ← pixels of the photograph at full size.
            sample: What the view was taken from.

        Raises:
            ValueError: If mask and photograph differ in size.
        """
        if "photo_from_image" not in sample and self.mask.shape != sample["image"].shape[:2]:
            height, width = sample["image"].shape[:2]
            mask = f"{self.mask.shape[1]} × {self.mask.shape[0]} px"
            raise ValueError(f"{sample['id']}: the mask has {mask}, the picture {width} × {height}")
        hand = warp(self.mask, view_from_photo, len(view))
        if self.feather:
            hand = cv2.GaussianBlur(hand, (0, 0), self.feather).astype(np.uint8, copy=False)
        weights = [cv2.LUT(hand, table).astype(np.float32, copy=False) for table in (_HAND, 1 - _HAND)]
        return cv2.blendLinear(view, self.background, *weights).astype(np.uint8, copy=False)


class Backgrounds:
    """Draws backgrounds for views of one size."""

    def __init__(self, settings: ReplaceBackground, sources: Sequence[HandSource], size: int, seed: int) -> None:
        """Looks for the masks, and for photographs if a folder is given.

        Raises:
            ValueError: If a source has no masks; the message names it.
        """
        for source in sources:
            source.check_masks()
        self._settings, self._size = settings, size
        self._masked = settings.folder is None
        self._donors: Sequence[HandSource] = sources if settings.folder is None else [Photos(settings.folder)]
        self._streams, self._choices = RandomStreams("background", seed), RandomStreams("bank", seed)
        self._epoch, self._bank = -1, dict[int, Image]()

    def draw(self, epoch: int, index: int, source: HandSource, images: tuple[int, int]) -> list[Behind | None]:
        """What is to be behind the hands of an item's two views; None leaves a view as it is.

        Its random numbers are apart from those of the views, which keep their geometry and colours.

        Args:
            epoch: From 0.
            index: Of the item.
            source: Where it is from.
            images: Indices into the source, which may be the same.
        """
        stream = self._streams.at(epoch, index)
        chosen = [bool(stream.random() < self._settings.probability) for _ in images]
        masks = {image: source.read_mask(image) for image, replaced in zip(images, chosen, strict=True) if replaced}
        return [
            Behind(_part(self._background(epoch, stream), self._size, stream), masks[image], self._settings.feather)
            if replaced
            else None
            for image, replaced in zip(images, chosen, strict=True)
        ]

    def _background(self, epoch: int, stream: np.random.Generator) -> Image:
        """Any picture of the epoch's bank, decoded when it is first needed."""
        number = int(stream.integers(self._settings.bank))
        if epoch != self._epoch:
            self._epoch, self._bank = epoch, {}
        if number not in self._bank:
            choice = self._choices.at(epoch, number)
            donor = self._donors[int(choice.integers(len(self._donors)))]
            index = int(choice.integers(len(donor)))
            side = round(_MARGIN * self._size)
            picture = _middle(donor.read(index, 2 * side)["image"], side)
            if self._masked:
                picture = _without_hand(picture, _middle(donor.read_mask(index), side))
            self._bank[number] = picture
        return self._bank[number]


def _middle(picture: Image, side: int) -> Image:
    """The square in the middle of a picture (H, W) or (H, W, 3), resized."""
    height, width = picture.shape[:2]
    half = min(height, width) // 2
    top, left = height // 2 - half, width // 2 - half
    square = picture[top : top + 2 * half, left : left + 2 * half]
    shrinks = 2 * half > side
    return cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR).astype(
        np.uint8, copy=False
    )


def _without_hand(picture: Image, mask: Image) -> Image:
    """Paints over a hand with the mean of what is around it: the further away, the less it counts."""
    # what is filled in is smooth: a quarter of the resolution is enough for it
    size = picture.shape[0] // 4
    small = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
    # a little more than the hand, whose edge is blurred
    wider = cv2.dilate(mask, np.ones((5, 5), np.uint8))
    around = (cv2.resize(wider, (size, size), interpolation=cv2.INTER_AREA) < 255 * _NOISE).astype(np.float32)
    if not around.any():
        return picture
    # far from anything known, the mean of all that is known
    mean = small[around > 0].mean(axis=0).astype(np.float32)
    weight = cv2.GaussianBlur(around, (0, 0), _FILL * size) + 1e-3
    known = cv2.GaussianBlur(small * around[..., None], (0, 0), _FILL * size) + 1e-3 * mean
    filled = cv2.resize(known / weight[..., None], picture.shape[:2], interpolation=cv2.INTER_LINEAR)
    hidden = cv2.GaussianBlur(wider, (0, 0), 1.5)
    filled = np.clip(filled, 0, 255).astype(np.uint8)
    return cv2.blendLinear(picture, filled, 1 - _HAND[hidden], _HAND[hidden]).astype(np.uint8, copy=False)


def _part(picture: Image, size: int, stream: np.random.Generator) -> Image:
    """A square of a background, perhaps mirrored."""
    spare = picture.shape[0] - size + 1
    down, right, side = stream.random(3).tolist()
    top, left = int(down * spare), int(right * spare)
    part = picture[top : top + size, left : left + size]
    return cv2.flip(part, 1).astype(np.uint8, copy=False) if side < 0.5 else part.copy()

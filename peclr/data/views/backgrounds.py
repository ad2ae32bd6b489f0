"""Another background for a view: the hand stays where it is, pixel for pixel, and everything around it is replaced.

Views of one photograph share what is behind the hand, and a network can tell them from others by that alone. With a
mask of the hand, each view gets a background of its own. It is not turned and shifted with the view: nothing but the
hand tells the view's geometry.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from peclr.data.rng import RandomStreams
from peclr.data.samples import HandSample, HandSource
from peclr.data.sources.image_files import Photos
from peclr.data.views.background_bank import BackgroundBank
from peclr.data.views.geometric import Matrix, warp
from peclr.data.views.hand_outlines import HandOutlines, Outline

Image = NDArray[np.uint8]

# From one half to the whole becomes from nothing to the whole: pixels at the outline that are partly of the old
# background, of a green screen for example, would be a fringe.
_INWARDS: Final = np.clip(2 * np.arange(256) - 255, 0, 255).astype(np.uint8)


class ReplaceBackground:
    """How often views get another background, and where from.

    No dataclass, though it looks like one: of `background: {class_path: ReplaceBackground}`, jsonargparse 4 would make
    None if any option of a nested class came before.
    """

    def __init__(self, probability: float = 0.5, folder: str | None = None, feather: int = 1, bank: int = 256) -> None:
        """Refuses what cannot be.

        Args:
            probability: Of each view.
            folder: Photographs to take backgrounds from; by default the sources' own, their hands painted over.
            feather: Pixels of the view over which a hand's edge fades into the background, from its outline inwards:
                half of an outline's pixels are of the old background.
            bank: Number of backgrounds that views of an epoch draw from, each another part of one; with every epoch
                some are exchanged. They are decoded once and kept, as one for each view would cost as much as all the
                rest of it: 256 for views of 128 px are 20 MB in each worker.
        """
        if not 0 <= probability <= 1:
            raise ValueError(f"probability {probability} is not a probability")
        if not 0 <= feather <= 16:
            raise ValueError(f"feather {feather} is outside 0 … 16 px")
        if bank < 1:
            raise ValueError(f"bank {bank}: expected at least 1 background")
        self.probability, self.folder, self.feather, self.bank = probability, folder, feather, bank


class Behind(NamedTuple):
    """What to show behind a hand.

    Attributes:
        background: (S, S, 3), RGB, of the size of the view.
        outline: Of the hand in the photograph.
        feather: See `ReplaceBackground`.
    """

    background: Image
    outline: Outline
    feather: int

    def render(self, sample: HandSample, view_from_photo: Matrix, view_from_pixels: Matrix) -> Image:
        """Renders a view, of the photograph only what shows the hand.

        Args:
            sample: What the view is taken from.
            view_from_photo: (3, 3), pixels of the view ← pixels of the photograph at full size.
            view_from_pixels: (3, 3), pixels of the view ← pixels of the sample's image.

        Returns:
            (S, S, 3), before photometric augmentation.

        Raises:
            ValueError: If mask and photograph differ in size.
        """
        height, width = sample["image"].shape[:2]
        if "photo_from_image" not in sample and (self.outline.height, self.outline.width) != (height, width):
            mask = f"{self.outline.width} × {self.outline.height} px"
            raise ValueError(f"{sample['id']}: the mask has {mask}, the picture {width} × {height}")
        view = self.background.copy()
        corners = self.outline.transformed(view_from_photo)
        left, top, width, height = self._around(corners, len(view))
        if not (width > 0 and height > 0):
            return view
        hand = self.outline.fill(corners, (left, top), (width, height))
        if self.feather:
            blur = 2 * self.feather + 1
            hand = cv2.blur(hand, (blur, blur)).astype(np.uint8, copy=False)
        weight = cv2.cvtColor(cv2.LUT(hand, _INWARDS), cv2.COLOR_GRAY2RGB)
        part_from_view = np.array([[1.0, 0, -left], [0, 1, -top], [0, 0, 1]])
        front = warp(sample["image"], part_from_view @ view_from_pixels, (width, height))
        part = view[top : top + height, left : left + width]
        # in 8 bits throughout: cv2.blendLinear needs floats and takes twice as long
        back = cv2.multiply(part, np.invert(weight, dtype=np.uint8), scale=1 / 255)
        cv2.add(cv2.multiply(front, weight, scale=1 / 255), back, dst=part)
        return view

    def _around(self, corners: NDArray[np.float32], size: int) -> tuple[int, int, int, int]:
        """Left, top, width and height of the part of the view that the hand and its blurred edge are in."""
        if not len(corners):
            return 0, 0, 0, 0
        x, y, width, height = cv2.boundingRect(corners)
        rim = self.feather + 1
        left, top = max(x - rim, 0), max(y - rim, 0)
        return left, top, min(x + width + rim, size) - left, min(y + height + rim, size) - top


class Backgrounds:
    """Draws backgrounds for views of one size."""

    def __init__(
        self, settings: ReplaceBackground, sources: Sequence[HandSource], size: int, pairs: int, seed: int
    ) -> None:
        """Looks for the masks, and for photographs if a folder is given.

        Args:
            settings: See there.
            sources: Of the views.
            size: Side of the views, px.
            pairs: How many items there are.
            seed: Of everything random.

        Raises:
            ValueError: If a source has no masks; the message names it.
        """
        for source in sources:
            source.check_masks()
        self._settings, self._sources = settings, sources
        self._outlines = [HandOutlines(source) for source in sources]
        own = settings.folder is None
        donors = sources if settings.folder is None else [Photos(settings.folder)]
        self._bank = BackgroundBank(donors, self._outlines if own else None, size, settings.bank, pairs, seed)
        self._streams, self._pairs = RandomStreams("background", seed), pairs
        self._epoch, self._drawn = -1, np.empty((0, 2, 5), np.float32)  # the numbers of an epoch

    def draw(self, epoch: int, index: int, source: int, images: tuple[int, int]) -> list[Behind | None]:
        """What is to be behind the hands of an item's two views; None leaves a view as it is.

        Its random numbers are apart from those of the views, which keep their geometry and colours.

        Args:
            epoch: From 0.
            index: Of the item.
            source: Number of the source that it is from.
            images: Indices into the source, which may be the same.
        """
        if epoch != self._epoch:
            # all at once: to jump to each item's numbers would cost as much as to draw a hand's outline
            drawn = self._streams.at(epoch).random((self._pairs, 2, 5), np.float32)
            self._epoch, self._drawn = epoch, drawn
        behind: list[Behind | None] = [None, None]
        for view, (chance, *place) in enumerate(self._drawn[index].tolist()):
            if chance < self._settings.probability:
                outline = self._outlines[source].of(self._sources[source].hand_of(images[view]))
                behind[view] = Behind(self._bank.draw(epoch, *place), outline, self._settings.feather)
        return behind

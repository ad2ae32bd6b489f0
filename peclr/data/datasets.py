"""Torch data sets: pairs of augmented views for pre-training, labeled views for fine-tuning.

Keys are (epoch, index), or an index alone for epoch 0. What a key returns depends on it and on the seed alone.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from itertools import accumulate, chain
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from peclr.data.labels import labels_in_view
from peclr.data.loading.pairing import Pairing, PairingName, pairings_of
from peclr.data.loading.shard_order import ByShard, InShards
from peclr.data.loading.shards_at_once import by_shard, check_caches, fetch_ahead
from peclr.data.loading.skipping import OnBadImage, SkipList
from peclr.data.rng import KeyedRng
from peclr.data.samples import HandSample, HandSource, LabeledItem, PairedViewItem
from peclr.data.views.backgrounds import Backgrounds, ReplaceBackground
from peclr.data.views.geometric import Border, GeometryRange, ViewGeometry, pixels_to_keep, render_view
from peclr.data.views.photometric import Photometric, Recolor
from peclr.geometry.joints import NUM_JOINTS
from peclr.geometry.planar import move

Key = int | tuple[int, int]


@dataclass(frozen=True)
class Augmentation:
    """Augmentation of views; None leaves the crop box, the colors or the background as they are."""

    geometry: GeometryRange | None = None
    photometric: Photometric | None = None
    _: KW_ONLY
    border: Border = "black"
    background: ReplaceBackground | None = None

    def draw_geometry(self, rng: np.random.Generator) -> ViewGeometry:
        """Draw the geometry of one view."""
        return ViewGeometry() if self.geometry is None else self.geometry.draw(rng)


NOTHING: Final = Augmentation()


class PairedViewDataset(Dataset[PairedViewItem]):
    """Two views of a hand, for contrastive pre-training."""

    def __init__(
        self,
        sources: Sequence[HandSource],
        pairing: Pairing | PairingName | Sequence[Pairing | PairingName] = "same_image",
        *,
        view_size: int = 128,
        augmentation: Augmentation = NOTHING,
        seed: int = 0,
        on_bad_image: OnBadImage = "error",
        with_joints: bool = False,
        shards_at_once: int = 0,
    ) -> None:
        """Concatenate sources; the options are those of `PairedViewDataModule`.

        Where an image cannot be read, "skip" notes it in `skipped` and gives the next item of its source that can.
        """
        if not sources:
            raise ValueError("expected at least one source of images, got none")
        self.sources, self.view_size, self.augmentation = tuple(sources), view_size, augmentation
        self.skipped = SkipList(on_bad_image)
        self._recolor, self._rng = Recolor(augmentation.photometric), KeyedRng("view", seed)
        pairings = pairings_of(pairing, len(sources))
        self._pairs = [own.within(source) for own, source in zip(pairings, self.sources, strict=True)]
        self.sizes = [len(pairs) for pairs in self._pairs]
        self.in_shards = self._in_shards(shards_at_once) if shards_at_once else None
        self._ends = list(accumulate(self.sizes))
        self._with_joints, self._backgrounds = with_joints, None
        if background := augmentation.background:
            self._backgrounds = Backgrounds(background, self.sources, size=view_size, pairs=len(self), seed=seed)
        self._first_hand = [0, *accumulate(pairs.hand_numbers for pairs in self._pairs)]  # of each source

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, key: Key) -> PairedViewItem:
        """Make two views; `index` is another one's where an image had to be skipped."""
        epoch, index = _epoch_and_index(key, len(self))
        return self.skipped.first_readable(partial(self._make, epoch), self._candidates(index))

    def _candidates(self, index: int) -> Iterable[int]:
        """An item, then those that may stand for it."""
        number = bisect_right(self._ends, index)
        end, start = self._ends[number], self._ends[number] - self.sizes[number]
        by_shard = self.in_shards and self.in_shards.sources[number]
        if isinstance(by_shard, ByShard):
            return (start + item for item in by_shard.in_place_of(index - start))
        return chain(range(index, end), range(start, index))

    def _in_shards(self, at_once: int) -> InShards:
        sources = [by_shard(pairs, source) for pairs, source in zip(self._pairs, self.sources, strict=True)]
        return InShards(sources, at_once, partial(fetch_ahead, self.sources))

    def check_caches(self, held_out: float) -> None:
        """Refuse sources whose caches are too small for their pairs; a share of the hands is held out."""
        check_caches(self._pairs, self.sources, self.in_shards.at_once if self.in_shards else 0, held_out)

    def _make(self, epoch: int, index: int) -> PairedViewItem:
        rng = self._rng.at(epoch, index)
        number, images = self._choose(index, rng)
        source, augmentation, size = self.sources[number], self.augmentation, self.view_size
        # all of the geometry is drawn first: it stays the same when the photometric part is changed
        geometry = augmentation.draw_geometry(rng), augmentation.draw_geometry(rng)
        min_side = pixels_to_keep(size, min(view.scale for view in geometry))
        first = source.read(images[0], min_side)
        samples = first, first if images[1] == images[0] else source.read(images[1], min_side)
        backgrounds = self._backgrounds and self._backgrounds.draw(epoch, index, number, images)
        views = np.empty((2, 3, size, size), np.uint8)
        matrices = np.empty((2, 2, 3, 3), np.float32)
        for view in (0, 1):
            image, *matrices[:, view] = rendered = render_view(samples[view], geometry[view], size, augmentation.border)
            if backgrounds and (replace_background := backgrounds[view]):
                image = replace_background(rendered, samples[view])
            cv2.split(self._recolor(image, rng), list(views[view]))
        if not self._pairs[number].has_map(images):
            matrices[1] = np.eye(3)
        item: PairedViewItem = {
            "views": torch.from_numpy(views),
            "view_from_image": torch.from_numpy(matrices[0]),
            "view_from_crop": torch.from_numpy(matrices[1]),
            "index": index,
            "hand": self._first_hand[number] + self._pairs[number].hand_shown(images[0]),
        }
        if self._with_joints:
            joints = [_joints_in_view(sample, matrix) for sample, matrix in zip(samples, matrices[0], strict=True)]
            item["joints_2d"] = torch.from_numpy(np.stack(joints))
        return item

    def images_of(self, key: Key) -> tuple[HandSource, tuple[int, int]]:
        """Find the images of an item's two views: a source and indices into it."""
        epoch, index = _epoch_and_index(key, len(self))
        number, images = self._choose(index, self._rng.at(epoch, index))
        return self.sources[number], images

    def hands(self) -> NDArray[np.int64]:
        """(items,), what the items' `hand` will be, unless images have to be skipped."""
        return self.hands_of(np.arange(len(self)))

    def hands_of(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        """(N,), the same of some items (N,)."""
        hands = np.empty_like(items)
        numbers = np.searchsorted(self._ends, items, side="right")
        for number, (first, pairs) in enumerate(zip(self._first_hand, self._pairs, strict=False)):  # one is behind all
            own = numbers == number
            start = self._ends[number] - self.sizes[number]
            hands[own] = first + pairs.hands_of(items[own] - start)
        return hands

    def _choose(self, index: int, rng: np.random.Generator) -> tuple[int, tuple[int, int]]:
        """Draw the images of an item: the number of its source, and indices into it."""
        number = bisect_right(self._ends, index)
        return number, self._pairs[number].draw(index - self._ends[number] + self.sizes[number], rng)


class LabeledHandDataset(Dataset[LabeledItem]):
    """One view of each image of a source, with what is known of its labels, for fine-tuning and evaluation."""

    def __init__(
        self,
        source: HandSource,
        view_size: int = 224,
        *,
        augmentation: Augmentation = NOTHING,
        seed: int = 0,
        on_bad_image: OnBadImage = "error",
        sizes: Sequence[int] | None = None,
    ) -> None:
        """Take the options of `PairedViewDataset`; "skip" is not for validation: scores would be of other images.

        `sizes` are numbers of images, one after the other, that are drawn from apart, as of several sources.
        """
        if augmentation.background is not None:
            raise ValueError("labeled views keep their background; expected an augmentation without one")
        self.source, self.view_size, self.augmentation = source, view_size, augmentation
        self.sizes, self.skipped = list(sizes or [len(source)]), SkipList(on_bad_image)
        self._recolor, self._rng = Recolor(augmentation.photometric), KeyedRng("view", seed)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: Key) -> LabeledItem:
        """Make one view; labels that the source does not have are 0, see `LabeledBatch`."""
        epoch, index = _epoch_and_index(key, len(self))
        return self.skipped.first_readable(partial(self._make, epoch), chain(range(index, len(self)), range(index)))

    def _make(self, epoch: int, index: int) -> LabeledItem:
        rng = self._rng.at(epoch, index)
        geometry = self.augmentation.draw_geometry(rng)
        sample = self.source.read(index, pixels_to_keep(self.view_size, geometry.scale))
        view, matrix, _ = render_view(sample, geometry, self.view_size, self.augmentation.border)
        image = np.empty((3, self.view_size, self.view_size), np.uint8)
        cv2.split(self._recolor(view, rng), list(image))
        return {
            "image": torch.from_numpy(image),
            **labels_in_view(sample, matrix),
            "image_from_view": torch.from_numpy(np.linalg.inv(matrix).astype(np.float32)),
            "index": index,
        }


def _epoch_and_index(key: Key, length: int) -> tuple[int, int]:
    epoch, index = key if isinstance(key, tuple) else (0, key)
    if not 0 <= index < length:
        raise IndexError(f"index {index} is outside 0 … {length - 1}")
    return epoch, int(index)


def _joints_in_view(sample: HandSample, view_from_image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Joints (21, 2), pixels of the view; NaN where unknown."""
    if sample["joints_2d"] is None:
        return np.full((NUM_JOINTS, 2), np.nan, np.float32)
    return move(view_from_image, sample["joints_2d"]).astype(np.float32, copy=False)

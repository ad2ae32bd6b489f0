"""Torch data sets: pairs of augmented views for pre-training, labeled views for fine-tuning.

Keys are (epoch, index), or an index alone for epoch 0. What a key returns depends on it and on the seed, on
nothing else.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import accumulate
from typing import get_args

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from peclr.data.loading.pairing import Pairing, PairingName, pairing_of
from peclr.data.loading.skipping import OnBadImage, SkipList, first_readable
from peclr.data.rng import KeyedRng
from peclr.data.samples import HandSample, HandSource, LabeledItem, PairedViewItem
from peclr.data.views.backgrounds import Backgrounds, NewBackground, ReplaceBackground
from peclr.data.views.geometric import (
    Border,
    GeometryRange,
    Matrix,
    ViewGeometry,
    pixels_to_keep,
    view_from_image,
    warp,
)
from peclr.data.views.photometric import Photometric, Recolor
from peclr.geometry.camera import crop_camera
from peclr.geometry.joints import NUM_JOINTS, SCALE_BONE, WRIST
from peclr.geometry.pose25d import to_25d

Key = int | tuple[int, int]


class PairedViewDataset(Dataset[PairedViewItem]):
    """Two views of a hand, for contrastive pre-training."""

    def __init__(
        self,
        sources: Sequence[HandSource],
        pairing: Pairing | PairingName = "same_image",
        view_size: int = 128,
        geometry: GeometryRange | None = None,
        photometric: Photometric | None = None,
        seed: int = 0,
        border: Border = "black",
        on_bad_image: OnBadImage = "error",
        with_joints: bool = False,
        background: ReplaceBackground | None = None,
    ) -> None:
        """Concatenates sources.

        Args:
            sources: One or more.
            pairing: Which two photographs the views of an item are of, see `peclr.data.loading.pairing`.
            view_size: Side of a view, px.
            geometry: Geometric augmentation; None shows the crop box as it is.
            photometric: Photometric augmentation; None leaves colors as they are.
            seed: Of everything random.
            border: What views show beyond a photograph, "black" or its mirror image, "reflect".
            on_bad_image: "error" stops at an image that cannot be read; "skip" notes it in `skipped` and gives the
                next item of the same source that can.
            with_joints: Whether items have `joints_2d`.
            background: Gives views other backgrounds, which needs masks; None leaves them as they are.
        """
        if on_bad_image not in get_args(OnBadImage):
            raise ValueError(f"on_bad_image {on_bad_image!r} does not exist; expected one of {get_args(OnBadImage)}")
        if not sources:
            raise ValueError("expected at least one source of images, got none")
        self.sources, self.view_size = tuple(sources), view_size
        self.geometry, self.photometric = geometry, photometric
        self.border, self.on_bad_image, self.skipped = border, on_bad_image, SkipList()
        self._recolor = None if photometric is None else Recolor(photometric)
        self._streams = KeyedRng("view", seed)
        chosen = pairing_of(pairing)
        self._pairs = [chosen.within(source) for source in self.sources]
        self.sizes = [len(pairs) for pairs in self._pairs]
        self._ends = list(accumulate(self.sizes))
        self._backgrounds = None
        if background is not None:
            self._backgrounds = Backgrounds(background, self.sources, size=view_size, pairs=len(self), seed=seed)
        self._with_joints = with_joints
        self._first_hand = [0, *accumulate(source.num_hands for source in self.sources)]  # of each source

    def __len__(self) -> int:
        """Number of items, all sources."""
        return self._ends[-1]

    def __getitem__(self, key: Key) -> PairedViewItem:
        """Makes two views; the item's `index` is that of another one where an image had to be skipped."""
        epoch, index = _epoch_and_index(key, len(self))
        if self.on_bad_image == "error":
            return self._make(epoch, index)
        number = bisect_right(self._ends, index)
        candidates = _from(index, self._ends[number] - self.sizes[number], self.sizes[number])
        return first_readable(partial(self._make, epoch), candidates, self.skipped)

    def _make(self, epoch: int, index: int) -> PairedViewItem:
        stream = self._streams.at(epoch, index)
        number, images = self._choose(index, stream)
        source = self.sources[number]
        # all of the geometry is drawn first: it stays the same when the photometric part is changed
        geometry = _draw(self.geometry, stream), _draw(self.geometry, stream)
        keep = pixels_to_keep(self.view_size, min(view.scale for view in geometry))
        first = source.read(images[0], keep)
        samples = first, first if images[1] == images[0] else source.read(images[1], keep)
        drawn = self._backgrounds and self._backgrounds.draw(epoch, index, number, images)
        backgrounds = drawn or (None, None)
        views = np.empty((2, 3, self.view_size, self.view_size), np.uint8)
        matrices = np.empty((2, 2, 3, 3), np.float32)
        for view in (0, 1):
            box = samples[view]["crop_box"]
            crop = geometry[view].view_from_crop(float(box[2] - box[0]))
            matrix = view_from_image(crop, box, self.view_size)
            _render(samples[view], matrix, self._recolor, stream, self.border, views[view], backgrounds[view])
            matrices[0, view], matrices[1, view] = matrix, crop
        item: PairedViewItem = {
            "views": torch.from_numpy(views),
            "view_from_image": torch.from_numpy(matrices[0]),
            "view_from_crop": torch.from_numpy(matrices[1]),
            "index": index,
            "hand": self._first_hand[number] + source.hand_of(images[0]),
        }
        if self._with_joints:
            joints = [_joints_in_view(sample, matrix) for sample, matrix in zip(samples, matrices[0], strict=True)]
            item["joints_2d"] = torch.from_numpy(np.stack(joints))
        return item

    def images_of(self, key: Key) -> tuple[HandSource, tuple[int, int]]:
        """The photographs of the two views of an item, which may be one and the same: a source and indices into it."""
        epoch, index = _epoch_and_index(key, len(self))
        number, images = self._choose(index, self._streams.at(epoch, index))
        return self.sources[number], images

    def hands(self) -> NDArray[np.int64]:
        """(items,), what the items' `hand` will be, unless images have to be skipped."""
        pairs = zip(self._first_hand, self._pairs, strict=False)  # the last first hand would be that of one more source
        return np.concatenate([first + of_source.hands() for first, of_source in pairs])

    def _choose(self, index: int, stream: np.random.Generator) -> tuple[int, tuple[int, int]]:
        """The number of an item's source, and the indices of its photographs in it."""
        number = bisect_right(self._ends, index)
        return number, self._pairs[number].draw(index - (self._ends[number] - self.sizes[number]), stream)


class LabeledHandDataset(Dataset[LabeledItem]):
    """One view of a hand with its labels, for fine-tuning and evaluation."""

    def __init__(
        self,
        source: HandSource,
        view_size: int = 224,
        geometry: GeometryRange | None = None,
        photometric: Photometric | None = None,
        seed: int = 0,
        border: Border = "black",
        on_bad_image: OnBadImage = "error",
    ) -> None:
        """Wraps a source whose images have cameras.

        Args:
            source: Each of its images is an item.
            view_size: Side of the view, px.
            geometry: Geometric augmentation; None shows the crop box as it is.
            photometric: Photometric augmentation; None leaves colors as they are.
            seed: Of everything random.
            border: What views show beyond a photograph, "black" or its mirror image, "reflect".
            on_bad_image: "error" stops at an image that cannot be read; "skip" notes it in `skipped` and gives the
                next image that can. Not for validation: scores would be of other images.
        """
        self.source, self.view_size = source, view_size
        self.geometry, self.photometric = geometry, photometric
        self.border, self.on_bad_image, self.skipped = border, on_bad_image, SkipList()
        self._recolor = None if photometric is None else Recolor(photometric)
        self._streams = KeyedRng("view", seed)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.source)

    def __getitem__(self, key: Key) -> LabeledItem:
        """Makes one view; labels that the source does not have are NaN."""
        epoch, index = _epoch_and_index(key, len(self))
        if self.on_bad_image == "error":
            return self._make(epoch, index)
        return first_readable(partial(self._make, epoch), _from(index, 0, len(self)), self.skipped)

    def _make(self, epoch: int, index: int) -> LabeledItem:
        stream = self._streams.at(epoch, index)
        geometry = _draw(self.geometry, stream)
        sample = self.source.read(index, pixels_to_keep(self.view_size, geometry.scale))
        if sample["K"] is None:
            raise ValueError(f"{self.source.name}, {sample['id']}: a labeled view needs a camera K, and there is none")
        box = sample["crop_box"]
        matrix = view_from_image(geometry.view_from_crop(float(box[2] - box[0])), box, self.view_size)
        image = np.empty((3, self.view_size, self.view_size), np.uint8)
        _render(sample, matrix, self._recolor, stream, self.border, out=image)

        K = crop_camera(torch.from_numpy(matrix), torch.tensor(sample["K"]).double())
        if sample["joints_3d"] is None:
            joints_3d = joints_25d = torch.full((NUM_JOINTS, 3), torch.nan)
        else:
            joints_3d = torch.tensor(sample["joints_3d"])
            joints_25d, _ = to_25d(joints_3d.double(), K, WRIST, SCALE_BONE)
        scale_m = torch.nan if sample["scale_m"] is None else sample["scale_m"]
        return {
            "image": torch.from_numpy(image),
            "K": K.float(),
            "joints_25d": joints_25d.float(),
            "joints_3d": joints_3d,
            "scale_m": torch.tensor(scale_m, dtype=torch.float32),
            "image_from_view": torch.from_numpy(np.linalg.inv(matrix).astype(np.float32)),
            "index": index,
        }


def _epoch_and_index(key: Key, length: int) -> tuple[int, int]:
    epoch, index = key if isinstance(key, tuple) else (0, key)
    if not 0 <= index < length:
        raise IndexError(f"index {index} is outside 0 … {length - 1}")
    return epoch, int(index)


def _from(index: int, start: int, size: int) -> Iterator[int]:
    """Indices of a source, from one on, round to the one before it."""
    return (start + (index - start + step) % size for step in range(size))


def _draw(geometry: GeometryRange | None, stream: np.random.Generator) -> ViewGeometry:
    return ViewGeometry() if geometry is None else geometry.draw(stream)


def _joints_in_view(sample: HandSample, view_from_image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Joints (21, 2), pixels of the view; NaN where unknown."""
    if sample["joints_2d"] is None:
        return np.full((NUM_JOINTS, 2), np.nan, np.float32)
    joints = sample["joints_2d"] @ view_from_image[:2, :2].T + view_from_image[:2, 2]
    return joints.astype(np.float32, copy=False)


def _render(
    sample: HandSample,
    view_from_photo: Matrix,
    recolor: Recolor | None,
    stream: np.random.Generator,
    border: Border,
    out: NDArray[np.uint8],
    background: NewBackground | None = None,
) -> None:
    """Warps, perhaps replaces the background, recolors, and writes the view to `out` (3, S, S)."""
    reduced = "photo_from_image" in sample
    view_from_pixels = view_from_photo @ sample["photo_from_image"] if reduced else view_from_photo
    view = warp(sample["image"], view_from_pixels, out.shape[-1], border)
    if background is not None:
        (height, width), masked = sample["image"].shape[:2], background.outline.shape
        if not reduced and masked != (height, width):
            mask = f"{masked[1]} × {masked[0]} px"
            raise ValueError(f"{sample['id']}: the mask has {mask}, the image {width} × {height}")
        view = background.behind(view, view_from_photo)
    if recolor is not None:
        view = recolor(view, stream)
    cv2.split(view, list(out))

"""Torch data sets: pairs of augmented views for pre-training, labelled views for fine-tuning.

Keys are (epoch, index), or an index alone for epoch 0. What a key returns depends on it and on the seed, on
nothing else.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import accumulate
from typing import Literal, get_args

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from peclr.data.photometric import Photometric, Recolour
from peclr.data.samples import HandSample, HandSource, LabelledItem, PairedViewItem
from peclr.data.sampling import RandomStreams
from peclr.data.skipping import OnBadImage, SkipList, first_readable
from peclr.data.views import (
    Border,
    GeometryRange,
    Matrix,
    ViewGeometry,
    pixels_to_keep,
    view_from_image,
    warp,
)
from peclr.geometry.camera import crop_camera
from peclr.geometry.joints import NUM_JOINTS, SCALE_BONE, WRIST
from peclr.geometry.pose25d import to_25d

Pairing = Literal["same_image", "across_versions"]
Key = int | tuple[int, int]


class PairedViewDataset(Dataset[PairedViewItem]):
    """Two views of a hand, for contrastive pre-training."""

    def __init__(
        self,
        sources: Sequence[HandSource],
        pairing: Pairing = "same_image",
        view_size: int = 128,
        geometry: GeometryRange | None = None,
        photometric: Photometric | None = None,
        seed: int = 0,
        border: Border = "black",
        on_bad_image: OnBadImage = "error",
    ) -> None:
        """Concatenates sources.

        Args:
            sources: One or more.
            pairing: "same_image": every image is an item, and both views are of it, as published.
                "across_versions": every hand is an item, and the views are of two of its versions, drawn anew
                each epoch; of one image where there is only one.
            view_size: Side of a view, px.
            geometry: Geometric augmentation; None shows the crop box as it is.
            photometric: Photometric augmentation; None leaves colours as they are.
            seed: Of everything random.
            border: What views show beyond a photograph, "black" or its mirror image, "reflect".
            on_bad_image: "error" stops at an image that cannot be read; "skip" notes it in `skipped` and gives the
                next item of the same source that can.
        """
        if on_bad_image not in get_args(OnBadImage):
            raise ValueError(f"on_bad_image {on_bad_image!r} does not exist; expected one of {get_args(OnBadImage)}")
        if pairing not in get_args(Pairing):
            raise ValueError(f"pairing {pairing!r} does not exist; expected one of {get_args(Pairing)}")
        if not sources:
            raise ValueError("expected at least one source of images, got none")
        self.sources, self.pairing, self.view_size = tuple(sources), pairing, view_size
        self.geometry, self.photometric = geometry, photometric
        self.border, self.on_bad_image, self.skipped = border, on_bad_image, SkipList()
        self._recolour = None if photometric is None else Recolour(photometric)
        self._streams = RandomStreams("view", seed)
        self.sizes = [len(source) if pairing == "same_image" else source.num_hands for source in sources]
        self._ends = list(accumulate(self.sizes))

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
        source, images = self._choose(index, stream)
        # all of the geometry is drawn first: it stays the same when the photometric part is changed
        geometry = _draw(self.geometry, stream), _draw(self.geometry, stream)
        keep = pixels_to_keep(self.view_size, min(view.scale for view in geometry))
        first = source.read(images[0], keep)
        samples = first, first if images[1] == images[0] else source.read(images[1], keep)
        views = np.empty((2, 3, self.view_size, self.view_size), np.uint8)
        matrices = np.empty((2, 2, 3, 3), np.float32)
        for number in (0, 1):
            box = samples[number]["crop_box"]
            crop = geometry[number].view_from_crop(float(box[2] - box[0]))
            matrix = view_from_image(crop, box, self.view_size)
            _render(samples[number], matrix, self._recolour, stream, self.border, out=views[number])
            matrices[0, number], matrices[1, number] = matrix, crop
        return {
            "views": torch.from_numpy(views),
            "view_from_image": torch.from_numpy(matrices[0]),
            "view_from_crop": torch.from_numpy(matrices[1]),
            "index": index,
        }

    def images_of(self, key: Key) -> tuple[HandSource, tuple[int, int]]:
        """The photographs of the two views of an item, which may be one and the same: a source and indices into it."""
        epoch, index = _epoch_and_index(key, len(self))
        return self._choose(index, self._streams.at(epoch, index))

    def _choose(self, index: int, stream: np.random.Generator) -> tuple[HandSource, tuple[int, int]]:
        number = bisect_right(self._ends, index)
        source, item = self.sources[number], index - (self._ends[number] - self.sizes[number])
        if self.pairing == "same_image":
            return source, (item, item)
        versions = source.versions_of(item)
        if len(versions) == 1:
            return source, (versions[0], versions[0])
        first = int(stream.integers(len(versions)))
        second = (first + 1 + int(stream.integers(len(versions) - 1))) % len(versions)  # any but the first
        return source, (versions[first], versions[second])


class LabelledHandDataset(Dataset[LabelledItem]):
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
            photometric: Photometric augmentation; None leaves colours as they are.
            seed: Of everything random.
            border: What views show beyond a photograph, "black" or its mirror image, "reflect".
            on_bad_image: "error" stops at an image that cannot be read; "skip" notes it in `skipped` and gives the
                next image that can. Not for validation: scores would be of other images.
        """
        self.source, self.view_size = source, view_size
        self.geometry, self.photometric = geometry, photometric
        self.border, self.on_bad_image, self.skipped = border, on_bad_image, SkipList()
        self._recolour = None if photometric is None else Recolour(photometric)
        self._streams = RandomStreams("view", seed)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.source)

    def __getitem__(self, key: Key) -> LabelledItem:
        """Makes one view; labels that the source does not have are NaN."""
        epoch, index = _epoch_and_index(key, len(self))
        if self.on_bad_image == "error":
            return self._make(epoch, index)
        return first_readable(partial(self._make, epoch), _from(index, 0, len(self)), self.skipped)

    def _make(self, epoch: int, index: int) -> LabelledItem:
        stream = self._streams.at(epoch, index)
        geometry = _draw(self.geometry, stream)
        sample = self.source.read(index, pixels_to_keep(self.view_size, geometry.scale))
        if sample["K"] is None:
            raise ValueError(f"{self.source.name}, {sample['id']}: a labelled view needs a camera K, and there is none")
        box = sample["crop_box"]
        matrix = view_from_image(geometry.view_from_crop(float(box[2] - box[0])), box, self.view_size)
        image = np.empty((3, self.view_size, self.view_size), np.uint8)
        _render(sample, matrix, self._recolour, stream, self.border, out=image)

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


def _render(
    sample: HandSample,
    view_from_photo: Matrix,
    recolour: Recolour | None,
    stream: np.random.Generator,
    border: Border,
    out: NDArray[np.uint8],
) -> None:
    """Warps, recolours, and writes the view to `out` (3, S, S)."""
    if "photo_from_image" in sample:
        view_from_photo = view_from_photo @ sample["photo_from_image"]
    view = warp(sample["image"], view_from_photo, out.shape[-1], border)
    if recolour is not None:
        view = recolour(view, stream)
    cv2.split(view, list(out))

"""Torch data sets: pairs of augmented views for pre-training, labelled views for fine-tuning.

Keys are (epoch, index), or an index alone for epoch 0. What a key returns depends on it and on the seed, on
nothing else.
"""

from bisect import bisect_right
from collections.abc import Sequence
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
from peclr.data.views import GeometryRange, Matrix, view_from_image, warp
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
        """
        if pairing not in get_args(Pairing):
            raise ValueError(f"pairing {pairing!r} does not exist; expected one of {get_args(Pairing)}")
        if not sources:
            raise ValueError("expected at least one source of images, got none")
        self.sources, self.pairing, self.view_size = tuple(sources), pairing, view_size
        self.geometry, self.photometric = geometry, photometric
        self._recolour = None if photometric is None else Recolour(photometric)
        self._streams = RandomStreams("view", seed)
        self.sizes = [len(source) if pairing == "same_image" else source.num_hands for source in sources]
        self._ends = list(accumulate(self.sizes))

    def __len__(self) -> int:
        """Number of items, all sources."""
        return self._ends[-1]

    def __getitem__(self, key: Key) -> PairedViewItem:
        """Makes two views."""
        epoch, index = _epoch_and_index(key, len(self))
        stream = self._streams.at(epoch, index)
        samples = self._read(index, stream)
        # all of the geometry is drawn first: it stays the same when the photometric part is changed
        crops = [_sample_geometry(self.geometry, stream) for _ in samples]
        views = np.empty((2, 3, self.view_size, self.view_size), np.uint8)
        matrices = np.empty((2, 2, 3, 3), np.float32)
        for number, (sample, crop) in enumerate(zip(samples, crops, strict=True)):
            matrix = view_from_image(crop, sample["crop_box"], self.view_size)
            _render(sample["image"], matrix, self._recolour, stream, out=views[number])
            matrices[:, number] = matrix, crop
        return {
            "views": torch.from_numpy(views),
            "view_from_image": torch.from_numpy(matrices[0]),
            "view_from_crop": torch.from_numpy(matrices[1]),
            "index": index,
        }

    def _read(self, index: int, stream: np.random.Generator) -> tuple[HandSample, HandSample]:
        """The photographs of the two views, which may be one and the same."""
        number = bisect_right(self._ends, index)
        source, item = self.sources[number], index - (self._ends[number] - self.sizes[number])
        if self.pairing == "same_image":
            sample = source[item]
            return sample, sample
        versions = source.versions_of(item)
        if len(versions) == 1:
            sample = source[versions[0]]
            return sample, sample
        first = int(stream.integers(len(versions)))
        second = (first + 1 + int(stream.integers(len(versions) - 1))) % len(versions)  # any but the first
        return source[versions[first]], source[versions[second]]


class LabelledHandDataset(Dataset[LabelledItem]):
    """One view of a hand with its labels, for fine-tuning and evaluation."""

    def __init__(
        self,
        source: HandSource,
        view_size: int = 224,
        geometry: GeometryRange | None = None,
        photometric: Photometric | None = None,
        seed: int = 0,
    ) -> None:
        """Wraps a source whose images have cameras.

        Args:
            source: Each of its images is an item.
            view_size: Side of the view, px.
            geometry: Geometric augmentation; None shows the crop box as it is.
            photometric: Photometric augmentation; None leaves colours as they are.
            seed: Of everything random.
        """
        self.source, self.view_size = source, view_size
        self.geometry, self.photometric = geometry, photometric
        self._recolour = None if photometric is None else Recolour(photometric)
        self._streams = RandomStreams("view", seed)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.source)

    def __getitem__(self, key: Key) -> LabelledItem:
        """Makes one view; labels that the source does not have are NaN."""
        epoch, index = _epoch_and_index(key, len(self))
        stream = self._streams.at(epoch, index)
        sample = self.source[index]
        if sample["K"] is None:
            raise ValueError(f"{self.source.name}, {sample['id']}: a labelled view needs a camera K, and there is none")
        crop = _sample_geometry(self.geometry, stream)
        matrix = view_from_image(crop, sample["crop_box"], self.view_size)
        image = np.empty((3, self.view_size, self.view_size), np.uint8)
        _render(sample["image"], matrix, self._recolour, stream, out=image)

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


def _sample_geometry(geometry: GeometryRange | None, stream: np.random.Generator) -> Matrix:
    return np.eye(3) if geometry is None else geometry.sample(stream)


def _render(
    image: NDArray[np.uint8],
    matrix: Matrix,
    recolour: Recolour | None,
    stream: np.random.Generator,
    out: NDArray[np.uint8],
) -> None:
    """Warps, recolours, and writes the view to `out` (3, S, S)."""
    view = warp(image, matrix, out.shape[-1])
    if recolour is not None:
        view = recolour(view, stream)
    cv2.split(view, list(out))

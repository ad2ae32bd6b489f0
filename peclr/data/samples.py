"""What travels between readers, data sets and models: keys, shapes, units, frames; what a reader offers."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, NotRequired, Protocol, TypedDict, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # preparing a data set needs no torch
    from torch import Tensor


Side = Literal["right", "left", "unknown"]


class HandSample(TypedDict):
    """One image of one right hand, as a reader hands it over; px are of the upright image at full size, always."""

    image: NDArray[np.uint8]  # (H, W, 3), RGB
    K: NDArray[np.float32] | None  # (3, 3), camera, px; None where nobody calibrated it
    # (21, 3), metres, camera frame, order freihand, NaN where unknown; None without label
    joints_3d: NDArray[np.float32] | None
    joints_2d: NDArray[np.float32] | None  # (21, 2), px, order freihand, NaN where unknown; None without label
    # (4,), left, top, right, bottom, px: a square, also beyond the image, that an un-augmented view shows, with margin
    crop_box: NDArray[np.float64]
    scale_m: float | None  # metres from middle MCP to middle PIP; None without label
    hand: Side  # in the original image: where "left", image, K and joints are mirrored
    id: str  # names the image within its source
    image_from_decoded: NotRequired[NDArray[np.float64]]  # (3, 3), px ← `image`, where decoded at a reduced scale


def hand_sample(
    image: NDArray[np.uint8],
    crop_box: NDArray[np.float64],
    id: str,  # noqa: A002 (the key)
    hand: Side = "unknown",
    K: NDArray[np.float32] | None = None,
    joints_3d: NDArray[np.float32] | None = None,
    joints_2d: NDArray[np.float32] | None = None,
    scale_m: float | None = None,
    image_from_decoded: NDArray[np.float64] | None = None,
) -> HandSample:
    """Make a sample of what is known; see `HandSample`."""
    sample = HandSample(
        image=image, crop_box=crop_box, id=id, hand=hand, K=K, joints_3d=joints_3d, joints_2d=joints_2d, scale_m=scale_m
    )
    if image_from_decoded is not None:
        sample["image_from_decoded"] = image_from_decoded
    return sample


class HandSource(ABC):
    """A reader of images of hands: each hand has one, or several versions, which differ in background, never in pose.

    A base class rather than a protocol, so that configs can name readers without their modules. What only some readers
    have are protocols: `HasFiles`, `HasMasks`, `HasJoints2D`, `HasVideos`, `HasTracks`, `HasCameras`, `HasGroups`.
    """

    name: str  # short, for messages and tables
    num_hands: int  # what a split may separate

    def __len__(self) -> int:
        """Number of images, all versions of all hands."""
        return self.num_hands

    @abstractmethod
    def __getitem__(self, index: int) -> HandSample:
        """Read one image with its labels."""

    def read(self, index: int, min_side: float) -> HandSample:
        """Read one image for a view that needs `min_side` pixels across the crop box: large JPEGs decode faster so."""
        return self[index]

    def check_index(self, index: int) -> None:
        """Refuse the index of an image that there is not."""
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} has images 0 to {len(self) - 1}, not {index}")

    def check_images(self) -> None:
        """Open every image file's header, so that hours of work do not end at a damaged one; ValueError names it."""
        return  # not abstract: a source that is not files has nothing to do

    def identity(self) -> str:
        """Hash what sets these hands, in this order, apart from others: labels or names, not where the files are."""
        return hash_of(self.name, np.array([self.num_hands, len(self)]))

    def hand_of(self, index: int) -> int:
        """Number of the hand that image `index` shows."""
        return index

    def versions_of(self, hand: int) -> Sequence[int]:
        """The indices of the images that show `hand`."""
        return range(hand, hand + 1)

    def is_one_image_each(self) -> bool:
        """Whether image i shows hand i, always, so that nothing needs to be listed."""
        return type(self).versions_of is HandSource.versions_of

    def hand_of_images(self) -> NDArray[np.int64]:
        """(images,), the hand that each image shows."""
        images, versions = self.images_of_hands(np.arange(self.num_hands))
        hands = np.empty(len(self), np.int64)
        hands[images] = np.repeat(np.arange(self.num_hands), versions)
        return hands

    def images_of_hands(self, hands: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The indices of the images that show some hands, hand after hand, and (hands,) how many show each."""
        if self.is_one_image_each():
            return hands, np.ones_like(hands)
        versions = [np.asarray(self.versions_of(hand), np.int64) for hand in hands.tolist()]
        return np.concatenate(versions), np.fromiter(map(len, versions), np.int64, len(versions))


@runtime_checkable
class HasFiles(Protocol):
    """A source of image files, about which `peclr doctor` reports."""

    def image_paths(self) -> list[Path]:
        """All files that may be read, each once."""

    def doubts(self) -> list[str]:
        """Deviations of some hands from what is expected, after a look at the header of an image of each."""


@runtime_checkable
class HasMasks(Protocol):
    """A source that knows where its hands are in their images: in all versions of a hand alike."""

    def check_masks(self) -> None:
        """Look whether there is a mask of every hand; ValueError says what is missing."""

    def read_mask(self, hand: int) -> NDArray[np.uint8]:
        """(H, W) at full size, 1 where the hand shows, else 0."""


@runtime_checkable
class HasJoints2D(Protocol):
    """A source whose labels hold 2-D joints, so that no image needs to be read for them."""

    def joints_2d_of_hands(self) -> NDArray[np.float32] | None:
        """(num_hands, 21, 2), pixels of each hand's images, NaN = unknown; None where there are no labels."""


@runtime_checkable
class HasVideos(Protocol):
    """A source whose hands are from videos."""

    def video_of_hands(self) -> NDArray[np.int64]:
        """(num_hands,), the number of the video that each hand is from."""


@runtime_checkable
class HasTracks(HasVideos, Protocol):
    """A source whose hands were followed through videos."""

    def track_of_hands(self) -> NDArray[np.int64]:
        """(num_hands,), the number of the track, one hand in one take of one video, that each is of; −1 for none."""

    def time_of_hands(self) -> NDArray[np.float64]:
        """(num_hands,), seconds from the beginning of its video; unknown times are NaN, and of no track."""


@runtime_checkable
class HasCameras(Protocol):
    """A source whose hands were seen by several cameras at the same moment."""

    def frame_of_hands(self) -> NDArray[np.int64] | None:
        """(num_hands,), a number that the images of one hand at one moment share, one a camera; −1 for none.

        None where nobody said.
        """

    def camera_of_hands(self) -> NDArray[np.int64]:
        """(num_hands,), the number of the camera that saw each hand."""


@runtime_checkable
class HasGroups(Protocol):
    """A source whose hands belong together by person or recording, which no split should separate."""

    def group_of_hands(self) -> NDArray[np.int64] | None:
        """(num_hands,), the number of the group that each hand belongs to; None where nobody said."""


@runtime_checkable
class HasNames(Protocol):
    """A source that has names for its hands' groups, and for what they show."""

    def names_of_hands(self, kind: Literal["group", "class"]) -> list[str] | None:
        """Name each hand's group or class; None where nobody did."""


@runtime_checkable
class HasShards(Protocol):
    """A source whose images are in shards, which are best read one after the other."""

    @property
    def num_shards(self) -> int:
        """0 where each image is a file of its own."""

    @property
    def is_remote(self) -> bool:
        """Whether a shard is fetched when it is needed."""

    def shard_of_images(self) -> NDArray[np.integer]:
        """(images,), the number of the shard that each image is in."""

    def check_cache(self, at_once: int | None, why: str) -> None:
        """Refuse a cache in which so many shards do not fit, None for all; ValueError says why they have to."""

    def fetch_ahead(self, shards: Sequence[int]) -> None:
        """Begin to fetch shards that will be needed, in this order; returns at once."""


def require_masks(source: HandSource) -> HasMasks:
    """Return the source as one that has masks; ValueError where it has none."""
    if not isinstance(source, HasMasks):
        raise ValueError(f"{source.name} has no masks of its hands, without which backgrounds cannot be replaced")
    return source


def images_in_a_row(start: NDArray[np.int64], hands: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """See `HandSource.images_of_hands`, where hand i is shown by images `start[i]` to before `start[i + 1]`."""
    versions = np.diff(start)[hands]
    before = np.cumsum(versions) - versions
    return np.repeat(start[hands] - before, versions) + np.arange(versions.sum()), versions


def hash_of(name: str, *arrays: NDArray[Any]) -> str:
    """Hash a name and arrays, with their types and shapes."""
    digest = hashlib.sha256(name.encode())
    for array in arrays:
        digest.update(f" {array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


Number = TypeVar("Number")


class _PairedViews(TypedDict, Generic[Number]):
    """Two augmented views of each of B hands: from one image, two versions of the hand, or two similar hands."""

    views: Tensor  # (B, 2, 3, S, S), uint8, RGB
    view_from_image: Tensor  # (B, 2, 3, 3), view pixels ← pixels of the image that the view is of
    # (B, 2, 3, 3), the augmentation alone, normalized view ← normalized crop box; of pairs across cameras, identity
    view_from_crop: Tensor
    index: Number  # (B,), position in the data set
    hand: Number  # (B,), int64, in the first view, numbered over all sources: pairs that share one are false negatives
    # (B, 2, 21, 2), float32, pixels of the view, order freihand, NaN where unknown; only `with_joints`
    joints_2d: NotRequired[Tensor]


class _LabeledViews(TypedDict, Generic[Number]):
    """Views of B hands with their labels, joints in order freihand; what a source does not know is 0 and masked."""

    image: Tensor  # (B, 3, S, S), uint8, RGB
    # (B, 3, 3), the view's camera, `view_from_image @ K`: it carries the view's rotation, not the labels. Where nobody
    # calibrated it, it is the one that predictions assume
    K: Tensor
    joints_25d: Tensor  # (B, 21, 3), x and y in view pixels, depth behind the wrist in units of `scale_m`
    joints_3d: Tensor  # (B, 21, 3), metres, camera frame of the image
    joint_valid: Tensor  # (B, 21), bool, whether x and y are known, and where `has_3d`, all of a joint
    has_3d: Tensor  # (B,), bool, whether depth and `joints_3d` are known: of wrist, middle MCP and middle PIP for sure
    scale_m: Tensor  # (B,), metres from middle MCP to middle PIP
    image_from_view: Tensor  # (B, 3, 3), pixels of the image ← view pixels
    index: Number  # (B,), position in the data set


PairedViewBatch = _PairedViews["Tensor"]
PairedViewItem = _PairedViews[int]  # without the leading dimension
LabeledBatch = _LabeledViews["Tensor"]
LabeledItem = _LabeledViews[int]

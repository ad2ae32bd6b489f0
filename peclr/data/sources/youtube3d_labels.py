"""The label files of YouTube3DHands as arrays, and which of their frames are on disk. Does not import torch.

youtube_train.json holds 110 million numbers in 2 GB. One pass of msgspec over the mapped file finds where annotations
begin and end and copies nothing; they are then decoded one by one, straight into a float32 array.
"""

from collections.abc import Mapping
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from peclr.data.sources.images import image_sizes
from peclr.data.sources.layouts import DataSet, label_files
from peclr.data.sources.listing import are_there, is_below
from peclr.data.sources.mano import NUM_VERTICES
from peclr.data.sources.packed_labels import Array
from peclr.options import array_on_disk
from peclr.untrusted.large_json import each, map_json

Split = Literal["train", "val", "test"]

FRAME_SUFFIXES: Final = (".png", ".jpg", ".jpeg")  # labels say .png, whatever users have saved
MISSING: Final = len(FRAME_SUFFIXES)
_STRETCHED: Final = 0.02  # of the aspect; rounding small frames to even sides changes it by less

_Side = Annotated[int, msgspec.Meta(gt=0, le=100_000)]  # px
_Id = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]  # fits an int64


class _Image(msgspec.Struct):
    name: str
    width: _Side
    height: _Side
    id: _Id


class _Annotation(msgspec.Struct):
    vertices: Annotated[
        list[tuple[float, float, float]], msgspec.Meta(min_length=NUM_VERTICES, max_length=NUM_VERTICES)
    ]
    is_left: bool | float  # 0 and 1, or false and true
    image_id: _Id
    id: _Id


class _Labels(msgspec.Struct):
    images: list[_Image]
    annotations: list[msgspec.Raw]


def read_labels(
    dataset: DataSet, root: Path, split: str, *, folder: Path | None = None, progress: bool = False
) -> dict[str, Array]:
    """Read the labels of a split; ValueError names the file, the place and the value that is wrong.

    Vertices, which may take much memory, are written to the `folder`, where there is one.

    Of N hands, `vertices` (N, 778, 3), x and y px of the frame as annotated, order MANO; `is_left` (N,) bool;
    `image` (N,), which frame; `annotation_id` (N,). Of M frames, `image_name` (M,), UTF-8; `image_size` (M, 2), width
    and height px as annotated.
    """
    [path] = label_files(dataset, root, split)
    labels, release = map_json(path, _Labels, "{images: […], annotations: […]}")
    if not labels.annotations:
        raise ValueError(f"{path}: no annotations; expected one per hand")
    numbers, hands = _number_images(path, labels.images), len(labels.annotations)
    shape = hands, NUM_VERTICES, 3
    vertices = array_on_disk(folder / "vertices.npy", np.float32, shape) if folder else np.empty(shape, np.float32)
    is_left, image, ids = np.empty(hands, bool), np.empty(hands, np.int32), np.empty(hands, np.int64)
    for hand, annotation in each(path, labels.annotations, _Annotation, release, progress=progress):
        try:
            if annotation.is_left not in (0, 1):
                raise ValueError(f"is_left is {annotation.is_left}, expected 0 or 1")
            is_left[hand], image[hand], ids[hand] = annotation.is_left, numbers[annotation.image_id], annotation.id
            vertices[hand] = _check_vertices(annotation)
        except KeyError:
            raise ValueError(f"{path}: annotation {hand} is of image {annotation.image_id}, not listed") from None
        except ValueError as error:
            raise ValueError(f"{path}: annotation {hand}: {error}") from None
    return {
        "vertices": vertices,
        "is_left": is_left,
        "image": image,
        "annotation_id": ids,
        "image_name": np.array([image.name.encode() for image in labels.images]),
        "image_size": np.array([(image.width, image.height) for image in labels.images], np.int32),
    }


def find_frames(root: str | Path, names: NDArray[np.bytes_]) -> NDArray[np.uint8]:
    """The frames that are on disk: (M,), positions in `FRAME_SUFFIXES`, or `MISSING`.

    ValueError as of `are_there`: packed labels may be a stranger's.
    """
    stems = [name.rpartition(b".")[0] for name in names.tolist()]
    # asked of all at once, as each folder is listed then, and no more
    wanted = np.array([stem + suffix.encode() for suffix in FRAME_SUFFIXES for stem in stems], np.bytes_)
    there = are_there(Path(root), wanted).reshape(len(FRAME_SUFFIXES), -1)
    return np.where(there.any(axis=0), there.argmax(axis=0), MISSING).astype(np.uint8)


def stretched_frames(
    root: Path, arrays: Mapping[str, NDArray[Any]], suffix: NDArray[np.uint8], *, every: bool = False
) -> NDArray[np.bool_]:
    """Find frames of another aspect than annotated: (M,), which labels do not fit at any scale.

    Of what `read_labels` and `find_frames` return. The frames of a video are alike: unless every one is asked for, the
    first of each is looked at, and all where that is stretched. What is no image is taken to be as annotated.
    """
    names, stretched = arrays["image_name"], np.zeros(len(suffix), bool)

    def look(numbers: NDArray[np.intp]) -> NDArray[np.bool_]:
        sizes = image_sizes([root / frame_path(names[number], suffix[number]) for number in numbers])
        return np.asarray(is_stretched(*sizes.T, *arrays["image_size"][numbers].T), bool)

    there = np.flatnonzero(suffix != MISSING)
    if not every:
        videos = np.array([names[number].rpartition(b"/")[0] for number in there], np.bytes_)
        _, first, video = np.unique(videos, return_index=True, return_inverse=True)
        there = there[look(there[first])[video]]
    stretched[there] = look(there)
    return stretched


def is_stretched(width: ArrayLike, height: ArrayLike, annotated_width: ArrayLike, annotated_height: ArrayLike) -> Any:
    """Whether an image has another aspect than as annotated; sides in px, numbers or arrays of them."""
    aspect = np.true_divide(width, height) * np.true_divide(annotated_height, annotated_width)
    return np.abs(np.log(aspect)) > _STRETCHED


def frame_path(name: bytes, suffix: int) -> str:
    """Path of a frame below the root, from its name in the labels and the position of its suffix."""
    return name.decode(errors="surrogateescape").rpartition(".")[0] + FRAME_SUFFIXES[suffix]


def _number_images(path: Path, images: list[_Image]) -> dict[int, int]:
    """The position of each id among the images, whose names are checked."""
    numbers: dict[int, int] = {}
    for number, image in enumerate(images):
        earlier = images[numbers.setdefault(image.id, number)]
        if earlier != image:
            raise ValueError(f"{path}: image id {image.id} is both {earlier.name} and {image.name}")
        name = PurePosixPath(image.name)
        if not (is_below(image.name) and name.suffix and len(name.parts) > 2):  # the second part is the video
            expected = "a file below the root: youtube/VIDEO/video/frames/NUMBER.png"
            raise ValueError(f"{path}: image {number} is {image.name!r}; expected {expected}")
    return numbers


def _check_vertices(annotation: _Annotation) -> NDArray[np.float32]:
    """Vertices (778, 3): finite, and more than a point or a line."""
    with np.errstate(over="ignore"):  # becomes infinite
        numbers = chain.from_iterable(annotation.vertices)  # twice as fast as an array of tuples
        vertices = np.fromiter(numbers, np.float32, 3 * NUM_VERTICES).reshape(-1, 3)
    if not np.isfinite(vertices).all():
        vertex = int(np.argmin(np.isfinite(vertices).all(axis=1)))
        raise ValueError(f"vertex {vertex} is {annotation.vertices[vertex]}, expected finite numbers")
    if (vertices[:, 0] == vertices[0, 0]).all() or (vertices[:, 1] == vertices[0, 1]).all():
        raise ValueError(f"all vertices are in one line, from {vertices.min(axis=0)} to {vertices.max(axis=0)}")
    return vertices

"""What a folder of shards holds: its arrays, its manifest and the names in its tar files, see `Shards`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
import numpy as np

from peclr.data.samples import Side
from peclr.data.sources.layouts import MANIFEST
from peclr.data.sources.packed_labels import Array, PackedArrays
from peclr.data.sources.packed_text import PackedText
from peclr.geometry.joints import NUM_JOINTS
from peclr.untrusted.text import as_type

KIND: Final = "shards"  # in the manifest
FOLDER: Final = "shards"  # of the tar files
SIDES: Final[tuple[Side, ...]] = ("right", "left", "unknown")
_FARTHEST: Final = 1e6  # px; no crop is as large
_BLOCK: Final = 2**20  # crops that are checked at a time
_MOST_JPEG: Final = 2**28  # bytes, which are read at once; no crop has as many
_ROUNDING: Final = 1e-3  # of a crop box's side; it is square
Labels = Literal["true", "pseudo", "none"]


class Column(NamedTuple):
    """An array of labels: type, shape but for the first dimension, and what stands where it is not known."""

    kind: type[np.generic]
    shape: tuple[int, ...] = ()
    unknown: float | None = None  # None: always known


# what was cut out
CUT: Final[dict[str, Column]] = {
    "image_from_crop": Column(np.float64, (3, 3)),
    "crop_box": Column(np.float64, (4,)),
    "side": Column(np.uint8),
    "K": Column(np.float32, (3, 3), math.nan),
    "joints_3d": Column(np.float32, (NUM_JOINTS, 3), math.nan),
    "joints_2d": Column(np.float32, (NUM_JOINTS, 2), math.nan),
    "scale_m": Column(np.float32, (), math.nan),
}
COLUMNS: Final[dict[str, Column]] = CUT | {
    "offset": Column(np.int64),  # bytes, of the JPEG in its shard
    "length": Column(np.int64),  # bytes
    "crc": Column(np.uint32),  # CRC-32 of the JPEG
    "score": Column(np.float32, (), math.nan),
    "frame": Column(np.int64, (), -1),
    "time": Column(np.float64, (), math.nan),
    "track": Column(np.int64, (), -1),
    "video": Column(np.int64, (), -1),
    "moment": Column(np.int64, (), -1),
    "camera": Column(np.int64, (), -1),
    "hand": Column(np.int64, (), -1),
}
# the numbers of `About`
OF_CROP: Final = ("score", "frame", "time", "track", "video", "moment", "camera", "hand")
# texts: packed as NAME_text and NAME_ends; but for the id, which is every crop's own, numbered by NAME
TEXTS: Final = ("id", "file", "group", "class")
NUMBERED: Final = TEXTS[1:]


@dataclass(frozen=True, kw_only=True)
class About:
    """What is known of a crop beside its `HandSample`.

    Attributes:
        score: of the detector, that there is a hand, 0 to 1.
        file: of the image or video.
        frame: number in the video, from 0.
        time: seconds from the video's beginning.
        track: follows one hand through a video; −1 is none.
        video: number of the video or image among all that are read; −1 is not known.
        moment: number that one hand has at one moment in the images of all cameras; −1 is that of none.
        camera: number of the camera; −1 is not known.
        hand: number of the hand that the crop is a version of; −1 is a hand of its own.
        group: a person or a video, for example: of what must not be in two splits.
        class_name: what the hand shows, as someone says who is no detector.
    """

    score: float = math.nan
    file: str = ""
    frame: int = -1
    time: float = math.nan
    track: int = -1
    video: int = -1
    moment: int = -1
    camera: int = -1
    hand: int = -1
    group: str = ""
    class_name: str = ""


class Shard(msgspec.Struct):
    """A tar file."""

    name: Annotated[str, msgspec.Meta(pattern=r"^\d{6,9}-\d{2,9}\.tar$")]  # task and number among the task's shards
    bytes: Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
    crops: Annotated[int, msgspec.Meta(gt=0, lt=2**31)]


class Facts(msgspec.Struct):
    """What the manifest says of the set; counts are of what was seen and left out while it was made."""

    name: str
    labels: Labels
    shards: list[Shard]
    counts: dict[str, int]
    problems: list[str]
    settings: dict[str, Any]


class Opened(NamedTuple):
    """Checked labels of a set of crops."""

    facts: Facts
    arrays: Mapping[str, Array]
    texts: Mapping[str, PackedText]


def key_of(task: int, number: int) -> str:
    """The name of a task's crop: no dot, at which WebDataset ends keys."""
    return f"{task:06d}-{number:06d}"


def open_labels(packed: PackedArrays) -> Opened:
    """Check the arrays of a folder of shards; ValueError names the one that is missing or not possible."""
    facts = as_type(packed.manifest.facts, Facts, f"{packed.folder / MANIFEST}, facts")
    count = sum(shard.crops for shard in facts.shards)
    check_shapes(packed, packed.folder, COLUMNS | {name: Column(np.int32) for name in NUMBERED}, count)
    for name in (f"{text}_{part}" for text in TEXTS for part in ("text", "ends")):
        if name not in packed:
            raise ValueError(f"{packed.folder}: {name} is missing")
    texts = {name: PackedText(packed[f"{name}_text"], packed[f"{name}_ends"]) for name in TEXTS}
    _check_values(packed, facts, texts)
    return Opened(facts, packed, texts)


def check_shapes(arrays: Mapping[str, Array], folder: Path, columns: Mapping[str, Column], count: int) -> None:
    """Refuse arrays that are not as their columns say, with an entry for each of `count` crops, at least one."""
    for name, column in columns.items():
        array = arrays.get(name)
        if array is None and column.unknown is not None:
            continue
        kind, shape = np.dtype(column.kind), (count or "N", *column.shape)
        if array is None or array.dtype.kind != kind.kind or array.shape != shape:
            found = "nothing" if array is None else f"{array.dtype} {array.shape}"
            raise ValueError(f"{folder}: {name} is {found}, expected {kind} {shape}")


def _check_values(packed: PackedArrays, facts: Facts, texts: Mapping[str, PackedText]) -> None:
    count, ends = len(packed["offset"]), np.cumsum([shard.crops for shard in facts.shards], dtype=np.int64)
    sizes = np.array([shard.bytes for shard in facts.shards], np.int64)
    of_crops = {name: packed[name] for name in (*COLUMNS, *NUMBERED) if name in packed}
    expected = dict[str, Array]()
    if (hand := packed.get("hand")) is not None:
        of_crops["versions"] = packed.get("versions", np.full(count, -1))
        expected["hand"] = np.unique(hand, return_inverse=True)[1]  # without gaps
        expected["versions"] = np.argsort(hand, kind="stable")
    if len(texts["id"]) != count:
        raise ValueError(f"{packed.folder}: {len(texts['id'])} ids of {count} crops are not possible; make it again")
    for start in range(0, count, _BLOCK):
        block = {name: array[start : start + _BLOCK] for name, array in of_crops.items()}
        size = sizes[np.searchsorted(ends, np.arange(start, start + len(block["offset"])), side="right")]
        checks = _possible(block, size, texts)
        checks |= {name: np.equal(block[name], whole[start : start + _BLOCK]) for name, whole in expected.items()}
        for name, holds in checks.items():
            if not holds.all():
                crop = start + int(np.argmin(holds))
                raise ValueError(f"{packed.folder}: {name} of crop {crop} is not possible; make it again")


def _possible(block: Mapping[str, Array], size: Array, texts: Mapping[str, PackedText]) -> dict[str, Array]:
    """Which of some crops' labels are possible, by name; `size` (N,) is that of the shard that holds each, bytes."""
    offset, length, most = block["offset"], block["length"], np.minimum(size, _MOST_JPEG)
    time, track = block.get("time", np.float64(math.nan)), block.get("track", np.int64(-1))
    return {
        "offset and length": (offset >= 0) & (length > 0) & (length <= most) & (offset <= size - length),
        "side": block["side"] < len(SIDES),
        **{name: (block[name] >= 0) & (block[name] < len(texts[name])) for name in NUMBERED},
        **{name: block[name] >= -1 for name in ("track", "video") if name in block},
        "time": np.atleast_1d(np.isfinite(time) | (np.isnan(time) & (track < 0))),  # unknown times are of no track
    }


def impossible_label(labels: Mapping[str, Any]) -> str | None:
    """The first label of a crop, of those in `CUT`, that none can have; None if all are possible.

    Looked at as crops are read: to look at millions when a folder is opened would take longer than opening it.
    """
    box, scale_m, matrix = labels["crop_box"], labels.get("scale_m", math.nan), labels["image_from_crop"]
    side = box[2] - box[0]
    if not (np.abs(box).max() < _FARTHEST and side > 0 and abs(box[3] - box[1] - side) < _ROUNDING * (1 + side)):
        return f"crop_box {box.tolist()}"
    if not (np.isfinite(matrix).all() and matrix[2].tolist() == [0, 0, 1] and np.linalg.det(matrix[:2, :2])):
        return f"image_from_crop {matrix.tolist()}"
    if scale_m <= 0 or scale_m == math.inf:
        return f"scale_m {scale_m}"
    return next((name for name in ("K", "joints_3d", "joints_2d") if np.isinf(labels.get(name, 0)).any()), None)

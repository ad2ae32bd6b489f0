"""Hands in shards: plain tar files of crops, which any tool reads, with their labels in memory-mapped arrays.

    manifest.json              counts, settings, whether labels are true or pseudo; name, size and SHA-256 of each shard
    shards/000000-00.tar …     for each crop KEY.jpg and, with the labels, KEY.json, as `tar` and WebDataset read them
    NAME.npy                   a label of all crops, in order of the shards; one that is known of no crop is left out

Shards are read in place, by `os.pread` at offsets that are among the labels: no file is opened for a crop, and a pair
costs two reads, wherever they are. Crops show right hands: left ones are stored mirrored, with their labels, and `side`
is that of the hand in its image, to which `image_from_crop` leads, mirrored back.
"""

import math
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from peclr.data.samples import HandSample, HandSource, hand_sample, hash_of
from peclr.data.sources.images import BadImageError, decode_image
from peclr.data.sources.layouts import MANIFEST
from peclr.data.sources.listing import some
from peclr.data.sources.packed_labels import Array, PackedArrays
from peclr.data.sources.packed_text import PackedText
from peclr.geometry.joints import NUM_JOINTS
from peclr.geometry.planar import Matrix
from peclr.untrusted.text import as_type

KIND: Final = "shards"  # in the manifest
FOLDER: Final = "shards"  # of the tar files
SIDES: Final[tuple[Literal["right", "left", "unknown"], ...]] = ("right", "left", "unknown")
Labels = Literal["true", "pseudo", "none"]

_MOST_OPEN: Final = 64  # shards of a process: open files are few


class Column(NamedTuple):
    """An array of labels: type, shape but for the first dimension, and what stands where it is not known."""

    kind: type[np.generic]
    shape: tuple[int, ...] = ()
    unknown: float | None = None  # None: always known


COLUMNS: Final[dict[str, Column]] = {
    "offset": Column(np.int64),  # bytes, of the JPEG in its shard
    "length": Column(np.int64),  # bytes
    "crc": Column(np.uint32),  # CRC-32 of the JPEG
    "image_from_crop": Column(np.float64, (3, 3)),
    "crop_box": Column(np.float64, (4,)),
    "side": Column(np.uint8),
    "K": Column(np.float32, (3, 3), math.nan),
    "joints_3d": Column(np.float32, (NUM_JOINTS, 3), math.nan),
    "joints_2d": Column(np.float32, (NUM_JOINTS, 2), math.nan),
    "scale_m": Column(np.float32, (), math.nan),
    "score": Column(np.float32, (), math.nan),
    "frame": Column(np.int64, (), -1),
    "time": Column(np.float64, (), math.nan),
    "track": Column(np.int64, (), -1),
    "video": Column(np.int64, (), -1),
    "hand": Column(np.int64, (), -1),
}
_OF_CROP: Final = ("image_from_crop", "crop_box", "side", "K", "joints_3d", "joints_2d", "scale_m")
# texts: packed as NAME_text and NAME_ends; but for the id, which is every crop's own, numbered by NAME
TEXTS: Final = ("id", "file", "group", "class")


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
    hand: int = -1
    group: str = ""
    class_name: str = ""


class Shard(msgspec.Struct):
    """A tar file."""

    name: Annotated[str, msgspec.Meta(pattern=r"^\d{6,9}-\d{2,9}\.tar$")]  # task and number among the task's shards
    bytes: Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
    sha256: str
    crops: Annotated[int, msgspec.Meta(gt=0, lt=2**31)]


class Facts(msgspec.Struct):
    """What the manifest says of the set; counts are of what was seen and left out while it was made."""

    name: str
    labels: Labels
    shards: list[Shard]
    counts: dict[str, int]
    problems: list[str]
    settings: dict[str, Any]


class Shards(HandSource):
    """The hands of a folder of shards, in order; pickled as the folder's path, and processes share the labels' pages.

    A shard that is missing, cut short or changed costs its own crops: they raise `BadImageError`.
    """

    def __init__(self, root: str | Path) -> None:
        """Map the labels; ValueError if that is not a whole folder of shards, whose own bytes are not looked at."""
        self.root, self._arrays = Path(root), PackedArrays(root)
        manifest = self.root / MANIFEST
        if self._arrays.manifest.kind != KIND:
            raise ValueError(f"{manifest}: kind is {self._arrays.manifest.kind!r}, expected {KIND!r}")
        self.facts = as_type(self._arrays.manifest.facts, Facts, f"{manifest}, facts")
        self.name, self.labels = self.facts.name, self.facts.labels
        self._ends = np.cumsum([shard.crops for shard in self.facts.shards], dtype=np.int64)  # of the shards' crops
        self._paths = [self.root / FOLDER / shard.name for shard in self.facts.shards]
        self._check_arrays()
        self._texts = {name: PackedText(self._arrays[f"{name}_text"], self._arrays[f"{name}_ends"]) for name in TEXTS}
        self._check_values()
        # hands and their versions, where they are not one to one
        self._hand, self._versions = self._arrays.get("hand"), self._arrays.get("versions")
        self.num_hands = len(self) if self._hand is None else int(self._hand.max()) + 1
        self._open = lru_cache(_MOST_OPEN)(_Descriptor)

    def __reduce__(self) -> tuple[type[Self], tuple[Path]]:
        return type(self), (self.root,)

    def _check_arrays(self) -> None:
        count = int(self._ends[-1]) if len(self._ends) else 0
        expected = COLUMNS | {"versions": Column(np.int64, (), -1)}
        texts = {name: Column(np.int32) for name in TEXTS[1:]}
        for name, column in (expected | texts).items():
            array = self._arrays.get(name)
            if array is None and column.unknown is not None:
                continue
            if array is None or array.dtype != column.kind or array.shape != (count, *column.shape) or not count:
                found = "nothing" if array is None else f"{array.dtype} {array.shape}"
                kind = column.kind.__name__
                raise ValueError(f"{self.root}: {name} is {found}, expected {kind} {(count or 'N', *column.shape)}")
        for name in (f"{text}_{part}" for text in TEXTS for part in ("text", "ends")):
            if name not in self._arrays:
                raise ValueError(f"{self.root}: {name} is missing")

    def _check_values(self) -> None:
        arrays, sizes = self._arrays, np.array([shard.bytes for shard in self.facts.shards])
        offset, length = arrays["offset"], arrays["length"]
        size = np.repeat(sizes, [shard.crops for shard in self.facts.shards])
        checks = {
            "offset and length": (offset >= 0) & (length > 0) & (length <= size) & (offset <= size - length),
            "side": arrays["side"] < len(SIDES),
            "id": np.array([len(self._texts["id"]) == len(offset)]),
            **{name: (arrays[name] >= 0) & (arrays[name] < len(self._texts[name])) for name in TEXTS[1:]},
        }
        if (hand := arrays.get("hand")) is not None:
            order = np.argsort(hand, kind="stable")
            numbers = np.unique(hand, return_inverse=True)[1]
            checks["hand"] = np.equal(hand, numbers)
            checks["versions"] = np.equal(arrays.get("versions", -1), order)
        for name, holds in checks.items():
            if not holds.all():
                raise ValueError(f"{self.root}: {name} of crop {int(np.argmin(holds))} is not possible; make it again")

    def __len__(self) -> int:
        return int(self._ends[-1])

    def hand_of(self, index: int) -> int:
        """The hand that crop `index` shows."""
        return index if self._hand is None else int(self._hand[index])

    def versions_of(self, hand: int) -> Sequence[int]:
        """The crops that show `hand`."""
        if self._hand is None or self._versions is None:
            return range(hand, hand + 1)
        first, last = np.searchsorted(self._hand, [hand, hand + 1], sorter=self._versions)
        versions: list[int] = self._versions[first:last].tolist()
        return versions

    def identity(self) -> str:
        """See `HandSource`: of what the crops were cut from."""
        ids = self._texts["id"]
        hands = () if self._hand is None else (self._hand,)
        return hash_of(self.name, ids.text, ids.ends, *hands)

    def check_images(self) -> None:
        """See `HandSource`: that the shards are there, and as long as they were."""
        if problems := self.find_problems():
            more = f", and {len(problems) - 1} more like it" if len(problems) > 1 else ""
            raise ValueError(f"{problems[0]}{more}; get it again, or train with on_bad_image: skip")

    def find_problems(self) -> list[str]:
        """Shards that are missing or of another length than when they were written."""
        problems = []
        for path, shard in zip(self._paths, self.facts.shards, strict=True):
            found = path.stat().st_size if path.is_file() else None
            if found != shard.bytes:
                is_now = "is missing" if found is None else f"has {found:,} bytes"
                problems.append(f"{path} {is_now}; expected {shard.bytes:,} bytes")
        return problems

    def doubts(self) -> list[str]:
        """What could not be read when the crops were cut."""
        problems = self.facts.problems
        return [f"{len(problems):,} images could not be read: {some(problems)}"] if problems else []

    def image_from_crop(self, index: int) -> Matrix:
        """(3, 3), pixels of the source's image file ← pixels of crop `index`; for a left hand, it mirrors."""
        return np.array(self._arrays["image_from_crop"][index])

    def about(self, index: int) -> About:
        """What is known of crop `index` beside its labels."""
        arrays, texts = self._arrays, self._texts
        row = {n: arrays[n][index].item() for n in ("score", "frame", "time", "track", "video") if n in arrays}
        file, group, class_name = (texts[name][int(arrays[name][index])] for name in TEXTS[1:])
        return About(**row, file=file, group=group, class_name=class_name, hand=self.hand_of(index))

    def stored(self, index: int) -> tuple[bytes, dict[str, Any]]:
        """Crop `index` as it was written: its JPEG, and its labels with their names in `COLUMNS`, and its id."""
        labels: dict[str, Any] = {name: array[index] for name, array in self._arrays.items() if name in _OF_CROP}
        return self.encoded(index), labels | {"id": self._texts["id"][index]}

    def joints_2d_of_hands(self) -> NDArray[np.float32] | None:
        """See `HasJoints2D`: of each hand's first version, pixels of the crop."""
        return None if "joints_2d" not in self._arrays else self._of_hands("joints_2d")

    def track_of_hands(self) -> NDArray[np.int64]:
        """See `HasTracks`."""
        return self._of_hands("track")

    def time_of_hands(self) -> NDArray[np.float64]:
        """See `HasTracks`."""
        return self._of_hands("time")

    def video_of_hands(self) -> NDArray[np.int64]:
        """See `HasVideos`; a single image counts as a video of its own. ValueError where it is not known."""
        if "video" not in self._arrays:
            raise ValueError(f"{self.root}: which video a hand is from is not known")
        return self._of_hands("video")

    def group_of_hands(self) -> NDArray[np.int64] | None:
        """See `HasGroups`."""
        return self._of_hands("group").astype(np.int64) if any(self._texts["group"]) else None

    def class_of_hands(self) -> tuple[NDArray[np.int32], PackedText]:
        """(num_hands,), number of each hand's class, and the classes' names; "" is none."""
        return self._of_hands("class"), self._texts["class"]

    def _of_hands(self, name: str) -> Array:
        column, array = COLUMNS.get(name), self._arrays.get(name)
        if array is None:
            assert column is not None
            return np.full((self.num_hands, *column.shape), column.unknown, column.kind)
        if self._hand is None or self._versions is None:
            return array
        return array[self._versions[np.searchsorted(self._hand, np.arange(self.num_hands), sorter=self._versions)]]

    def key(self, index: int) -> str:
        """The name of crop `index` in its shard, without its ending, and in the set."""
        shard = int(np.searchsorted(self._ends, index, side="right"))
        task, _, part = self.facts.shards[shard].name.removesuffix(".tar").partition("-")
        # shards of a task are numbered through
        first = int(self._ends[shard - int(part) - 1]) if shard > int(part) else 0
        return key_of(int(task), index - first)

    def encoded(self, index: int) -> bytes:
        """The JPEG of crop `index`; BadImageError names the shard, the crop and what was expected."""
        shard = int(np.searchsorted(self._ends, index, side="right"))
        offset, length = int(self._arrays["offset"][index]), int(self._arrays["length"][index])
        path = self._paths[shard]
        where = f"{path}, {self.key(index)}.jpg"
        try:
            content = os.pread(self._open(path).number, length, offset)
        except OSError as error:
            raise BadImageError(f"{where}: cannot be read ({error.strerror})") from error
        if zlib.crc32(content) != self._arrays["crc"][index]:
            found = "are others than were written" if len(content) == length else f"are only {len(content):,}"
            size = self.facts.shards[shard].bytes
            raise BadImageError(f"{where}: its {length:,} bytes at {offset:,} {found}; expected a shard of {size:,}")
        return content

    def __getitem__(self, index: int) -> HandSample:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.root} has crops 0 to {len(self) - 1}, not {index}")
        arrays = self._arrays
        known = {name: arrays[name][index] for name in ("K", "joints_3d", "joints_2d") if name in arrays}
        known = {name: label for name, label in known.items() if not np.isnan(label).all()}
        scale_m = float(arrays["scale_m"][index]) if "scale_m" in arrays else math.nan
        return hand_sample(
            decode_image(self.encoded(index), self._paths[0].parent / self.key(index)),
            arrays["crop_box"][index],
            self._texts["id"][index],
            SIDES[arrays["side"][index]],
            scale_m=None if math.isnan(scale_m) else scale_m,
            **known,
        )


def key_of(task: int, number: int) -> str:
    """The name of a task's crop: no dot, at which WebDataset ends keys."""
    return f"{task:06d}-{number:06d}"


class _Descriptor:
    """An open file, closed when nobody uses it: another thread may, when it is no longer kept."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)

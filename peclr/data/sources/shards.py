"""Hands in shards: plain tar files of crops, which any tool reads, with their labels in memory-mapped arrays.

    manifest.json              counts, settings, whether labels are true or pseudo; name, size and SHA-256 of each shard
    shards/000000-00.tar …     for each crop KEY.jpg and, with the labels, KEY.json, as `tar` and WebDataset read them
    NAME.npy                   a label of all crops, in order of the shards; one that is known of no crop is left out

Crops show right hands: left ones are stored mirrored, with their labels, and `side` is that of the hand in its image,
to which `image_from_crop` leads, mirrored back.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from peclr.data.samples import HandSample, HandSource, hand_sample, hash_of
from peclr.data.sources import crops
from peclr.data.sources.image_faults import refuse_problems
from peclr.data.sources.images import decode_image
from peclr.data.sources.layouts import MANIFEST, Depth
from peclr.data.sources.listing import some
from peclr.data.sources.packed_labels import Array, PackedArrays
from peclr.data.sources.remote import below, check_address, is_remote
from peclr.data.sources.remote_shards import Remote, RemoteShardFiles, fetch_labels
from peclr.data.sources.shard_cache import ShardCache
from peclr.data.sources.shard_files import ShardFiles
from peclr.data.sources.shard_format import (
    COLUMNS,
    CUT,
    KIND,
    NUMBERED,
    OF_CROP,
    SIDES,
    About,
    impossible_label,
    open_labels,
)
from peclr.geometry.planar import Matrix


class Shards(HandSource):
    """The hands of a folder of shards, in order, or of crops that older versions cut.

    Pickled as the folder's path; processes share the labels' pages. A shard that is missing, cut short or changed costs
    its own crops: they raise `BadImageError`.

    Args:
        root: the folder, or its address (`https://`, `s3://` or `gs://`), whose labels are copied now, and each shard
            when it is needed.
        cache_dir: for what is copied; null is `PECLR_CACHE`, or the user's folder for caches.
        cache_gb: most that shards may take there; null is `PECLR_CACHE_GB`, or 50. What was used last stays.

    Attributes:
        labels: whether the joints are "true", a teacher's ("pseudo"), or there are "none".
        facts: of the manifest: what was counted and left out, and the settings that the crops were made with.
    """

    def __init__(self, root: str | Path, cache_dir: str | Path | None = None, cache_gb: float | None = None) -> None:
        """Map the labels; ValueError if that is not a whole folder of shards, which are not looked at."""
        if is_remote(root):
            address, cache = check_address(root), ShardCache.at(cache_dir, cache_gb)
            remote = fetch_labels(address, cache)
            try:
                self._map(remote)
            except ValueError:  # the copy may have been damaged
                self._map(fetch_labels(address, cache, again=True))
            assert isinstance(self.files, RemoteShardFiles)
            self.files.check_room()
        else:
            self._map(Path(root))

    def _map(self, place: Path | Remote) -> None:
        self._place, self.remote = place, None if isinstance(place, Path) else place
        self.root = place if isinstance(place, Path) else place.labels
        packed = PackedArrays(self.root)
        if packed.manifest.kind not in (KIND, crops.KIND)[: 1 if self.remote else 2]:
            raise ValueError(f"{self.root / MANIFEST}: kind is {packed.manifest.kind!r}, expected {KIND!r}")
        self._is_old = packed.manifest.kind == crops.KIND
        opened = crops.open_old_labels(packed) if self._is_old else open_labels(packed)
        self.facts, self._arrays, self._texts = opened
        self.name, self.labels = self.facts.name, self.facts.labels
        self._count = len(self._arrays["side"])
        if self._is_old:
            self.files: crops.CropFiles | ShardFiles = crops.CropFiles(self.root, self._count)
        else:
            self.files = RemoteShardFiles(self.remote, opened) if self.remote else ShardFiles(self.root, opened)
        # hands and their versions, where they are not one to one
        self._hand, self._versions = self._arrays.get("hand"), self._arrays.get("versions")
        self.num_hands = self._count if self._hand is None else int(self._hand.max()) + 1

    def __reduce__(self) -> tuple[Any, ...]:
        # the copy that this process has opened, also if there is another set at the address by now
        return _mapped, (type(self), self._place)

    def __len__(self) -> int:
        return self._count

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

    def hand_of_images(self) -> NDArray[np.int64]:
        """(images,), the hand that each crop shows."""
        return np.arange(len(self)) if self._hand is None else self._hand

    def is_one_image_each(self) -> bool:
        """See `HandSource`."""
        return self._hand is None

    def identity(self) -> str:
        """See `HandSource`: of what the crops were cut from."""
        ids, hands = self._texts["id"], () if self._hand is None else (self._hand,)
        if self._is_old:  # pairs were mined
            encoded = [one.encode(errors="surrogateescape") for one in ids]
            return hash_of(self.name, np.array(encoded, np.bytes_), *hands)
        return hash_of(self.name, ids.text, ids.ends, *hands)

    def check_images(self) -> None:
        """See `HandSource`: that the shards are there, and as long as they were."""
        refuse_problems(self.find_problems())

    def find_problems(self, depth: Depth = "headers", workers: int = 4, *, progress: bool = False) -> dict[str, str]:
        """What is wrong with files, without their names; "decode" compares the content of whole shards."""
        return self.files.find_problems(depth, workers, progress=progress)

    def doubts(self) -> list[str]:
        """What could not be read when the crops were cut."""
        problems = self.facts.problems
        return [f"{len(problems):,} images could not be cut out: {some(problems)}"] if problems else []

    @property
    def num_shards(self) -> int:
        """See `HasShards`."""
        return 0 if self._is_old else len(self.facts.shards)

    @property
    def is_remote(self) -> bool:
        """See `HasShards`."""
        return self.remote is not None

    def shard_of_images(self) -> NDArray[np.int32]:
        """See `HasShards`."""
        return np.repeat(np.arange(self.num_shards, dtype=np.int32), [shard.crops for shard in self.facts.shards])

    def check_cache(self, at_once: int | None, why: str) -> None:
        """See `HasShards`."""
        if isinstance(self.files, RemoteShardFiles):
            self.files.check_cache(at_once, why)

    def fetch_ahead(self, shards: Sequence[int]) -> None:
        """See `HasShards`."""
        if isinstance(self.files, RemoteShardFiles):
            self.files.fetch_ahead(shards)

    def image_from_crop(self, index: int) -> Matrix:
        """(3, 3), pixels of the source's image file ← pixels of crop `index`; for a left hand, it mirrors."""
        return np.array(self._arrays["image_from_crop"][index])

    def about(self, index: int) -> About:
        """What is known of crop `index` beside its labels."""
        arrays, texts = self._arrays, self._texts
        row = {name: arrays[name][index].item() for name in OF_CROP if name in arrays}
        row["hand"] = self.hand_of(index)
        file, group, class_name = (texts[name][int(arrays[name][index])] for name in NUMBERED)
        return About(**row, file=file, group=group, class_name=class_name)

    def encoded(self, index: int) -> bytes:
        """The JPEG of crop `index`; BadImageError names the shard, the crop and what was expected."""
        return self.files.read(index)

    def stored(self, index: int) -> tuple[bytes, dict[str, Any]]:
        """Crop `index` as it was written: its JPEG, and its labels, named as in `CUT`, and its id."""
        labels: dict[str, Any] = {name: self._arrays[name][index] for name in CUT if name in self._arrays}
        return self.encoded(index), labels | {"id": self._texts["id"][index]}

    def joints_2d_of_hands(self) -> NDArray[np.float32] | None:
        """See `HasJoints2D`: of each hand's first version, pixels of the crop."""
        return self._of_hands("joints_2d") if "joints_2d" in self._arrays else None

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

    def frame_of_hands(self) -> NDArray[np.int64] | None:
        """See `HasCameras`."""
        return self._of_hands("moment") if "moment" in self._arrays else None

    def camera_of_hands(self) -> NDArray[np.int64]:
        """See `HasCameras`."""
        return self._of_hands("camera")

    def group_of_hands(self) -> NDArray[np.int64] | None:
        """See `HasGroups`."""
        return self._of_hands("group") if any(self._texts["group"]) else None

    def names_of_hands(self, kind: Literal["group", "class"]) -> list[str] | None:
        """Each hand's group or class, "" where it has none; None where no hand has one."""
        names = self._texts[kind]
        return [names[number] for number in self._of_hands(kind).tolist()] if any(names) else None

    def _of_hands(self, name: str) -> Array:
        """A label of each hand's first version."""
        array = self._arrays.get(name)
        if array is None:
            return np.full((self.num_hands, *COLUMNS[name].shape), COLUMNS[name].unknown, COLUMNS[name].kind)
        if self._hand is None or self._versions is None:
            return array
        return array[self._versions[np.searchsorted(self._hand, np.arange(self.num_hands), sorter=self._versions)]]

    def __getitem__(self, index: int) -> HandSample:
        self.check_index(index)
        encoded, labels = self.stored(index)
        if impossible := impossible_label(labels):
            raise ValueError(f"{self.files.where(index)}: {impossible} is not possible; make it again")
        known = {name: labels[name] for name in ("K", "joints_3d", "joints_2d") if name in labels}
        known = {name: label for name, label in known.items() if not np.isnan(label).all()}
        scale_m = float(labels.get("scale_m", math.nan))
        return hand_sample(
            decode_image(encoded, self.files.where(index)),
            labels["crop_box"],
            labels["id"],
            SIDES[labels["side"]],
            scale_m=None if math.isnan(scale_m) else scale_m,
            **known,
        )


def _mapped(made: type[Shards], place: Path | Remote) -> Shards:
    shards = made.__new__(made)
    shards._map(place.here() if isinstance(place, Remote) else place)
    return shards


class PreparedCrops(Shards):
    """Crops of a split, a folder below another, that `peclr prepare DATASET … --shards` wrote.

    Args:
        root: the other folder.
        split: the folder's name.
    """

    def __init__(self, root: str | Path, split: str) -> None:
        """Map the labels; ValueError if that is not a whole folder of crops."""
        super().__init__(below(root, split))

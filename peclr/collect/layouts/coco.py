"""Collected hands as COCO keypoints, for annotation tools to correct, and the corrections back.

    images/default/00000000.jpg …                  crops, of right hands: left ones are mirrored
    annotations/person_keypoints_default.json      their joints, px of the crops
    hands/                                         the same as shards, with all that COCO does not hold

CVAT takes the two first, as an archive, for its format "COCO Keypoints 1.0", and exports such a JSON file;
`label-studio-converter import coco` makes tasks of it for Label Studio.
"""

from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from peclr.data.prepare.cutting import Crop
from peclr.data.prepare.merging import merge
from peclr.data.prepare.shard_writer import ShardWriter
from peclr.data.sources.coco_keypoints import CocoImage, CocoKeypoints, by_id
from peclr.data.sources.shards import Shards
from peclr.geometry.joints import NUM_JOINTS, SCALE_BONE
from peclr.options import naming
from peclr.untrusted.text import as_type, read_json

HANDS: Final = "hands"
ANNOTATIONS: Final = "annotations/person_keypoints_default.json"
_IMAGES: Final = "images/default"
_MOVED: Final = 0.05  # px: less is rounding

Array = NDArray[np.float64]


def write_coco(hands: Shards, folder: Path) -> None:
    """Write the crops and their joints into a folder, beside `hands/`, which somebody else puts there."""
    (folder / _IMAGES).mkdir(parents=True)
    document = CocoKeypoints({"description": "hands collected by peclr", "labels": hands.labels})
    for hand in range(len(hands)):
        about, sample, name = hands.about(hand), hands[hand], f"{hand:08d}.jpg"
        with naming(folder / _IMAGES / name):
            (folder / _IMAGES / name).write_bytes(hands.encoded(hand))
        image = document.add_image(name, sample["image"].shape[1], sample["image"].shape[0])
        assert sample["joints_2d"] is not None
        more = {"group": about.group, "class": about.class_name, "source": sample["id"], "hand": sample["hand"]}
        document.add_hand(image, "right", sample["joints_2d"], about.score, **more)
    path = folder / ANNOTATIONS
    path.parent.mkdir()
    with naming(path):
        path.write_bytes(document.to_bytes())


class _Hand(msgspec.Struct):
    image_id: int | str
    keypoints: Annotated[list[float], msgspec.Meta(min_length=3 * NUM_JOINTS, max_length=3 * NUM_JOINTS)]


class _Document(msgspec.Struct):
    images: list[CocoImage]
    annotations: list[_Hand]


def read_corrections(path: Path) -> dict[int, Array]:
    """Joints (21, 2), px of the crop, by the number of the hand; NaN for those that are not visible.

    ValueError if an image is none that `write_coco` wrote, or has two hands.
    """
    document = as_type(read_json(path), _Document, path)
    numbers = dict[int | str, int]()
    for image in by_id(document.images, path).values():
        stem = PurePosixPath(image.file_name).stem
        if not (stem.isascii() and stem.isdecimal()):
            raise ValueError(f"{path}: image {image.file_name} is none of a crop; expected names such as 00000000.jpg")
        numbers[image.id] = int(stem)
    joints = dict[int, Array]()
    for place, hand in enumerate(document.annotations):
        number = numbers.get(hand.image_id)
        if number is None or number in joints:
            wrong = f"is of image {hand.image_id}, which is not listed" if number is None else "is not the only one"
            raise ValueError(f"{path}: annotation {place} {wrong}; expected one hand for each image")
        points = np.array(hand.keypoints, np.float64).reshape(NUM_JOINTS, 3)
        if not np.isfinite(points).all():
            raise ValueError(f"{path}: annotation {place} has joints that are not finite")
        joints[number] = np.where(points[:, 2:] > 0, points[:, :2] - 0.5, np.nan)
    return joints


def correct(hands: Shards, corrections: Path, folder: Path) -> Shards:
    """Write the hands that a COCO file has into a new folder of shards, with its joints.

    A joint that was moved stays at its depth, which remains the teacher's: labels are pseudo as before.
    """
    joints = read_corrections(corrections)
    if strange := sorted(number for number in joints if number >= len(hands)):
        raise ValueError(f"{corrections}: image {strange[0]:08d}.jpg is of no hand, there are {len(hands):,}")
    with ShardWriter(folder, 0) as out:
        for hand in range(len(hands)):
            if hand not in joints:
                out.counts["left out: by the correction"] += 1
                continue
            encoded, labels = hands.stored(hand)
            moved = _move(labels, joints[hand])
            out.add(Crop(encoded, labels), hands.about(hand))
            out.counts["hands"] += 1
            out.counts["hands with moved joints"] += moved
    merge(folder, 1, name=hands.name, labels=hands.labels, settings={"corrections": corrections.name})
    return Shards(folder)


def _move(labels: dict[str, Any], joints_2d: Array) -> bool:
    """Put corrected joints into a hand's labels, px and metres; whether there are some."""
    distance = np.abs(joints_2d - labels["joints_2d"]).max(axis=-1)
    moved, hidden = distance > _MOVED, np.isnan(distance)
    if not (moved | hidden).any():
        return False
    ends = np.concatenate([joints_2d[moved], np.ones((moved.sum(), 1))], axis=-1)
    joints_3d = np.array(labels["joints_3d"], np.float64)
    joints_3d[moved] = ends @ np.linalg.inv(labels["K"].astype(np.float64)).T * joints_3d[moved, 2:]
    labels["joints_2d"] = np.where((moved | hidden)[:, None], joints_2d, labels["joints_2d"])
    labels["joints_3d"] = joints_3d
    labels["scale_m"] = np.linalg.norm(joints_3d[SCALE_BONE[0]] - joints_3d[SCALE_BONE[1]])
    return True

"""Collected hands as COCO keypoints, for annotation tools to correct, and the corrections back.

    images/default/00000000.jpg …                  crops, of right hands: left ones are mirrored
    annotations/person_keypoints_default.json      their joints, px of the crops
    hands/                                         the same as shards, with all that COCO does not hold
    cvat_labels.json                               the skeleton, for the tab "Raw" of a new project of CVAT
    label_studio_config.xml, …_tasks.json          the same as COCO for Label Studio

CVAT takes the two first, as an archive, for its format "COCO Keypoints 1.0", and exports such a JSON file. Label Studio
would lose which joint a point of COCO is, so that it has tasks of its own; it exports COCO, in whole pixels.
"""

import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from peclr.collect.layouts.annotation_tools import (
    CVAT_LABELS,
    STUDIO_CONFIG,
    STUDIO_TASKS,
    cvat_labels,
    studio_config,
    studio_task,
)
from peclr.collect.layouts.json_list import JsonList
from peclr.collect.work import CORRECTED, LEFT_OUT
from peclr.collect.work import HANDS as HANDS_KEPT
from peclr.data.prepare.cutting import Crop
from peclr.data.prepare.merging import merge
from peclr.data.prepare.shard_writer import ShardWriter
from peclr.data.sources.coco_keypoints import CocoImage, CocoKeypoints, by_id, name_of
from peclr.data.sources.listing import some
from peclr.data.sources.shards import Shards
from peclr.geometry.joints import JOINT_NAMES, NUM_JOINTS, SCALE_BONE
from peclr.options import naming
from peclr.untrusted.text import as_type, read_json

HANDS: Final = "hands"
ANNOTATIONS: Final = "annotations/person_keypoints_default.json"
_IMAGES: Final = "images/default"
_NAME: Final = re.compile(r"(?:.*\D)?(\d{8,})", re.ASCII | re.DOTALL)
_ROUNDING: Final = 0.05  # px, by which a joint that nobody moved may differ …
_WHOLE: Final = 0.5  # … and where a tool rounds to whole pixels

Array = NDArray[np.float64]


def write_coco(hands: Shards, folder: Path) -> None:
    """Write the crops and their joints into a folder, beside `hands/`, which somebody else puts there."""
    (folder / _IMAGES).mkdir(parents=True)
    (folder / ANNOTATIONS).parent.mkdir()
    document = CocoKeypoints({"description": "hands collected by peclr", "labels": hands.labels}, sides=["right"])
    with naming(folder), JsonList(folder / STUDIO_TASKS) as tasks:
        for hand in range(len(hands)):
            about, sample, name = hands.about(hand), hands[hand], f"{hand:08d}.jpg"
            (folder / _IMAGES / name).write_bytes(hands.encoded(hand))
            joints_2d, (height, width) = sample["joints_2d"], sample["image"].shape[:2]
            assert joints_2d is not None
            more = {"group": about.group, "class": about.class_name, "source": sample["id"], "hand": sample["hand"]}
            document.add_hand(document.add_image(name, width, height), "right", joints_2d, about.score, **more)
            tasks.append(studio_task(f"{_IMAGES}/{name}", width, height, joints_2d))
        (folder / ANNOTATIONS).write_bytes(document.to_bytes())
        (folder / CVAT_LABELS).write_text(cvat_labels(name_of("right")), encoding="utf-8")
        (folder / STUDIO_CONFIG).write_text(studio_config(name_of("right")), encoding="utf-8")


class _Hand(msgspec.Struct):
    image_id: int | str
    category_id: int | str | None = None
    keypoints: Annotated[list[float], msgspec.Meta(min_length=3 * NUM_JOINTS, max_length=3 * NUM_JOINTS)] | None = None


class _Category(msgspec.Struct):
    id: int | str
    name: str
    keypoints: list[str] | None = None


class _Document(msgspec.Struct):
    images: list[CocoImage]
    annotations: list[_Hand]
    categories: list[_Category] = []


def read_corrections(path: Path) -> dict[int, Array]:
    """Joints (21, 2), px of the crop, by the number of the hand; NaN for those that are not visible.

    ValueError if an image is none that `write_coco` wrote, or has two hands, or joints have other names.
    """
    document = as_type(read_json(path), _Document, path)
    images = by_id(document.images, path)
    numbers = {image.id: _number_of(image.file_name, path) for image in images.values()}
    orders = {category.id: _order_of(category, path) for category in document.categories if category.keypoints}
    of_left = {category.id for category in document.categories if category.name == name_of("left")}
    joints = dict[int, Array]()
    for place, hand in enumerate(document.annotations):
        where = f"{path}: annotation {place}"
        if hand.image_id not in images:
            raise ValueError(f"{where} is of image {hand.image_id}, which is not listed")
        if hand.keypoints is None:  # a rectangle of Label Studio
            continue
        file, number = images[hand.image_id].file_name, numbers[hand.image_id]
        if hand.category_id in of_left:
            raise ValueError(f"{where}, of {file}, is a {name_of('left')}; crops show right ones, left hands mirrored")
        if number in joints:
            raise ValueError(f"{where} is a second hand of {file}; a crop shows one: remove the other")
        points = np.array(hand.keypoints, np.float64).reshape(NUM_JOINTS, 3)
        if not np.isfinite(points).all():
            raise ValueError(f"{where}, of {file}, has joints that are not finite")
        if hand.category_id in orders:
            points = points[orders[hand.category_id]]
        joints[number] = np.where(points[:, 2:] > 0, points[:, :2] - 0.5, np.nan)
    return joints


def _number_of(file: str, path: Path) -> int:
    """The number of the hand that an image shows, by its name, before which tools may have put their own."""
    if found := _NAME.fullmatch(PurePosixPath(file).stem):
        return int(found[1])
    raise ValueError(f"{path}: image {file} is none of a crop; expected names such as 00000000.jpg")


def _order_of(category: _Category, path: Path) -> list[int]:
    """Where each joint stands in a category's keypoints."""
    assert category.keypoints is not None
    if sorted(category.keypoints) != sorted(JOINT_NAMES):
        wrong = sorted({*category.keypoints} ^ {*JOINT_NAMES})
        raise ValueError(f"{path}: category {category.name} has other joints than were written: {some(wrong)}")
    return [category.keypoints.index(joint) for joint in JOINT_NAMES]


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
                out.counts[f"{LEFT_OUT}by the correction"] += 1
                continue
            encoded, labels = hands.stored(hand)
            moved = _move(labels, joints[hand])
            out.add(Crop(encoded, labels), hands.about(hand))
            out.counts[HANDS_KEPT] += 1
            out.counts[f"{CORRECTED}joints moved or hidden"] += moved
    merge(folder, 1, name=hands.name, labels=hands.labels, settings={"corrections": corrections.name})
    return Shards(folder)


def _move(labels: dict[str, Any], joints_2d: Array) -> bool:
    """Put corrected joints into a hand's labels, px and metres; whether there are some."""
    distance = np.abs(joints_2d - labels["joints_2d"]).max(axis=-1)
    known = joints_2d[np.isfinite(joints_2d)] + 0.5
    moved, hidden = distance > _ROUNDING + _WHOLE * bool((known % 1 == 0).all()), np.isnan(distance)
    if not (moved | hidden).any():
        return False
    ends = np.concatenate([joints_2d[moved], np.ones((moved.sum(), 1))], axis=-1)
    joints_3d = np.array(labels["joints_3d"], np.float64)
    joints_3d[moved] = ends @ np.linalg.inv(labels["K"].astype(np.float64)).T * joints_3d[moved, 2:]
    labels["joints_2d"] = np.where((moved | hidden)[:, None], joints_2d, labels["joints_2d"])
    labels["joints_3d"] = joints_3d
    labels["scale_m"] = np.linalg.norm(joints_3d[SCALE_BONE[0]] - joints_3d[SCALE_BONE[1]])
    return True

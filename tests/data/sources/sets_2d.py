"""Tiny sets of 2-D hands in the layouts of others, with bright dots drawn at joints."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.data.conftest import draw_dots

Array = NDArray[np.float64]

WIDTH, HEIGHT = 160, 120
TRAIN: Final = {
    "coco_wholebody": "annotations/coco_wholebody_train_v1.0.json",
    "halpe": "annotations/halpe_train_v1.json",
    "onehand10k": "annotations/onehand10k_train.json",
    "panoptic": "hand_labels/manual_train/a_01_l.json",
    "hint": "TRAIN_newdays_img/a_l.json",
}
SPLITS: Final = {"coco_wholebody": "val", "halpe": "val", "onehand10k": "test", "panoptic": "test", "hint": "test"}


def hands_in_images(images: int, seed: int = 0) -> Array:
    """Joints of a left and a right hand in each image, px, at half pixels: (images, 2, 21, 2)."""
    rng = np.random.default_rng(seed)
    middle = np.array([[45.0, 60.0], [115.0, 60.0]])[:, None]
    angles = np.radians([-60, -20, 0, 20, 40])[:, None] + rng.uniform(-0.5, 0.5, (images, 2, 1, 1))
    reach = np.array([12.0, 18.0, 24.0, 30.0])
    fingers = np.stack([reach * np.sin(angles), -reach * np.cos(angles)], axis=-1).reshape(images, 2, 20, 2)
    joints = middle + np.concatenate([np.zeros((images, 2, 1, 2)), fingers], axis=2) + [0, 12]
    joints[:, 0, :, 0] = 90 - joints[:, 0, :, 0]
    return np.asarray(np.round(joints * 2) / 2)


def draw(path: Path, *joints: Array) -> None:
    """Write an image with dots at joints."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = draw_dots(WIDTH, np.concatenate(joints), sigma=1.0)[:HEIGHT]
    cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 98])


def box_of(joints: Array) -> list[float]:
    """COCO's box around joints: left, top, width, height, the corner of the first pixel at 0."""
    low, high = joints.min(axis=0), joints.max(axis=0)
    return [*(low + 0.5).tolist(), *(high - low).tolist()]


def flat(joints: Array, flag: float = 1.0) -> list[float]:
    """Joints as x, y and a flag each."""
    numbers: list[float] = np.c_[joints, np.full(len(joints), flag)].ravel().tolist()
    return numbers


def write_2d(root: Path, dataset: str, split: str = "train", images: int = 3) -> Array:
    """Write a split; returns the joints (images, 2, 21, 2) of the left and the right hand of each image, px.

    Of OneHand10K, an image shows the second hand alone, without its wrist. Panoptic's dome has one hand, the last.
    """
    joints = hands_in_images(images, len(split))
    _WRITERS[dataset](root, split, joints)
    return joints


def _write_document(path: Path, folder: str, joints: Array, annotate: Callable[[int], list[dict[str, Any]]]) -> None:
    """Write a document of COCO, and its images, whose ids are 7 and more."""
    images, annotations = [], []
    for number in range(len(joints)):
        images.append({"id": number + 7, "file_name": f"{number:012d}.jpg", "width": WIDTH, "height": HEIGHT})
        annotations += [{"image_id": number + 7, "iscrowd": 0, **one} for one in annotate(number)]
    for number, annotation in enumerate(annotations):
        annotation["id"] = 100 + number
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": []}))
    for number, hands in enumerate(joints):
        draw(path.parents[1] / folder / f"{number:012d}.jpg", *hands)


def _write_whole_body(root: Path, split: str, joints: Array) -> None:
    def annotate(number: int) -> list[dict[str, Any]]:
        person: dict[str, Any] = {"keypoints": [0] * 51}
        for side, hand in zip(("left", "right"), joints[number], strict=True):
            person |= {f"{side}hand_valid": True, f"{side}hand_kpts": flat(hand), f"{side}hand_box": box_of(hand)}
        nobody = {f"{side}hand_{name}": value for side in ("left", "right") for name, value in NO_HAND.items()}
        return [person, nobody]

    _write_document(root / f"annotations/coco_wholebody_{split}_v1.0.json", f"{split}2017", joints, annotate)


NO_HAND: Final = {"valid": False, "kpts": [0.0] * 63, "box": [0.0] * 4}


def _write_halpe(root: Path, split: str, joints: Array) -> None:
    def annotate(number: int) -> list[dict[str, Any]]:
        body = [0.0] * (3 * 94)
        left, right = (flat(hand, 2.0) for hand in joints[number])
        return [{"keypoints": [*body, *left, *right]}, {"keypoints": [0.0] * 408}, {}]

    folder = "hico_20160224_det/images/train2015" if split == "train" else "val2017"
    _write_document(root / f"annotations/halpe_{split}_v1.json", folder, joints, annotate)


def _write_onehand10k(root: Path, split: str, joints: Array) -> None:
    def annotate(number: int) -> list[dict[str, Any]]:
        hand = joints[number, 1]
        return [{"keypoints": [0, 0, 0, *flat(hand)[3:]], "bbox": box_of(hand)}]

    path = root / f"annotations/onehand10k_{split}.json"
    _write_document(path, f"{split.title()}/source", joints[:, 1:], annotate)


def _write_panoptic(root: Path, split: str, joints: Array) -> None:
    for number, hands in enumerate(joints):
        for side, hand in zip("lr", hands, strict=True):
            path = root / f"hand_labels/manual_{split}/{chr(97 + number)}_01_{side}.json"
            draw(path.with_suffix(".jpg"), hand)
            content = {"hand_pts": np.c_[hand, np.ones(21)].tolist(), "is_left": int(side == "l")}
            path.write_text(json.dumps(content))
    dome = root / "hand143_panopticdb"
    draw(dome / "imgs" / "00000000.jpg", joints[-1, 1])
    shown = {"img_paths": "imgs/00000000.jpg", "joint_self": np.c_[joints[-1, 1], np.ones(21)].tolist()}
    (dome / "hands_v143_14817.json").write_text(json.dumps({"root": [shown]}))


def _write_hint(root: Path, split: str, joints: Array) -> None:
    for number, hands in enumerate(joints):
        for side, hand in zip("lr", hands, strict=True):
            folder = ("newdays_img", "epick_img", "ego4d_img")[number % 3]
            path = root / f"{split.upper()}_{folder}" / f"{chr(97 + number)}_{side}.json"
            draw(path.with_suffix(".jpg"), hand)
            box = [[*(hand.min(axis=0) - 2).tolist(), *(hand.max(axis=0) + 2).tolist()]]
            occlusion = [int(joint % 3 == 0) for joint in range(21)]
            path.write_text(json.dumps([{"keypoints": hand.tolist(), "occlusion": occlusion, "bbox": box}]))


_WRITERS: Final[dict[str, Callable[[Path, str, Array], None]]] = {
    "coco_wholebody": _write_whole_body,
    "halpe": _write_halpe,
    "onehand10k": _write_onehand10k,
    "panoptic": _write_panoptic,
    "hint": _write_hint,
}

"""Tiny data sets in the official layouts of others, with bright dots drawn at joints."""

import json
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from peclr.data.sources import dexycb, dexycb_labels
from peclr.geometry.joints import convert
from tests.data.conftest import draw_dots, hands_in_space
from tests.json_files import edit_json

K = np.array([[150.0, 0, 60], [0, 150, 44], [0, 0, 1]])
WIDTH, HEIGHT = 120, 90
SEQUENCES = ("ABF10", "ABF11", "MC1")
AXES = [1, -1, -1]


def pixels(joints: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where the camera sees joints (…, 21, 3): (…, 21, 2)."""
    projected = joints @ K.T
    in_image: NDArray[np.float64] = projected[..., :2] / projected[..., 2:]
    return in_image


def write_dots(path: Path, *joints: NDArray[np.float64]) -> None:
    """Write an image of dots at joints, metres."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = draw_dots(WIDTH, np.concatenate([pixels(hand) for hand in joints]), sigma=1.0)[:HEIGHT]
    cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 98] if path.suffix == ".jpg" else [])


def write_meta(root: Path, split: str, frame: str, **values: Any) -> None:
    """Write the label file of a frame of HO-3D, with a protocol of Python 2."""
    path = root / split / frame.replace("/", "/meta/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(f"{path.name}.pkl").write_bytes(pickle.dumps({"camMat": K, "objName": "010", **values}, 2))


def write_ho3d(root: Path, suffix: str = ".png", *, train: int = 6, evaluation: int = 3) -> NDArray[np.float64]:
    """Write both splits, of train the second frame not annotated; returns the joints (N, 21, 3) of all others."""
    joints = hands_in_space(train + evaluation, np.random.default_rng(3))
    stored = convert(joints, "freihand", "mano") * AXES
    names = [f"{SEQUENCES[n % 3]}/{n:04d}" for n in range(train + evaluation)]
    for number, name in enumerate(names):
        split = "train" if number < train else "evaluation"
        write_dots(root / split / name.replace("/", "/rgb/").__add__(suffix), joints[number])
        if split == "train":
            annotated: dict[str, Any] = {"handJoints3D": stored[number], "objRot": np.zeros((3, 1))}
            write_meta(root, split, name, **(dict.fromkeys(annotated) if number == 1 else annotated))
        else:
            corners = pixels(joints[number])
            box = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
            write_meta(root, split, name, handJoints3D=stored[number, 0], handBoundingBox=box.round(1).tolist())
    (root / "train.txt").write_text("\n".join(names[:train]) + "\n")
    (root / "evaluation.txt").write_text("\n".join(names[train:]))
    return np.delete(joints, 1, axis=0)


@contextmanager
def few_sequences(count: int = 5) -> Iterator[None]:
    """Take subjects to have so few sequences instead of 100."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (dexycb, dexycb_labels):
            patch.setattr(module, "SEQUENCES", count)
        yield


def write_dexycb(root: Path, subjects: int = 3, sequences: int = 5) -> NDArray[np.float64]:
    """Write subjects with two frames a sequence and view, the second of the first view without a hand.

    Every other sequence is of a left hand. Returns the joints (subjects, sequences, 21, 3), the same in all views.
    """
    (root / "calibration" / "intrinsics").mkdir(parents=True)
    camera = {"fx": K[0, 0], "fy": K[1, 1], "ppx": K[0, 2], "ppy": K[1, 2]}
    for serial in dexycb_labels.CAMERAS:
        text = "color:\n" + "".join(f"  {name}: {float(value)}\n" for name, value in camera.items())
        (root / "calibration" / "intrinsics" / f"{serial}_640x480.yml").write_text(text)
    joints = hands_in_space(subjects * sequences, np.random.default_rng(4)).reshape(subjects, sequences, 21, 3)
    for subject, number in np.ndindex(subjects, sequences):
        folder = root / dexycb_labels.SUBJECTS[subject] / f"20200709_1417{number:02d}"
        (hand := joints[subject, number])[:, 0] *= (side := -1 if number % 2 else 1)
        folder.mkdir(parents=True)
        serials = "".join(f"- '{serial}'\n" for serial in dexycb_labels.CAMERAS)
        sides = f"mano_sides:\n- {'left' if side < 0 else 'right'}\n"
        (folder / "meta.yml").write_text(f"serials:\n{serials}num_frames: 2\n{sides}")
        write_dots(folder / "color.jpg", hand)
        write_joints(folder / "hand.npz", hand)
        for view, serial in enumerate(dexycb_labels.CAMERAS):
            (folder / serial).mkdir()
            for frame in (0, 1):
                os.link(folder / "color.jpg", folder / serial / f"color_{frame:06d}.jpg")
                if (view, frame) == (0, 1):
                    write_joints(folder / serial / f"labels_{frame:06d}.npz", None)
                else:
                    os.link(folder / "hand.npz", folder / serial / f"labels_{frame:06d}.npz")
    return joints


def write_joints(path: Path, joints: NDArray[np.float64] | None, **changed: Any) -> None:
    """Write the label file of a frame of DexYCB; None is one without a hand."""
    arrays: dict[str, Any] = {"seg": np.zeros((8, 8), np.uint8), "joint_3d": np.full((1, 21, 3), -1, np.float32)}
    arrays["joint_2d"] = np.full((1, 21, 2), -1, np.float32)
    if joints is not None:
        arrays |= {"joint_3d": joints[None].astype(np.float32), "joint_2d": pixels(joints)[None].astype(np.float32)}
    path.unlink(missing_ok=True)  # others may be links to it
    arrays |= changed
    np.savez_compressed(path, **arrays)


# hands of the images of InterHand2.6M and AssemblyHands, and the joints that are not valid, in their order
KINDS = ("right", "left", "interacting", "interacting", "right", "interacting", "left")
UNKNOWN: dict[int, list[int]] = {2: [21, 0, 4], 3: [41, 30], 4: list(range(5, 21)), 5: list(range(42))}


@dataclass
class BothHands:
    """What was written: joints (images, 2, 21, 3), right hand first, metres, camera frame, order freihand, or NaN."""

    root: Path
    joints: NDArray[np.float64]

    def files(self, split: str = "train") -> list[Path]:
        """The files of labels: data, cameras, joints."""
        found = {path.stem: path for path in (self.root / "annotations" / split).iterdir()}
        return [next(found[stem] for stem in found if kind in stem) for kind in ("data", "ca", "joint_3d")]

    def edit(self, number: int, change: Callable[[Any], object], split: str = "train") -> Path:
        """Rewrite one of the files after `change` has changed its contents in place."""
        path = self.files(split)[number]
        edit_json(path, change)
        return path


def write_interhand(root: Path, splits: Sequence[str] = ("train",)) -> BothHands:
    """Write InterHand2.6M: two captures, of one subject each, with two cameras each, a kind of KINDS an image."""
    return _write_both(root, splits, worn=False)


def write_assemblyhands(root: Path, splits: Sequence[str] = ("train",)) -> BothHands:
    """Write AssemblyHands: two sequences, whose cameras move."""
    return _write_both(root, splits, worn=True)


def _write_both(root: Path, splits: Sequence[str], *, worn: bool) -> BothHands:
    rng = np.random.default_rng(7)
    seen = hands_in_space(2 * len(KINDS), rng).reshape(len(KINDS), 2, 21, 3)
    seen[:, 1, :, 0] *= -1  # left hands
    seen[..., 0] += np.array([0.05, -0.05])[:, None]
    joints = seen.copy()
    data: dict[str, Any] = {"images": [], "annotations": []}
    cameras: dict[str, Any] = {}
    world: dict[str, Any] = {}
    for number, kind in enumerate(KINDS):
        capture, camera, frame = number % 2, f"40000{number // 2 % 2}", 10 + 6 * number
        sequence = f"nusar-2021_action_both_900{capture}_900{capture}_user_id_2021" if worn else f"000{capture}_fist"
        image = f"{sequence}/HMC_{camera}_mono10bit/{frame:06d}.jpg" if worn else f"Capture{capture}/image{frame}.jpg"
        valid = np.ones(42, int)
        valid[UNKNOWN.get(number, [])] = 0
        valid[{"right": slice(21, 42), "left": slice(0, 21)}.get(kind, slice(0, 0))] = 0
        known = convert(valid.reshape(2, 21, 1), "interhand", "freihand")[..., 0] == 1
        joints[number][~known] = np.nan
        turn = Rotation.random(random_state=number if worn else 2 * capture + int(camera[-1])).as_matrix()
        place = np.array([100.0 * capture, 50, -20])
        at = convert(seen[number], "freihand", "interhand").reshape(42, 3) * 1000 @ turn + place
        points = {"world_coord": at.tolist(), "joint_valid": valid.reshape(42, 1).tolist()}
        boxes = [[*pixels(hand).min(axis=0), *pixels(hand).max(axis=0)] for hand in seen[number]]
        listed: dict[str, Any] = {"id": 50 + number, "width": WIDTH, "height": HEIGHT, "seq_name": sequence}
        listed |= {"file_name": image, "camera": f"HMC_{camera}" if worn else camera, "frame_idx": frame}
        annotation: dict[str, Any] = {"id": number, "image_id": 50 + number, "joint_valid": points["joint_valid"]}
        if worn:
            annotation["joint_valid"] = valid.tolist()
            named = zip(("right", "left"), boxes, valid.reshape(2, 21), strict=True)
            annotation["bbox"] = {side: box if flags.any() else None for side, box, flags in named}
            take = cameras.setdefault(sequence, {"intrinsics": {}, "extrinsics": {}})
            take["intrinsics"][f"HMC_{camera}_mono10bit"] = K.tolist()
            view = np.column_stack([turn, -turn @ place])
            take["extrinsics"].setdefault(f"{frame:06d}", {})[f"HMC_{camera}_mono10bit"] = view.tolist()
            world.setdefault(sequence, {})[f"{frame:06d}"] = points
        else:
            listed |= {"capture": capture, "subject": 3 + capture}
            left, top, right, bottom = boxes[1 if kind == "left" else 0]
            annotation |= {"bbox": [left, top, right - left, bottom - top], "hand_type": kind, "hand_type_valid": 1}
            of_capture = cameras.setdefault(str(capture), {})
            values = {"campos": place, "camrot": turn, "focal": K[[0, 1], [0, 1]], "princpt": K[:2, 2]}
            for name, value in values.items():
                of_capture.setdefault(name, {})[camera] = value.tolist()
            world.setdefault(str(capture), {})[str(frame)] = points
        data["images"].append(listed)
        data["annotations"].append(annotation)
        shown = [hand for hand, flags in zip(seen[number], known, strict=True) if flags.any()] or [seen[number, 0]]
        for split in splits:
            write_dots(root / "images" / ("ego_images_rectified" if worn else "") / split / image, *shown)
    for split in splits:
        folder = root / "annotations" / split
        folder.mkdir(parents=True, exist_ok=True)
        if worn:
            names = [f"assemblyhands_{split}_{kind}_v1-1" for kind in ("ego_data", "ego_calib", "joint_3d")]
            of_split = [
                image | {"file_name": f"ego_images_rectified/{split}/{image['file_name']}"} for image in data["images"]
            ]
            contents: list[Any] = [data | {"images": of_split}, {"calibration": cameras}, {"annotations": world}]
        else:
            names = [f"InterHand2.6M_{split}_{kind}" for kind in ("data", "camera", "joint_3d")]
            contents = [data, cameras, world]
        for name, content in zip(names, contents, strict=True):
            (folder / f"{name}.json").write_text(json.dumps(content))
    return BothHands(root, joints)


def write_rhd(root: Path, split: str = "training", frames: int = 4) -> NDArray[np.float64]:
    """Write a split; returns the joints (frames, 2, 21, 3) of the left and the right hand, metres.

    The right hand is the prominent one in every other frame; of the other, the wrist and 12 joints are visible.
    """
    joints = hands_in_space(2 * frames, np.random.default_rng(5)).reshape(frames, 2, 21, 3)
    joints[:, 0, :, 0] *= -1
    joints += np.array([[-0.12, 0, 0.2], [0.12, 0, 0.2]])[:, None]
    camera, content = np.array([[280.0, 0, 160], [0, 280, 160], [0, 0, 1]]), {}
    for folder in ("color", "mask"):
        (root / split / folder).mkdir(parents=True, exist_ok=True)
    for frame, hands in enumerate(joints):
        projected = hands @ camera.T
        points = projected[..., :2] / projected[..., 2:]
        cv2.imwrite(str(root / split / "color" / f"{frame:05d}.png"), draw_dots(320, points.reshape(-1, 2)))
        mask = np.ones((320, 320), np.uint8)
        for hand, first in zip(points, (2, 18), strict=True):
            cv2.fillConvexPoly(mask, cv2.convexHull(hand.astype(np.int32)), first + 3)
        cv2.imwrite(str(root / split / "mask" / f"{frame:05d}.png"), mask)
        visible = np.ones((2, 21, 1))
        visible[frame % 2, 13:] = 0
        stored = [convert(hand, "freihand", "rhd") for hand in (*hands, *np.concatenate([points, visible], axis=-1))]
        content[frame] = {
            "xyz": np.concatenate(stored[:2]).astype(np.float32),
            "uv_vis": np.concatenate(stored[2:]).astype(np.float32),
            "K": camera.astype(np.float32),
        }
    (root / split / f"anno_{split}.pickle").write_bytes(pickle.dumps(content, 2))
    return joints

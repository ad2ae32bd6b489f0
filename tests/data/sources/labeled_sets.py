"""Tiny data sets in the official layouts of others, with bright dots drawn at joints."""

import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from peclr.data.sources import dexycb, dexycb_labels
from peclr.geometry.joints import convert
from tests.data.conftest import draw_dots, hands_in_space

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

"""Tiny data sets in the official layouts of others, with bright dots drawn at joints."""

import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

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

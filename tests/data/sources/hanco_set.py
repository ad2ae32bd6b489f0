"""A tiny HanCo in its official layout, with bright dots drawn at joints."""

import itertools
import shutil
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from peclr.geometry.planar import similarity
from tests.data.conftest import draw_dots, hands_in_space
from tests.data.sources.labeled_sets import HEIGHT, WIDTH, K
from tests.json_files import write_json

TRAIN, TEST, LISTED = (0, 2), 4, 5  # sequences; of 1 and 3 there are no images, but 3 is calibrated
VALID, FIT = (True, False, False), (True, True, False)  # frames of each
BACKGROUNDS = {"rgb": (0, 80, 0), "rgb_merged": (60, 0, 0), "rgb_homo": (0, 0, 60)}


def write_hanco(root: Path) -> NDArray[np.float64]:
    """Write sequences of 3 frames in eight views; returns joints (sequences, frames, views, 21, 3), camera frames."""
    sequences = (*TRAIN, TEST)
    frames = len(VALID)
    world = hands_in_space(len(sequences) * frames, np.random.default_rng(5)).reshape(len(sequences), frames, 21, 3)
    middle = np.array([0, 0, 0.6])
    M = np.tile(np.eye(4), (8, 1, 1))  # about the hand, the first is the world
    for view in range(8):
        turn = similarity(angle=view * np.pi / 4)
        M[view, :3, :3] = turn[[0, 2, 1]][:, [0, 2, 1]]
        M[view, :3, 3] = middle - M[view, :3, :3] @ middle
    joints: NDArray[np.float64] = np.einsum("vij,sfpj->sfvpi", M[:, :3, :3], world) + M[:, None, :3, 3]
    cameras = np.tile(K, (8, 1, 1)) + np.arange(8)[:, None, None] * np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0]])
    folders = {number: BACKGROUNDS if number in TRAIN else {"rgb": (40, 40, 60)} for number in sequences}
    for (place, number), frame in itertools.product(enumerate(sequences), range(frames)):
        write_json(root / f"calib/{number:04d}/{frame:08d}.json", {"K": cameras.tolist(), "M": M.tolist()})
        if FIT[frame]:
            write_json(root / f"xyz/{number:04d}/{frame:08d}.json", world[place, frame].tolist())
        for view in range(8):
            projected = joints[place, frame, view] @ cameras[view].T
            points = projected[:, :2] / projected[:, 2:]
            images = {name: draw_dots(WIDTH, points, color, sigma=1.0) for name, color in folders[number].items()}
            images["mask_hand"] = 255 * (draw_dots(WIDTH, points, sigma=3.0) > 60).astype(np.uint8)
            for name, image in images.items():
                path = root / name / f"{number:04d}" / f"cam{view}" / f"{frame:08d}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), image[:HEIGHT, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    shutil.copytree(root / "calib" / "0000", root / "calib" / "0003")
    shutil.copytree(root / "xyz" / "0000", root / "xyz" / "0003")
    meta = {
        "is_train": [[number != TEST] * frames for number in range(LISTED)],
        "subject_id": [[None if number == TEST else number // 2] * frames for number in range(LISTED)],
        "is_valid": [list(VALID)] * LISTED,
        "object_id": [[None] * frames] * LISTED,
        "has_fit": [list(FIT)] * LISTED,
    }
    write_json(root / "meta.json", meta)
    return joints

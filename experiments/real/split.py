"""Real hands made ready for a comparison: divided by person or recording, and turned, in FreiHAND's layout."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from peclr.data.sources.freihand import FreiHAND
from peclr.data.sources.images import write_image
from peclr.data.sources.selection import groups_of, split_source
from peclr.geometry.planar import Matrix, similarity
from peclr.untrusted.text import read_json

_PLAN: Final = "split.json"
_NAMED: Final = ("group", "class")


def write_split(data: Path, out: Path, test: float, turn: float, seed: int = 0) -> tuple[int, int]:
    """Divide hands in FreiHAND's layout into training and evaluation split, groups whole, below a new folder `out`.

    Args:
        data: As of `peclr collect --layout freihand`; its training split has all hands, one image each.
        out: Where it is there already, it is taken as it is.
        test: Fraction of the hands for the evaluation split, or a little less.
        turn: Each hand is turned in its image by a random angle of up to ± so many degrees, camera and labels, too.
        seed: Of the division and of the angles.

    Returns:
        The number of hands to train on, and to evaluate on.

    Raises:
        ValueError: No labels, several images of a hand, no groups to divide by, or `out` holds another division.
    """
    source = FreiHAND(data)
    if len(source) != source.num_hands or not source.has_labels:
        raise ValueError(f"{data}: expected labels of hands of one image each, as of `peclr collect --layout freihand`")
    if groups_of(source) is None:
        raise ValueError(f"{data / 'training_group.json'} is missing: neighbors would be on both sides of the division")
    splits = dict(zip(("training", "evaluation"), split_source(source, test, seed), strict=True))
    plan = {"hands": source.identity(), "test": test, "turn": turn, "seed": seed}
    if out.exists() and read_json(out / _PLAN) != plan:
        raise ValueError(f"{out} holds other hands, or divided otherwise, than {plan}; choose a new --out")
    if not out.exists():
        partial = out.with_name(f"{out.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        for split, hands in splits.items():
            _write(source, sorted(hands), partial, split, turn, seed)
        (partial / _PLAN).write_text(json.dumps(plan))
        partial.rename(out)
    return len(splits["training"]), len(splits["evaluation"])


def _write(source: FreiHAND, hands: Sequence[int], out: Path, split: str, turn: float, seed: int) -> None:
    (out / split / "rgb").mkdir(parents=True)
    labels: dict[str, list[Any]] = {"K": [], "xyz": [], "scale": []}
    for number, hand in enumerate(hands):
        file = out / split / "rgb" / f"{number:08d}.jpg"
        K, joints = source.labels["K"][hand].astype(np.float64), source.labels["xyz"][hand].astype(np.float64)
        if turn:
            image = source[hand]["image"]
            angle = np.deg2rad(np.random.default_rng((seed, hand)).uniform(-turn, turn))
            side, turned = max(image.shape[:2]), about_center(angle, image.shape[1], image.shape[0])
            options: dict[str, Any] = {"borderMode": cv2.BORDER_REPLICATE}
            write_image(file, np.asarray(cv2.warpAffine(image, turned[:2], (side, side), **options), np.uint8))
            K, joints = turn_camera(turned, K), joints @ similarity(angle=angle).T
        else:
            shutil.copyfile(source.image_file(hand), file)
        labels["K"].append(K.tolist())
        labels["xyz"].append(joints.tolist())
        labels["scale"].append(float(source.labels["scale"][hand]))
    for kind in _NAMED:
        if names := source.names_of_hands(kind):
            labels[kind] = [names[hand] for hand in hands]
    for kind, entries in labels.items():
        (out / f"{split}_{kind}.json").write_text(json.dumps(entries))


def about_center(angle: float, width: int, height: int) -> Matrix:
    """Make the matrix (3, 3) that turns an image about its center: pixels of a square, as long as it, ← pixels."""
    middle = similarity(angle=angle)[:2, :2] @ np.array([(width - 1) / 2, (height - 1) / 2])
    x, y = ((max(width, height) - 1) / 2 - middle).tolist()
    return similarity(angle=angle, shift=(x, y))


def turn_camera(turned: Matrix, K: Matrix) -> Matrix:
    """The camera (3, 3) of an image turned by a matrix (3, 3), whose frame turns with it.

    turned @ K = K′ @ roll, where the roll is what joints are turned by; exact for square pixels without skew.
    """
    camera = K.copy()
    camera[:, 2] = turned @ K[:, 2]
    return camera

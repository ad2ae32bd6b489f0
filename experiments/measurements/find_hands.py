"""Measures how well `peclr predict` finds hands without a box, on rendered hands near the middle and anywhere."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from peclr.data.sources.freihand import FreiHAND
from peclr.geometry.planar import move, similarity
from peclr.inference.crop_search import CropSearch
from peclr.inference.network import load_network
from peclr.predict import HandPredictor

Array = NDArray[np.float64]
IMAGE_SIZE = 224
SEARCHES = {
    "published": CropSearch("published"),
    "search": CropSearch(),
    "search, turned ±30°": CropSearch(turn=30),
}


def moved_hand(
    image: NDArray[np.uint8], joints: Array, K: Array, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], Array, Array]:
    """An image in which the hand has 0.3 to 0.95 of the side and is anywhere, with its joints and camera."""
    low, high = joints.min(axis=0), joints.max(axis=0)
    window = (high - low).max() / rng.uniform(0.3, 0.95)
    shift = rng.uniform(-0.9, 0.9, 2) * np.maximum(window - (high - low), 0) / 2
    corner = (low + high) / 2 + shift - window / 2
    scale = IMAGE_SIZE / window
    matrix = similarity(scale, shift=(-scale * corner[0], -scale * corner[1]))
    shown = cv2.warpAffine(image, matrix[:2], (IMAGE_SIZE, IMAGE_SIZE), borderMode=cv2.BORDER_REPLICATE)
    return shown.astype(np.uint8), move(matrix, joints), matrix @ K


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print one row of JSON for each way to look."""
    parser = argparse.ArgumentParser(prog="python -m experiments.measurements.find_hands", description=__doc__)
    parser.add_argument("run", type=Path, help="a fine-tuning run's folder")
    parser.add_argument("--hands", type=Path, required=True, help="rendered hands: their evaluation split is used")
    parser.add_argument("--count", type=int, default=200)
    options = parser.parse_args(arguments)
    trained = load_network(options.run)
    source = FreiHAND(options.hands, "evaluation", crop="image")
    for place in ("near the middle", "anywhere"):
        rng = np.random.default_rng(0)
        errors: dict[str, list[float]] = {name: [] for name in ("true box", *SEARCHES)}
        for index in range(options.count):
            sample = source[index]
            image, joints = sample["image"], np.asarray(sample["joints_2d"], np.float64)
            K = np.asarray(sample["K"], np.float64)
            if place == "anywhere":
                image, joints, K = moved_hand(image, joints, K, rng)
            box = np.concatenate((joints.min(axis=0), joints.max(axis=0)))
            side = (box[2:] - box[:2]).max()
            for name in errors:
                predictor = HandPredictor(trained, SEARCHES.get(name))
                (hand,) = predictor(image, K=K, box=box if name == "true box" else None)
                errors[name].append(float(np.linalg.norm(hand.keypoints_2d - joints, axis=1).mean() / side))
        for name, values in errors.items():
            row = {"hands": place, "look": name, "error_over_side": round(float(np.mean(values)), 3)}
            print(json.dumps({**row, "median": round(float(np.median(values)), 3)}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

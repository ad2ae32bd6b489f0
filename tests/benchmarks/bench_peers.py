"""Pairs of 128 px views per CPU second: ours, lightly's SimCLR, and the steps of the published code.

All read the same 224 px JPEGs, shift, rotate and jitter colors, and end where a batch is made of the views: ours as
bytes, since normalizing is the device's, the others as normalized floats. They take turns on one thread; medians count.
lightly is measured where it is installed (`pip install --no-deps lightly`).
"""

import importlib
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from torchvision.transforms import functional  # type: ignore[import-untyped]

from peclr.data.sources.freihand import FreiHAND
from peclr.models.encoders import IMAGENET_MEAN, IMAGENET_STD
from tests.benchmarks.bench_views import HANDS, augmented, freihand_files, medians, one_thread_each, write_freihand
from tests.benchmarks.run import Row

VIEW, ROUNDS = 128, 2000
_HUE_STEPS = 255  # the published code clips hue there, where OpenCV's ends at 180


def published_view(image: Any, box: Any) -> Any:
    """A view by the published code's steps: turn all of the image, cut, shrink, jitter in HSV, to normalized floats.

    The bookkeeping of joints, in torch, is left out: the published code itself is slower.
    """
    height, width = image.shape[:2]
    left, top, right, bottom = box
    turn = cv2.getRotationMatrix2D(((left + right) / 2, (top + bottom) / 2), random.uniform(-45, 45) // 1, 1.0)
    image = cv2.warpAffine(image, turn, (width, height))
    x, y, side = left + random.randint(0, 15), top + random.randint(0, 15), right - left
    image = cv2.resize(image[y : y + side, x : x + side], (VIEW, VIEW), interpolation=cv2.INTER_AREA)
    hue, saturation, value = cv2.split(cv2.cvtColor(image, cv2.COLOR_BGR2HSV))
    channels = [
        np.clip(hue * random.uniform(0.01, 1.0), 0, _HUE_STEPS),
        np.clip(saturation * random.uniform(0.01, 1.0), 0, 255),
        np.clip(value * random.uniform(0.5, 1.0) + random.uniform(5, 20), 0, 255),
    ]
    image = cv2.cvtColor(cv2.merge(channels).astype(np.uint8), cv2.COLOR_HSV2BGR)
    return functional.normalize(functional.to_tensor(image), IMAGENET_MEAN, IMAGENET_STD)


def lightly_transform() -> Callable[[Any], Any] | None:
    """lightly's two views with rotation and without blur, gray and flips; None where it is not installed."""
    try:
        simclr = importlib.import_module("lightly.transforms.simclr_transform")
    except ImportError as error:
        print(f"lightly skipped: {error}", end="; ", flush=True)
        return None
    transform: Callable[[Any], Any] = simclr.SimCLRTransform(
        input_size=VIEW, cj_prob=1, random_gray_scale=0, gaussian_blur=0, hf_prob=0, rr_prob=1, rr_degrees=45
    )
    return transform


def pairs_per_cpu_second(root: Path) -> dict[str, float]:
    """Medians over rounds."""
    source = FreiHAND(root)
    dataset = augmented(source)
    files = [str(source.image_file(index)) for index in range(HANDS)]
    boxes = [np.clip(source[index]["crop_box"], 0, 223).astype(int) for index in range(HANDS)]

    def published(number: int) -> None:
        image = np.ascontiguousarray(cv2.imread(files[number % HANDS], cv2.IMREAD_COLOR_RGB))
        for _ in range(2):
            published_view(image, boxes[number % HANDS])

    works: dict[str, Callable[[int], object]] = {
        "peclr": lambda number: dataset[number, number % HANDS],
        "published": published,
    }
    if (transform := lightly_transform()) is not None:
        works["lightly"] = lambda number: transform(Image.open(files[number % HANDS]).convert("RGB"))
    return {name: 1 / seconds for name, seconds in medians(works, ROUNDS, time.process_time).items()}


def run() -> list[Row]:
    """Measure all that are there, one thread each."""
    with one_thread_each() as folder:
        write_freihand(folder, HANDS, 1, freihand_files())
        rates = pairs_per_cpu_second(folder)
    return [(f"pairs_{name}", rate, "pairs per CPU second", None) for name, rate in rates.items()]

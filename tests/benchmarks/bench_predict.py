"""How much of the bare network's speed `peclr predict` reaches: files in, JSON and overlays out."""

import statistics
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from peclr.data.sources.inputs import find_inputs, frames_of
from peclr.inference.crop_search import SEARCH_FRACTIONS, CropSearch
from peclr.inference.network import TrainedNetwork
from peclr.models.encoders import ResNetEncoder
from peclr.models.pose_net import PoseNet25D
from peclr.predict.document import Method
from peclr.predict.outputs import OutputFolder
from peclr.predict.predictor import HandPredictor
from tests.benchmarks.run import Row

IMAGES = 24
BATCH_SIZE = 8
VIEW_SIZE = 224
ROUNDS = 3
PASSES = len(SEARCH_FRACTIONS) + len(CropSearch().angles)  # through the network for every image without a box


def write_images(folder: Path, count: int) -> None:
    """JPEG files of 224 px with as much detail as real images have."""
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = rng.integers(0, 256, (56, 56, 3), np.uint8)
        cv2.imwrite(str(folder / f"{number:04d}.jpg"), cv2.resize(coarse, (VIEW_SIZE, VIEW_SIZE)))


def bare_seconds(trained: TrainedNetwork, passes: int) -> float:
    """Time of that many views through the network, batch by batch, already in memory."""
    views = [np.random.default_rng(0).integers(0, 256, (VIEW_SIZE, VIEW_SIZE, 3), np.uint8)] * BATCH_SIZE
    cameras = [np.array([[500.0, 0, 112], [0, 500, 112], [0, 0, 1]])] * BATCH_SIZE
    start = time.perf_counter()
    for _ in range(passes // BATCH_SIZE):
        trained.see(views, cameras)
    return time.perf_counter() - start


def predict_seconds(trained: TrainedNetwork, images: Path, out: Path) -> float:
    """Time of the command's work, without importing PyTorch and loading weights."""
    start = time.perf_counter()
    with OutputFolder(out, Method(trained), overlay=True, sides=False, video=None) as outputs:
        frames = frames_of(find_inputs([str(images)]))
        for frame, scene, hands in HandPredictor(trained, CropSearch()).stream(frames, batch_size=BATCH_SIZE):
            assert not isinstance(scene, ValueError)
            outputs.write(frame, scene, hands)
    return time.perf_counter() - start


def run() -> list[Row]:
    """Measure in turns, as the machine has other work as well; the median of the ratios counts."""
    torch.manual_seed(0)
    network = PoseNet25D(ResNetEncoder("resnet50")).init_for(VIEW_SIZE).eval()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    trained = TrainedNetwork(network, VIEW_SIZE, Path("random"))
    with tempfile.TemporaryDirectory() as temporary:
        images = Path(temporary, "images")
        images.mkdir()
        write_images(images, IMAGES)
        bare_seconds(trained, BATCH_SIZE)  # warm-up
        ratios, rates = [], []
        for number in range(ROUNDS):
            before = bare_seconds(trained, IMAGES)
            taken = predict_seconds(trained, images, Path(temporary, f"out-{number}"))
            after = bare_seconds(trained, IMAGES)
            ratios.append(PASSES * (before + after) / 2 / taken)
            rates.append(IMAGES / taken)
    of_views = f"of ResNet-50's views/s, {PASSES} passes per image, batch {BATCH_SIZE}"
    of_images = f"images of {VIEW_SIZE} px/s, {torch.get_num_threads()} threads"
    return [
        ("predict_over_bare_network", statistics.median(ratios), of_views, "≥ 0.9"),
        ("predict_images_per_s", statistics.median(rates), of_images, None),
    ]

"""Predictions of a network for the evaluation split of a data set in FreiHAND's layout."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from peclr.data.samples import HandSample
from peclr.data.sources.freihand import FreiHAND
from peclr.data.views.geometric import view_from_image, warp
from peclr.evaluate.predictions import Predictions
from peclr.geometry.joints import NUM_JOINTS
from peclr.inference.crop_search import Looking, turned
from peclr.inference.network import TrainedNetwork
from peclr.inference.two_pass import predict_two_pass, run_network

# Where the network looks: as published, at the box of the true keypoints, or at the whole image.
CropRule = Literal["two-pass", "keypoints", "image"]


def predict_split(
    trained: TrainedNetwork,
    source: FreiHAND,
    crop: CropRule,
    batch_size: int,
    progress: bool = True,
    turn: float = 0.0,
) -> Predictions:
    """Predict every hand of a split, in metres by the split's own scales.

    Args:
        trained: the network.
        source: the split; the first picture of each of its hands is looked at.
        crop: "two-pass" as published; "keypoints" takes the reader's boxes, which come from the labels.
        batch_size: hands at a time; predictions do not depend on it.
        progress: show a bar with the rate.
        turn: degrees; the last views are also seen turned by this to either side, and averaged. 0, as published,
            does not.

    Raises:
        ValueError: the crop needs labels, and there are none; the batch size is not positive; or the network
            predicts numbers that are not finite.
    """
    if batch_size < 1:
        raise ValueError(f"batch size must be at least 1, got {batch_size}")
    angles = Looking(turn=turn).angles
    if crop == "keypoints" and not source.has_labels:
        raise ValueError(f"{source.root}: the crop around keypoints needs evaluation_xyz.json, which is not there")
    xyz = np.empty((source.num_hands, NUM_JOINTS, 3))
    with tqdm(total=source.num_hands, unit="hand", disable=not progress) as bar:
        for start in range(0, source.num_hands, batch_size):
            hands = range(start, min(start + batch_size, source.num_hands))
            xyz[hands.start : hands.stop] = _predict_batch(trained, [source[hand] for hand in hands], crop, angles)
            bar.update(len(hands))
    finite = np.isfinite(xyz).all(axis=(1, 2))
    if not finite.all():
        raise ValueError(
            f"{trained.checkpoint}: predicts numbers that are not finite for {(~finite).sum()} hands, the first is "
            f"{int(np.argmin(finite))}; have its weights diverged?"
        )
    return Predictions(xyz)


def _predict_batch(
    trained: TrainedNetwork, samples: list[HandSample], crop: CropRule, angles: Sequence[float]
) -> NDArray[np.float64]:
    """(B, 21, 3), metres, frame of the picture's camera: views without lens keep it, whatever they show."""
    images = [sample["image"] for sample in samples]
    K = np.stack([np.asarray(sample["K"], np.float64) for sample in samples])
    seen = []
    if crop == "two-pass":
        found = predict_two_pass(trained.network, images, K, trained.view_size)
        matrices = list(found.view_from_image.numpy())
        seen.append(found.output["joints_3d"])
    else:
        matrices = [view_from_image(np.eye(3), sample["crop_box"], trained.view_size) for sample in samples]
    for angle in angles[len(seen) :]:  # the first is 0, which the second pass has seen
        turns = [turned(matrix, trained.view_size, angle) for matrix in matrices]
        views = [warp(image, matrix, trained.view_size) for image, matrix in zip(images, turns, strict=True)]
        output = run_network(trained.network, views, [m @ k for m, k in zip(turns, K, strict=True)])
        seen.append(output["joints_3d"])
    scale_m = np.array([sample["scale_m"] for sample in samples], np.float64)
    # the views have the camera's frame in common
    joints_3d: NDArray[np.float64] = torch.stack(seen).double().mean(dim=0).numpy() * scale_m[:, None, None]
    return joints_3d

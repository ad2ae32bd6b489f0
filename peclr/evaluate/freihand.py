"""Predictions of a network for the evaluation split of a data set in FreiHAND's layout."""

from typing import Literal

import numpy as np

from peclr.data.sources.freihand import FreiHAND
from peclr.evaluate.predictions import Predictions
from peclr.inference.crop_search import CropSearch
from peclr.inference.hands import predict_source
from peclr.inference.network import TrainedNetwork

# Where the network looks: as published, at the box of the true keypoints, or at the whole image.
CropRule = Literal["two-pass", "keypoints", "image"]


def predict_split(
    trained: TrainedNetwork,
    source: FreiHAND,
    crop: CropRule,
    batch_size: int,
    *,
    progress: bool = True,
    turn: float = 0.0,
) -> Predictions:
    """Predict every hand of a split, in metres by the split's own scales.

    Args:
        trained: the network.
        source: the split; the first image of each of its hands is looked at.
        crop: "two-pass" as published; "keypoints" takes the reader's boxes, which come from the labels.
        batch_size: views at a time; predictions do not depend on it.
        progress: show a bar with the rate.
        turn: degrees; the last views are also seen turned by this to either side, and averaged. 0, as published,
            does not.

    Raises:
        ValueError: the crop needs labels, and there are none; the batch size is not positive; or the network
            predicts numbers that are not finite.
    """
    if crop == "keypoints" and not source.has_labels:
        raise ValueError(f"{source.root}: the crop around keypoints needs evaluation_xyz.json, which is not there")

    search, boxes = CropSearch("published", turn), crop != "two-pass"
    hands = predict_source(trained, source, batch_size, search, crop_boxes=boxes, progress=progress)
    return Predictions(np.stack([hand.joints_3d for hand in hands]))

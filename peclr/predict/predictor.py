"""The Python API: a trained network that takes images and gives hands."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from peclr.data.sources.images import read_image
from peclr.data.sources.inputs import Frame, Input
from peclr.inference.crop_search import SEARCH, CropSearch
from peclr.inference.hands import HandPrediction, Result, Side, predict_hands
from peclr.inference.network import TrainedNetwork, load_network
from peclr.predict.annotations import Annotations, annotate

_NOTHING = Annotations()


@dataclass(frozen=True)
class HandPredictor:
    """Predict the hands of images.

    predictor = HandPredictor.load("runs/finetune")
    hands = predictor("image.jpg")
    hands[0].keypoints_2d  # (21, 2), pixels of the image
    """

    trained: TrainedNetwork
    search: CropSearch = SEARCH

    @classmethod
    def load(
        cls,
        run: Path | str,
        view_size: int | None = None,
        device: str | torch.device | None = None,
        search: CropSearch = SEARCH,
    ) -> Self:
        """Load a fine-tuning run or a checkpoint; arguments and errors as `load_network`."""
        return cls(load_network(run, view_size, device), search)

    def __call__(
        self,
        image: Path | str | NDArray[np.uint8],
        *,
        hand: Side = "right",
        box: ArrayLike | None = None,
        K: ArrayLike | None = None,
        focal: float | None = None,
        scale_m: float | None = None,
    ) -> tuple[HandPrediction, ...]:
        """Predict the hand of one image: a file, or (H, W, 3) uint8 RGB; what is known about it as `annotate`.

        ValueError if the image cannot be read, or an argument is not possible.
        """
        if isinstance(image, (str, os.PathLike)):
            frame = Frame(Input(str(image), Path(image).name, "image"), partial(read_image, image))
        else:
            frame = Frame(Input("array", "array", "image"), partial(_checked_image, image))
        ((_, scene, hands),) = self.stream([frame], annotate(hand, box, K, focal, scale_m), batch_size=1)
        if isinstance(scene, ValueError):
            raise scene
        return hands

    def stream(
        self, frames: Iterable[Frame], annotations: Annotations = _NOTHING, batch_size: int = 8
    ) -> Iterator[Result[Frame]]:
        """Predict many images, such as `peclr.data.sources.inputs.frames_of` gives, in order, as `predict_hands`.

        A result is the frame, its image with what is known about it, or why it cannot be read, and its hands. By
        default, all that is known is that there is one right hand in each.
        """
        return predict_hands(self.trained, frames, annotations.read, batch_size, self.search)


def _checked_image(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected an RGB image (H, W, 3) of uint8; got {image.dtype} {image.shape}")
    return image

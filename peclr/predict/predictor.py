"""The Python API: a trained network that takes images and gives hands."""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self, TypedDict, Unpack, overload

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image as Pillow
from PIL import ImageOps

from peclr.data.sources.images import read_image
from peclr.data.sources.inputs import Frame, Input, find_inputs, frames_of
from peclr.data.sources.listing import VIDEOS
from peclr.inference.crop_search import CropSearch, Image
from peclr.inference.hands import HandPrediction, Result, Side, predict_hands
from peclr.inference.network import TrainedNetwork, load_network
from peclr.predict.annotations import Annotations, annotate
from peclr.predict.document import SCHEMA, Method, to_document
from peclr.predict.finding import Find, HandFinder, choose_finder
from peclr.predict.outputs import draw_hands
from peclr.untrusted.text import shown
from peclr.weights.catalog import BUILT_IN

_NOTHING = Annotations()
_SCORED = CropSearch(scored=True)

_log = logging.getLogger(__name__)


class Known(TypedDict, total=False):
    """What may be known about images, as `annotate` takes it; `hand` is their side."""

    hand: Side | None
    box: ArrayLike | None
    K: ArrayLike | None
    focal: float | None
    scale_m: float | Path | None


@dataclass(frozen=True, eq=False, repr=False)
class Hands(Sequence[HandPrediction]):
    """The hands of one image, as a sequence; none where `error` says why the image could not be read."""

    hands: tuple[HandPrediction, ...]
    frame: Frame
    document: dict[str, Any]
    error: str | None = None

    def __len__(self) -> int:
        return len(self.hands)

    @overload
    def __getitem__(self, index: int) -> HandPrediction: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[HandPrediction, ...]: ...
    def __getitem__(self, index: int | slice) -> HandPrediction | tuple[HandPrediction, ...]:
        return self.hands[index]

    def __repr__(self) -> str:
        return f"<{self.frame.input.source}: {', '.join(hand.hand for hand in self.hands) or self.error or 'no hand'}>"

    def draw(self) -> Pillow.Image:
        """Draw the hands over their image, enlarged if it is small; `numpy.asarray` makes an array of it."""
        return Pillow.fromarray(draw_hands(self.frame.load(), self.hands))

    def to_dict(self) -> dict[str, Any]:
        """What `peclr predict` writes as JSON of this image."""
        return self.document


@dataclass(frozen=True)
class HandPredictor:
    """Predict the hands of images.

    predictor = HandPredictor.load("runs/finetune")
    hands = predictor("image.jpg")
    hands[0].keypoints_2d  # (21, 2), pixels of the image
    hands.draw().save("hands.png")
    """

    trained: TrainedNetwork
    search: CropSearch = _SCORED
    finder: HandFinder | None = None  # finds all hands; None looks for one in each image, as `search` says

    @classmethod
    def load(
        cls,
        run: Path | str = BUILT_IN,
        view_size: int | None = None,
        device: str | torch.device | None = None,
        search: CropSearch | None = None,
        *,
        find: Find = "auto",
        hand_landmarker: Path | str | None = None,
    ) -> Self:
        """Load a fine-tuning run or a checkpoint; without a name, the network that comes with the package.

        Args:
            run: as `load_network`, as well as its `view_size`, `device` and errors.
            view_size: see there.
            device: see there.
            search: how to look, in place of `find`.
            find: how hands without a box are found, as `choose_finder`.
            hand_landmarker: the detector's task file.
        """
        if search is not None:
            return cls(load_network(run, view_size, device), search)
        finder, finding, _ = choose_finder(find, hand_landmarker)
        return cls(load_network(run, view_size, device), CropSearch(finding, scored=True), finder)

    @overload
    def __call__(self, image: Path | str, **known: Unpack[Known]) -> Any: ...
    @overload
    def __call__(self, image: NDArray[np.uint8] | Pillow.Image, **known: Unpack[Known]) -> Hands: ...
    @overload
    def __call__(self, image: Sequence[Any], **known: Unpack[Known]) -> list[Hands]: ...
    def __call__(self, image: Any, **known: Unpack[Known]) -> Hands | list[Hands]:
        """Predict the `Hands` of an image: a file, a PIL image, or (H, W, 3) uint8 RGB; a list of a list or a folder.

        What is `known` holds for all. ValueError if it is not possible, or an image cannot be read; of several, such a
        one has an `error`, which is logged. A video's hands come frame by frame: `video`.
        """
        annotations = _annotations(known)
        if isinstance(image, (str, os.PathLike)) and Path(image).is_dir():
            found = [one for one in find_inputs([str(image)]) if one.kind == "image"]
            return self._many(frames_of(found), annotations)
        if isinstance(image, Sequence) and not isinstance(image, str):
            return self._many([_frame(one) for one in image], annotations)
        ((frame, scene, hands),) = self.stream([_frame(image)], annotations)
        if isinstance(scene, ValueError):
            raise scene
        return self._hands((frame, scene, hands), annotations)

    def video(self, video: Path | str, **known: Unpack[Known]) -> Iterator[Hands]:
        """Predict the frames of a video, or of "camera:0", one after the other; what is `known` as of an image."""
        annotations = _annotations(known)
        for result in self.stream(frames_of(find_inputs([str(video)])), annotations):
            yield self._hands(result, annotations)

    def _many(self, frames: Iterable[Frame], annotations: Annotations) -> list[Hands]:
        found = []
        for result in self.stream(frames, annotations):
            found.append(self._hands(result, annotations))
            if found[-1].error is not None:
                _log.warning("skipped: %s", found[-1].error)
        return found

    def stream(
        self, frames: Iterable[Frame], annotations: Annotations = _NOTHING, batch_size: int = 8
    ) -> Iterator[Result[Frame]]:
        """Predict many images, such as `peclr.data.sources.inputs.frames_of` gives, in order, as `predict_hands`.

        A result is the frame, its image with what is known about it, or why it cannot be read, and its hands. By
        default, nothing is known.
        """
        read = annotations.read
        if self.finder is not None and not annotations.have_boxes:
            frames, read = self.finder.follow(frames), partial(self.finder.read, known=annotations)
        return predict_hands(self.trained, frames, read, batch_size, self.search)

    def method(self, annotations: Annotations = _NOTHING) -> Method:
        """How hands are predicted of which this is known."""
        if annotations.have_boxes:
            return Method(self.trained, "given", self.search.scored)
        found_by = self.search.find if self.finder is None else "detector"
        return Method(self.trained, found_by, self.search.scored)

    def _hands(self, result: Result[Frame], known: Annotations) -> Hands:
        frame, scene, hands = result
        if isinstance(scene, ValueError):
            content = {"schema": SCHEMA, "source": frame.input.source, "frame": frame.number, "error": str(scene)}
            return Hands((), frame, content, str(scene))
        return Hands(hands, frame, to_document(frame, scene, hands, self.method(known)))


def _annotations(known: Known) -> Annotations:
    values: dict[str, Any] = {**known}
    if unknown := values.keys() - Known.__annotations__.keys():
        raise TypeError(f"unexpected {', '.join(sorted(unknown))}; known may be {', '.join(Known.__annotations__)}")
    return annotate(values.pop("hand", None), **values)


def _frame(image: Any) -> Frame:
    if isinstance(image, (str, os.PathLike)):
        path = Path(image)
        if path.suffix.lower() in VIDEOS:
            raise ValueError(f"{path} is a video: its hands come frame by frame, by the predictor's `video`")
        return Frame(Input(str(path), path.name, "image"), partial(read_image, path))
    if isinstance(image, Pillow.Image):
        upright = ImageOps.exif_transpose(image).convert("RGB")
        return Frame(Input("image", "image", "image"), partial(np.asarray, upright, np.uint8))
    if not isinstance(image, np.ndarray):
        raise ValueError(f"expected a file, a PIL image or an array, got {type(image).__name__} {shown(image)}")
    return Frame(Input("array", "array", "image"), partial(_checked_image, image))


def _checked_image(image: Image) -> Image:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"expected an RGB image (H, W, 3) of uint8; got {image.dtype} {image.shape}")
    return image

"""The hands that online probes look at: decoded and cropped once, kept as bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from peclr.data.samples import HandSample, HandSource
from peclr.data.views.geometric import Border, ViewGeometry, view_from_image, warp
from peclr.data.views.photometric import Photometric, Recolor
from peclr.geometry.joints import WRIST

# Near the ends of the published ranges: rotation ±45°, translation 15 of about 180 px, scale 0.72 to 1.2.
_ROTATION, _TRANSLATION, _SCALES = np.deg2rad(30.0), 15 / 180, (0.8, 1.2)

# What is done to a view to see how its projection moves. Every other hand is moved the other way.
MOVES: Final[dict[str, tuple[ViewGeometry, ViewGeometry]]] = {
    "rotation": (ViewGeometry(angle=_ROTATION), ViewGeometry(angle=-_ROTATION)),
    "translation": (
        ViewGeometry(translation=(_TRANSLATION, _TRANSLATION)),
        ViewGeometry(translation=(-_TRANSLATION, _TRANSLATION)),
    ),
    "scale": (ViewGeometry(scale=_SCALES[0]), ViewGeometry(scale=_SCALES[1])),
}
COLOR: Final = "color"


@dataclass(frozen=True)
class ProbeHands:
    """Hands with labels, as un-augmented views, and the first of them changed in known ways.

    Attributes:
        views: (N, 3, S, S), uint8, RGB.
        joints_2d: (N, 21, 2), pixels of the view.
        joints_3d: (N, 21, 3), metres, relative to the wrist.
        changed: per change, (M, 3, S, S), uint8, M ≤ N: the same hands, moved by one of MOVES, or recolored.
        view_from_crop: per move, (M, 3, 3), normalized.
    """

    views: Tensor
    joints_2d: Tensor
    joints_3d: Tensor
    changed: dict[str, Tensor]
    view_from_crop: dict[str, Tensor]


def read_probe_hands(source: HandSource, num_hands: int, num_moved: int, size: int, border: Border) -> ProbeHands:
    """Read hands, one picture of each, of all versions in turn.

    Args:
        source: of labeled hands, in any order: its first ones are taken.
        num_hands: how many, at most.
        num_moved: how many of them are seen changed, too, at most.
        size: side of a view, px.
        border: what views show beyond the photograph.

    Raises:
        ValueError: a hand has no label.
    """
    count = min(num_hands, source.num_hands)
    samples = [_read(source, hand) for hand in range(count)]
    plain = [_view(sample, ViewGeometry(), size, border) for sample in samples]
    moved = samples[: min(num_moved, count)]
    changed, matrices = {}, {}
    for name, ways in MOVES.items():
        pictures = [_view(sample, ways[number % 2], size, border)[0] for number, sample in enumerate(moved)]
        changed[name] = _stack(pictures)
        # translations are fractions of the crop box: its side does not matter
        geometry = [ways[number % 2].view_from_crop(1.0) for number in range(len(moved))]
        matrices[name] = torch.tensor(np.stack(geometry), dtype=torch.float32)
    recolor, stream = Recolor(Photometric()), np.random.default_rng(0)
    changed[COLOR] = _stack([recolor(picture, stream) for picture, _ in plain[: len(moved)]])
    joints_3d = torch.tensor(np.array([sample["joints_3d"] for sample in samples]))
    return ProbeHands(
        _stack([picture for picture, _ in plain]),
        torch.tensor(np.stack([joints for _, joints in plain]), dtype=torch.float32),
        joints_3d - joints_3d[:, WRIST, None],
        changed,
        matrices,
    )


def _read(source: HandSource, hand: int) -> HandSample:
    versions = source.versions_of(hand)
    sample = source[versions[hand % len(versions)]]
    if sample["joints_2d"] is None or sample["joints_3d"] is None:
        raise ValueError(
            f"{source.name}, {sample['id']}: a probe needs labels, and there are none; give OnlineProbe a root"
        )
    return sample


def _view(
    sample: HandSample, geometry: ViewGeometry, size: int, border: Border
) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.uint8]], np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    """A view (S, S, 3) and its joints (21, 2), px."""
    box = sample["crop_box"]
    matrix = view_from_image(geometry.view_from_crop(float(box[2] - box[0])), box, size)
    assert sample["joints_2d"] is not None  # `_read` has looked
    return warp(sample["image"], matrix, size, border), sample["joints_2d"] @ matrix[:2, :2].T + matrix[:2, 2]


def _stack(pictures: Sequence[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2)))

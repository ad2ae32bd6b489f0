"""What a prediction says, as dataclasses and as versioned JSON."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from peclr.data.sources.images import is_utf8
from peclr.geometry.joints import JOINT_NAMES, NUM_JOINTS, SCALE_BONE, WRIST
from peclr.geometry.planar import Matrix
from peclr.inference.hands import CameraOrigin, HandPrediction

# Readers refuse another number; it grows when a key changes its meaning or goes away.
SCHEMA: Final = "peclr.prediction/1"

_PIXEL_DIGITS, _DEPTH_DIGITS = 3, 6  # thousandths of a pixel, micrometres


@dataclass(frozen=True)
class FramePrediction:
    """Every hand of one image.

    Attributes:
        source: the file, or the camera.
        size: width and height of the upright image, pixels.
        frame: number of the frame, from 0; None of a still image.
        time_s: its time, seconds from the beginning; None of a still image.
        K: (3, 3), pixels, of the camera with which the hands were predicted.
        camera_origin: "given", or the focal length was given, or neither: then it is the default.
        hands: in the order in which their boxes were given.
    """

    source: str
    size: tuple[int, int]
    frame: int | None
    time_s: float | None
    K: Matrix
    camera_origin: CameraOrigin
    hands: tuple[HandPrediction, ...]


def to_json(prediction: FramePrediction, checkpoint: Path | str, view_size: int) -> dict[str, Any]:
    """A prediction as JSON's types, with the network's checkpoint and the side of its views, pixels."""
    width, height = prediction.size
    return {
        "schema": SCHEMA,
        "source": prediction.source,
        "frame": prediction.frame,
        "time_s": None if prediction.time_s is None else round(prediction.time_s, 6),
        "image": {"width": width, "height": height},
        "network": {"checkpoint": str(checkpoint), "view_size": view_size},
        "joints": {"order": "freihand", "names": list(JOINT_NAMES), "root": JOINT_NAMES[WRIST]},
        "frames": {
            "2d": "pixels of the upright image; the center of its first pixel is (0, 0), y points down",
            "3d": "camera: x right, y down, z forward; in unit_3d",
        },
        "camera": {"K": prediction.K.tolist(), "origin": prediction.camera_origin},
        "hands": [_hand_to_json(hand) for hand in prediction.hands],
    }


def to_text(prediction: FramePrediction, checkpoint: Path | str, view_size: int) -> str:
    """`to_json` in one line of JSON, readable where UTF-8 has the names of files; other names are escaped."""
    content = to_json(prediction, checkpoint, view_size)
    return json.dumps(content, ensure_ascii=not (is_utf8(prediction.source) and is_utf8(checkpoint)))


def from_json(content: dict[str, Any], where: str = "prediction") -> FramePrediction:
    """Read `to_json` back; a ValueError begins with `where`, a file for example, if a key is missing or wrong."""
    if content.get("schema") != SCHEMA:
        raise ValueError(f"{where}: schema is {content.get('schema')!r}; expected {SCHEMA!r}")
    try:
        return FramePrediction(
            source=content["source"],
            size=(int(content["image"]["width"]), int(content["image"]["height"])),
            frame=content["frame"],
            time_s=content["time_s"],
            K=_array(content["camera"]["K"], 3, 3),
            camera_origin=content["camera"]["origin"],
            hands=tuple(_hand_from_json(hand) for hand in content["hands"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{where}: not a {SCHEMA}: {error!r}") from error


def _hand_to_json(hand: HandPrediction) -> dict[str, Any]:
    return {
        "hand": hand.hand,
        "box": _rounded(hand.box, _PIXEL_DIGITS),
        "box_origin": hand.box_origin,
        "scale": {"bone": [JOINT_NAMES[joint] for joint in SCALE_BONE], "metres": hand.scale_m},
        "unit_3d": hand.unit_3d,
        "keypoints_2d": _rounded(hand.keypoints_2d, _PIXEL_DIGITS),
        "joints_3d_camera": _rounded(hand.joints_3d, _DEPTH_DIGITS),
        "joints_3d_root_relative": _rounded(hand.joints_3d_relative, _DEPTH_DIGITS),
    }


def _hand_from_json(content: dict[str, Any]) -> HandPrediction:
    return HandPrediction(
        hand=content["hand"],
        box=_array(content["box"], 4),
        box_origin=content["box_origin"],
        keypoints_2d=_array(content["keypoints_2d"], NUM_JOINTS, 2),
        joints_3d=_array(content["joints_3d_camera"], NUM_JOINTS, 3),
        scale_m=content["scale"]["metres"],
    )


def _rounded(values: NDArray[np.float64], digits: int) -> list[Any]:
    rounded: list[Any] = np.round(values, digits).tolist()
    return rounded


def _array(values: ArrayLike, *shape: int) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64)
    if array.shape != shape:
        raise ValueError(f"expected shape {shape}, got {array.shape}")
    return array

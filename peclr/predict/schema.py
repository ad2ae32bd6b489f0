"""What a prediction says, as versioned JSON."""

import json
from typing import Any, Final

from peclr.data.sources.images import is_utf8
from peclr.geometry.joints import JOINT_NAMES, SCALE_BONE, WRIST
from peclr.inference.hands import HandPrediction, Scene
from peclr.inference.network import TrainedNetwork
from peclr.predict.inputs import Frame

SCHEMA: Final = "peclr.prediction/1"  # the number grows when a key changes its meaning or goes away

_PIXEL_DIGITS, _DEPTH_DIGITS = 3, 6  # thousandths of a pixel, micrometres


def to_text(frame: Frame, scene: Scene, hands: tuple[HandPrediction, ...], trained: TrainedNetwork) -> str:
    """Every hand of an image, in the order in which they were asked for, as one line of JSON.

    It is readable where UTF-8 has the names of files; others are escaped.
    """
    width, height = scene.size
    content = {
        "schema": SCHEMA,
        "source": frame.input.source,
        "frame": frame.number,
        "time_s": None if frame.time_s is None else round(frame.time_s, 6),
        "image": {"width": width, "height": height},
        "network": {"checkpoint": str(trained.checkpoint), "view_size": trained.view_size},
        "joints": {"order": "freihand", "names": list(JOINT_NAMES), "root": JOINT_NAMES[WRIST]},
        "frames": {
            "2d": "pixels of the upright image; the center of its first pixel is (0, 0), y points down",
            "3d": "camera: x right, y down, z forward; in unit_3d",
        },
        "camera": {"K": scene.camera.tolist(), "origin": scene.camera_origin},
        "hands": [_hand_to_json(hand) for hand in hands],
    }
    ascii_only = not (is_utf8(frame.input.source) and is_utf8(trained.checkpoint))
    return json.dumps(content, ensure_ascii=ascii_only) + "\n"


def _hand_to_json(hand: HandPrediction) -> dict[str, Any]:
    return {
        "hand": hand.hand,
        "box": hand.box.round(_PIXEL_DIGITS).tolist(),
        "box_origin": hand.box_origin,
        "scale": {"bone": [JOINT_NAMES[joint] for joint in SCALE_BONE], "metres": hand.scale_m},
        "unit_3d": hand.unit_3d,
        "keypoints_2d": hand.keypoints_2d.round(_PIXEL_DIGITS).tolist(),
        "joints_3d_camera": hand.joints_3d.round(_DEPTH_DIGITS).tolist(),
        "joints_3d_root_relative": hand.joints_3d_relative.round(_DEPTH_DIGITS).tolist(),
    }

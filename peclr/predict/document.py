"""What a prediction says as JSON: the hands of an image, how they were found, and what the numbers are."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from peclr.data.sources.images import is_utf8
from peclr.data.sources.inputs import Frame
from peclr.geometry.joints import JOINT_NAMES, SCALE_BONE, WRIST
from peclr.inference.hands import HandPrediction, Scene
from peclr.inference.network import TrainedNetwork
from peclr.predict.finding import FoundBy

SCHEMA: Final = "peclr.prediction/1"  # the number grows when a key changes its meaning or goes away
PIXEL_DIGITS, DEPTH_DIGITS, SCORE_DIGITS = 3, 6, 4  # thousandths of a pixel, micrometres


@dataclass(frozen=True)
class Method:
    """How hands were predicted, as far as a prediction says it."""

    trained: TrainedNetwork
    found_by: FoundBy = "search"
    scored: bool = False

    @property
    def score_kind(self) -> dict[str, str | None]:
        """What scores are: the detector's, or how little joints spread over turned and shifted views."""
        joints = "spread" if self.scored else None
        return {"hand": "detector" if self.found_by == "detector" else joints, "joints": joints}


def to_document(frame: Frame, scene: Scene, hands: Iterable[HandPrediction], method: Method) -> dict[str, Any]:
    """Every hand of an image, in the order in which they were asked for or found, as JSON has it; all in one camera."""
    width, height = scene.size
    return {
        "schema": SCHEMA,
        "source": frame.input.source,
        "file": frame.input.file,
        "frame": frame.number,
        "time_s": None if frame.time_s is None else round(frame.time_s, 6),
        "image": {"width": width, "height": height},
        "network": {"checkpoint": str(method.trained.checkpoint), "view_size": method.trained.view_size},
        "joints": {"order": "freihand", "names": list(JOINT_NAMES), "root": JOINT_NAMES[WRIST]},
        "frames": {
            "2d": "pixels of the upright image; the center of its first pixel is (0, 0), y points down",
            "3d": "camera: x right, y down, z forward; in unit_3d",
        },
        "camera": {"K": scene.camera.tolist(), "origin": scene.camera_origin},
        "found_by": method.found_by,
        "score_kind": method.score_kind,
        "hands": [_hand(hand) for hand in hands],
    }


def to_line(document: dict[str, Any]) -> str:
    """A document as one line of JSON, readable where UTF-8 has the names of files; others are escaped."""
    names = document["source"], document["network"]["checkpoint"]
    ascii_only = not all(map(is_utf8, names))
    return json.dumps(document, ensure_ascii=ascii_only, allow_nan=False) + "\n"


def _hand(hand: HandPrediction) -> dict[str, Any]:
    joint_scores = hand.joint_scores
    return {
        "hand": hand.hand,
        "hand_origin": hand.hand_origin,
        "track": hand.track,
        "score": None if hand.score is None else round(hand.score, SCORE_DIGITS),
        "box": hand.box.round(PIXEL_DIGITS).tolist(),
        "box_origin": hand.box_origin,
        "scale": {"bone": [JOINT_NAMES[joint] for joint in SCALE_BONE], "metres": hand.scale_m},
        "unit_3d": hand.unit_3d,
        "keypoints_2d": hand.keypoints_2d.round(PIXEL_DIGITS).tolist(),
        "joint_scores": None if joint_scores is None else joint_scores.round(SCORE_DIGITS).tolist(),
        "joints_3d_camera": hand.joints_3d.round(DEPTH_DIGITS).tolist(),
        "joints_3d_root_relative": hand.joints_3d_relative.round(DEPTH_DIGITS).tolist(),
    }

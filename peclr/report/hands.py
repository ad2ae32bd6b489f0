"""Hands to look at: overlays for the gallery, and skeletons in 3-D that can be turned."""

import base64
from html import escape
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from peclr.drawing import tiles
from peclr.geometry.joints import FINGER_COLORS, FINGERS, JOINT_NAMES, PARTS, WRIST
from peclr.report.evaluations import ShownHand

_JPEG_QUALITY: Final = 82
_LABEL_COLOR: Final = "#D8DEE6"
_CHAINS: Final = {finger: [WRIST, *(JOINT_NAMES.index(f"{finger}_{part}") for part in PARTS)] for finger in FINGERS}
# of hands in 3-D, which the camera sees as the image's did; another hand is seen from where the last one was
STAGE: Final[dict[str, Any]] = {
    "height": 560,
    "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
    "font": {"size": 14},
    "legend": {"orientation": "h", "x": 0.01, "y": 1},
    "uirevision": "same",
    "scene": {
        **{
            f"{axis}axis": {"title": {"text": f"{way}, mm"}}
            for axis, way in zip("xyz", ("right", "away", "up"), strict=True)
        },
        "domain": {"y": [0, 0.91]},  # below the legend, which has two rows on a telephone
        "aspectmode": "data",
        "dragmode": "orbit",
        "camera": {"eye": {"x": 0.48, "y": -2.1, "z": 0.5}, "center": {"x": 0, "y": 0, "z": -0.16}},
    },
}


def overlays(hand: ShownHand) -> tuple[str, str]:
    """The image around the hand with the prediction, and with the label, as data URIs of JPEGs."""
    predicted, label = map(_jpeg, tiles.overlays(hand.image, hand.K, hand.predicted, hand.label))
    return predicted, label


def traces_3d(hand: ShownHand) -> list[dict[str, Any]]:
    """Plotly's traces of a label, in light gray, and of its prediction, in the colors of the fingers.

    Both wrists are at the origin; axes are mm: x to the camera's right, y away from it, z up.
    """
    everything = [joint for chain in _CHAINS.values() for joint in [*chain, None]]
    label = _trace(hand.label, everything, "label", _LABEL_COLOR, 3)
    fingers = [
        _trace(hand.predicted, chain, finger, f"rgb{FINGER_COLORS[finger]}", 8) for finger, chain in _CHAINS.items()
    ]
    return [label, *fingers]


def caption(hand: ShownHand) -> str:
    """Which hand it is, and its errors; HTML."""
    return f"{escape(hand.id)}<br>PA-EPE&nbsp;{hand.pa_epe_mm:.1f}&nbsp;mm, EPE&nbsp;{hand.epe_mm:.1f}&nbsp;mm"


def _trace(joints: NDArray[np.float64], chain: list[Any], name: str, color: str, width: int) -> dict[str, Any]:
    """Bones along a chain of joints, where None is a gap; `joints` are (21, 3), metres, camera frame."""
    x, y, z = (1000 * (joints - joints[WRIST])).round(1).T.tolist()
    whose = "label" if name == "label" else "predicted"
    axes = {"x": x, "y": z, "z": [-value for value in y]}
    return {
        "type": "scatter3d",
        "name": name,
        "mode": "lines+markers",
        **{axis: [None if joint is None else values[joint] for joint in chain] for axis, values in axes.items()},
        "text": ["" if joint is None else JOINT_NAMES[joint].replace("_", " ") for joint in chain],
        "hovertemplate": f"%{{text}}: %{{x:.0f}}, %{{y:.0f}}, %{{z:.0f}} mm<extra>{whose}</extra>",
        "line": {"color": color, "width": width},
        "marker": {"color": color, "size": 2 + width / 3},
    }


def _jpeg(image: tiles.Image) -> str:
    _, coded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(coded.tobytes()).decode("ascii")

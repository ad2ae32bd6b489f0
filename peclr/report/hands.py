"""Hands to look at: overlays for the gallery, and skeletons in 3-D that can be turned."""

import base64
from html import escape
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from peclr.drawing.skeleton import draw_skeleton
from peclr.geometry.joints import FINGER_COLORS, FINGERS, JOINT_NAMES, PARTS, WRIST
from peclr.report.evaluations import ShownHand

Image = NDArray[np.uint8]

_SIDE: Final = 288  # px of an overlay
_JPEG_QUALITY: Final = 82
_MARGIN: Final = 1.9  # side of what is shown over the hand's extent
_MM_PER_M: Final = 1000.0
_LABEL_COLOUR: Final = "#D8DEE6"
# Dark, because yellow and sky blue vanish on paper; the same on light and dark pages.
STAGE: Final = {"background": "#20252B", "grid": "#444C56", "ink": "#D8DEE6"}


def overlays(hand: ShownHand) -> tuple[str, str]:
    """The photograph around the hand with the prediction, and with the label, as data URIs of JPEGs."""
    picture, picture_from_image = _around(hand.image, _project(hand.label, hand.K))
    sides = []
    for joints in (hand.predicted, hand.label):
        points = _project(joints, hand.K) @ picture_from_image[:, :2].T + picture_from_image[:, 2]
        sides.append(_jpeg(draw_skeleton(picture, points)))
    return sides[0], sides[1]


def traces_3d(hand: ShownHand) -> list[dict[str, Any]]:
    """Plotly's traces of a prediction, in the colours of the fingers, and of its label, in light grey.

    Both wrists are at the origin; axes are mm: x to the camera's right, y away from it, z up.
    """
    predicted, label = (_turned(joints) for joints in (hand.predicted, hand.label))
    traces = []
    for finger in FINGERS:
        chain = [WRIST, *(JOINT_NAMES.index(f"{finger}_{part}") for part in PARTS)]
        names = [JOINT_NAMES[joint].replace("_", " ") for joint in chain]
        colour = f"rgb{FINGER_COLORS[finger]}"
        traces.append(
            _chain(label[chain], names, "label", _LABEL_COLOUR, 3)
            | {"name": "label", "legendgroup": "label", "showlegend": finger == FINGERS[0]}
        )
        traces.append(_chain(predicted[chain], names, "predicted", colour, 8) | {"name": finger})
    return traces


def stage(height: int = 560) -> dict[str, Any]:
    """The layout in which `traces_3d` are drawn; the camera sees them as the photograph's did."""
    axis = {
        "color": STAGE["ink"],
        "gridcolor": STAGE["grid"],
        "zerolinecolor": STAGE["grid"],
        "showbackground": False,
        "tickfont": {"size": 12},
    }
    titles = {"xaxis": "right, mm", "yaxis": "away, mm", "zaxis": "up, mm"}
    return {
        "height": height,
        "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
        "paper_bgcolor": STAGE["background"],
        "font": {"color": STAGE["ink"], "size": 14},
        "legend": {"orientation": "h", "x": 0.01, "y": 1, "bgcolor": "rgba(0,0,0,0)", "font": {"size": 14}},
        "uirevision": "same",  # another hand is seen from where the last one was
        "scene": {
            **{name: axis | {"title": {"text": title, "font": {"size": 14}}} for name, title in titles.items()},
            "domain": {"y": [0, 0.91]},  # below the legend, which has two rows on a telephone
            "aspectmode": "data",
            "dragmode": "orbit",
            "camera": {"eye": {"x": 0.48, "y": -2.1, "z": 0.5}, "center": {"x": 0, "y": 0, "z": -0.16}},
        },
    }


def caption(hand: ShownHand) -> str:
    """Which hand it is, and its errors; HTML."""
    return f"{escape(hand.id)}<br>PA-EPE&nbsp;{hand.pa_epe_mm:.1f}&nbsp;mm, EPE&nbsp;{hand.epe_mm:.1f}&nbsp;mm"


def _turned(joints: NDArray[np.float64]) -> NDArray[np.float64]:
    """(21, 3) metres, camera frame, to mm from the wrist: right, away, up."""
    x, y, z = (_MM_PER_M * (joints - joints[WRIST])).T
    return np.stack((x, z, -y), axis=1)


def _chain(points: NDArray[np.float64], names: list[str], whose: str, colour: str, width: int) -> dict[str, Any]:
    x, y, z = points.round(1).T.tolist()
    return {
        "type": "scatter3d",
        "mode": "lines+markers",
        "x": x,
        "y": y,
        "z": z,
        "text": names,
        "hovertemplate": "%{text}: %{x:.0f}, %{y:.0f}, %{z:.0f} mm<extra>" + whose + "</extra>",
        "line": {"color": colour, "width": width},
        "marker": {"color": colour, "size": 2 + width / 3},
    }


def _project(joints: NDArray[np.float64], K: NDArray[np.float64]) -> NDArray[np.float64]:
    """(21, 3) metres to (21, 2) pixels; joints that are not in front of the camera become NaN, which is not drawn."""
    depth = np.where(joints[:, 2:] > 0, joints[:, 2:], np.nan)
    points: NDArray[np.float64] = (joints / depth @ K.T)[:, :2]
    return points


def _around(image: Image, points: NDArray[np.float64]) -> tuple[Image, NDArray[np.float64]]:
    """A square picture (_SIDE, _SIDE, 3) of what is around some points, and its (2, 3) `picture_from_image`."""
    low, high = points.min(axis=0), points.max(axis=0)
    side = min(_MARGIN * float((high - low).max()), float(max(image.shape[:2])))
    zoom = _SIDE / side
    corner = (low + high) / 2 - side / 2
    height, width = image.shape[:2]
    # inside the picture where that is possible
    corner = np.minimum(np.maximum(corner, 0), np.maximum(np.array([width, height]) - side, 0))
    matrix = np.array([[zoom, 0, -zoom * corner[0]], [0, zoom, -zoom * corner[1]]])
    matrix[:, 2] += (zoom - 1) / 2  # pixel centres are integers
    quality = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    return cv2.warpAffine(image, matrix, (_SIDE, _SIDE), flags=quality).astype(np.uint8, copy=False), matrix


def _jpeg(image: Image) -> str:
    done, coded = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    )
    if not done:
        raise RuntimeError("OpenCV could not write a JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(coded.tobytes()).decode("ascii")

"""The best and the worst hands of an evaluation: overlays for the gallery, and skeletons in 3-D that can be turned."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import plotly.graph_objects as go  # type: ignore[import-untyped]  # plotly ships no types
import torch
from numpy.typing import NDArray

from peclr.data.sources.freihand import FreiHAND
from peclr.drawing import tiles
from peclr.evaluate.predictions import PREDICTIONS_NAME, read_labels, read_predictions
from peclr.geometry.joints import FINGER_COLORS, FINGERS, JOINT_NAMES, NUM_JOINTS, PARTS, WRIST
from peclr.metrics.pose import aligned_errors
from peclr.report.runs import Evaluation

Array = NDArray[np.float64]

_JPEG_QUALITY: Final = 82
_WAYS: Final = {"x": "right", "y": "away", "z": "up"}
_LABEL_COLOR: Final = "#D8DEE6"
_CHAINS: Final = {finger: [WRIST, *(JOINT_NAMES.index(f"{finger}_{part}") for part in PARTS)] for finger in FINGERS}


@dataclass(frozen=True)
class ShownHand:
    """One evaluated hand, drawn."""

    id: str  # of the image, as its data set calls it
    rank: str  # "best" or "worst"
    errors: str  # for people
    predicted: str  # the image around the hand with the prediction, as a data URI of a JPEG
    label: str  # the same with the label
    figure: go.Figure  # both in 3-D


def shown_hands(evaluation: Evaluation, root: Path, count: int) -> list[ShownHand]:
    """Draw the best hands of an evaluation, best first, then the worst, worst first, by PA-EPE.

    `count` of each, if there are so many hands, of the data set in `root`. Where the evaluation says that the data set
    is, nobody looks: evaluations are received, too, and might name images that are not for those who get the page.
    """
    if not (root / "evaluation" / "rgb").is_dir():
        raise FileNotFoundError(f"--data {root}: {root / 'evaluation' / 'rgb'} is not there")
    path = evaluation.folder / PREDICTIONS_NAME
    predicted, labels = read_predictions(path).xyz, read_labels(root / "evaluation_xyz.json", NUM_JOINTS)
    if len(predicted) != len(labels):
        raise ValueError(f"{path} has {len(predicted)} hands, but {root} has {len(labels)}")
    aligned_mm = aligned_errors(torch.from_numpy(predicted), torch.from_numpy(labels))[1].mean(dim=-1).numpy()
    relative_mm = np.linalg.norm(_from_wrist_mm(predicted - labels), axis=-1).mean(axis=-1)
    order = np.argsort(aligned_mm, kind="stable").tolist()
    count = min(count, len(order) // 2)
    source = FreiHAND(root, "evaluation", crop="image")
    shown = []
    for place, hand in enumerate(order[:count] + order[: -count - 1 : -1]):
        sample = source[hand]
        joints = predicted[hand], labels[hand]
        images = tiles.overlays(sample["image"], np.asarray(sample["K"], np.float64), *joints)
        errors = f"PA-EPE {aligned_mm[hand]:.1f} mm, root-relative EPE {relative_mm[hand]:.1f} mm"
        rank = "best" if place < count else "worst"
        figure = _figure_3d(*map(_from_wrist_mm, joints))
        shown.append(ShownHand(sample["id"], rank, errors, _jpeg(images[0]), _jpeg(images[1]), figure))
    return shown


def _from_wrist_mm(joints: Array) -> Array:
    return 1000 * (joints - joints[..., [WRIST], :])


def _jpeg(image: tiles.Image) -> str:
    _, coded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(coded.tobytes()).decode("ascii")


def _figure_3d(predicted: Array, label: Array) -> go.Figure:
    """A label in light gray and its prediction in the colors of the fingers, as the camera saw them, to be turned.

    Both (21, 3), mm from the wrist, camera frame; axes are x to the camera's right, y away from it, z up.
    """
    everything = [joint for chain in _CHAINS.values() for joint in [*chain, None]]
    traces = [_trace(label, everything, "label", _LABEL_COLOR, 3)]
    traces += [_trace(predicted, _CHAINS[name], name, f"rgb{FINGER_COLORS[name]}", 8) for name in FINGERS]
    layout = {
        "template": "plotly_dark",  # yellow and sky blue vanish on paper
        "height": 560,
        "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
        "font": {"size": 14},
        "legend": {"orientation": "h", "x": 0.01, "y": 1},
        "uirevision": "same",  # another hand is seen from where the last one was
        "scene": {
            **{f"{axis}axis": {"title": {"text": f"{way}, mm"}} for axis, way in _WAYS.items()},
            "domain": {"y": [0, 0.91]},  # below the legend, which has two rows on a telephone
            "aspectmode": "data",
            "dragmode": "orbit",
            "camera": {"eye": {"x": 0.48, "y": -2.1, "z": 0.5}, "center": {"x": 0, "y": 0, "z": -0.16}},
        },
    }
    return go.Figure(traces, layout)


def _trace(joints: Array, chain: list[Any], name: str, color: str, width: int) -> go.Scatter3d:
    """Bones along a chain of joints, where None is a gap; `joints` are (21, 3), mm, camera frame."""
    x, y, z = joints.round(1).T.tolist()
    axes = {"x": x, "y": z, "z": [-value for value in y]}
    whose = "label" if name == "label" else "predicted"
    return go.Scatter3d(
        name=name,
        mode="lines+markers",
        **{axis: [None if joint is None else values[joint] for joint in chain] for axis, values in axes.items()},
        text=["" if joint is None else JOINT_NAMES[joint].replace("_", " ") for joint in chain],
        hovertemplate=f"%{{text}}: %{{x:.0f}}, %{{y:.0f}}, %{{z:.0f}} mm<extra>{whose}</extra>",
        line={"color": color, "width": width},
        marker={"color": color, "size": 2 + width / 3},
    )

"""The JSON of a prediction: what a reader may rely on."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from peclr.data.sources.inputs import Frame, Input
from peclr.geometry.joints import JOINT_NAMES
from peclr.inference.hands import BoxOrigin, HandPrediction, Scene, Side
from peclr.inference.network import TrainedNetwork
from peclr.predict.document import SCHEMA, Method, to_document, to_line

IMAGE = np.zeros((480, 640, 3), np.uint8)
K = np.array([[500.1234567891, 0, 100], [0, 510, 90], [0, 0, 1]])


def hand(side: Side, origin: BoxOrigin, scale_m: float | None) -> HandPrediction:
    rng = np.random.default_rng(0)
    joints_2d, joints_3d = rng.normal(size=(21, 2)), rng.normal(size=(21, 3))
    return HandPrediction(side, np.array([1.0, 2, 30, 40]), origin, joints_2d, joints_3d, scale_m)


def document(trained: TrainedNetwork, scale_m: float | None = 0.031, number: int | None = 4) -> dict[str, Any]:
    time_s = None if number is None else 0.1333
    frame = Frame(Input("ü/a.mp4", "a.mp4", "video"), lambda: IMAGE, number, time_s)
    hands = (hand("right", "given", scale_m), hand("left", "two_pass", scale_m))
    read: dict[str, Any] = json.loads(to_line(to_document(frame, Scene(IMAGE, K=K), hands, Method(trained))))
    return read


@pytest.mark.parametrize(("scale_m", "unit"), [(0.031, "m"), (None, "bone")])
@pytest.mark.parametrize("number", [4, None])
def test_it_holds_the_prediction(trained: TrainedNetwork, scale_m: float | None, unit: str, number: int | None) -> None:
    back = document(trained, scale_m, number)
    assert (back["source"], back["image"]) == ("ü/a.mp4", {"width": 640, "height": 480})
    assert (back["frame"], back["time_s"]) == (number, None if number is None else 0.1333)
    assert back["camera"] == {"K": K.tolist(), "origin": "given"}
    assert [(one["hand"], one["box_origin"]) for one in back["hands"]] == [("right", "given"), ("left", "two_pass")]
    original = hand("right", "given", scale_m)
    for one in back["hands"]:
        assert (one["box"], one["unit_3d"]) == ([1, 2, 30, 40], unit)
        assert one["scale"] == {"bone": ["middle_mcp", "middle_pip"], "metres": scale_m}
        np.testing.assert_allclose(one["keypoints_2d"], original.keypoints_2d, atol=5.001e-4)
        np.testing.assert_allclose(one["joints_3d_camera"], original.joints_3d, atol=5.001e-7)
        relative = original.joints_3d - original.joints_3d[0]
        np.testing.assert_allclose(one["joints_3d_root_relative"], relative, atol=5.001e-7)


def test_it_says_what_the_numbers_are(trained: TrainedNetwork) -> None:
    content = document(trained)
    assert content["schema"] == SCHEMA == "peclr.prediction/1"
    assert content["joints"] == {"order": "freihand", "names": list(JOINT_NAMES), "root": "wrist"}
    assert content["network"] == {"checkpoint": str(Path("net.ckpt")), "view_size": 32}


def test_its_keys_stay(trained: TrainedNetwork) -> None:
    content = document(trained)
    assert list(content) == [
        *("schema", "source", "file", "frame", "time_s", "image", "network", "joints", "frames", "camera"),
        *("found_by", "score_kind", "hands"),
    ]
    for one in content["hands"]:
        assert list(one) == [
            *("hand", "hand_origin", "track", "score", "box", "box_origin", "scale", "unit_3d"),
            *("keypoints_2d", "joint_scores", "joints_3d_camera", "joints_3d_root_relative"),
        ]
        assert (one["track"], one["score"], one["joint_scores"]) == (None, None, None)
    assert content["score_kind"] == {"hand": None, "joints": None}


def test_scores_are_numbers_that_json_has(trained: TrainedNetwork) -> None:
    frame = Frame(Input("a.jpg", "a.jpg", "image"), lambda: IMAGE)
    scored = replace(hand("right", "search", None), score=0.876543, joint_scores=np.linspace(0, 1, 21), track=3)
    content = json.loads(to_line(to_document(frame, Scene(IMAGE), [scored], Method(trained, "search", scored=True))))
    (one,) = content["hands"]
    assert (one["score"], one["track"], one["joint_scores"][1]) == (0.8765, 3, 0.05)
    assert content["score_kind"] == {"hand": "spread", "joints": "spread"}
    broken = replace(scored, score=float("nan"))
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_line(to_document(frame, Scene(IMAGE), [broken], Method(trained)))

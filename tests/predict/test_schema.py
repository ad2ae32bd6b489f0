"""The JSON of a prediction: there and back, and what a reader may rely on."""

import json
from typing import Any

import numpy as np
import pytest

from peclr.geometry.joints import JOINT_NAMES
from peclr.inference.hands import BoxOrigin, HandPrediction, Side
from peclr.predict.schema import SCHEMA, FramePrediction, from_json, to_json

K = np.array([[500.1234567891, 0, 100], [0, 510, 90], [0, 0, 1]])


def prediction(scale_m: float | None = 0.031, frame: int | None = 4) -> FramePrediction:
    rng = np.random.default_rng(0)

    def hand(side: Side, origin: BoxOrigin) -> HandPrediction:
        joints_2d, joints_3d = rng.normal(size=(21, 2)), rng.normal(size=(21, 3))
        return HandPrediction(side, np.array([1.0, 2, 30, 40]), origin, joints_2d, joints_3d, scale_m)

    hands = (hand("right", "given"), hand("left", "two_pass"))
    time_s = None if frame is None else 0.1333
    return FramePrediction("ü/a.mp4", (640, 480), frame, time_s, K, "given", hands)


@pytest.mark.parametrize("scale_m", [0.031, None])
@pytest.mark.parametrize("frame", [4, None])
def test_there_and_back(scale_m: float | None, frame: int | None) -> None:
    original = prediction(scale_m, frame)
    back = from_json(json.loads(json.dumps(to_json(original, "net.ckpt", 224))))
    assert (back.source, back.size, back.frame, back.time_s) == (
        original.source,
        original.size,
        original.frame,
        original.time_s,
    )
    assert back.camera_origin == original.camera_origin
    np.testing.assert_array_equal(back.K, original.K)
    for one, other in zip(back.hands, original.hands, strict=True):
        assert (one.hand, one.box_origin, one.scale_m) == (other.hand, other.box_origin, other.scale_m)
        np.testing.assert_array_equal(one.box, other.box)
        np.testing.assert_allclose(one.keypoints_2d, other.keypoints_2d, atol=5e-4)
        np.testing.assert_allclose(one.joints_3d, other.joints_3d, atol=5e-7)


def test_it_says_what_the_numbers_are() -> None:
    content = to_json(prediction(), "net.ckpt", 64)
    assert content["schema"] == SCHEMA == "peclr.prediction/1"
    assert content["joints"] == {"order": "freihand", "names": list(JOINT_NAMES), "root": "wrist"}
    assert content["network"] == {"checkpoint": "net.ckpt", "view_size": 64}
    assert content["camera"]["origin"] == "given"
    hand = content["hands"][1]
    assert (hand["hand"], hand["unit_3d"], hand["box_origin"]) == ("left", "m", "two_pass")
    assert hand["scale"] == {"bone": ["middle_mcp", "middle_pip"], "metres": 0.031}
    assert hand["joints_3d_root_relative"][0] == [0, 0, 0]
    np.testing.assert_allclose(
        np.array(hand["joints_3d_camera"]) - hand["joints_3d_camera"][0],
        hand["joints_3d_root_relative"],
        atol=2e-6,
    )
    assert to_json(prediction(None), "net.ckpt", 64)["hands"][0]["unit_3d"] == "bone"


def broken(**changes: Any) -> dict[str, Any]:
    return to_json(prediction(), "net.ckpt", 64) | changes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (broken(schema="peclr.prediction/2"), r"a\.json: schema is 'peclr\.prediction/2'; expected"),
        ({}, "schema is None"),
        (broken(hands=[{"hand": "right"}]), "KeyError"),
        (broken(camera={"K": [[1]], "origin": "given"}), r"expected shape \(3, 3\)"),
    ],
)
def test_other_documents_are_refused(content: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_json(content, "a.json")

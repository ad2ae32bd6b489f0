from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from peclr.data.sources.freihand import FreiHAND
from peclr.data.sources.images import read_image
from peclr.data.sources.plausibility import doubt_labels, doubt_places
from peclr.geometry.joints import JointOrder, convert
from tests.data.conftest import hands_in_space

if TYPE_CHECKING:
    from tests.data.conftest import Layout


def scaled(factor: float) -> Callable[[Any], object]:
    def change(entries: list[Any]) -> None:
        entries[:] = (np.array(entries) * factor).tolist()

    return change


def reordered(change: Callable[[Any], Any]) -> Callable[[Any], object]:
    def edit(entries: list[Any]) -> None:
        entries[:] = change(np.array(entries)).tolist()

    return edit


def resize(layout: Layout, factor: float) -> None:
    for file in (layout.root / "training/rgb").iterdir():
        cv2.imwrite(str(file), cv2.resize(read_image(file), None, fx=factor, fy=factor))


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("xyz", scaled(1000), r"training_xyz\.json: 6 of 6 hands, hand 0 has .* expected metres"),
        ("xyz", scaled(100), r"training_xyz\.json: 6 of 6 hands, .* expected metres"),
        ("scale", scaled(1.5), r"training_scale\.json: 6 of 6 hands, hand 0 has scale 0\.0.*xyz\.json has \|xyz\[9\]"),
        (
            "xyz",
            reordered(lambda xyz: xyz[:, ::-1]),
            r"training_xyz\.json: the joints seem to be in .*reversed, the wrist last",
        ),
    ],
)
def test_labels_that_are_not_those_of_hands_are_refused(
    layout: Layout, file: str, change: Callable[[Any], object], message: str
) -> None:
    layout.edit(f"training_{file}.json", change)
    if file == "xyz":  # all else fits
        xyz = np.array(json.loads((layout.root / "training_xyz.json").read_text()))
        layout.edit("training_scale.json", reordered(lambda _: np.linalg.norm(xyz[:, 9] - xyz[:, 10], axis=-1)))
    with pytest.raises(ValueError, match=message):
        FreiHAND(layout.root)


@pytest.mark.parametrize("order", ["ait", "mano", "interhand"])
def test_joints_in_another_order_are_named(order: JointOrder) -> None:
    joints = hands_in_space(20, np.random.default_rng(1))
    written = convert(joints, "freihand", order)
    doubts = doubt_labels(written, np.linalg.norm(written[:, 9] - written[:, 10], axis=-1), str)
    assert any(f"order {order}" in fault for fault in doubts.faults)


def test_images_of_another_size_than_the_camera_are_refused(layout: Layout) -> None:
    resize(layout, 0.4)
    with pytest.raises(ValueError, match=r"training/rgb: \d of 6 hands, hand \d has its joints about .*are K and"):
        FreiHAND(layout.root)


def test_what_some_hands_get_wrong_is_counted(layout: Layout) -> None:
    layout.edit("training_scale.json", lambda scale: scale.__setitem__(4, 2 * scale[4]))
    layout.edit("training_K.json", lambda K: K[1][0].__setitem__(2, 500))
    scales, places = FreiHAND(layout.root).doubts()
    assert "training_scale.json: 1 of 6 hands, hand 4" in scales
    assert "training/rgb: 1 of 6 hands, hand 1 has its joints about (499" in places


def test_hands_in_a_corner_of_larger_images_are_noted() -> None:
    points = np.random.default_rng(0).uniform(10, 200, (20, 21, 2))
    assert doubt_places(points, np.full((20, 2), 224.0), "images") == ([], [])
    assert "no joint of 20 hands is beyond 4" in doubt_places(points, np.full((20, 2), 448.0), "images").notes[0]


@pytest.mark.parametrize("split", ["training", "evaluation"])
def test_real_hands_are_whole(real_hands: Path, split: Any) -> None:
    assert FreiHAND(real_hands / "freihand_layout", split).doubts() == []

"""Anything in place of anything in the labels of YouTube3DHands: a clear message, or samples that are right."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from peclr.data.sources.images import BadImageError
from peclr.data.sources.youtube3d import YouTube3DHands

if TYPE_CHECKING:
    from tests.data.conftest import YouTube

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["a.png", "youtube", "youtube/filmA/video/frames/2.png", "youtube/\0/1.png", "/a/b/c.png", 10]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=5,
)
ANYWHERE = st.lists(st.integers(0, 800), max_size=5)


def mutate(labels: Any, place: list[int], value: object) -> Any:
    """A copy with the value at a place: the n-th entry of a list or object, of the n-th entry of that, and so on."""
    if not place or not isinstance(labels, list | dict) or not labels:
        return value
    keys = list(labels) if isinstance(labels, dict) else range(len(labels))
    changed = copy.copy(labels)
    key = keys[place[0] % len(keys)]
    changed[key] = mutate(labels[key], place[1:], value)
    return changed


@pytest.fixture
def labels(youtube: YouTube) -> Any:
    """A left hand, and one in a frame of another size than annotated."""
    content = json.loads(youtube.labels.read_text())
    return content | {"annotations": content["annotations"][1:3]}


@given(ANYWHERE, ANYTHING)
@example([0, 0, 0], "a.png")
@example([0, 0, 0], "youtube/a\0b/1.png")
@example([0, 0, 1], 10**9)
@example([0, 0, 1], 1)
@example([0, 1, 1], 1)
@example([1, 0, 0, 5], [float("inf"), 0.0, 0.0])
@example([1, 0, 0, 5], [1e38, 0.0, 0.0])
@example([1, 0, 1], 0.5)
@example([0, 0, 0], "youtube/" + 300 * "a" + "/1.png")
@example([0, 0, 0], "youtube/\u2028ünï/1.png")
@example([0, 0, 0], "youtube/\ud800/1.png")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_anything_in_place_of_a_label_is_refused_or_read(
    youtube: YouTube, labels: Any, place: list[int], value: object
) -> None:
    mutated = mutate(labels, place, value)
    youtube.labels.write_text(json.dumps(mutated))
    try:
        hands = YouTube3DHands(youtube.root)
    except ValueError as error:
        # the file is named, and what else is said is more than that
        assert "youtube_train.json" in str(error)  # noqa: PT017 (either outcome is fine)
        assert len(str(error)) > len(str(youtube.labels)) + 10  # noqa: PT017
    else:
        assert len(hands.video_of_hands()) == hands.num_hands
        assert len(hands) + hands.num_missing + hands.num_stretched == len(mutated["annotations"])
        for index in range(len(hands)):
            try:
                sample = hands[index]
            except BadImageError as error:
                # of each video, the aspect of the first frame alone is looked at before
                assert ".jpg: 120 × 80 px, annotated with" in str(error)  # noqa: PT017
                continue
            assert sample["joints_2d"] is not None
            tips = sample["joints_2d"][~np.isnan(sample["joints_2d"]).any(axis=1)]
            assert len(tips) == 5
            left, top, right, bottom = sample["crop_box"]
            assert np.isfinite(sample["crop_box"]).all()
            assert right - left == pytest.approx(bottom - top)
            # the box is around all vertices, so around the tips
            assert (tips >= [left - 1e-2, top - 1e-2]).all()
            assert (tips <= [right + 1e-2, bottom + 1e-2]).all()

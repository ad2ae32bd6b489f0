"""Boxes, sides, cameras and scales: for all pictures or by file; what is wrong is named."""

import json
from pathlib import Path

import numpy as np
import pytest

from peclr.predict.annotations import Annotations, for_all, read_boxes, read_cameras, read_scales
from peclr.predict.inputs import Input

PHOTO = Input("photos/left/a.jpg", "left/a.jpg", "image")
K = [[500.0, 0.0, 100.0], [0.0, 510.0, 90.0], [0.0, 0.0, 1.0]]


def test_nothing_known_is_one_right_hand_and_a_default_camera() -> None:
    nothing = Annotations()
    (query,) = nothing.hands_in(PHOTO)
    assert (query.side, query.box) == ("right", None)
    camera = nothing.camera_of(PHOTO, 360, 240)
    assert camera.origin == "default"
    np.testing.assert_allclose(camera.K, np.array([[280, 0, 179.5], [0, 280, 119.5], [0, 0, 1]]))
    assert nothing.scale_of(PHOTO) is None


def test_what_is_known_for_all() -> None:
    known = for_all("left", box=[1, 2, 3, 4], K=K, focal=7, scale_m=0.03)
    (query,) = known.hands_in(PHOTO)
    assert query.side == "left"
    np.testing.assert_array_equal(query.box, [1, 2, 3, 4])
    assert known.camera_of(PHOTO, 10, 10).origin == "given"
    assert known.scale_of(PHOTO) == 0.03
    assert for_all(focal=7.0).camera_of(PHOTO, 11, 21).K.tolist() == [[7, 0, 5], [0, 7, 10], [0, 0, 1]]


@pytest.mark.parametrize("name", ["photos/left/a.jpg", "left/a.jpg", "a.jpg"])
def test_a_file_goes_by_three_names(tmp_path: Path, name: str) -> None:
    (tmp_path / "b.csv").write_text(f"file,left,top,right,bottom,hand\n{name},1,2,3,4,left\n{name},5,6,7,8,\n")
    (tmp_path / "b.json").write_text(
        json.dumps(
            [
                {"file": name, "left": 1, "top": 2, "right": 3, "bottom": 4, "hand": "left"},
                {"file": name, "left": 5, "top": 6, "right": 7, "bottom": 8},
            ]
        )
    )
    for path in (tmp_path / "b.csv", tmp_path / "b.json"):
        known = Annotations(hands=read_boxes(path))
        assert [(query.side, list(query.box)) for query in known.hands_in(PHOTO)] == [  # type: ignore[arg-type]
            ("left", [1, 2, 3, 4]),
            ("right", [5, 6, 7, 8]),
        ]
        assert known.hands_in(Input("b.jpg", "b.jpg", "image")) == ()
        assert [query.side for query in read_boxes(path, "left")[name]] == ["left", "left"]
        with pytest.raises(ValueError, match=r"b\.\w+: box 1 of .* has no hand; expected left or right"):
            read_boxes(path, needs_side=True)


def test_cameras_and_scales_by_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    contents: list[object] = [{"a.jpg": K}, [{"file": "a.jpg", "K": K}, {"file": "b.jpg", "K": None}], K]
    for content in contents:
        path.write_text(json.dumps(content))
        camera = Annotations(cameras=read_cameras(path), focal=3).camera_of(PHOTO, 9, 9)
        np.testing.assert_array_equal(camera.K, K)
    path.write_text(json.dumps({"c.jpg": K}))
    assert Annotations(cameras=read_cameras(path), focal=3).camera_of(PHOTO, 9, 9).origin == "focal"
    contents = [{"a.jpg": 0.03}, [{"file": "a.jpg", "scale": 0.03}]]
    for content in contents:
        path.write_text(json.dumps(content))
        assert Annotations(scales=read_scales(path)).scale_of(PHOTO) == 0.03


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,left,top,right,bottom\na.jpg,1,2,3\n", r"entry 0 is .*expected file, left"),
        ("file,left,top,right,bottom\na.jpg,5,2,3,4\n", r"entry 0, .*not left < right"),
        ("file,left,top,right,bottom\na.jpg,nan,2,3,4\n", "not left < right"),
        ("file,left,top,right,bottom,hand\na.jpg,1,2,3,4,both\n", "hand is 'both'"),
    ],
)
def test_wrong_boxes_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"boxes\.csv: {message}|boxes\.csv: .*{message}"):
        read_boxes(tmp_path / "boxes.csv")


@pytest.mark.parametrize("content", ["{", "3", '{"a.jpg": [[1, 2], [3]]}', '{"a.jpg": [[1]]}', '[{"K": 1}]'])
def test_wrong_cameras_are_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "K.json").write_text(content)
    with pytest.raises(ValueError, match=r"K\.json: "):
        read_cameras(tmp_path / "K.json")


@pytest.mark.parametrize("scale", [0, -0.03, 30, "long", None])
def test_scales_that_are_no_metres_are_refused(tmp_path: Path, scale: object) -> None:
    (tmp_path / "scale.json").write_text(json.dumps({"a.jpg": scale}))
    with pytest.raises(ValueError, match=r"scale\.json: a\.jpg: .*in metres"):
        read_scales(tmp_path / "scale.json")


def test_impossible_wishes_for_all_are_refused() -> None:
    with pytest.raises(ValueError, match="focal length"):
        for_all(focal=0)
    with pytest.raises(ValueError, match="box"):
        for_all(box=[1, 2, 3])
    with pytest.raises(ValueError, match="last row"):
        for_all(K=np.eye(3) * 2)

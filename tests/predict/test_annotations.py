"""Boxes, sides, cameras and scales: for all images or by file; what is wrong is named."""

import json
from pathlib import Path

import numpy as np
import pytest

from peclr.data.sources.inputs import Frame, Input
from peclr.inference.hands import Scene
from peclr.predict.annotations import Annotations, annotate, check_names

IMAGE = Input("images/left/a.jpg", "left/a.jpg", "image")
K = [[500.0, 0.0, 100.0], [0.0, 510.0, 90.0], [0.0, 0.0, 1.0]]


def read(known: Annotations, found: Input = IMAGE, width: int = 80, height: int = 60) -> Scene:
    """A black image, with what is known about it."""
    return known.read(Frame(found, lambda: np.zeros((height, width, 3), np.uint8)))


def test_nothing_known_is_one_right_hand_and_a_default_camera() -> None:
    nothing = Annotations()
    (query,) = read(nothing).hands
    assert (query.side, query.box) == ("right", None)
    scene = read(nothing, width=360, height=240)
    assert scene.camera_origin == "default"
    np.testing.assert_allclose(scene.camera, np.array([[280, 0, 179.5], [0, 280, 119.5], [0, 0, 1]]))
    assert read(nothing).scale_m is None


def test_what_is_known_annotate() -> None:
    known = annotate("left", box=[1, 2, 3, 4], K=K, focal=7, scale_m=0.03)
    (query,) = read(known).hands
    assert query.side == "left"
    np.testing.assert_array_equal(query.box, [1, 2, 3, 4])
    assert read(known).camera_origin == "given"
    assert read(known).scale_m == 0.03
    assert read(annotate(focal=7.0), width=11, height=21).camera.tolist() == [[7, 0, 5], [0, 7, 10], [0, 0, 1]]


@pytest.mark.parametrize("name", ["images/left/a.jpg", "left/a.jpg", "a.jpg"])
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
        known = annotate(box=path)
        assert [(query.side, list(query.box)) for query in read(known).hands] == [  # type: ignore[arg-type]
            ("left", [1, 2, 3, 4]),
            ("right", [5, 6, 7, 8]),
        ]
        assert read(known, Input("b.jpg", "b.jpg", "image")).hands == ()
        assert [query.side for query in annotate("left", path).hands[name]] == ["left", "left"]
        with pytest.raises(ValueError, match=r"b\.\w+: box 1 of .* has no hand; expected left or right"):
            annotate(box=path, needs_side=True)


def test_cameras_and_scales_by_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    contents: list[object] = [{"a.jpg": K}, [{"file": "a.jpg", "K": K}, {"file": "b.jpg", "K": None}], K, {"K": K}]
    for content in contents:
        path.write_text(json.dumps(content))
        np.testing.assert_array_equal(read(annotate(K=path, focal=3)).camera, K)
    path.write_text(json.dumps({"c.jpg": K}))
    assert read(annotate(K=path, focal=3)).camera_origin == "focal"
    contents = [{"a.jpg": 0.03}, [{"file": "a.jpg", "scale": 0.03}], 0.03, {"scale": 0.03}]
    for content in contents:
        path.write_text(json.dumps(content))
        assert read(annotate(scale_m=path)).scale_m == 0.03


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,left,top,right,bottom\na.jpg,1,2,3\n", "line 2 has 4 columns, the first line 5"),
        ("file,left,top,right,bottom\na.jpg,5,2,3,4\n", r"entry 0, .*not left < right"),
        ("file,left,top,right,bottom\na.jpg,nan,2,3,4\n", "not left < right"),
        ("file,left,top,right,bottom,hand\na.jpg,1,2,3,4,both\n", r"Invalid enum value 'both' - at `\$\[0\]\.hand`"),
    ],
)
def test_wrong_boxes_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"boxes\.csv: {message}|boxes\.csv: .*{message}"):
        annotate(box=tmp_path / "boxes.csv")


def test_lists_as_freihands_go_by_the_number_of_the_image(tmp_path: Path) -> None:
    def image(number: int, split: str) -> Input:
        return Input(f"D/{split}/rgb/{number:08d}.jpg", f"{split}/rgb/{number:08d}.jpg", "image")

    cameras = [np.diag([100.0 + number, 90, 1]).tolist() for number in range(3)]
    for split, versions in (("evaluation", 1), ("training", 4)):  # the versions of a training hand share its labels
        (tmp_path / f"{split}_K.json").write_text(json.dumps(cameras))
        (tmp_path / f"{split}_scale.json").write_text(json.dumps([0.02, 0.03, 0.04]))
        known = annotate(K=tmp_path / f"{split}_K.json", scale_m=tmp_path / f"{split}_scale.json")
        for number in range(3 * versions):
            assert read(known, image(number, split)).camera[0, 0] == 100 + number % 3
            assert read(known, image(number, split)).scale_m == (0.02, 0.03, 0.04)[number % 3]
        assert read(known, image(3 * versions, split)).camera_origin == "default"
        assert read(known, Input("a.jpg", "a.jpg", "image")).scale_m is None


def test_names_that_match_nothing_are_counted_and_refused_where_all_are_such() -> None:
    other = Input("images/b.jpg", "b.jpg", "image")
    assert check_names("--K k.json", {"": K}, [IMAGE]) == []
    assert check_names("--K k.json", {"a.jpg": K, "images/b.jpg": K}, [IMAGE, other]) == []
    (line,) = check_names("--K k.json", {"a.jpg": K, "c.jpg": K, "d.jpg": K}, [IMAGE, other])
    assert line == "--K k.json: 2 of 3 names match no input, for example 'c.jpg'"
    with pytest.raises(ValueError, match=r"--K k\.json: none of its 1 names .*'c\.jpg'.*'left/a\.jpg'"):
        check_names("--K k.json", {"c.jpg": K}, [IMAGE, other])


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "3",
        "true",
        '{"a.jpg": [[1, 2], [3]]}',
        '{"a.jpg": [[1]]}',
        '[{"K": 1}]',
        '{"K": [["500", 0, 100], [0, 500, 90], [0, 0, 1]]}',
        '{"K": [[500, 0, 100], [0, true, 90], [0, 0, 1]]}',
        '{"K": [[500, 0, 100], [0, NaN, 90], [0, 0, 1]]}',
        '{"K": [[500, 0, 100], [0, -500, 90], [0, 0, 1]]}',
        '{"a.jpg": [[[500, 0, 100], [0, 500, 90], [0, 0, 1]]]}',
        "[[[500, 0, 100], [0, 500, 90], [0, 0, 1]], [[1]]]",
        '{"a.jpg": null}',
    ],
)
def test_wrong_cameras_are_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "K.json").write_text(content)
    with pytest.raises(ValueError, match=r"K\.json: "):
        annotate(K=tmp_path / "K.json")


@pytest.mark.parametrize("scale", [0, -0.03, 30, "long", "0.03", True, [0.03], None])
def test_scales_that_are_no_metres_are_refused(tmp_path: Path, scale: object) -> None:
    (tmp_path / "scale.json").write_text(json.dumps({"a.jpg": scale}))
    with pytest.raises(ValueError, match=r"scale\.json: a\.jpg: .*in metres"):
        annotate(scale_m=tmp_path / "scale.json")


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ([0.2, 0.3, 0.6, 0.8], "fractions"),
        ([0, 0, 1, 1], "fractions"),
        ([30, 10, 20, 40], "not left < right"),
        ([10, 10, 10, 10], "not left < right"),
        ([10, np.nan, 20, 40], "not left < right"),
        ([10, 10, np.inf, 40], "not left < right"),
        ([10, 10, 40], "expected 4 numbers"),
        (["10", "10", "40", "40"], "expected 4 numbers"),
    ],
)
def test_boxes_that_are_none_in_pixels_are_refused(box: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=f"^box: .*{message}"):
        annotate(box=box)


@pytest.mark.parametrize("box", [[80, 10, 90, 20], [-30, 10, -1, 20], [10, 60, 20, 70], [10, -30, 20, -1]])
def test_boxes_beyond_the_image_are_refused(box: list[float]) -> None:
    with pytest.raises(ValueError, match=r"images/left/a\.jpg: the box .* lies beyond the 80 × 60 px"):
        read(annotate(box=box))


def test_boxes_across_the_edge_are_taken() -> None:
    for box in ([-9, -10, 15, 19], [65, 45, 90, 70], [-20, -20, 100, 80]):
        read(annotate(box=box))


def test_impossible_wishes_for_all_are_refused() -> None:
    with pytest.raises(ValueError, match="focal length"):
        annotate(focal=0)
    with pytest.raises(ValueError, match="box"):
        annotate(box=[1, 2, 3])
    with pytest.raises(ValueError, match="last row"):
        annotate(K=np.eye(3) * 2)

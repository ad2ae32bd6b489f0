import json
import shutil
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peclr.data.sources.box_files import HandBox, check_within, read_boxes

COCO: dict[str, Any] = {
    "images": [{"id": 7, "file_name": "a.jpg", "width": 60}, {"id": 9, "file_name": "b/c.png"}],
    "annotations": [
        {"id": 1, "image_id": 9, "bbox": [10, 20, 30, 40], "category_id": 1},
        {"id": 2, "image_id": 7, "bbox": [0, 0, 8.0, 8.0], "iscrowd": 0},
        {"id": 3, "image_id": 7, "bbox": [1, 2, 3, 4], "iscrowd": 1},
        {"id": 4, "image_id": 9, "bbox": [0, 0, 2, 2]},
    ],
    "categories": [{"id": 1, "name": "hand"}],
}


def write(folder: Path, contents: object) -> Path:
    path = folder / "boxes.json"
    path.write_text(json.dumps(contents))
    return path


def edges(boxes: list[HandBox]) -> list[list[float]]:
    return [box.edges.tolist() for box in boxes]


def test_coco_counts_from_the_corner_of_the_image(tmp_path: Path) -> None:
    boxes = read_boxes(write(tmp_path, COCO))
    assert sorted(boxes) == ["a.jpg", "b/c.png"]
    # the first eight pixels, whose centers are 0 … 7
    assert edges(boxes["a.jpg"]) == [[-0.5, -0.5, 7.5, 7.5]]
    assert edges(boxes["b/c.png"]) == [[9.5, 19.5, 39.5, 59.5], [-0.5, -0.5, 1.5, 1.5]]


def test_coco_categories_say_sides(tmp_path: Path) -> None:
    names = ["left_hand", "Right hand", "hand", "bright_spot"]
    categories = [{"id": number, "name": name, "keypoints": ["wrist"]} for number, name in enumerate(names)]
    hands = [{"image_id": 7, "bbox": [0, 0, 8, 8], "category_id": number} for number in (0, 1, 2, 3, 9)]
    boxes = read_boxes(write(tmp_path, COCO | {"annotations": hands, "categories": categories}))
    assert [box.side for box in boxes["a.jpg"]] == ["left", "right", None, None, None]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": 3}, r"Expected `array`, got `int` - at `\$\.images`"),
        ({"images": [{"id": 1}]}, r"missing required field `file_name` - at `\$\.images\[0\]`"),
        ({"annotations": [{"image_id": 5, "bbox": [0, 0, 1, 1]}]}, "annotation 0 is of image 5"),
        ({"annotations": [{"image_id": 7, "bbox": [0, 0, 1]}]}, r"length 4, got 3 - at `\$\.annotations\[0\]\.bbox`"),
        ({"images": [*COCO["images"], {"id": 7, "file_name": "b.jpg"}]}, r"image id 7 is both a\.jpg and b\.jpg"),
        ({"annotations": ["box"]}, r"Expected `object`, got `str` - at `\$\.annotations\[0\]`"),
        ({"annotations": [{"image_id": 7, "bbox": [0, 0, 1, float("nan")]}]}, r"entry 0, a\.jpg"),
        ({"annotations": [{"image_id": 7, "bbox": [0, 0, 0, 1]}]}, r"entry 0, a\.jpg"),
    ],
)
def test_coco_files_with_mistakes_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_boxes(write(tmp_path, {**COCO, **change}))


def test_files_that_are_no_lists_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.csv: no such file"):
        read_boxes(tmp_path / "gone.csv")
    with pytest.raises(ValueError, match="no boxes; expected at least one"):
        read_boxes(tmp_path)
    with pytest.raises(ValueError, match="Expected `array`, got `str`"):
        read_boxes(write(tmp_path, "boxes"))
    (tmp_path / "cut.csv").write_bytes(TABLE.encode("utf-16")[:-1])
    with pytest.raises(ValueError, match=r"cut\.csv: not text in utf-16"):
        read_boxes(tmp_path / "cut.csv")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["id", "bbox", "file"]), inner),
    max_leaves=6,
)


def paths(value: object, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where everything is in nested lists and dictionaries."""
    found = [prefix]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += paths(inner, (*prefix, key))
    return found


@given(st.sampled_from(paths(COCO)[1:]), JSON)
def test_anything_in_place_of_anything_is_refused_or_read(place: tuple[Any, ...], value: object) -> None:
    contents = json.loads(json.dumps(COCO))
    inner = contents
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with tempfile.TemporaryDirectory() as folder:
        try:
            boxes = read_boxes(write(Path(folder), contents))
        except ValueError as error:
            assert "boxes.json" in str(error)  # noqa: PT017 (either outcome is fine)
        else:
            for box in (box.edges for several in boxes.values() for box in several):
                assert np.isfinite(box).all()
                assert (box[:2] < box[2:]).all()


TABLE = "file,left,top,right,bottom,hand\nHände.jpg,1,2.5,33,44,left\nb.jpg,5,6,77,88,\n"


@pytest.mark.parametrize(
    "content",
    [
        TABLE.encode("utf-8-sig"),
        TABLE.encode("latin-1"),
        TABLE.encode("utf-16"),
        TABLE.replace(",", "\t").encode(),
        TABLE.replace(",", ";").replace(".5", ",5").encode(),
        TABLE.replace("\n", "\r\n").replace("file,left", "File , Left").encode(),
        ("\n" + TABLE).lstrip().replace("b.jpg", '"b.jpg"').encode(),
    ],
)
def test_tables_are_read_as_spreadsheets_write_them(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "boxes.csv"
    path.write_bytes(content)
    boxes = read_boxes(path)
    assert {name: (edges(found), found[0].side) for name, found in boxes.items()} == {
        "Hände.jpg": ([[1, 2.5, 33, 44]], "left"),
        "b.jpg": ([[5, 6, 77, 88]], None),
    }


def test_fractions_of_an_image_are_no_boxes(tmp_path: Path) -> None:
    entry = {"file": "a.jpg", "left": 0.2, "top": 0.3, "right": 0.6, "bottom": 0.8}
    with pytest.raises(ValueError, match=r"boxes\.json: entry 0, a\.jpg: .*expected pixels, not fractions"):
        read_boxes(write(tmp_path, [entry]))


@pytest.mark.parametrize(
    ("box", "fits"),
    [
        ((10, 10, 50, 50), True),
        ((-30, 10, 30, 50), True),  # half a hand
        ((70, 10, 200, 140), False),
        ((0, 0, 400, 300), False),  # of the image before it was made smaller
        ((200, 10, 240, 50), False),
        ((-0.5, -0.5, 79.5, 59.5), True),
    ],
)
def test_a_box_shows_some_of_its_image(box: tuple[float, ...], *, fits: bool) -> None:
    with nullcontext() if fits else pytest.raises(ValueError, match=r"a\.jpg: the box .* lies beyond the 80 × 60 px"):
        check_within(np.array(box, float), 80, 60, "a.jpg")


@pytest.mark.parametrize("value", ["1.5", True, None, [1.5], 10**400])
def test_what_is_no_number_in_json_is_none_in_a_box(tmp_path: Path, value: object) -> None:
    entry = {"file": "a.jpg", "left": value, "top": 0, "right": 40, "bottom": 50}
    with pytest.raises(ValueError, match=r"boxes\.json: (.* - at `\$\[0\]\.left`|not valid JSON: number is infinity)"):
        read_boxes(write(tmp_path, [entry]))
    annotation = {"image_id": 7, "bbox": [value, 0, 40, 50]}
    with pytest.raises(
        ValueError, match=r"boxes\.json: (.* - at `\$\.annotations\[0\]\.bbox|not valid JSON: number is infinity)"
    ):
        read_boxes(write(tmp_path, {**COCO, "annotations": [annotation]}))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("boxes.csv", ""),
        ("boxes.csv", "file,left,top,right,bottom\n"),
        ("boxes.json", "[]"),
        ("boxes.json", '{"images": [], "annotations": []}'),
    ],
)
def test_a_file_without_a_box_is_refused(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ValueError, match=rf"{name}.*(no boxes|names of columns)"):
        read_boxes(path)


def test_a_comma_is_a_decimal_point_only_where_commas_do_not_separate(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text("file;left;top;right;bottom\na.jpg;1,5;2;30;40\n")
    assert read_boxes(path)["a.jpg"][0].edges.tolist() == [1.5, 2, 30, 40]
    path.write_text('file,left,top,right,bottom\na.jpg,"1,234",2,3000,40\n')
    with pytest.raises(ValueError, match=r"boxes\.csv"):
        read_boxes(path)


def test_a_crowd_that_is_a_text_does_not_swallow_its_box(tmp_path: Path) -> None:
    hand = {"image_id": 1, "bbox": [1, 2, 30, 40], "iscrowd": "0"}
    (tmp_path / "coco.json").write_text(
        json.dumps({"images": [{"id": 1, "file_name": "a"}], "annotations": [hand, hand | {"iscrowd": 0}]})
    )
    with pytest.raises(ValueError, match=r"coco\.json: .*iscrowd"):
        read_boxes(tmp_path / "coco.json")


def predicted(file: str, frame: int | None, *hands: tuple[list[float], str]) -> dict[str, Any]:
    said = {"schema": "peclr.prediction/1", "source": f"my/{file}", "file": file, "frame": frame, "camera": {"K": None}}
    return said | {"hands": [{"box": box, "hand": side, "joints_3d_camera": []} for box, side in hands]}


def test_what_predict_wrote_is_a_box_file_and_so_is_its_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "deep").mkdir(parents=True)
    two = predicted("a.jpg", None, ([1, 2, 30, 40], "left"), ([5, 6, 70, 80], "right"))
    (out / "a.json").write_text(json.dumps(two))
    (out / "deep" / "b.json").write_text(json.dumps(predicted("deep/b.jpg", None)))
    lines = [predicted("v.mp4", number, ([1, 2, 30, 40 + number], "right")) for number in (0, 7)]
    lines.append({"schema": "peclr.prediction/1", "source": "w.mp4", "frame": 1, "error": "cut short"})
    (out / "v.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    boxes = read_boxes(out)
    assert {name: [box.side for box in found] for name, found in boxes.items()} == {
        "a.jpg": ["left", "right"],
        "deep/b.jpg": [],
        "v.mp4#0": ["right"],
        "v.mp4#7": ["right"],
        "w.mp4#1": [],
    }
    assert edges(boxes["v.mp4#7"]) == [[1, 2, 30, 47]]
    assert edges(read_boxes(out / "a.json")["a.jpg"]) == [[1, 2, 30, 40], [5, 6, 70, 80]]
    (out / "w").mkdir()
    (out / "w" / "a.json").write_text(json.dumps(two | {"source": "other/a.jpg"}))
    with pytest.raises(ValueError, match=r"w/a\.json: a\.jpg is in another file of .*out, too"):
        read_boxes(out)
    shutil.rmtree(out / "w")
    (out / "v.jsonl").write_text(json.dumps(lines[0]) + "\n{\n")
    with pytest.raises(ValueError, match=r"v\.jsonl, line 2"):
        read_boxes(out)
    (out / "v.jsonl").write_text(json.dumps(lines[0] | {"hands": [{"box": [1, 2, 3], "hand": "left"}]}))
    with pytest.raises(ValueError, match=r"v\.jsonl: .*length 4, got 3 - at `\$\[0\]\.hands\[0\]\.box`"):
        read_boxes(out)


def test_frames_go_by_their_numbers_in_every_format(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    rows = ["v.mp4,1,2,30,40,left,3", "v.mp4#4,1,2,30,40,left,4", "a.jpg,1,2,30,40,right,"]
    path.write_text("\n".join(["file,left,top,right,bottom,hand,frame", *rows]))
    boxes = read_boxes(path)
    assert {name: box.side for name, [box] in boxes.items()} == {"v.mp4#3": "left", "v.mp4#4": "left", "a.jpg": "right"}
    entry = {"file": "v.mp4", "frame": 3, "left": 1, "top": 2, "right": 30, "bottom": 40}
    assert list(read_boxes(write(tmp_path, [entry]))) == ["v.mp4#3"]


def test_coco_lists_images_without_hands(tmp_path: Path) -> None:
    images = [*COCO["images"], {"id": 11, "file_name": "empty.jpg"}]
    assert read_boxes(write(tmp_path, COCO | {"images": images}))["empty.jpg"] == []

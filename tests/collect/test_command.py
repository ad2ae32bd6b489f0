"""`peclr collect`: from images and videos to data sets that the readers open."""

import json
import re
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from peclr.__main__ import main
from peclr.collect.summary import table
from peclr.data.datamodules import LabeledHandDataModule, PairedViewDataModule
from peclr.data.sources.freihand import FreiHAND
from peclr.data.sources.shards import Shards
from peclr.data.views.geometric import ViewGeometry, render_view
from peclr.geometry.camera import project
from peclr.geometry.joints import JOINT_NAMES
from peclr.synthetic.writer import write_freihand_layout
from tests.json_files import edit_json


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, task_file: Path) -> Path:
    """Rendered hands, in two folders, one of them mirrored; an image without hands, and a file that is none."""
    root = tmp_path_factory.mktemp("images")
    write_freihand_layout(root / "h", train=5, evaluation=0, seed=0, size=224, versions=1, workers=1, progress=False)
    for name, hand, flip in (("ann/0.jpg", 0, False), ("ann/1.jpg", 4, False), ("bob/2.jpg", 4, True)):
        image = cv2.imread(str(root / "h" / "training" / "rgb" / f"{hand:08d}.jpg"))
        assert image is not None
        (root / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / "in" / name), image[:, ::-1] if flip else image)
    cv2.imwrite(str(root / "in" / "bob" / "empty.png"), np.full((64, 64, 3), 128, np.uint8))
    cv2.imwrite(str(root / "in" / "bob" / "long.png"), np.zeros((1, 32_767, 3), np.uint8))
    (root / "in" / "bob" / "page.jpg").write_text("<html>not found</html>")
    return root / "in"


@pytest.fixture(scope="module")
def collected(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Shards:
    out = tmp_path_factory.mktemp("collected") / "hands"
    assert main(["collect", str(images), f"--out={out}", "--workers=1"]) == 1  # one was damaged
    return Shards(out)


def test_images_become_shards(collected: Shards) -> None:
    hands = collected
    assert hands.labels == "pseudo"
    files = [hands.about(index).file for index in range(len(hands))]
    assert files == ["ann/0.jpg", "ann/1.jpg", "bob/2.jpg"]
    assert [hands.about(index).group for index in range(len(hands))] == ["ann", "ann", "bob"]
    assert [hands[index]["hand"] for index in range(len(hands))] == ["right", "right", "left"]
    plain, mirrored = hands[1], hands[2]  # stored as the same right hand
    views = [render_view(sample, ViewGeometry(), 64).image.astype(int) for sample in (plain, mirrored)]
    assert np.abs(views[0] - views[1]).mean() < 12
    for sample in (plain, mirrored):
        assert sample["joints_3d"] is not None
        assert sample["joints_2d"] is not None
        assert sample["K"] is not None
        seen = sample["joints_3d"] @ sample["K"].T
        extent = np.ptp(sample["joints_2d"], axis=0).max()
        assert np.abs(seen[:, :2] / seen[:, 2:] - sample["joints_2d"]).mean() < 0.06 * extent
        assert 0.1 < sample["joints_3d"][0, 2] < 2
    summary = json.loads((hands.root / "collected.json").read_text())
    assert summary["labels"] == "pseudo"
    assert summary["counts"] == {"camera: assumed": 3, "hands": 3, "images": 4, "images without hands": 1}
    long, problem = summary["not_read"]
    assert "long.png: the image is 32,767 px long" in long
    assert re.search("^could not be read +2$", table(hands.facts), re.M)  # beside the 4 images, not of them
    assert problem.endswith("page.jpg: 22 bytes that are not a readable image")
    assert cv2.imread(str(hands.root / "sheet.png")) is not None


def test_images_become_freihands_layout_with_groups_and_classes(images: Path, tmp_path: Path) -> None:
    table = tmp_path / "groups.csv"
    rows = ["0.jpg,x,1", "1.jpg,y,2", "2.jpg,y,1", "empty.png,x,1", "long.png,x,1", "page.jpg,x,1"]
    table.write_text("\n".join(["file,group,class", *rows]))
    out = tmp_path / "hands"
    words = ["collect", str(images), f"--out={out}", "--layout=freihand", f"--groups={table}", "--workers=1"]
    assert main([*words, "--evaluation=0.4"]) == 1
    training, evaluation = FreiHAND(out), FreiHAND(out, "evaluation")
    names = {
        split: (s.names_of_hands("group"), s.names_of_hands("class"))
        for split, s in (("training", training), ("evaluation", evaluation))
    }
    assert names == {"training": (["y", "y"], ["2", "1"]), "evaluation": (["x"], ["1"])}
    assert training[0]["image"].shape == (224, 224, 3)
    assert training.doubts() == ["labels are pseudo, those of MediaPipe's hand landmarker, float16/1"]
    rows = (out / "hands.csv").read_text().splitlines()
    assert rows[1].startswith("training/rgb/00000000.jpg,y,2,ann/1.jpg,,,,right,")
    assert not (tmp_path / "hands.shards").exists()


def test_images_beside_the_folder_that_is_worked_in_are_found(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    shutil.copytree(images / "ann", tmp_path / "in")
    monkeypatch.chdir(tmp_path / "out")
    assert main(["collect", "../in", "--out=.", "--layout=coco", "--workers=1"]) == 0
    assert len(Shards(tmp_path / "out" / "hands")) == 2


def test_joints_that_were_corrected_come_back(collected: Shards, tmp_path: Path) -> None:
    coco = tmp_path / "coco"
    assert main(["collect", str(collected.root), f"--out={coco}", "--layout=coco"]) == 0
    document = json.loads((coco / "annotations" / "person_keypoints_default.json").read_text())
    assert [image["file_name"] for image in document["images"]] == ["00000000.jpg", "00000001.jpg", "00000002.jpg"]
    for image in document["images"]:
        pixels = cv2.imread(str(coco / "images" / "default" / image["file_name"]))
        assert pixels is not None
        assert pixels.shape == (image["height"], image["width"], 3)
    assert document["info"]["labels"] == "pseudo"

    # as CVAT exports it: without keys of ours; one joint moved, one hidden, one hand removed
    del document["annotations"][0]
    points = document["annotations"][0]["keypoints"]
    points[3 * 8 : 3 * 8 + 2] = [points[3 * 8] + 10, points[3 * 8 + 1] - 5]
    points[3 * 20 + 2] = 0
    kept = ("id", "image_id", "category_id", "keypoints", "num_keypoints", "bbox", "area", "iscrowd")
    document["annotations"] = [{key: hand[key] for key in kept} for hand in document["annotations"]]
    (tmp_path / "export.json").write_text(json.dumps(document))
    words = ["collect", str(coco), f"--corrections={tmp_path / 'export.json'}"]
    assert main([*words, f"--out={tmp_path / 'corrected'}"]) == 0
    corrected = Shards(tmp_path / "corrected")
    assert [corrected.about(index).file for index in range(len(corrected))] == ["ann/1.jpg", "bob/2.jpg"]
    assert corrected.labels == "pseudo"

    before, after = collected[1], corrected[0]
    assert before["joints_2d"] is not None
    assert after["joints_2d"] is not None
    expected = before["joints_2d"].copy()
    expected[8] += [10, -5]
    expected[20] = np.nan
    np.testing.assert_allclose(after["joints_2d"], expected, atol=1e-3)
    assert before["joints_3d"] is not None
    assert after["joints_3d"] is not None
    assert after["K"] is not None
    others = np.delete(np.arange(21), 8)
    np.testing.assert_array_equal(after["joints_3d"][others], before["joints_3d"][others])
    assert after["joints_3d"][8, 2] == before["joints_3d"][8, 2]
    seen = after["K"] @ after["joints_3d"][8]
    np.testing.assert_allclose(seen[:2] / seen[2], expected[8], atol=0.01)
    for name, label in collected.stored(2)[1].items():  # nobody touched it
        np.testing.assert_array_equal(label, corrected.stored(1)[1][name]) if name not in ("offset", "track") else None
    assert main([*words, f"--out={tmp_path / 'freihand'}", "--layout=freihand"]) == 0
    assert len(FreiHAND(tmp_path / "freihand")) == 2
    assert collected.root.is_dir()


def test_what_label_studio_exports_comes_back(collected: Shards, tmp_path: Path) -> None:
    coco = tmp_path / "coco"
    assert main(["collect", str(collected.root), f"--out={coco}", "--layout=coco"]) == 0
    config = ElementTree.fromstring((coco / "label_studio_config.xml").read_text())  # noqa: S314 (our own)
    labels = [label.attrib for label in config.findall("KeyPointLabels/Label")]
    assert [(label["value"], label["model_index"]) for label in labels] == [
        (joint, str(number)) for number, joint in enumerate(JOINT_NAMES)
    ]
    images, hands = [], list[dict[str, Any]]()
    for number, task in enumerate(json.loads((coco / "label_studio_tasks.json").read_text())):
        file = task["data"]["image"].removeprefix("/data/local-files/?d=")
        assert (coco / file).is_file()
        images.append({"id": number, "file_name": f"images/1a2b3c4d-{Path(file).name}"})
        points = {}
        for item in task["annotations"][0]["result"]:
            size = np.array([item["original_width"], item["original_height"]])
            (joint,) = item["value"]["keypointlabels"]
            points[joint] = [*(np.array([item["value"]["x"], item["value"]["y"]]) / 100 * size).round().tolist(), 2]
        # in another order, which the category says, beside the rectangle without which nothing is exported
        flat = [value for joint in reversed(JOINT_NAMES) for value in points[joint]]
        hands += [{"image_id": number, "category_id": 0, "bbox": [0, 0, 1, 1]}]
        hands += [{"image_id": number, "category_id": 1, "keypoints": flat}]
    hands[1]["keypoints"][0] += 9
    categories = [{"id": 0, "name": "right_hand"}, {"id": 1, "name": "default", "keypoints": JOINT_NAMES[::-1]}]
    (tmp_path / "result.json").write_text(
        json.dumps({"images": images, "annotations": hands, "categories": categories})
    )
    words = ["collect", str(coco), f"--corrections={tmp_path / 'result.json'}", f"--out={tmp_path / 'corrected'}"]
    assert main(words) == 0
    corrected = Shards(tmp_path / "corrected")
    assert corrected.facts.counts["corrected: joints moved or hidden"] == 1, "whole pixels are no correction"
    before, after = collected[0]["joints_2d"], corrected[0]["joints_2d"]
    assert before is not None
    assert after is not None
    np.testing.assert_array_equal(before[:20], after[:20])
    np.testing.assert_allclose(after[20], before[20] + [9, 0], atol=0.51)


def test_cvats_skeleton_has_the_joints_that_annotations_have(collected: Shards, tmp_path: Path) -> None:
    assert main(["collect", str(collected.root), f"--out={tmp_path / 'coco'}", "--layout=coco"]) == 0
    (skeleton,) = json.loads((tmp_path / "coco" / "cvat_labels.json").read_text())
    document = json.loads((tmp_path / "coco" / "annotations" / "person_keypoints_default.json").read_text())
    (category,) = document["categories"]
    assert skeleton["name"] == category["name"] == "right_hand"
    assert [label["name"] for label in skeleton["sublabels"]] == category["keypoints"]
    drawing = ElementTree.fromstring(f"<svg>{skeleton['svg']}</svg>")  # noqa: S314 (our own)
    nodes = [node.attrib for node in drawing.findall("circle")]
    assert [node["data-label-name"] for node in nodes] == category["keypoints"]
    assert len({(node["cx"], node["cy"]) for node in nodes}) == 21
    assert all(0 < float(node[axis]) < 100 for node in nodes for axis in ("cx", "cy"))
    edges = [[int(edge.attrib[end]) for end in ("data-node-from", "data-node-to")] for edge in drawing.findall("line")]
    assert edges == category["skeleton"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda it: it["images"][0].update(file_name="photo.jpg"), "image photo.jpg is none of a crop"),
        (lambda it: it["images"][0].update(file_name="00000009.jpg"), "00000009.jpg is of no hand, there are 3"),
        (lambda it: it["annotations"].append(it["annotations"][0]), "annotation 3 is a second hand of 00000000.jpg"),
        (lambda it: it["annotations"][0].update(image_id=9), "annotation 0 is of image 9, which is not listed"),
        (lambda it: it["annotations"][0].update(keypoints=[1.0]), "length >= 63"),
        (lambda it: it["categories"][0].update(name="left_hand"), "annotation 0, of 00000000.jpg, is a left_hand"),
        (lambda it: it["categories"][0]["keypoints"].pop(), "category right_hand has other joints than were written"),
        (lambda it: it.pop("images"), "missing required field `images`"),
    ],
)
def test_corrections_that_do_not_fit_are_refused(
    collected: Shards, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Any, reason: str
) -> None:
    assert main(["collect", str(collected.root), f"--out={tmp_path / 'coco'}", "--layout=coco"]) == 0
    path = tmp_path / "coco" / "annotations" / "person_keypoints_default.json"
    edit_json(path, change)
    capsys.readouterr()
    assert main(["collect", str(tmp_path / "coco"), f"--out={tmp_path / 'out'}"]) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["nothing.jpg"], "no such file or folder"),
        (["camera:0"], "a camera has no end"),
        (["in", "--min-score=2"], "expected 0 < score < 1"),
        (["in", "--evaluation=0.1"], "--evaluation divides what is written with --layout freihand"),
        (["in", "--layout=freihand", "--evaluation=1.5"], "expected a share of the hands"),
        (["in", "--hand-landmarker=other.task"], "other.task: no such file"),
        (["in", "--corrections=a.json"], "--corrections needs the folder"),
        (["in", "--quality=101"], "quality 101"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_written(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], reason: str
) -> None:
    words = [str(images) if word == "in" else word for word in words]
    assert main(["collect", *words, f"--out={tmp_path / 'out'}"]) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_collected_hands_train_by_pairs_and_by_pseudo_labels(collected: Shards) -> None:
    options: dict[str, Any] = {"view_size": 32, "batch_size": 2, "val_fraction": 0, "num_workers": 0}
    pairs = next(iter(PairedViewDataModule(collected.root, **options).train_dataloader()))
    assert pairs["views"].shape == (2, 2, 3, 32, 32)
    data = LabeledHandDataModule(collected.root, **options)
    data.setup("fit")
    labeled = next(iter(data.train_dataloader()))
    seen = project(labeled["joints_3d"], labeled["K"])
    np.testing.assert_allclose(seen, labeled["joints_25d"][..., :2], atol=1e-3)
    assert ((seen > 0) & (seen < 31)).float().mean() > 0.8

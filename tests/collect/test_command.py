"""`peclr collect`: from images and videos to data sets that the readers open."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from peclr.__main__ import main
from peclr.data.sources.freihand import FreiHAND
from peclr.data.sources.shards import Shards
from peclr.synthetic.writer import write_freihand_layout


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
    (root / "in" / "bob" / "page.jpg").write_text("<html>not found</html>")
    return root / "in"


def test_images_become_shards(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["collect", str(images), f"--out={tmp_path / 'hands'}", "--workers=1"]) == 1  # one was damaged
    shown = capsys.readouterr().out
    assert "page.jpg: 22 bytes that are not a readable image" in shown
    hands = Shards(tmp_path / "hands")
    assert hands.labels == "pseudo"
    files = [hands.about(index).file for index in range(len(hands))]
    assert files == ["ann/0.jpg", "ann/1.jpg", "bob/2.jpg"]
    assert [hands.about(index).group for index in range(len(hands))] == ["ann", "ann", "bob"]
    assert [hands[index]["hand"] for index in range(len(hands))] == ["right", "right", "left"]
    plain, mirrored = hands[1], hands[2]  # stored as the same right hand
    assert np.abs(plain["image"].astype(int) - mirrored["image"]).mean() < 12
    for sample in (plain, mirrored):
        assert sample["joints_3d"] is not None
        assert sample["joints_2d"] is not None
        assert sample["K"] is not None
        seen = sample["joints_3d"] @ sample["K"].T
        extent = np.ptp(sample["joints_2d"], axis=0).max()
        assert np.abs(seen[:, :2] / seen[:, 2:] - sample["joints_2d"]).mean() < 0.06 * extent
        assert 0.1 < sample["joints_3d"][0, 2] < 2
    summary = json.loads((tmp_path / "hands" / "collected.json").read_text())
    assert summary["labels"] == "pseudo"
    assert summary["counts"] == {
        "camera: assumed": 3,
        "hands": 3,
        "images": 4,
        "images without hands": 1,
    }
    assert len(summary["not_read"]) == 1
    sheet = cv2.imread(str(tmp_path / "hands" / "sheet.png"))
    assert sheet is not None


def test_images_become_freihands_layout_with_groups_and_classes(images: Path, tmp_path: Path) -> None:
    table = tmp_path / "groups.csv"
    rows = ["0.jpg,x,1", "1.jpg,y,2", "2.jpg,y,1", "empty.png,x,1", "page.jpg,x,1"]
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
    assert training.doubts() == []
    rows = (out / "hands.csv").read_text().splitlines()
    assert rows[1].startswith("training/rgb/00000000.jpg,y,2,ann/1.jpg,,,,right,")
    assert not (tmp_path / "hands.shards").exists()

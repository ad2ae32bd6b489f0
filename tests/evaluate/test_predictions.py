"""Files of predictions: what goes out comes back, zipped or not, and what is wrong is named."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from peclr.evaluate.predictions import Predictions, read_labels, read_predictions, write_predictions


def random_points(hands: int, points: int) -> Any:
    return np.random.default_rng(points).normal(0, 0.1, (hands, points, 3))


def written(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_predictions_come_back(tmp_path: Path) -> None:
    given = Predictions(random_points(3, 21), random_points(3, 778))
    for path in write_predictions(tmp_path, given):
        back = read_predictions(path)
        np.testing.assert_allclose(back.xyz, given.xyz, atol=1e-8)
        assert back.verts is not None
        assert given.verts is not None
        np.testing.assert_allclose(back.verts, given.verts, atol=1e-8)


def test_the_leaderboard_would_take_them(tmp_path: Path) -> None:
    # as its evaluation reads them: a zip with pred.json, two lists, as many meshes as skeletons
    _, zipped = write_predictions(tmp_path, Predictions(random_points(3, 21)))
    with zipfile.ZipFile(zipped) as archive:
        assert archive.namelist() == ["pred.json"]
        xyz, verts = json.loads(archive.read("pred.json"))
    assert np.array(xyz).shape == (3, 21, 3)
    assert np.array(verts).shape == (3, 778, 3)
    assert not np.any(verts)
    assert read_predictions(zipped).verts is None


def test_other_peoples_files_are_read(tmp_path: Path) -> None:
    xyz = random_points(2, 21)
    np.testing.assert_array_equal(read_predictions(written(tmp_path / "a.json", [xyz.tolist(), []])).xyz, xyz)
    integers = [[[1, 2, 3]] * 21] * 2
    assert read_predictions(written(tmp_path / "b.json", [integers, []])).xyz[1, 20].tolist() == [1, 2, 3]
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.write(tmp_path / "a.json", "folder/mine.json")
        archive.writestr("readme.txt", "")
    np.testing.assert_array_equal(read_predictions(tmp_path / "c.zip").xyz, xyz)
    np.testing.assert_array_equal(read_labels(written(tmp_path / "d.json", xyz.tolist()), 21), xyz)


HAND = np.zeros((21, 3)).tolist()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([HAND, HAND, HAND], r"expected \[xyz list, verts list\], metres; zeros will do for verts; found \[\[\["),
        ({"xyz": []}, r"found {'xyz': \[\]}"),
        ([[], []], r"xyz: expected a list with one entry per hand"),
        ([[HAND, HAND[:20]], []], r"xyz: hand 1 has shape \(20, 3\); expected numbers of shape \(21, 3\)"),
        ([[[[0, 0]] * 21], []], r"xyz: hand 0 has shape \(21, 2\)"),
        ([[HAND, [*HAND[:20], [0, 0]]], []], r"xyz: hand 1 is not numbers of one shape"),
        ([[HAND, [*HAND[:20], [0, 0, "x"]]], []], r"xyz: hand 1 is not numbers of one shape"),
        ([[HAND, [*HAND[:20], [0, 0, None]]], []], r"xyz: hand 1 "),
        ([[HAND, 3], []], r"xyz: hand 1 has shape \(\)"),
        ([[HAND, [*HAND[:20], [0, 0, float("nan")]]], []], r"xyz: hand 1 has NaN or infinity \(1 such hands\)"),
        ([[[*HAND[:20], [0, 0, float("-inf")]]], []], r"xyz: hand 0 has NaN or infinity"),
        ([[HAND, HAND], [np.zeros((778, 3)).tolist()]], r"has xyz of 2 hands, but verts of 1"),
        ([[HAND], [HAND]], r"verts: hand 0 has shape \(21, 3\); expected numbers of shape \(778, 3\)"),
    ],
)
def test_what_is_wrong_is_told_by_name(content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"pred\.json.*{message}"):
        read_predictions(written(tmp_path / "pred.json", content))


def test_files_that_are_none_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.json: no such file"):
        read_predictions(tmp_path / "nowhere.json")
    (tmp_path / "cut.json").write_text("[[[[0, 0,")
    with pytest.raises(ValueError, match=r"cut\.json: not valid JSON"):
        read_predictions(tmp_path / "cut.json")
    with zipfile.ZipFile(tmp_path / "none.zip", "w") as archive:
        archive.writestr("readme.txt", "")
    with pytest.raises(ValueError, match=r"none\.zip: expected a zip with pred\.json, found \['readme\.txt'\]"):
        read_predictions(tmp_path / "none.zip")

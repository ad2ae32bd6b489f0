"""The network that comes with the package: found by its name, taken where none is named, and missed with a word."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from peclr.__main__ import main
from peclr.checkpoints import load_pose_net
from peclr.checkpoints.loading import load_weights
from peclr.data.sources.images import read_image
from peclr.predict import HandPredictor
from peclr.weights import catalog as catalogs
from peclr.weights.catalog import BUILT_IN, catalog

SHIPPED = Path(catalogs.__file__).parent / f"{BUILT_IN}.safetensors"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder in which the package looks for its network; it is empty, and so is the working folder."""
    (folder := tmp_path / "package").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(catalogs, "_HERE", folder)
    catalog.cache_clear()
    yield folder
    monkeypatch.undo()
    catalog.cache_clear()


@pytest.fixture
def built_in(package: Path, run: Path) -> Path:
    """A small network in that place, exported as it will be."""
    assert main(["export", str(run), "--formats=safetensors", "--half", f"--name={BUILT_IN}", "--out=exported"]) == 0
    catalog.cache_clear()
    return Path("exported", f"{BUILT_IN}.safetensors").rename(package / f"{BUILT_IN}.safetensors")


@pytest.fixture
def image(package: Path, make_image: Callable[..., NDArray[np.uint8]]) -> Path:
    cv2.imwrite("hand.png", make_image())
    return Path("hand.png")


def document(out: str) -> dict[str, object]:
    content: dict[str, object] = json.loads(Path(out, "hand.json").read_text())
    return content


@pytest.mark.usefixtures("image")
def test_where_no_network_is_named_it_predicts_and_is_named(
    built_in: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("more").mkdir()
    Path("more", "b.png").write_bytes(Path("hand.png").read_bytes())
    capsys.readouterr()
    said = f"{BUILT_IN}, trained on rendered hands and pseudo-labeled digits, views of 32 px"
    for number, words in enumerate((["hand.png"], ["hand.png", "more"], ["more", "hand.png"], ["*.png", "hand.png"])):
        assert main(["predict", *words, f"--out={number}"]) == 0
        assert capsys.readouterr().out.startswith(said)
        assert Path(str(number), "hand.json").is_file()
    assert document("0")["network"] == {"checkpoint": str(built_in), "view_size": 32}
    assert main(["predict", BUILT_IN, "--out=named", "hand.png"]) == 0  # options may stand between
    assert document("named") == document("0")
    assert main(["predict", str(run), "hand.png", "--out=run"]) == 0
    assert document("run")["network"] == {"checkpoint": str(run / "checkpoints" / "last.ckpt"), "view_size": 32}
    (hand,) = HandPredictor.load()("hand.png")
    assert HandPredictor.load().trained.checkpoint == built_in
    np.testing.assert_allclose(document("0")["hands"][0]["keypoints_2d"], hand.keypoints_2d, atol=1e-3)  # type: ignore[index]


@pytest.mark.usefixtures("image", "built_in")
def test_a_network_without_images_asks_for_them(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    for word in (str(run), BUILT_IN, "runs/nothing/there"):
        assert main(["predict", word]) == 2
        assert f"expected an INPUT after the network, {word}\n" in capsys.readouterr().err


@pytest.mark.usefixtures("image")
def test_a_copy_without_it_asks_for_a_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "hand.png"]) == 2
    assert "expected a network before the INPUT, hand.png\n" in capsys.readouterr().err
    missing = "peclr-small: this copy of peclr comes without it; name a run"
    assert main(["predict", BUILT_IN, "hand.png"]) == 2
    assert missing in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match=missing):
        HandPredictor.load()
    assert main(["weights"]) == 0
    assert BUILT_IN not in capsys.readouterr().out


@pytest.mark.usefixtures("package")
def test_its_name_stands_wherever_weights_do(built_in: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, halved = load_pose_net(run).state_dict(), load_weights(BUILT_IN, "encoder").encoder.state_dict()
    for name, value in halved.items():
        expected = whole[f"backend_model.{name}"]
        assert value.dtype == expected.dtype
        torch.testing.assert_close(value, expected, rtol=2**-11, atol=2**-24)
    assert built_in.stat().st_size < 0.6 * sum(value.nbytes for value in whole.values())
    capsys.readouterr()
    assert main(["weights", "get", BUILT_IN]) == 0
    assert capsys.readouterr().out == f"{built_in}\n"
    assert main(["weights"]) == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if BUILT_IN in line]
    assert "Apache-2.0" in row
    assert " here " in row
    assert main(["export", BUILT_IN, "--formats=safetensors", "--out=again"]) == 0
    assert Path("again", f"{BUILT_IN}.safetensors").is_file()


def test_the_one_that_ships_is_small_and_has_a_card() -> None:
    if BUILT_IN not in catalog():
        assert not list(SHIPPED.parent.glob(f"{BUILT_IN}.*"))
        return
    loaded = load_weights(BUILT_IN, "pose_net")
    assert SHIPPED.stat().st_size <= 8e6
    assert loaded.report.path == SHIPPED
    assert loaded.check_view_size(None)
    card = SHIPPED.with_suffix(".md").read_text(encoding="utf-8")
    assert "Apache-2.0" in card
    assert "2011.08927" in card


DIGITS = Path(os.environ.get("PECLR_PHOTOGRAPHS", "")) / "digits"


@pytest.mark.skipif(not DIGITS.is_dir(), reason="PECLR_PHOTOGRAPHS names no folder with digits")
def test_the_one_that_ships_finds_the_joints_of_photographed_hands() -> None:
    predict = HandPredictor.load(find="search")
    for side in ("right", "left"):
        errors = []
        for label in json.loads((DIGITS / "labels.json").read_text())[::40]:
            image, joints = read_image(DIGITS / "photos" / label["file"]), np.array(label["joints_2d"])
            if side == "left":
                image, joints[:, 0] = image[:, ::-1], image.shape[1] - 1 - joints[:, 0]
            low, high = joints.min(axis=0), joints.max(axis=0)
            (hand,) = predict(np.ascontiguousarray(image), box=[*low, *high], hand=side)
            distances = np.linalg.norm(hand.keypoints_2d - joints, axis=1)
            errors.append(distances.mean() / (high - low).max())
        assert len(errors) > 30
        assert np.median(errors) < 0.06  # of the longer side of the hand's box

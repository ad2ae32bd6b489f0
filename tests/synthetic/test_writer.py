"""The data set on disk: FreiHAND's layout, byte for byte the same, whole or not there."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from peclr.geometry.joints import SCALE_BONE
from peclr.synthetic import writer
from peclr.synthetic.arrays import Bytes
from peclr.synthetic.writer import SynthSummary, is_complete, write_freihand_layout
from tests.contents import contents

Written = tuple[Path, SynthSummary]

ARGUMENTS: dict[str, Any] = {"train": 18, "evaluation": 3, "seed": 5, "size": 48, "versions": 4, "scenes": 6}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    out = tmp_path_factory.mktemp("synth") / "hands"
    return out, write_freihand_layout(out, **ARGUMENTS, workers=1, progress=False)


def labels(root: Path, split: str, key: str) -> list[Any]:
    content: list[Any] = json.loads((root / f"{split}_{key}.json").read_text())
    return content


def read(path: Path) -> Bytes:
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), np.uint8)


def test_files_lie_where_freihands_do(written: Written) -> None:
    out, summary = written
    files = set(contents(out))
    assert files == (
        {f"training/rgb/{i:08d}.jpg" for i in range(18 * 4)}
        | {f"training/mask/{i:08d}.jpg" for i in range(18)}
        | {f"evaluation/rgb/{i:08d}.jpg" for i in range(3)}
        | {f"{split}_{key}.json" for split in ("training", "evaluation") for key in ("K", "xyz", "scale")}
        | {"synth.json"}
    )
    assert (summary.out, summary.training_hands, summary.evaluation_hands, summary.images) == (out, 18, 3, 75)
    assert isinstance(summary, SynthSummary)
    assert summary.seconds > 0


def test_images_and_masks_have_their_size(written: Written) -> None:
    out, _ = written
    assert read(out / "training/rgb/00000071.jpg").shape == (48, 48, 3)
    mask = read(out / "training/mask/00000000.jpg")
    assert mask.shape == (48, 48)
    assert mask.min() < 5
    assert mask.max() > 250


@pytest.mark.parametrize(("split", "count"), [("training", 18), ("evaluation", 3)])
def test_labels_are_freihands(written: Written, split: str, count: int) -> None:
    out, _ = written
    K, xyz, scale = (np.array(labels(out, split, key)) for key in ("K", "xyz", "scale"))
    assert (K.shape, xyz.shape, scale.shape) == ((count, 3, 3), (count, 21, 3), (count,))
    bone = xyz[:, SCALE_BONE[0]] - xyz[:, SCALE_BONE[1]]
    np.testing.assert_allclose(scale, np.linalg.norm(bone, axis=1), rtol=1e-12)
    projected = np.einsum("nij,npj->npi", K, xyz)
    pixels = projected[..., :2] / projected[..., 2:]
    assert np.mean((pixels > 0) & (pixels < 47)) > 0.95


def test_labels_belong_to_the_images(written: Written) -> None:
    out, _ = written
    K, xyz = (np.array(labels(out, "training", key)) for key in ("K", "xyz"))
    for i in range(18):
        mask = read(out / f"training/mask/{i:08d}.jpg")
        projected = xyz[i] @ K[i].T
        x, y = np.clip(np.round(projected[:, :2] / projected[:, 2:]).astype(int), 0, 47).T
        assert np.mean(cv2.dilate(mask, np.ones((3, 3)))[y, x] > 127) > 0.5  # the rest is behind a prop, if anything


def test_the_same_seed_writes_the_same_bytes_in_any_number_of_processes(written: Written, tmp_path: Path) -> None:
    write_freihand_layout(tmp_path / "again", **ARGUMENTS, workers=2, progress=False)
    assert contents(tmp_path / "again") == contents(written[0])


def test_a_hand_does_not_depend_on_how_many_hands_or_versions_there_are(written: Written, tmp_path: Path) -> None:
    fewer = ARGUMENTS | {"train": 4, "evaluation": 1, "versions": 2}
    write_freihand_layout(tmp_path / "fewer", **fewer, workers=1, progress=False)
    some, all_of_them = contents(tmp_path / "fewer"), contents(written[0])
    for hand in range(4):
        for version, same_as in ((0, 2), (1, 3)):  # sample and auto: the last two of FreiHAND's four
            mine, theirs = hand + 4 * version, hand + 18 * same_as
            assert some[f"training/rgb/{mine:08d}.jpg"] == all_of_them[f"training/rgb/{theirs:08d}.jpg"]
        assert some[f"training/mask/{hand:08d}.jpg"] == all_of_them[f"training/mask/{hand:08d}.jpg"]
    assert labels(tmp_path / "fewer", "training", "xyz") == labels(written[0], "training", "xyz")[:4]
    assert some["evaluation/rgb/00000000.jpg"] == all_of_them["evaluation/rgb/00000000.jpg"]


def test_splits_and_seeds_have_nothing_in_common(written: Written, tmp_path: Path) -> None:
    write_freihand_layout(tmp_path / "other", **ARGUMENTS | {"seed": 6, "train": 3}, workers=1, progress=False)
    first = [
        labels(root, split, "xyz")[0]
        for root, split in ((written[0], "training"), (written[0], "evaluation"), (tmp_path / "other", "training"))
    ]
    assert len({json.dumps(hand) for hand in first}) == 3


def test_is_complete_only_for_the_very_same_data(written: Written, tmp_path: Path) -> None:
    out, _ = written
    assert is_complete(out, **ARGUMENTS)
    for key in ARGUMENTS:
        assert not is_complete(out, **ARGUMENTS | {key: ARGUMENTS[key] + 1})
    assert not is_complete(tmp_path, **ARGUMENTS)
    (tmp_path / "synth.json").write_text("{")
    assert not is_complete(tmp_path, **ARGUMENTS)


def test_is_not_complete_after_the_generator_changed(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "GENERATOR_VERSION", writer.GENERATOR_VERSION + 1)
    assert not is_complete(written[0], **ARGUMENTS)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "hands").mkdir()
    (tmp_path / "hands" / "mine.txt").write_text("precious")
    with pytest.raises(FileExistsError, match=r"hands is not an empty folder"):
        write_freihand_layout(tmp_path / "hands", **ARGUMENTS, progress=False)
    with pytest.raises(FileExistsError, match=r"mine.txt is not"):
        write_freihand_layout(tmp_path / "hands" / "mine.txt", **ARGUMENTS, progress=False)
    assert (tmp_path / "hands" / "mine.txt").read_text() == "precious"


def test_an_empty_folder_will_do(tmp_path: Path) -> None:
    write_freihand_layout(tmp_path, train=1, evaluation=0, seed=0, size=32, versions=1, workers=1, progress=False)
    assert is_complete(tmp_path, train=1, evaluation=0, seed=0, size=32, versions=1)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_run_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def stop(*_: object) -> None:
        raise error

    monkeypatch.setattr(writer, "_write_labels", stop)
    with pytest.raises(error):
        write_freihand_layout(tmp_path / "hands", train=1, evaluation=0, seed=0, size=32, workers=1, progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("train", -1), ("seed", -1), ("size", 8), ("versions", 0), ("versions", 5), ("scenes", 0), ("workers", 0)],
)
def test_bad_arguments_are_named(tmp_path: Path, name: str, value: int) -> None:
    with pytest.raises(ValueError, match=rf"{name} is {value}; expected"):
        write_freihand_layout(tmp_path / "hands", **ARGUMENTS | {name: value}, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_no_hands_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="both 0"):
        write_freihand_layout(tmp_path / "hands", train=0, evaluation=0, seed=0)


def test_it_starts_without_torch() -> None:
    code = "import sys, peclr.synthetic.writer; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""The comparison on real hands: divided by group, turned with their labels, one command for all of it."""

import json
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from experiments.real import figure
from experiments.real import run as real
from experiments.real.split import write_split
from experiments.rendered import run as rendered
from experiments.rendered.plan import SIZES
from peclr.data.sources.freihand import FreiHAND
from peclr.geometry.camera import project
from peclr.geometry.planar import move
from peclr.training import precision
from tests.experiments.test_rendered import Here


@pytest.fixture
def collected(rendered_hands: Path, tmp_path: Path) -> Path:
    """24 hands of eight people, three each, one image a hand."""
    root = tmp_path / "collected"
    (root / "training" / "rgb").mkdir(parents=True)
    for hand in range(24):
        shutil.copy(rendered_hands / "training" / "rgb" / f"{hand:08d}.jpg", root / "training" / "rgb")
    for kind in ("K", "xyz", "scale"):
        shutil.copy(rendered_hands / f"training_{kind}.json", root)
    (root / "training_group.json").write_text(json.dumps([f"person {hand % 8}" for hand in range(24)]))
    (root / "training_class.json").write_text(json.dumps([str(hand % 3) for hand in range(24)]))
    return root


def people(hands: FreiHAND) -> set[str]:
    names = hands.names_of_hands("group")
    assert names is not None
    return set(names)


def test_people_are_in_one_split_and_keep_their_labels(collected: Path, tmp_path: Path) -> None:
    assert write_split(collected, tmp_path / "hands", test=0.25, turn=0) == (18, 6)
    training, evaluation = FreiHAND(tmp_path / "hands"), FreiHAND(tmp_path / "hands", "evaluation")
    assert people(training) | people(evaluation) == {f"person {number}" for number in range(8)}
    assert not people(training) & people(evaluation)
    of_image = {np.asarray(FreiHAND(collected)[hand]["image"]).tobytes(): hand for hand in range(24)}
    before, classes = FreiHAND(collected), training.names_of_hands("class")
    assert classes is not None
    for number in range(18):
        sample = training[number]
        hand = of_image[sample["image"].tobytes()]
        assert classes[number] == str(hand % 3)
        for key in ("K", "joints_3d", "scale_m"):
            np.testing.assert_array_equal(sample[key], before[hand][key])


def test_hands_are_turned_with_their_labels(collected: Path, tmp_path: Path) -> None:
    write_split(collected, tmp_path / "upright", test=0.25, turn=0)
    write_split(collected, tmp_path / "turned", test=0.25, turn=90)
    upright, turned = FreiHAND(tmp_path / "upright"), FreiHAND(tmp_path / "turned")
    angles = []
    for hand in range(18):
        before, after = upright[hand], turned[hand]
        assert before["joints_2d"] is not None
        assert after["joints_2d"] is not None
        center = (len(before["image"]) - 1) / 2
        a, b = before["joints_2d"] - center, after["joints_2d"] - center
        angle = np.angle(((b[:, 0] + 1j * b[:, 1]) * np.conj(a[:, 0] + 1j * a[:, 1])).sum())
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        np.testing.assert_allclose(a @ rotation.T, b, atol=1e-3)
        # the image, too: turned back, its middle is what it was
        side = len(before["image"])
        back = cv2.getRotationMatrix2D((center, center), np.rad2deg(angle), 1.0)
        middle = slice(side // 4, 3 * side // 4)
        again = np.asarray(cv2.warpAffine(after["image"], back, (side, side)), float)[middle, middle]
        assert np.abs(again - before["image"][middle, middle]).mean() < 8
        np.testing.assert_allclose(
            move(np.vstack((back, [0, 0, 1])), after["joints_2d"]), before["joints_2d"], atol=1e-2
        )
        # and 3-D is still what the camera sees
        K, joints = torch.tensor(after["K"]), torch.tensor(after["joints_3d"])
        np.testing.assert_allclose(project(joints, K), after["joints_2d"], atol=1e-2)
        assert before["joints_3d"] is not None
        steps, turned_steps = (np.diff(labels, axis=0) for labels in (before["joints_3d"], joints.numpy()))
        np.testing.assert_allclose(np.linalg.norm(turned_steps, axis=1), np.linalg.norm(steps, axis=1), rtol=1e-4)
        angles.append(np.rad2deg(angle))
    assert max(angles) - min(angles) > 90
    assert max(map(abs, angles)) <= 90


def test_a_division_is_not_taken_for_another(collected: Path, tmp_path: Path) -> None:
    write_split(collected, tmp_path / "hands", test=0.25, turn=0)
    write_split(collected, tmp_path / "hands", test=0.25, turn=0)
    with pytest.raises(ValueError, match="divided otherwise"):
        write_split(collected, tmp_path / "hands", test=0.5, turn=0)
    (collected / "training_group.json").unlink()
    with pytest.raises(ValueError, match=r"training_group\.json is missing"):
        write_split(collected, tmp_path / "other", test=0.25, turn=0)


def test_one_command_compares_upright_and_turned_hands(
    collected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rendered_hands: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(precision, "precision_that_pays", lambda: "32-true")
    monkeypatch.setattr(rendered, "workers", lambda processes: nullcontext(Here()))
    monkeypatch.setattr(real, "make_hands", lambda size: rendered_hands)
    monkeypatch.setitem(SIZES, "real-walk", replace(SIZES["real-walk"], pretrain_steps=2, finetune_steps={"short": 1}))
    suite = tmp_path / "pretraining.yaml"
    arms = "{scratch: , 'PeCLR on rendered hands': ['--data.sources.init_args.root={rendered}']}"
    suite.write_text(
        f"title: A title\narms: {arms}\nprobe_labels: [8]\nfinetune_labels: [8]\nfinetune_arms: [scratch]\n"
    )
    monkeypatch.setattr(real, "SUITES", tmp_path)
    assert real.main([str(collected), "--size=real-walk", "--out=out", "--processes=1", "--seeds", "0"]) == 0
    for kind in ("upright", "turned"):
        rows = json.loads(Path("out", kind, "results.json").read_text())["rows"]
        assert [(row["protocol"], row["weights"]) for row in rows if "class_accuracy_percent" in row] == [
            ("frozen probe", "scratch"),
            ("frozen probe", "PeCLR on rendered hands"),
        ]
        assert "| accuracy of a linear probe of classes, % |" in Path("out", kind, "table.md").read_text()
    assert figure.main(["out"]) == 0
    image = cv2.imread("out/real.png")
    assert image is not None
    assert image.std() > 20

"""Mining data without labels: joints that a network finds, in pixels of the image."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from peclr.__main__ import main
from peclr.data.sources.image_files import ImageFiles
from peclr.data.views.geometric import warp
from peclr.geometry.planar import view_from_image
from peclr.inference.network import TrainedNetwork
from peclr.mining.joints import joints_of
from tests.fake_net import FakeNet

SIZE = 32  # of views, px


def advance(units: int = 1, /, **counts: int) -> None:
    """Move no bar."""


@pytest.fixture
def images(tmp_path: Path, make_image: Callable[..., NDArray[np.uint8]]) -> Path:
    """Forty images: more than the network looks at together; JPEGs so large that they are read reduced."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(40):
        cv2.imwrite(str(folder / f"{number:02d}.jpg"), make_image(256 + number, 320, number))
    return folder


def test_what_the_network_sees_comes_back_to_the_image(images: Path) -> None:
    points = torch.cat((torch.tensor([[-0.5, -0.5], [31.5, 31.5]]), torch.full((19, 2), 15.5)))
    network = FakeNet(points).eval()
    source = ImageFiles(images)
    joints = joints_of(source, TrainedNetwork(network, SIZE, Path("fake")), range(40), advance)
    assert joints.shape == (40, 21, 2)
    boxes = np.stack([source[hand]["crop_box"] for hand in range(40)])
    np.testing.assert_allclose(joints[:, 0], boxes[:, :2], atol=1e-3)  # a view's edges are its crop box's
    np.testing.assert_allclose(joints[:, 1], boxes[:, 2:], atol=1e-3)
    np.testing.assert_allclose(joints[:, 20], (boxes[:, :2] + boxes[:, 2:]) / 2, atol=1e-3)


def test_the_network_sees_the_crop_box_of_images_that_were_read_reduced(images: Path) -> None:
    network, source = FakeNet(torch.full((21, 2), 15.5)).eval(), ImageFiles(images)
    assert "image_from_decoded" in source.read(0, 2 * SIZE)
    joints_of(source, TrainedNetwork(network, SIZE, Path("fake")), range(40), advance)
    seen = torch.cat([images for images, _ in network.seen])
    assert len(seen) == 40
    for hand in (0, 39):
        sample = source[hand]
        whole = warp(sample["image"], view_from_image(np.eye(3), sample["crop_box"], SIZE), SIZE)
        correlation = np.corrcoef(whole.transpose(2, 0, 1).ravel(), seen[hand].numpy().ravel())[0, 1]
        assert correlation > 0.9  # normalization has a scale of its own for each channel


def test_images_are_mined_with_a_detector_only(
    images: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from peclr.data.loading.pairing import Similar
    from peclr.data.loading.pairs_file import read_pairs

    out = tmp_path / "pairs.npz"
    assert main(["mine", str(images), "--out", str(out)]) == 2
    assert "without labels; give --detector" in capsys.readouterr().err
    assert not out.exists()
    assert main(["mine", str(images), "--out", str(out), "--detector", str(run)]) == 0
    assert "hands/s" in capsys.readouterr().err
    [mined], facts = read_pairs(out)
    assert mined.neighbors.shape == (40, 8)
    assert facts["joints"] == [str(run / "checkpoints" / "last.ckpt")]
    assert len(Similar(out).within(ImageFiles(images))) == 40


def test_labels_are_ignored_when_asked(
    rendered_hands: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from peclr.data.loading.pairs_file import read_pairs

    command = ["mine", str(rendered_hands), "--split", "evaluation", "--neighbors", "2"]
    assert main([*command, "--out", str(tmp_path / "no.npz"), "--ignore-labels"]) == 2
    assert "--ignore-labels needs --detector" in capsys.readouterr().err
    found = {}
    for name, options in {"labels": [], "network": ["--ignore-labels"]}.items():
        out = tmp_path / f"{name}.npz"
        assert main([*command, "--out", str(out), "--detector", str(run), *options]) == 0
        [mined], facts = read_pairs(out)
        found[name] = mined.distances
        assert (facts["joints"] == ["labels"]) == (name == "labels")
    assert np.abs(found["labels"] - found["network"]).max() > 1e-3

"""What `peclr export` makes of a fine-tuning run: the card of all files, and ONNX that predicts as PyTorch does."""

import copy
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from peclr.checkpoints import export_onnx, load_pose_net
from peclr.checkpoints.command import export_main
from peclr.checkpoints.onnx_file import OUTPUTS, compare_with_onnx
from peclr.geometry.affine import compose, rotation, scaling, translation
from peclr.geometry.joints import JOINT_NAMES
from peclr.models.encoders import ResNetEncoder
from peclr.models.pose_net import PoseNet25D
from tests.saved_run import save_run

pytestmark = pytest.mark.last
SIZE = 48


@pytest.fixture(scope="module")
def finetuned_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has been evaluated, with joints as far apart as a trained network's: the camera matters."""
    folder = tmp_path_factory.mktemp("runs") / "finetuned"
    torch.manual_seed(0)
    network = PoseNet25D(ResNetEncoder("resnet18", 0.125)).init_for(SIZE)
    with torch.no_grad():
        network.backend_model.fc.bias += torch.randn(64) * torch.tensor([8.0, 8.0, 0.4]).repeat(22)[:64]
        for parameter in network.zroot_ref.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    save_run(folder, network, SIZE)
    config = f"data: {{init_args: {{view_size: {SIZE}, root: null}}}}\ntrainer: {{max_epochs: 7}}\n"
    (folder / "config.yaml").write_text(config)
    (folder / "evaluation").mkdir()
    (folder / "evaluation" / "scores.json").write_text(json.dumps({"metrics": {"pa_epe_mm": 12.5}}))
    return folder


@pytest.fixture(scope="module")
def exported_run(finetuned_run: Path) -> Path:
    """The folder of `peclr export`, in all formats that the run allows."""
    for module in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(module, reason="needs the extra: pip install 'peclr[export]'")
    out = finetuned_run.parent / "exported"
    assert export_main([str(finetuned_run), "--out", str(out)]) == 0
    return out


def test_an_exported_run_comes_back_whole(exported_run: Path, finetuned_run: Path) -> None:
    names = sorted(path.name for path in exported_run.iterdir())
    assert names == ["README.md", "finetuned.onnx", "finetuned.safetensors"]  # torchvision has no such width
    expected = load_pose_net(finetuned_run).state_dict()
    back = load_pose_net(exported_run / "finetuned.safetensors").state_dict()
    assert all(torch.equal(value, back[key]) for key, value in expected.items())


def test_the_card_says_all_that_a_stranger_needs(exported_run: Path) -> None:
    card = (exported_run / "README.md").read_text()
    assert "138 tensors used" in card
    assert "(batch, 3, 48, 48)" in card
    assert "| 9 | middle_mcp |" in card
    assert "| `pa_epe_mm` | 12.5 |" in card
    assert "max_epochs: 7" in card
    assert "root" not in card.split("## Training")[1]  # options left at null are left out
    assert str(exported_run.parent) not in card
    difference = re.search(r"by at most (\S+) px and (\S+) mm", card)
    assert difference is not None
    assert float(difference[1]) <= 1e-4
    assert float(difference[2]) <= 0.1
    assert hashlib.sha256((exported_run / "finetuned.onnx").read_bytes()).hexdigest() in card


def test_the_card_names_no_file_that_is_not_there(exported_run: Path) -> None:
    card = (exported_run / "README.md").read_text()
    named = set(re.findall(r"finetuned\.(?:onnx|safetensors)|\w+\.pth", card))
    assert named == {"finetuned.onnx", "finetuned.safetensors"}


@pytest.fixture(scope="module")
def exported(exported_run: Path) -> tuple[PoseNet25D, Path]:
    """A network, and the ONNX file of it."""
    return load_pose_net(exported_run / "finetuned.safetensors").eval(), exported_run / "finetuned.onnx"


def session_of(path: Path) -> Any:
    import onnxruntime  # type: ignore[import-untyped]

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_onnxruntime_predicts_what_pytorch_does(exported: tuple[PoseNet25D, Path], batch: int) -> None:
    network, path = exported
    generator = torch.Generator().manual_seed(batch)
    image = torch.randn(batch, 3, SIZE, SIZE, generator=generator)
    K = torch.tensor([[90.0, 0, 24], [0, 95, 23], [0, 0, 1]])
    # of a crop that was turned upside down, of one that was turned a little, of one that was scaled and moved …
    view_from_image = compose(
        translation(torch.rand(batch, 2, generator=generator) * 9),
        rotation(torch.linspace(torch.pi, 0.1, batch)),
        scaling(torch.linspace(0.7, 1.6, batch)),
    )
    cameras = view_from_image @ K
    with torch.no_grad():
        expected = network(image, cameras)
    session = session_of(path)
    found = dict(zip(OUTPUTS, session.run(OUTPUTS, {"image": image.numpy(), "K": cameras.numpy()}), strict=True))
    np.testing.assert_allclose(found["keypoints_2d"], expected["keypoints_2d"].numpy(), atol=1e-4)
    for name in ("depth_rel", "root_depth", "joints_3d"):  # in bone lengths, of about 0.03 m
        np.testing.assert_allclose(0.03 * found[name], 0.03 * expected[name].numpy(), atol=1e-4)
    assert found["joints_3d"].shape == (batch, 21, 3)


def test_the_camera_matters_to_the_export(exported: tuple[PoseNet25D, Path]) -> None:
    session = session_of(exported[1])
    image = np.zeros((1, 3, SIZE, SIZE), np.float32)
    near, far = (np.array([[[f, 0, 24], [0, f, 24], [0, 0, 1]]], np.float32) for f in (60, 240))
    depths = [session.run(["root_depth"], {"image": image, "K": K})[0][0] for K in (near, far)]
    assert depths[1] > 2 * depths[0]


def test_the_file_describes_itself(exported: tuple[PoseNet25D, Path]) -> None:
    import onnx

    model = onnx.load(str(exported[1]))
    onnx.checker.check_model(model)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties["view_size"] == str(SIZE)
    assert json.loads(properties["joint_names"]) == list(JOINT_NAMES)
    assert json.loads(properties["peclr"])["view_size"] == SIZE
    assert [entry.name for entry in model.graph.input] == ["image", "K"]
    assert sum(node.op_type == "Slice" for node in model.graph.node) < 30  # joints are reordered at once


def test_the_check_notices_another_network(exported: tuple[PoseNet25D, Path]) -> None:
    other = copy.deepcopy(exported[0])
    with torch.no_grad():
        other.backend_model.fc.bias[3] += 0.001  # a thousandth of a pixel
    assert compare_with_onnx(other, exported[1], SIZE).keypoints_px > 1e-4
    with torch.no_grad():
        other.backend_model.fc.bias.fill_(torch.nan)
    assert not compare_with_onnx(other, exported[1], SIZE).joints_m <= 1e-4


def test_nothing_is_overwritten(exported: tuple[PoseNet25D, Path]) -> None:
    with pytest.raises(FileExistsError, match=r"finetuned\.onnx exists already"):
        export_onnx(exported[0], exported[1], SIZE)

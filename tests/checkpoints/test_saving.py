"""Weights out for PyTorch: torchvision takes them strictly, and nothing is overwritten."""

from pathlib import Path

import pytest
import torch
import torchvision  # type: ignore[import-untyped]

from peclr.checkpoints import export_safetensors, export_torchvision, load_encoder
from peclr.checkpoints.loading import load_weights, read_content
from peclr.checkpoints.saving import file_metadata
from peclr.models.pose_net import PoseNet25D
from peclr.runs.about import About
from tests.checkpoints.weights import encoder_of


def test_export_loads_into_torchvision_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "encoder.pth"
    encoder = encoder_of(width=1).eval()
    about = About(kind="pretrain", encoder=encoder.config(), view_size=48)
    export_torchvision(encoder, path, about)
    assert read_content(path).about == about
    model = torchvision.models.resnet18()
    model.load_state_dict(torch.load(path, weights_only=True), strict=True)
    model.fc = torch.nn.Identity()
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(image), encoder(image))
    back = load_encoder(path).state_dict()
    assert all(torch.equal(value, back[key]) for key, value in encoder.state_dict().items())


def test_export_of_a_pose_nets_encoder_leaves_the_pose_head_behind(tmp_path: Path) -> None:
    network = PoseNet25D(encoder_of(width=1))
    export_torchvision(network.backend_model, tmp_path / "encoder.pth")
    torchvision.models.resnet18().load_state_dict(torch.load(tmp_path / "encoder.pth"), strict=True)


def test_export_refuses_what_torchvision_lacks_and_what_exists(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no resnet18 of width 0\.125"):
        export_torchvision(encoder_of(width=0.125), tmp_path / "encoder.pth")
    (tmp_path / "encoder.pth").touch()
    with pytest.raises(FileExistsError, match=r"encoder\.pth exists already"):
        export_torchvision(encoder_of(width=1), tmp_path / "encoder.pth")


def test_safetensors_overwrite_nothing(tmp_path: Path) -> None:
    (tmp_path / "net.safetensors").touch()
    with pytest.raises(FileExistsError, match=r"net\.safetensors exists already"):
        export_safetensors(encoder_of(width=0.125), tmp_path / "net.safetensors")


def test_safetensors_say_what_they_are(tmp_path: Path) -> None:
    network = PoseNet25D(encoder_of(width=0.125))
    about = About(kind="finetune", encoder=network.backend_model.config(), view_size=48)
    export_safetensors(network, tmp_path / "net.safetensors", file_metadata("net", about))
    loaded = load_weights(tmp_path / "net.safetensors", "pose_net")
    assert (loaded.about, loaded.view_size) == (about, 48)


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"view_size": "48.0"}, r"view_size '48\.0', expected a whole number of pixels"),
        ({"view_size": "0"}, "view_size 0, expected"),
        ({"peclr": "{"}, "not valid JSON"),
        ({"peclr": "[1]", "view_size": "48"}, "its 'peclr' has format None, expected a number"),
    ],
)
def test_safetensors_that_cannot_be_understood_are_refused(
    metadata: dict[str, str], reason: str, tmp_path: Path
) -> None:
    export_safetensors(PoseNet25D(encoder_of(width=0.125)), tmp_path / "net.safetensors", metadata)
    with pytest.raises(ValueError, match=rf"net\.safetensors.*: {reason}"):
        load_weights(tmp_path / "net.safetensors", "pose_net")


def test_what_float16_cannot_hold_is_not_halved(tmp_path: Path) -> None:
    encoder = encoder_of(width=0.125)
    export_safetensors(encoder, tmp_path / "net.safetensors", half=True)
    back = load_encoder(tmp_path / "net.safetensors").state_dict()
    for name, value in encoder.state_dict().items():
        assert back[name].dtype == value.dtype
        torch.testing.assert_close(back[name], value, rtol=2**-11, atol=2**-24)
    encoder.state_dict()["bn1.running_var"][0] = 1e5
    with pytest.raises(ValueError, match=r"big\.safetensors: float16 ends at 65,504, and bn1\.running_var goes beyond"):
        export_safetensors(encoder, tmp_path / "big.safetensors", half=True)
    assert not (tmp_path / "big.safetensors").exists()

"""Checkpoints of encoders that are no ResNets: built as the file names them, and nothing else that it might name."""

from pathlib import Path
from typing import Any

import pytest
import torch

from peclr.checkpoints import load_encoder, load_pose_net
from peclr.checkpoints.loading import load_weights
from peclr.checkpoints.saving import torchvision_obstacle
from peclr.losses.objectives import PeCLR
from peclr.models.encoders import Encoder
from peclr.models.timm_encoder import TimmEncoder
from peclr.runs.about import KEY
from peclr.training import FinetuneModule, PretrainModule
from tests.checkpoints.weights import encoder_of

pytest.importorskip("timm", reason="needs the extra: pip install 'peclr[timm]'")


class Mean(Encoder):
    """An encoder of somebody else's."""

    def __init__(self, feature_dim: int = 3) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        self.scale = torch.nn.Parameter(torch.ones(feature_dim))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3)) * self.scale


def saved(module: PretrainModule | FinetuneModule, path: Path) -> Path:
    content: dict[str, Any] = {"state_dict": module.state_dict()}
    module._trainer = None
    if isinstance(module, PretrainModule):
        module.trainer = type("Trainer", (), {"datamodule": None})()  # all that is asked
    module.on_save_checkpoint(content)
    torch.save(content, path)
    return path


@pytest.fixture
def pretrained(tmp_path: Path) -> Path:
    return saved(PretrainModule(TimmEncoder("test_vit", view_size=48), PeCLR(), lars=False), tmp_path / "a.ckpt")


def test_an_encoder_comes_back_with_what_it_normalizes_by(pretrained: Path) -> None:
    content = torch.load(pretrained, weights_only=True)
    loaded = load_weights(pretrained)
    assert loaded.report.kind == "pre-training run of this package"
    encoder = loaded.encoder
    assert isinstance(encoder, TimmEncoder)
    assert (encoder.name, encoder.view_size, encoder.mean) == ("test_vit", 48, (0.5, 0.5, 0.5))
    for key, value in encoder.state_dict().items():
        assert torch.equal(value, content["state_dict"][f"encoder.{key}"])
    content[KEY]["mean"] = [0.4, 0.4, 0.4]  # of another version of timm
    torch.save(content, pretrained)
    assert load_encoder(pretrained).mean == (0.4, 0.4, 0.4)


def test_fine_tuning_takes_it_at_the_side_of_its_own_views(pretrained: Path, tmp_path: Path) -> None:
    for encoder in (None, TimmEncoder("test_vit.r160_in1k")):
        module = FinetuneModule(encoder, pretrained, view_size=64)
        assert module.pose_net.backend_model.view_size == 64
    network = load_pose_net(saved(module, tmp_path / "b.ckpt")).eval()
    image, K = torch.randn(2, 3, 64, 64), torch.tensor([[90.0, 0, 32], [0, 90, 32], [0, 0, 1]]).expand(2, 3, 3)
    with torch.no_grad():
        joints = module.pose_net.eval()(image, K)["joints_3d"]
        torch.testing.assert_close(network(image, K)["joints_3d"], joints)
    with pytest.raises(ValueError, match="expected a test_convnext, found a test_vit"):
        FinetuneModule(TimmEncoder("test_convnext"), pretrained)
    with pytest.raises(ValueError, match=r"expected a resnet18 of width 0\.125, found a test_vit"):
        FinetuneModule(encoder_of(), pretrained)
    assert "torchvision's ResNets" in str(torchvision_obstacle(network.backend_model))


def test_an_encoder_of_somebody_elses_is_loaded_only_into_one_that_is_given(tmp_path: Path) -> None:
    module = PretrainModule(Mean(), PeCLR())
    torch.nn.init.constant_(module.encoder.scale, 7.0)
    path = saved(module, tmp_path / "mean.ckpt")
    with pytest.raises(ValueError, match=r"mean\.ckpt: its encoder is a '.*Mean', .* give it as encoder"):
        load_encoder(path)
    given = Mean()
    assert FinetuneModule(given, path).pose_net.backend_model.scale.tolist() == [7.0, 7.0, 7.0]
    saved(FinetuneModule(Mean(), path), tmp_path / "fine.ckpt")
    assert load_encoder(tmp_path / "fine.ckpt", expect=Mean()).feature_dim == 3


@pytest.mark.parametrize(
    ("encoder", "reason"),
    [
        ({"class_path": "os.system", "init_args": {"command": "true"}}, "its encoder is a 'os.system', which no file"),
        ({"class_path": ["x"], "init_args": {}}, "its encoder is a "),
        ({"init_args": {"name": "hf-hub:a/b", "view_size": 48}}, "timm has no network 'hf-hub:a/b'"),
        ({"init_args": {"name": "test_vit", "view_size": 50}}, "patches of 16 px: views of 50 px"),
        ({"init_args": {"name": "test_vit", "view_size": 10**7}}, "view_size 10000000"),
        ({"init_args": {"name": 3, "view_size": 48}}, "expected a name and view_size"),
        ({"init_args": {"name": "test_vit"}}, "expected a name and view_size"),
        ({"init_args": {"name": "test_vit", "view_size": 48, "weights": "DEFAULT"}}, "expected a name and view_size"),
        (
            {"init_args": {"name": "vit_giant_patch14_dinov2", "view_size": 56}},
            "vit_giant_patch14_dinov2 has 1,1.* wei",
        ),
        ({"init_args": {"name": "test_vit", "view_size": 64}}, "model.pos_embed has shape"),
        ({"init_args": {"name": "test_resnet", "view_size": None}}, "declares|has|expected one of"),
    ],
)
def test_what_a_file_may_not_name_is_refused(encoder: dict[str, Any], reason: str, pretrained: Path) -> None:
    content = torch.load(pretrained, weights_only=True)
    content[KEY]["encoder"] |= encoder
    torch.save(content, pretrained)
    with pytest.raises(ValueError, match=rf"a\.ckpt: .*({reason})"):
        load_encoder(pretrained)

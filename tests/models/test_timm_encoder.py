"""Encoders of timm: its networks as they are, at the side of the views, with weights that are at hand."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from peclr.losses.objectives import PeCLR
from peclr.models.timm_encoder import TimmEncoder
from peclr.training import FinetuneModule, PretrainModule

timm: Any = pytest.importorskip("timm", reason="needs the extra: pip install 'peclr[timm]'")
NAMES = ["test_vit", "test_convnext", "test_resnet"]


def state_of(name: str, **options: Any) -> dict[str, torch.Tensor]:
    """Weights of timm's own, as it publishes them: with a classifier, for views of 160 px unless options say else."""
    return dict(timm.create_model(name, num_classes=10, **options).state_dict())


@pytest.mark.parametrize("name", NAMES)
def test_features_are_timms(name: str) -> None:
    encoder = TimmEncoder(name, view_size=64).eval()
    options = {"img_size": 64} if name == "test_vit" else {}
    theirs = timm.create_model(name, num_classes=0, **options).eval()
    theirs.load_state_dict({key.removeprefix("model."): value for key, value in encoder.state_dict().items()})
    views = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    images = encoder.normalize(views)
    torch.testing.assert_close(images, (views / 255 - 0.5) / 0.5)  # of these networks
    with torch.no_grad():
        torch.testing.assert_close(encoder(images), theirs(images))
    assert encoder(images).shape == (2, encoder.feature_dim)
    assert encoder.view_size == (64 if name == "test_vit" else None)


@pytest.mark.parametrize("name", ["test_vit", "test_vit_relpos"])
def test_an_encoder_that_was_made_to_fit_is_as_one_made_so(name: str) -> None:
    """A checkpoint names the side of the views, not the sides that there were before."""
    fitted, made = TimmEncoder(name).for_view_size(64).for_view_size(96).eval(), TimmEncoder(name, view_size=96).eval()
    made.load_state_dict(fitted.state_dict())
    images = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(made(images), fitted(images))


def test_features_are_as_many_as_a_head_behind_the_pooling_gives() -> None:
    encoder = TimmEncoder("mobilenetv3_small_050").eval()
    assert encoder(torch.zeros(1, 3, 32, 32)).shape == (1, encoder.feature_dim) == (1, 1024)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_of_another_side_are_resampled_and_the_classifier_left_out(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import save_file

    path, state = tmp_path / f"vit{suffix}", state_of("test_vit")
    save_file(state, path) if suffix == ".safetensors" else torch.save({"state_dict": state}, path)
    encoder = TimmEncoder("test_vit", str(path), view_size=48)
    expected = timm.create_model("test_vit", num_classes=0)
    expected.load_state_dict({key: value for key, value in state.items() if not key.startswith("head.")})
    expected.set_input_size((48, 48))  # of a ViT, as for its weights
    assert all(torch.equal(value, encoder.model.state_dict()[key]) for key, value in expected.state_dict().items())
    assert encoder.model.pos_embed.shape == (1, 10, 64)
    used, license_ = capsys.readouterr().err.splitlines()
    assert used == f"peclr: {path}: {len(state) - 2} tensors used, left out head.bias, head.weight"
    assert license_ == "peclr: test_vit: weights, if they are timm's, are under apache-2.0"


def test_what_is_not_its_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    for state, reason in (
        (state_of("test_convnext"), "it lacks "),
        ({key: value for key, value in state_of("test_resnet").items() if "bn1" not in key}, "it lacks bn1.weight"),
        (state_of("test_resnet") | {"more": torch.zeros(1)}, "its more is unknown"),
        (
            state_of("test_resnet") | {"bn1.weight": torch.zeros(3)},
            r"its bn1.weight has shape \(3,\), expected \(32,\)",
        ),
    ):
        torch.save(state, path)
        with pytest.raises(ValueError, match=rf"x\.pth: not weights of test_resnet: {reason}"):
            TimmEncoder("test_resnet", str(path))
    torch.save({"state_dict": [1, 2]}, path)
    with pytest.raises(ValueError, match=r"x\.pth: expected a file of tensors by name"):
        TimmEncoder("test_resnet", str(path))
    with pytest.raises(FileNotFoundError, match=r"nothing\.pth: no such file of weights; DEFAULT takes"):
        TimmEncoder("test_resnet", str(tmp_path / "nothing.pth"))


@pytest.fixture
def hub(tmp_path: Path, no_network: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of huggingface_hub, and no network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_timms_weights_are_read_from_the_hubs_cache(hub: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from safetensors.torch import save_file

    folder = hub / "models--timm--test_vit.r160_in1k"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    (folder / "snapshots" / "abc").mkdir(parents=True)
    state = state_of("test_vit")
    save_file(state, folder / "snapshots" / "abc" / "model.safetensors")
    encoder = TimmEncoder("test_vit.r160_in1k", "DEFAULT")
    assert torch.equal(encoder.model.pos_embed, state["pos_embed"])
    assert capsys.readouterr().err.endswith("test_vit.r160_in1k: timm's weights are under apache-2.0\n")


def test_weights_that_are_not_at_hand_are_never_downloaded(hub: Path) -> None:
    advice = "are in no cache: `hf download timm/test_vit.r160_in1k model.safetensors` downloads them; without network"
    with pytest.raises(FileNotFoundError, match=f"weights of test_vit, under apache-2.0, {advice}"):
        TimmEncoder("test_vit", "DEFAULT")
    with pytest.raises(ValueError, match="timm publishes no weights of test_maxvit"):
        TimmEncoder("test_maxvit", "DEFAULT")


def test_a_license_that_is_not_free_is_said(hub: Path) -> None:
    with torch.device("meta"), pytest.raises(FileNotFoundError, match="under dinov3-license, not free for every use"):
        TimmEncoder("convnext_tiny.dinov3_lvd1689m", "DEFAULT")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("vit_smal_patch16_224", "no network 'vit_smal_patch16_224'; near are vit_small_patch16_224, "),
        ("dinov3", "no network 'dinov3'; near are .*dinov3"),
        ("hf-hub:timm/x", "no network 'hf-hub:timm/x'"),
        ("local-dir:/tmp", "no network 'local-dir:/tmp'"),
        ("test_vit.r160_in1", "no weights 'r160_in1' of test_vit; near are r160_in1k"),
        ("test_vit.", "no weights '' of test_vit; expected one of r160_in1k"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(name: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"timm has {reason}"):
        TimmEncoder(name)


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"timm is not installed; pip install 'peclr\[timm\]' brings it"):
        TimmEncoder("test_vit")


def test_views_that_patches_do_not_fill_are_refused() -> None:
    reason = "patches of 16 px: views of 100 px do not fit, 96 px or 112 px do"
    with pytest.raises(ValueError, match=reason):
        TimmEncoder("test_vit", view_size=100)
    with pytest.raises(ValueError, match=reason):
        TimmEncoder("test_vit").for_view_size(100)
    with pytest.raises(ValueError, match=r"made for views of 160 px, got \(1, 3, 64, 64\)"):
        TimmEncoder("test_vit")(torch.zeros(1, 3, 64, 64))


def test_views_that_a_network_turns_out_not_to_take_are_refused() -> None:
    """Timm makes both for any side, and only the first image shows that it cannot be."""
    for name, reason in (("efficientformer_l1", ": The size of tensor"), ("halonet26t", "")):
        encoder = TimmEncoder(name)
        with pytest.raises(ValueError, match=f"{name} cannot take views of 72 px{reason}"):
            PretrainModule(encoder, PeCLR(), lars=False, view_size=72)
        assert encoder.model.training


def test_a_network_that_cannot_be_resampled_says_where_it_can_begin() -> None:
    what = "convit_tiny cannot go from views of 224 px to 64 px: its pos_embed has shape .*, expected "
    with pytest.raises(ValueError, match=f"{what}.*; with random weights it begins there, given view_size: 64 itself"):
        TimmEncoder("convit_tiny").for_view_size(64)
    assert TimmEncoder("convit_tiny", view_size=64).for_view_size(64).view_size == 64


def test_modules_make_it_fit_their_views() -> None:
    assert PretrainModule(TimmEncoder("test_vit"), PeCLR(), lars=False, view_size=48).encoder.view_size == 48
    network = FinetuneModule(TimmEncoder("test_vit"), view_size=64).pose_net
    assert network.backend_model.view_size == 64
    assert network.backend_model(torch.zeros(2, 3, 64, 64)).shape == (2, 64)


@pytest.mark.parametrize("name", NAMES)
def test_checkpointed_gradients_are_the_same(name: str) -> None:
    torch.manual_seed(0)
    plain, sparing = TimmEncoder(name, view_size=32), TimmEncoder(name, view_size=32, grad_checkpointing=True)
    sparing.load_state_dict(plain.state_dict())
    images = torch.randn(2, 3, 32, 32)
    for encoder in (plain, sparing):
        encoder(images).square().sum().backward()
    for one, other in zip(plain.parameters(), sparing.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_sync_batchnorm_keeps_the_activations_in_timms_layers() -> None:
    encoder = TimmEncoder("test_efficientnet").eval()
    module = nn.ModuleList([encoder, nn.BatchNorm1d(4)])
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = encoder(images)
        for _ in range(2):  # each call of the trainer
            encoder.convert_sync_batchnorm(module)
            torch.testing.assert_close(encoder.eval()(images), expected)
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    assert all(isinstance(part, nn.SyncBatchNorm) for part in norms)
    vit = TimmEncoder("test_vit")
    vit.convert_sync_batchnorm(vit)
    assert not any(isinstance(part, nn.SyncBatchNorm) for part in vit.modules())


@pytest.mark.parametrize("name", [*NAMES, "test_efficientnet"])
def test_layers_are_timms_for_layer_wise_decay(name: str) -> None:
    from timm.optim._param_groups import param_groups_layer_decay

    encoder = TimmEncoder(name)
    layers = encoder.layers()
    names = {id(parameter): key for key, parameter in encoder.model.named_parameters()}
    scales = {
        names[id(parameter)]: 0.5 ** (len(layers) - 1 - depth)
        for depth, layer in enumerate(layers)
        for parameter in layer
    }
    expected = {
        names[id(parameter)]: group["lr_scale"]
        for group in param_groups_layer_decay(encoder.model, layer_decay=0.5)
        for parameter in group["params"]
    }
    assert scales == expected
    assert len(layers) > 2
    undecayed = {names[id(parameter)] for parameter in encoder.undecayed()}
    assert undecayed == ({"pos_embed", "cls_token", "reg_token"} & set(names.values()))


def test_patterns_of_names_do_not_decay_either() -> None:
    with torch.device("meta"):
        encoder = TimmEncoder("xcit_nano_12_p8_224")  # whose positional embeddings are a module
    spared = set(map(id, encoder.undecayed()))
    assert {id(parameter) for parameter in encoder.model.pos_embed.parameters()} < spared
    assert id(encoder.model.cls_token) in spared
    assert len(spared) < len(list(encoder.parameters()))

"""Checkpoints: every layout is recognized, everything is accounted for, and what does not fit is refused."""

import os
import pathlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor

from peclr.checkpoints import export_safetensors, load_encoder, load_pose_net
from peclr.checkpoints.layouts import recognize_resnet
from peclr.checkpoints.loading import load_weights
from peclr.models.encoders import ARCHITECTURES, ResNetEncoder, ResNetName
from peclr.models.heads import ProjectionHead
from peclr.models.pose_net import PoseNet25D
from peclr.runs.about import config_of
from tests.checkpoints.weights import encoder_of

State = dict[str, Tensor]
POSITIONS = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}


def prefixed(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}


def torchvision_state(encoder: ResNetEncoder) -> State:
    return dict(encoder.state_dict()) | {"fc.weight": torch.zeros(10, encoder.feature_dim), "fc.bias": torch.zeros(10)}


def training_checkpoint(encoder: ResNetEncoder) -> State:
    """Keys of the published training checkpoints: a Sequential of the ResNet's children."""
    state = {}
    for key, value in encoder.state_dict().items():
        child, rest = key.split(".", 1)
        state[f"encoder.features.{POSITIONS[child]}.{rest}"] = value
    state |= prefixed("encoder.final_layer.0.", {"weight": torch.zeros(3), "bias": torch.zeros(3)})
    return state | prefixed("projection_head.", ProjectionHead(encoder.feature_dim).state_dict())


def own_pretraining(encoder: ResNetEncoder) -> State:
    head = ProjectionHead(encoder.feature_dim)
    return prefixed("encoder.", encoder.state_dict()) | prefixed("projection_head.", head.state_dict())


def fine_tuned(encoder: ResNetEncoder) -> State:
    return dict(PoseNet25D(encoder).state_dict())


def own_fine_tuning(encoder: ResNetEncoder) -> State:
    return prefixed("pose_net.", fine_tuned(encoder))


LAYOUTS: dict[str, Callable[[ResNetEncoder], State]] = {
    "torchvision ResNet": torchvision_state,
    "published training checkpoint": training_checkpoint,
    "pre-training run of this package": own_pretraining,
    "published fine-tuned network": fine_tuned,
    "fine-tuning run of this package": own_fine_tuning,
}


@pytest.mark.parametrize("kind", LAYOUTS)
@pytest.mark.parametrize("wrapped", [True, False], ids=["state_dict", "bare"])
def test_encoder_comes_out_of_every_layout(kind: str, *, wrapped: bool, tmp_path: Path) -> None:
    encoder = encoder_of()
    expected = {key: value.clone() for key, value in encoder.state_dict().items()}
    state = LAYOUTS[kind](encoder)
    path = tmp_path / "weights.ckpt"
    torch.save({"state_dict": state, "epoch": 3, "hyper_parameters": {"lr": 0.1}} if wrapped else state, path)

    loaded = load_weights(path, "encoder")
    assert config_of(loaded.encoder) == config_of(encoder)
    assert loaded.report.kind == kind
    assert len(loaded.report.used) == len(expected)
    assert set(loaded.report.used) | set(loaded.report.ignored) == set(state)
    assert loaded.report.missing == ()
    assert f"{len(expected)} tensors used" in str(loaded.report)
    assert str(path) in str(loaded.report)

    state_dict = load_encoder(path).state_dict()
    assert state_dict.keys() == expected.keys()
    assert all(torch.equal(value, expected[key]) for key, value in state_dict.items())


def test_architecture_and_width_are_read_off_the_tensors(tmp_path: Path) -> None:
    encoder = encoder_of("resnet18", 0.3)
    torch.save(encoder.state_dict(), tmp_path / "weights.pth")
    loaded = load_weights(tmp_path / "weights.pth", "encoder", expect=encoder)
    assert config_of(loaded.encoder) == config_of(encoder)
    for name in ARCHITECTURES:
        with torch.device("meta"):  # shapes are enough
            shapes = ResNetEncoder(name, 0.125).state_dict()
        assert recognize_resnet(shapes, tmp_path) == (name, 0.125)


@pytest.mark.parametrize(
    ("name", "width", "message"),
    [
        ("resnet34", 0.125, r"expected a resnet34 of width 0\.125, found a resnet18 of width 0\.125"),
        ("resnet18", 1.0, r"expected a resnet18, found a resnet18 of width 0\.125"),
    ],
)
def test_another_resnet_than_expected_is_refused(name: ResNetName, width: float, message: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(encoder_of().state_dict(), path)
    with torch.device("meta"):
        expect = ResNetEncoder(name, width)
    with pytest.raises(ValueError, match=rf"weights\.pth: {message}"):
        load_weights(path, "encoder", expect=expect)


@pytest.mark.parametrize("prefix", ["", "pose_net."], ids=["published", "own"])
def test_pose_net_predicts_as_before(prefix: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = PoseNet25D(ResNetEncoder("resnet18", 0.125)).eval()
    torch.save({"state_dict": prefixed(prefix, network.state_dict())}, tmp_path / "net.ckpt")
    loaded = load_pose_net(tmp_path / "net.ckpt").eval()
    image = torch.randn(2, 3, 32, 32)
    K = torch.tensor([[50.0, 0, 16], [0, 50, 16], [0, 0, 1]]).expand(2, 3, 3)
    with torch.no_grad():
        torch.testing.assert_close(loaded(image, K), network(image, K), rtol=0, atol=0)


def test_pretrained_encoder_is_no_pose_net(tmp_path: Path) -> None:
    torch.save(own_pretraining(encoder_of()), tmp_path / "weights.ckpt")
    with pytest.raises(ValueError, match=r"weights\.ckpt: .*found a pre-training run .* no pose head"):
        load_pose_net(tmp_path / "weights.ckpt")


def test_counters_of_batchnorm_may_be_missing(tmp_path: Path) -> None:
    state = torchvision_state(encoder_of())
    torch.save({key: value for key, value in state.items() if "num_batches" not in key}, tmp_path / "w.pth")
    loaded = load_weights(tmp_path / "w.pth", "encoder")
    assert len(loaded.report.missing) == 20
    ResNetEncoder("resnet18", 0.125).load_state_dict(loaded.encoder.state_dict(), strict=True)


def test_tensors_too_many_or_too_few_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    state = torchvision_state(encoder_of())
    del state["layer1.0.bn1.running_mean"]
    state |= {f"attention.{i}": torch.zeros(1) for i in range(9)}
    torch.save(state, path)
    expected = (
        r"weights\.pth: not a complete torchvision ResNet: unexpected attention\.0, .*\.5 and 3 more; "
        r"missing layer1\.0\.bn1\.running_mean$"
    )
    with pytest.raises(ValueError, match=expected):
        load_encoder(path)


@pytest.mark.parametrize("make", [own_pretraining, training_checkpoint, own_fine_tuning, fine_tuned])
def test_unknown_neighbors_are_not_ignored(make: Callable[[ResNetEncoder], State], tmp_path: Path) -> None:
    torch.save(make(encoder_of()) | {"teacher.conv1.weight": torch.zeros(1)}, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"unexpected teacher\.conv1\.weight; missing nothing"):
        load_encoder(tmp_path / "weights.pth")


def test_pose_net_without_its_refinement_is_refused(tmp_path: Path) -> None:
    state = {key: value for key, value in fine_tuned(encoder_of()).items() if "zroot_ref.6" not in key}
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"unexpected nothing; missing zroot_ref\.zroot_ref\.6\.weight"):
        load_pose_net(tmp_path / "weights.pth")


def test_shapes_that_do_not_fit_are_named(tmp_path: Path) -> None:
    state = dict(encoder_of().state_dict()) | {"layer2.0.conv1.weight": torch.zeros(16, 8, 1, 1)}
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"layer2\.0\.conv1\.weight has shape \(16, 8, 1, 1\), expected \(16, 8, 3"):
        load_encoder(tmp_path / "weights.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.to(torch.int8), "is torch.int8, expected torch.float32"),
        (lambda w: torch.ones(1, 1, 1, 1).expand(w.shape), "declares .* numbers .* are stored"),
        (lambda w: w * torch.nan, "is not finite"),
        (lambda w: w / 0, "is not finite"),
    ],
)
def test_weights_that_are_no_numbers_are_named(
    change: Callable[[Tensor], Tensor], message: str, tmp_path: Path
) -> None:
    path, state = tmp_path / "net.pth", torchvision_state(encoder_of("resnet18", 0.125))
    torch.save(state | {"conv1.weight": change(state["conv1.weight"].clone())}, path)
    with pytest.raises(ValueError, match=rf"net\.pth: '?conv1\.weight'? {message}"):
        load_encoder(path)


def test_a_flipped_bit_of_weights_is_found(tmp_path: Path) -> None:
    path, state = tmp_path / "net.pth", torchvision_state(encoder_of("resnet18", 0.125))
    torch.save(state, path)
    content = bytearray(path.read_bytes())
    content[content.index(state["conv1.weight"].detach().numpy().tobytes()) + 10] ^= 4
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"net\.pth: damaged: .* is not what was written"):
        load_encoder(path)


def test_depths_that_no_resnet_has_are_refused(tmp_path: Path) -> None:
    state = {key: value for key, value in encoder_of().state_dict().items() if "layer3.1" not in key}
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"basic blocks in stages of \(2, 2, 1, 2\) are none of resnet18"):
        load_encoder(tmp_path / "weights.pth")


def test_missing_and_unknown_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth: no such checkpoint"):
        load_encoder(tmp_path / "nowhere.pth")
    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        load_encoder(tmp_path)
    path = tmp_path / "other.pth"
    torch.save({"state_dict": {"weight": torch.zeros(1)}}, path)
    with pytest.raises(ValueError, match=r"other\.pth: expected one of: .*torchvision ResNet; found tensors weight"):
        load_encoder(path)
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match=r"other\.pth: expected a state dict .* found a list"):
        load_encoder(path)
    torch.save({"model": {}, "epoch": 1}, path)
    with pytest.raises(ValueError, match=r"other\.pth: .*found a mapping with model, epoch"):
        load_encoder(path)


@pytest.mark.parametrize("length", [0, 10, 5000])
def test_truncated_files_are_named(length: int, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(encoder_of().state_dict(), path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"weights\.pth: "):
        load_encoder(path)


def test_text_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_text("<html>404</html>")
    with pytest.raises(ValueError, match=r"weights\.pth: cannot be read with weights_only: it is no file of torch"):
        load_encoder(path)


def test_files_that_would_run_code_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": {}, "where": pathlib.PurePosixPath("x")}, path)
    with pytest.raises(ValueError, match=r"weights\.pth: cannot be read with weights_only: it needs .*PurePosixPath"):
        load_encoder(path)


class EasyDict(dict):  # type: ignore[type-arg]  # in the place of the package, which is not installed
    """What PeCLR's and SiMHand's training code keeps its options in: each is an attribute as well as an item."""

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        self[name] = value


def test_training_checkpoints_of_simhand_load_though_they_hold_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = EasyDict()
    options.augmentation = ["crop", "rotate"]
    options.nested = EasyDict(lr=1e-4)
    with monkeypatch.context() as installed:
        installed.setitem(sys.modules, "easydict", ModuleType("easydict"))
        installed.setattr(sys.modules["easydict"], "EasyDict", EasyDict, raising=False)
        installed.setattr(EasyDict, "__module__", "easydict")
        content = {
            "state_dict": training_checkpoint(encoder_of()),
            "hyper_parameters": options,
            "callbacks": {ModelCheckpoint: {"best_model_score": torch.tensor(1.0)}},
        }
        torch.save(content, tmp_path / "epoch=99.ckpt")
    loaded = load_weights(tmp_path / "epoch=99.ckpt", "encoder")
    assert "easydict" not in sys.modules
    assert loaded.report.kind == "published training checkpoint"
    assert len(loaded.report.ignored) == 10
    expected = encoder_of().state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in loaded.encoder.state_dict().items())


class Malice:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("beside", ["hyper_parameters", "state_dict"])
def test_code_in_a_checkpoint_is_refused_and_does_not_run(
    beside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": dict(encoder_of().state_dict())} | {beside: Malice()}, tmp_path / "w.ckpt")
    with pytest.raises(ValueError, match=r"w\.ckpt: cannot be read with weights_only: it needs .*mkdir"):
        load_encoder(tmp_path / "w.ckpt")
    assert not Path("executed").exists()


def test_the_report_says_what_was_used(tmp_path: Path) -> None:
    path = tmp_path / "w.ckpt"
    torch.save(own_pretraining(encoder_of()), path)
    assert str(load_weights(path, "encoder").report).splitlines() == [
        f"{path}: pre-training run of this package",
        "  120 tensors used: encoder.conv1.* (1), encoder.bn1.* (5), "
        + ", ".join(f"encoder.layer{stage}.* ({24 if stage == 1 else 30})" for stage in range(1, 5)),
        "  8 ignored: projection_head.0.* (2), projection_head.1.* (5), projection_head.3.* (1)",
        "  0 missing, begin at zero: nothing",
    ]
    torch.save(fine_tuned(encoder_of()), path)
    report = load_weights(path, "pose_net").report
    assert (len(report.used), report.ignored, report.missing) == (138, (), ())


def test_a_runs_folder_means_its_last_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    torch.save(fine_tuned(encoder_of()), tmp_path / "checkpoints" / "last.ckpt")
    assert load_weights(tmp_path, "pose_net").report.path == tmp_path / "checkpoints" / "last.ckpt"
    assert load_weights(tmp_path).pose_net is not None
    torch.save(own_pretraining(encoder_of()), tmp_path / "checkpoints" / "last.ckpt")
    assert load_weights(tmp_path).pose_net is None


def test_safetensors_come_back(tmp_path: Path) -> None:
    network = PoseNet25D(encoder_of())
    export_safetensors(network, tmp_path / "net.safetensors", {"name": "a test"})
    export_safetensors(encoder_of(), tmp_path / "encoder.safetensors")
    back = load_pose_net(tmp_path / "net.safetensors").state_dict()
    assert all(torch.equal(value, back[key]) for key, value in network.state_dict().items())
    encoder = load_encoder(tmp_path / "encoder.safetensors").state_dict()
    assert all(torch.equal(value, encoder[key]) for key, value in encoder_of().state_dict().items())
    (tmp_path / "damaged.safetensors").write_bytes((tmp_path / "net.safetensors").read_bytes()[:500])
    with pytest.raises(ValueError, match=r"damaged\.safetensors: damaged or no safetensors file"):
        load_pose_net(tmp_path / "damaged.safetensors")

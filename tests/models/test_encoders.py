"""Encoders: torchvision's ResNets but for the classifier, at any width."""

import hashlib
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision  # type: ignore[import-untyped]

from peclr.models import encoders
from peclr.models.encoders import ResNetEncoder, ResNetName, normalize_images
from peclr.weights.catalog import catalog

NAMES: list[ResNetName] = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]


@pytest.mark.parametrize("name", NAMES)
def test_state_dict_is_torchvisions_without_classifier(name: ResNetName) -> None:
    with torch.device("meta"):
        encoder = ResNetEncoder(name)
        model = torchvision.models.get_model(name)
    expected = {key: value.shape for key, value in model.state_dict().items() if not key.startswith("fc.")}
    assert {key: value.shape for key, value in encoder.state_dict().items()} == expected
    assert encoder.feature_dim == model.fc.in_features


def test_features_are_what_torchvisions_classifier_would_see() -> None:
    torch.manual_seed(0)
    encoder = ResNetEncoder("resnet18").eval()
    model = torchvision.models.resnet18()
    model.fc = torch.nn.Identity()
    model.load_state_dict(encoder.state_dict(), strict=True)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(encoder(images), model.eval()(images))


@pytest.mark.parametrize(
    ("name", "width", "stem", "features"),
    [
        ("resnet18", 0.5, 32, 256),
        ("resnet50", 0.25, 16, 512),
        ("resnet18", 0.3, 19, 8 * 19),
        ("resnet18", 0.01, 8, 64),
        ("resnet18", 1.25, 80, 640),
    ],
)
def test_width_multiplies_every_channel(name: ResNetName, width: float, stem: int, features: int) -> None:
    encoder = ResNetEncoder(name, width)
    assert encoder.conv1.out_channels == stem
    assert encoder.width == stem / 64
    assert encoder.feature_dim == features
    with torch.device("meta"):
        full = ResNetEncoder(name).state_dict()
    for key, value in encoder.state_dict().items():
        scaled = [size if size in (1, 3, 7) else size * stem // 64 for size in full[key].shape]
        assert list(value.shape) == scaled, key
    assert encoder.eval()(torch.randn(2, 3, 32, 32)).shape == (2, features)


def test_narrow_convolutions_start_as_torchvisions_do() -> None:
    torch.manual_seed(0)
    weight = ResNetEncoder("resnet18", 0.5).layer3[1].conv2.weight
    # Kaiming, fan-out: variance 2 / (channels · 9)
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (weight.shape[0] * 9)), rel=0.02)


@pytest.fixture
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for caches of this test's own, ours and torchvision's, where nothing can be downloaded to."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a download was begun")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setenv("PECLR_CACHE", str(tmp_path / "ours"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "theirs"))
    return tmp_path


@pytest.mark.parametrize("place", ["ours/imagenet-resnet18", "theirs/hub/checkpoints"])
def test_torchvisions_weights_are_read_where_either_keeps_them(
    place: str, no_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: dict[str, torch.Tensor] = torchvision.models.resnet18().state_dict()
    (no_weights / place).mkdir(parents=True)
    path = no_weights / place / "resnet18-f37072fd.pth"
    torch.save(published, path)
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))}: not IMAGENET1K_V1: its SHA-256 is .* f37072fd…"):
        ResNetEncoder("resnet18", weights="DEFAULT")
    known = catalog()["imagenet-resnet18"]
    known = replace(known, sha256=hashlib.sha256(path.read_bytes()).hexdigest()[:8])
    monkeypatch.setattr(encoders, "catalog", lambda: {known.name: known})
    for weights in ("IMAGENET1K_V1", "DEFAULT", "ResNet18_Weights.IMAGENET1K_V1"):
        encoder = ResNetEncoder("resnet18", weights=weights)
        torch.testing.assert_close(encoder.layer4[1].conv2.weight.data, published["layer4.1.conv2.weight"])


@pytest.mark.parametrize(
    ("weights", "name"), [("IMAGENET1K_V1", "imagenet-resnet50"), ("DEFAULT", "imagenet-resnet50-v2")]
)
@pytest.mark.usefixtures("no_weights")
def test_weights_that_are_nowhere_are_asked_for_and_never_downloaded(weights: str, name: str) -> None:
    with pytest.raises(FileNotFoundError, match=f"`peclr weights get {name} --accept` downloads it") as raised:
        ResNetEncoder("resnet50", weights=weights)
    assert "https://download.pytorch.org/models/resnet50-" in str(raised.value)


@pytest.mark.parametrize("weights", ["IMAGENET", "IMAGENET1K_V2", "ResNet50_Weights.IMAGENET1K_V1", ""])
def test_unknown_weights_are_refused_with_those_there_are(weights: str) -> None:
    with pytest.raises(ValueError, match=rf"'{re.escape(weights)}' for resnet18.*IMAGENET1K_V1"):
        ResNetEncoder("resnet18", weights=weights)


def test_weights_fit_width_one_only() -> None:
    with pytest.raises(ValueError, match=r"'DEFAULT' fit resnet18 of width 1 only, got width 0\.5"):
        ResNetEncoder("resnet18", 0.5, "DEFAULT")


def test_unknown_architecture_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"'resnet20'.*resnet18, resnet34"):
        ResNetEncoder("resnet20")  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [0.0, -1.0, math.nan, math.inf])
def test_width_must_be_a_positive_number(width: float) -> None:
    with pytest.raises(ValueError, match=f"positive number, got {width}"):
        ResNetEncoder("resnet18", width)


def test_normalized_images_are_imagenets() -> None:
    images = torch.randint(0, 256, (2, 5, 3, 8, 6), dtype=torch.uint8)
    before = images.clone()
    normalized = normalize_images(images)
    reference = torchvision.transforms.functional.normalize(
        images.flatten(0, 1).double() / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    )
    assert normalized.dtype == torch.float32
    torch.testing.assert_close(normalized.flatten(0, 1).double(), reference, atol=2e-6, rtol=0)
    assert torch.equal(images, before)


def test_normalizing_keeps_channels_last() -> None:
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    assert normalize_images(images).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "images", [torch.zeros(1, 3, 8, 8), torch.zeros(1, 8, 8, 3, dtype=torch.uint8)], ids=["float", "HWC"]
)
def test_only_bytes_with_channels_first_are_normalized(images: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 images \(…, 3, H, W\)"):
        normalize_images(images)

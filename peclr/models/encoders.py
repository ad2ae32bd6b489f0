"""Image encoders: what all have in common, and torchvision's ResNets without their classifier, at any width."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
from torch import Tensor, nn

# torchvision ships no types
from torchvision.models import WeightsEnum, get_model_weights  # type: ignore[import-untyped]
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet  # type: ignore[import-untyped]

from peclr.lazy import lazy_names
from peclr.untrusted.binary import read_torch, sha256_of
from peclr.weights.catalog import catalog

if TYPE_CHECKING:
    from peclr.models.timm_encoder import TimmEncoder as TimmEncoder

# that module imports this one
__getattr__, _ = lazy_names("peclr.models", {"timm_encoder": ("TimmEncoder",)})

ResNetName = Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]

# Blocks per stage: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, table 1.
ARCHITECTURES: dict[ResNetName, tuple[type[BasicBlock | Bottleneck], tuple[int, int, int, int]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
    "resnet152": (Bottleneck, (3, 8, 36, 3)),
}
STEM_CHANNELS = 64  # of every ResNet of width 1; the stages have 1, 2, 4 and 8 times as many
_MIN_STEM_CHANNELS = 8

# RGB in 0…1: what torchvision's ImageNet weights expect, and with them the published hand networks.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Encoder(nn.Module, ABC):
    """From images to one feature vector each."""

    feature_dim: int  # numbers per image that `forward` returns
    mean: Sequence[float] = IMAGENET_MEAN  # of the input, RGB in 0…1, which `normalize` subtracts
    std: Sequence[float] = IMAGENET_STD  # what `normalize` divides by afterward
    view_size: int | None = None  # px, side of the only views that `forward` takes; None if it takes any
    grad_checkpointing: bool = False  # whether activations are computed again on the way back

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Encode normalized images (B, 3, S, S) as (B, feature_dim)."""

    def normalize(self, images: Tensor) -> Tensor:
        """Take uint8 RGB images (…, 3, S, S) to what `forward` expects, on their device."""
        return normalize_images(images, self.mean, self.std)

    def for_view_size(self, view_size: int) -> Self:
        """Take views of that side, px, from now on; ValueError if it cannot."""
        if self.view_size not in (None, view_size):
            raise ValueError(f"{self.description} takes views of {self.view_size} px, not of {view_size}")
        return self

    @property
    def description(self) -> str:
        """What it is, for people."""
        return type(self).__name__

    def layers(self) -> list[list[nn.Parameter]]:
        """Its parameters layer by layer, from images to features; ValueError where nothing says their order."""
        raise ValueError(f"{self.description} does not say which parameters are of which layer; layer_decay needs that")

    def undecayed(self) -> list[nn.Parameter]:
        """Parameters that weight decay spares although they have more than one dimension: embeddings, tokens."""
        return []

    def convert_sync_batchnorm(self, module: nn.Module) -> None:
        """Let all BatchNorm layers in a module that holds this encoder see the batches of all processes."""
        nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]  # torch's, without types


class ResNetEncoder(ResNet, Encoder):  # type: ignore[misc]  # torchvision ships no types
    """A ResNet from images to pooled features; its state dict is torchvision's without `fc`.

    Args:
        name: the architecture.
        width: multiplies the channels of the stem and of every stage, for small runs. The stem is rounded to
            whole channels, at least 8; the stages are its exact multiples.
        weights: torchvision's name for pretrained weights of this architecture, "IMAGENET1K_V1" or
            "ResNet50_Weights.IMAGENET1K_V2" or "DEFAULT" for example; None starts from random ones. They are read from
            the cache of published weights, or from torchvision's; FileNotFoundError says how to get them.
    """

    if TYPE_CHECKING:  # torchvision's layers are untyped; a pose network puts its head here, `fc`

        def __getattr__(self, name: str) -> Any: ...

    def __init__(self, name: ResNetName = "resnet50", width: float = 1.0, weights: str | None = None) -> None:
        if name not in ARCHITECTURES:
            raise ValueError(f"unknown ResNet {name!r}; expected one of {', '.join(ARCHITECTURES)}")
        if not 0 < width < math.inf:
            raise ValueError(f"width of a ResNet must be a positive number, got {width}")
        pretrained = None if weights is None else _find_weights(name, weights)
        if pretrained is not None and width != 1:
            raise ValueError(f"weights {weights!r} fit {name} of width 1 only, got width {width}; leave one out")
        stem = max(_MIN_STEM_CHANNELS, round(STEM_CHANNELS * width))
        block, blocks_per_stage = ARCHITECTURES[name]
        super().__init__(block, list(blocks_per_stage))
        if stem != STEM_CHANNELS:
            self._rebuild(block, blocks_per_stage, stem)
        del self.fc
        self.name: ResNetName = name
        self.width = stem / STEM_CHANNELS  # after rounding
        self.feature_dim = 8 * stem * block.expansion
        if pretrained is not None:
            state = _read_weights(name, pretrained)
            self.load_state_dict({key: value for key, value in state.items() if not key.startswith("fc.")})

    def forward(self, x: Tensor) -> Tensor:
        """Encode normalized images (B, 3, H, W) as (B, feature_dim), averaged over the image."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return torch.flatten(self.avgpool(x), 1)

    @property
    def description(self) -> str:
        """Architecture and width, "resnet18 of width 0.5" for example."""
        return self.name if self.width == 1 else f"{self.name} of width {self.width:g}"

    def layers(self) -> list[list[nn.Parameter]]:
        """The stem's parameters, then those of one block after another."""
        blocks = [block for stage in (self.layer1, self.layer2, self.layer3, self.layer4) for block in stage]
        return [[*self.conv1.parameters(), *self.bn1.parameters()], *(list(block.parameters()) for block in blocks)]

    def config(self) -> dict[str, Any]:
        """Class path and arguments that build this encoder again, as in a run's config."""
        return {"class_path": class_path_of(type(self)), "init_args": {"name": self.name, "width": self.width}}

    def _rebuild(self, block: type[BasicBlock | Bottleneck], blocks_per_stage: tuple[int, ...], stem: int) -> None:
        """Replace everything that has channels: torchvision's constructor knows one width only."""
        self.inplanes = stem
        self.conv1: Any = nn.Conv2d(3, stem, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        for stage, blocks in enumerate(blocks_per_stage):
            layer = self._make_layer(block, stem * 2**stage, blocks, stride=1 if stage == 0 else 2)
            setattr(self, f"layer{stage + 1}", layer)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # as torchvision initializes its own
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def class_path_of(cls: type) -> str:
    """The class path by which a config or a file names a class."""
    return f"{cls.__module__}.{cls.__qualname__}"


def encoders_in(module: nn.Module) -> list[Encoder]:
    """The encoders that are parts of a module, but for those that are parts of others."""
    if isinstance(module, Encoder):
        return [module]
    return [encoder for part in module.children() for encoder in encoders_in(part)]


def normalize_images(
    images: Tensor, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD
) -> Tensor:
    """Take uint8 RGB images (…, 3, H, W) to the float32 of an encoder, on their device and in their memory format."""
    if images.dtype != torch.uint8 or images.ndim < 3 or images.shape[-3] != 3:
        raise ValueError(f"expected uint8 images (…, 3, H, W), got {images.dtype} {tuple(images.shape)}")
    # filled on the device: the host would wait to copy a tensor there
    center, spread = (
        torch.stack([torch.full((1, 1), value, device=images.device) for value in values]) for values in (mean, std)
    )
    # (x / 255 − mean) / std as one multiplication and one addition, in place on the float copy
    return images.float().mul_(1 / (255 * spread)).sub_(center / spread)


def _find_weights(name: ResNetName, weights: str) -> WeightsEnum:
    """Torchvision's weights of that name, for that architecture and no other."""
    available = get_model_weights(name)
    prefix, _, member = weights.rpartition(".")
    if prefix not in ("", available.__name__) or member not in available.__members__:
        raise ValueError(f"unknown weights {weights!r} for {name}; expected one of {', '.join(available.__members__)}")
    return available[member]


def _read_weights(name: ResNetName, weights: WeightsEnum) -> dict[str, Tensor]:
    """Torchvision's weights, from where `peclr weights get` or torchvision has put them; nothing is downloaded."""
    published = catalog()[f"imagenet-{name}" + ("-v2" if weights.name.endswith("V2") else "")]
    theirs = Path(torch.hub.get_dir(), "checkpoints", published.file)
    path = next((path for path in (published.path, theirs) if path.is_file()), None)
    if path is None:
        instead = "random ones: --model.encoder=ResNetEncoder --model.encoder.weights=null"
        raise FileNotFoundError(f"weights {weights.name}: {published.missing()}; {instead}")
    sha256 = sha256_of(path)  # older files of torch.save have no sums of their own
    if not sha256.startswith(published.sha256 or ""):
        raise ValueError(f"{path}: not {weights.name}: its SHA-256 is {sha256}, expected one like {published.sha256}…")
    state: dict[str, Tensor] = read_torch(path)
    return state

"""The kinds of checkpoints: where each keeps a ResNet, how it is recognized, and what of it was used."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor
from torchvision.models.resnet import Bottleneck  # type: ignore[import-untyped]  # torchvision ships no types

from peclr.models.encoders import ARCHITECTURES, STEM_CHANNELS, Encoder, ResNetName
from peclr.runs.layout import listed

StateDict = dict[str, Tensor]

_GROUPS_SHOWN = 6


@dataclass(frozen=True)
class Layout:
    """Where one kind of checkpoint keeps what; prefixes are of keys."""

    kind: str  # what reports and errors call it
    encoder: str  # prefix of the encoder's
    others: tuple[str, ...]  # prefixes that an encoder has no use for
    first: str = "conv1.weight"  # the encoder's first key after its prefix; no other kind has the two together
    pose_net: str | None = None  # prefix of the whole pose network; None where there is none
    renamed: Mapping[str, str] = field(default_factory=dict)  # children of the encoder, and torchvision's names
    view_size: int | None = None  # px, of the views of all such networks of width 1; None where runs differ

    def encoder_sources(self, state: StateDict) -> dict[str, str]:
        """Torchvision's key → the checkpoint's key, for every tensor of the encoder."""
        sources = {}
        for key in state:
            if key.startswith(self.encoder) and not key.startswith(self.others):
                child, dot, rest = key.removeprefix(self.encoder).partition(".")
                sources[self.renamed.get(child, child) + dot + rest] = key
        return sources


LAYOUTS = (
    Layout(
        kind="fine-tuning run of this package",
        encoder="pose_net.backend_model.",
        others=("pose_net.backend_model.fc.", "pose_net.zroot_ref."),
        pose_net="pose_net.",
    ),
    Layout(
        kind="published fine-tuned network",
        encoder="backend_model.",
        others=("backend_model.fc.", "zroot_ref."),
        pose_net="",
        view_size=224,
    ),
    Layout(kind="pre-training run of this package", encoder="encoder.", others=("projection_head.", "objective.")),
    Layout(
        kind="published training checkpoint",  # of PeCLR, and of SiMHand after it
        encoder="encoder.features.",
        others=("encoder.final_layer.", "projection_head."),
        first="0.weight",
        # a ResNet's children by position; 2, 3 and 8 are ReLU and pooling
        renamed={"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"},
    ),
    Layout(kind="torchvision ResNet", encoder="", others=("fc.",)),
)
# the same places for encoders that are no ResNets, which nobody but this package has put there
OWN_LAYOUTS = (
    LAYOUTS[0],
    replace(LAYOUTS[1], kind="pose network of this package", view_size=None),
    LAYOUTS[2],
    replace(LAYOUTS[4], kind="encoder of this package"),
)


@dataclass(frozen=True)
class CoverageReport:
    """The tensors of a checkpoint that went into a network, as text for people."""

    path: Path
    kind: str  # what it was recognized as
    used: tuple[str, ...]  # keys of the checkpoint
    ignored: tuple[str, ...]  # keys of the checkpoint that are known and were not needed
    missing: tuple[str, ...]  # keys of the network that begin at zero: counters of BatchNorm, nothing else

    def __str__(self) -> str:
        parts = ("tensors used", self.used), ("ignored", self.ignored), ("missing, begin at zero", self.missing)
        lines = [f"  {len(keys)} {what}: {_grouped(keys)}" for what, keys in parts]
        return "\n".join([f"{self.path}: {self.kind}", *lines])


def recognize_layout(state: StateDict, path: Path, other: Encoder | None = None) -> Layout:
    """The kind of a checkpoint, by its keys, of ResNets or of an encoder that is none; ValueError if it has none."""
    for layout in LAYOUTS if other is None else OWN_LAYOUTS:
        if layout.encoder + (layout.first if other is None else next(iter(other.state_dict()))) in state:
            return layout
    kinds = ", ".join(layout.kind for layout in LAYOUTS)
    raise ValueError(f"{path}: expected one of: {kinds}; found tensors {listed(state)}")


def recognize_resnet(weights: StateDict, path: Path) -> tuple[ResNetName, float]:
    """Architecture and width of torchvision-keyed weights; ValueError if no ResNet has these blocks."""
    blocks = {tuple(key.split(".")[:2]) for key in weights if key.startswith("layer")}
    counts = tuple(sum(stage == f"layer{i}" for stage, *_ in blocks) for i in range(1, 5))
    has_bottlenecks = "layer1.0.conv3.weight" in weights
    for name, (block, expected) in ARCHITECTURES.items():
        if counts == expected and has_bottlenecks == (block is Bottleneck):
            return name, weights["conv1.weight"].shape[0] / STEM_CHANNELS
    kind = "bottleneck" if has_bottlenecks else "basic"
    raise ValueError(f"{path}: {kind} blocks in stages of {counts} are none of {', '.join(ARCHITECTURES)}")


def _grouped(keys: Iterable[str]) -> str:
    """Hundreds of keys by their beginnings, `encoder.layer1.* (60)`, in a few groups."""
    names = [key.split(".") for key in keys]
    groups: Counter[str] = Counter()
    for depth in range(1, max(map(len, names), default=0) + 1):
        finer = Counter(".".join(name[:depth]) + (".*" if len(name) > depth else "") for name in names)
        if groups and len(finer) > _GROUPS_SHOWN:
            break
        groups = finer
    return listed(f"{name} ({count})" if name.endswith("*") else name for name, count in groups.items())

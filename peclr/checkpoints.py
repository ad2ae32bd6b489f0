"""Weights in and out: published checkpoints, torchvision's, our own runs; told apart by their keys."""

import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck  # type: ignore[import-untyped]  # torchvision ships no types

from peclr.models.encoders import (
    ARCHITECTURES,
    STEM_CHANNELS,
    ResNetEncoder,
    ResNetName,
)
from peclr.models.pose_net import PoseNet25D

StateDict = dict[str, Tensor]

_IMAGENET_CLASSES = 1000
_KEYS_SHOWN = 6


@dataclass(frozen=True)
class Layout:
    """Where one kind of checkpoint keeps what.

    Attributes:
        kind: what reports and errors call it.
        encoder: prefix of the encoder's keys.
        first: the encoder's first key after that prefix; no other kind has the two together.
        others: prefixes of keys that an encoder has no use for.
        pose_net: prefix of the whole pose network; None where there is none.
        renamed: prefixes of the encoder's keys, and what torchvision calls them.
    """

    kind: str
    encoder: str
    others: tuple[str, ...]
    first: str = "conv1.weight"
    pose_net: str | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)


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
    ),
    Layout(
        kind="pre-training run of this package",
        encoder="encoder.",
        others=("projection_head.", "objective."),
    ),
    Layout(
        kind="published training checkpoint",
        encoder="encoder.features.",
        others=("encoder.final_layer.", "projection_head."),
        first="0.weight",
        # a ResNet's children by position; 2, 3 and 8 are ReLU and pooling
        renamed={"0.": "conv1.", "1.": "bn1."} | {f"{stage + 3}.": f"layer{stage}." for stage in range(1, 5)},
    ),
    Layout(kind="torchvision ResNet", encoder="", others=("fc.",)),
)


@dataclass(frozen=True)
class CoverageReport:
    """Which tensors of a checkpoint went into a network.

    Attributes:
        path: the checkpoint.
        kind: what it was recognised as.
        used: keys of the checkpoint that were loaded.
        ignored: keys of the checkpoint that are known and were not needed.
        missing: keys of the network that begin at zero: counters of BatchNorm, nothing else.
    """

    path: Path
    kind: str
    used: tuple[str, ...]
    ignored: tuple[str, ...]
    missing: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.kind}; {len(self.used)} tensors used, "
            f"ignored {_listed(self.ignored)}, missing {_listed(self.missing)}"
        )


@dataclass(frozen=True)
class LoadedEncoder:
    """A ResNet's weights, whatever they were stored in.

    Attributes:
        name: the architecture.
        width: its multiplier of channels.
        state_dict: what `ResNetEncoder(name, width)` loads.
        report: what was used.
    """

    name: ResNetName
    width: float
    state_dict: StateDict
    report: CoverageReport


def load_encoder(path: Path | str) -> ResNetEncoder:
    """An encoder from any checkpoint that holds a ResNet; errors as `load_encoder_weights`."""
    loaded = load_encoder_weights(path)
    encoder = ResNetEncoder(loaded.name, loaded.width)
    encoder.load_state_dict(loaded.state_dict)
    return encoder


def load_encoder_weights(path: Path | str, expect: ResNetEncoder | None = None) -> LoadedEncoder:
    """Read an encoder's weights; kind, architecture and width are recognised from keys and shapes.

    Args:
        path: a file of `torch.save`; read with weights_only.
        expect: the encoder that the weights are for; None takes any.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, is of no known kind, has tensors too many or too few, or holds another
            ResNet than expected.
    """
    path = Path(path)
    state = read_state_dict(path)
    layout = _recognise_layout(state, path)
    sources = _encoder_sources(state, layout)
    found = _recognise_resnet({new: state[old] for new, old in sources.items()}, path)
    if expect is not None and found != (expect.name, expect.width):
        raise ValueError(
            f"{path}: expected a {_described(expect.name, expect.width)}, found a {_described(*found)}"
        )
    with torch.device("meta"):  # for its keys and shapes
        target = ResNetEncoder(*found)
    weights, report = _cover(target, state, sources, layout, layout.others, path)
    return LoadedEncoder(*found, weights, report)


def load_pose_net(path: Path | str) -> PoseNet25D:
    """A pose network from a published fine-tuned checkpoint or from a fine-tuning run of this package.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, or is not a whole pose network and nothing else.
    """
    path = Path(path)
    state = read_state_dict(path)
    layout = _recognise_layout(state, path)
    prefix = layout.pose_net
    if prefix is None:
        raise ValueError(
            f"{path}: expected a fine-tuned pose network, found a {layout.kind}, which has no pose head; "
            "load_encoder reads it"
        )
    encoder = {new: state[old] for new, old in _encoder_sources(state, layout).items()}
    network = PoseNet25D(ResNetEncoder(*_recognise_resnet(encoder, path)))
    sources = {key.removeprefix(prefix): key for key in state if key.startswith(prefix)}
    weights, _ = _cover(network, state, sources, layout, (), path)
    network.load_state_dict(weights)
    return network


def export_torchvision(encoder: ResNetEncoder, path: Path | str) -> None:
    """Write a state dict that torchvision's ResNet of that name loads with strict=True.

    Its classifier, which an encoder does not have, is filled with zeros.

    Raises:
        FileExistsError: there is such a file already.
        ValueError: torchvision has no ResNet of that width.
    """
    path = Path(path)
    if encoder.width != 1:
        raise ValueError(f"torchvision has no {encoder.name} of width {encoder.width:g}, only of width 1")
    if path.exists():
        raise FileExistsError(f"{path} exists already; give another path or remove it")
    keys = [key for key in encoder.state_dict() if not key.startswith("fc.")]
    state = {key: encoder.state_dict()[key].detach().cpu() for key in keys}
    state["fc.weight"] = torch.zeros(_IMAGENET_CLASSES, encoder.feature_dim)
    state["fc.bias"] = torch.zeros(_IMAGENET_CLASSES)
    torch.save(state, path)


def read_state_dict(path: Path) -> StateDict:
    """The tensors of a checkpoint, on the CPU: the file's own mapping, or the one under its key `state_dict`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, holds more than weights_only lets through, or no tensors by name.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # of PyTorch's long message the first lines would suggest to switch weights_only off
        refused = _refused_classes(path)
        reason = f"it needs {_listed(refused)} to be unpickled" if refused else "it is no file of torch.save"
        raise ValueError(f"{path}: cannot be read with weights_only: {reason}") from error
    except (RuntimeError, EOFError, OSError) as error:
        raise ValueError(f"{path}: damaged or no file of torch.save ({error})") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        found = (
            f"a mapping with {_listed(content)}"
            if isinstance(content, dict)
            else f"a {type(content).__name__}"
        )
        raise ValueError(f"{path}: expected a state dict or a mapping with 'state_dict', found {found}")
    return state


def _refused_classes(path: Path) -> list[str]:
    try:
        return torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except (ValueError, RuntimeError, pickle.UnpicklingError):  # not in torch.save's present format
        return []


def _recognise_layout(state: StateDict, path: Path) -> Layout:
    for layout in LAYOUTS:
        if layout.encoder + layout.first in state:
            return layout
    kinds = ", ".join(layout.kind for layout in LAYOUTS)
    raise ValueError(f"{path}: expected one of: {kinds}; found tensors {_listed(state)}")


def _encoder_sources(state: StateDict, layout: Layout) -> dict[str, str]:
    """Torchvision's key → the checkpoint's key, for every tensor of the encoder."""
    sources = {}
    for key in state:
        if key.startswith(layout.encoder) and not key.startswith(layout.others):
            name = key.removeprefix(layout.encoder)
            for old, new in layout.renamed.items():
                if name.startswith(old):
                    name = new + name.removeprefix(old)
                    break
            sources[name] = key
    return sources


def _recognise_resnet(weights: StateDict, path: Path) -> tuple[ResNetName, float]:
    """Architecture and width of torchvision-keyed weights."""
    blocks = {tuple(key.split(".")[:2]) for key in weights if key.startswith("layer")}
    counts = tuple(sum(stage == f"layer{i}" for stage, *_ in blocks) for i in range(1, 5))
    has_bottlenecks = "layer1.0.conv3.weight" in weights
    for name, (block, expected) in ARCHITECTURES.items():
        if counts == expected and has_bottlenecks == (block is Bottleneck):
            return name, weights["conv1.weight"].shape[0] / STEM_CHANNELS
    kind = "bottleneck" if has_bottlenecks else "basic"
    raise ValueError(f"{path}: {kind} blocks in stages of {counts} are none of {', '.join(ARCHITECTURES)}")


def _cover(
    target: nn.Module,
    state: StateDict,
    sources: Mapping[str, str],
    layout: Layout,
    ignorable: tuple[str, ...],
    path: Path,
) -> tuple[StateDict, CoverageReport]:
    """Weights for `target`, if they are all there, nothing is left over, and every shape fits.

    Args:
        target: the network to fill.
        state: the checkpoint.
        sources: key of the network → key of the checkpoint.
        layout: what the checkpoint was recognised as.
        ignorable: prefixes of the checkpoint's keys that may be left over.
        path: for messages.
    """
    expected = target.state_dict()
    used = {new: old for new, old in sources.items() if new in expected}
    taken = set(used.values())
    left = [key for key in state if key not in taken]
    ignored = [key for key in left if key.startswith(ignorable)]
    unexpected = [key for key in left if not key.startswith(ignorable)]
    missing = [key for key in expected if key not in used]
    # BatchNorm's counters matter to a momentum of None only
    needed = [key for key in missing if not key.endswith("num_batches_tracked")]
    if unexpected or needed:
        raise ValueError(
            f"{path}: not a complete {layout.kind}: "
            f"unexpected {_listed(unexpected)}; missing {_listed(needed)}"
        )
    for new, old in used.items():
        if state[old].shape != expected[new].shape:
            raise ValueError(
                f"{path}: {old} has shape {tuple(state[old].shape)}, expected {tuple(expected[new].shape)}"
            )
    weights = {new: state[old] for new, old in used.items()}
    weights |= {key: torch.zeros((), dtype=torch.long) for key in missing}
    return weights, CoverageReport(path, layout.kind, tuple(used.values()), tuple(ignored), tuple(missing))


def _described(name: str, width: float) -> str:
    return name if width == 1 else f"{name} of width {width:g}"


def _listed(keys: Iterable[object]) -> str:
    """The first few, and how many more."""
    names = [str(key) for key in keys]
    if len(names) > _KEYS_SHOWN:
        return f"{', '.join(names[:_KEYS_SHOWN])} and {len(names) - _KEYS_SHOWN} more"
    return ", ".join(names) or "nothing"

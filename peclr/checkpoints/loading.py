"""Weights in: an encoder or a pose network from any known checkpoint, every tensor accounted for."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from peclr.checkpoints.files import Content, StateDict, read_content, read_state_dict
from peclr.checkpoints.layouts import (
    CoverageReport,
    Layout,
    encoder_sources,
    recognize_layout,
    recognize_resnet,
)
from peclr.models.encoders import ResNetEncoder, ResNetName
from peclr.models.pose_net import PoseNet25D
from peclr.runs.about import About
from peclr.runs.layout import check_view_size, find_checkpoint, listed, view_size_of_run


@dataclass(frozen=True)
class LoadedEncoder:
    """A ResNet's weights, whatever they were stored in.

    Attributes:
        name: the architecture.
        width: its multiplier of channels.
        state_dict: what `ResNetEncoder(name, width)` loads.
        report: what was used.
        about: what the file says of itself; None if it is not ours, or older than that.
    """

    name: ResNetName
    width: float
    state_dict: StateDict
    report: CoverageReport
    about: About | None


class LoadedPoseNet(NamedTuple):
    """A pose network with its weights, whatever they were stored in.

    Attributes:
        network: in training mode, like any new one.
        report: what was used.
        about: what the file says of itself; None if it is not ours, or older than that.
        view_size: side of the views that it was trained on, pixels; None if nothing says it.
    """

    network: PoseNet25D
    report: CoverageReport
    about: About | None
    view_size: int | None

    def check_view_size(self, given: int | None) -> int:
        """Side of the views to use the network on: the given one, or else its own.

        Raises:
            ValueError: the given one is no number of pixels, or none is known.
        """
        if given is not None:
            return check_view_size(given, "given")
        if self.view_size is None:
            raise ValueError(
                f"{self.report.path}: nothing says on views of which size it was trained: the file is older than its "
                "key 'peclr', and no run's config.yaml stands beside it; give --view-size, or its run's folder"
            )
        return self.view_size


def load_encoder(path: Path | str) -> ResNetEncoder:
    """An encoder from any checkpoint that holds a ResNet; errors as `load_encoder_weights`."""
    loaded = load_encoder_weights(path)
    encoder = ResNetEncoder(loaded.name, loaded.width)
    encoder.load_state_dict(loaded.state_dict)
    return encoder


def load_encoder_weights(path: Path | str, expect: ResNetEncoder | None = None) -> LoadedEncoder:
    """Read an encoder's weights; kind, architecture and width are recognized from keys and shapes.

    Args:
        path: a file of torch.save, read with weights_only, or of safetensors; or a run's folder.
        expect: the encoder that the weights are for; None takes any.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, is of no known kind, has tensors too many or too few, or holds another
            ResNet than expected.
    """
    path = find_checkpoint(path)
    state, about, _ = read_content(path)
    layout = recognize_layout(state, path)
    sources = encoder_sources(state, layout)
    found = recognize_resnet({new: state[old] for new, old in sources.items()}, path)
    if expect is not None and found != (expect.name, expect.width):
        raise ValueError(f"{path}: expected a {_described(expect.name, expect.width)}, found a {_described(*found)}")
    with torch.device("meta"):  # for its keys and shapes
        target = ResNetEncoder(*found)
    weights, report = _cover(target, state, sources, layout, layout.others, path)
    return LoadedEncoder(*found, weights, report, about)


def holds_pose_net(path: Path | str) -> bool:
    """Whether a checkpoint holds a whole pose network, for `load_pose_net`; errors as `load_encoder_weights`."""
    path = find_checkpoint(path)
    return recognize_layout(read_state_dict(path), path).pose_net is not None


def load_pose_net(path: Path | str) -> PoseNet25D:
    """A pose network from a published fine-tuned checkpoint or from a fine-tuning run of this package.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, or is not a whole pose network and nothing else.
    """
    return load_pose_net_weights(path).network


def load_pose_net_weights(path: Path | str) -> LoadedPoseNet:
    """`load_pose_net`, with the report."""
    path = find_checkpoint(path)
    content = read_content(path)
    state = content.state
    layout = recognize_layout(state, path)
    prefix = layout.pose_net
    if prefix is None:
        raise ValueError(
            f"{path}: expected a fine-tuned pose network, found a {layout.kind}, which has no pose head; "
            "load_encoder reads it"
        )
    encoder = {new: state[old] for new, old in encoder_sources(state, layout).items()}
    network = PoseNet25D(ResNetEncoder(*recognize_resnet(encoder, path)))
    sources = {key.removeprefix(prefix): key for key in state if key.startswith(prefix)}
    weights, report = _cover(network, state, sources, layout, (), path)
    network.load_state_dict(weights)
    size = _view_size(content, layout, network.backend_model.width, path)
    return LoadedPoseNet(network, report, content.about, size)


def _view_size(content: Content, layout: Layout, width: float, path: Path) -> int | None:
    """What the file says; older ones: what all of their kind have in common, or their run's config says."""
    if content.about is not None:
        return content.about.view_size
    return content.view_size or (layout.view_size if width == 1 else None) or view_size_of_run(path)


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
        layout: what the checkpoint was recognized as.
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
            f"{path}: not a complete {layout.kind}: unexpected {listed(unexpected)}; missing {listed(needed)}"
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

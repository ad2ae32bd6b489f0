"""Weights in: an encoder or a pose network from any known checkpoint, every tensor accounted for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import nn

from peclr.checkpoints.files import Content, StateDict, read_content
from peclr.checkpoints.layouts import CoverageReport, Layout, encoder_sources, recognize_layout, recognize_resnet
from peclr.models.encoders import ResNetEncoder
from peclr.models.pose_net import PoseNet25D
from peclr.runs.about import About
from peclr.runs.layout import check_view_size, find_checkpoint, listed, view_size_of_run


class Loaded(NamedTuple):
    """The content of a checkpoint, whatever it was stored in; networks are in training mode, like any new one."""

    encoder: ResNetEncoder  # part of the pose network where there is one
    pose_net: PoseNet25D | None  # None if only the encoder was asked for, too
    report: CoverageReport
    about: About | None  # None if the file is not ours, or older than that
    view_size: int | None  # px, of the views that it was trained on; None if nothing says it

    def check_view_size(self, given: int | None) -> int:
        """The side of views to use, the given one or else its own; ValueError if it is no size, or none is known."""
        if given is not None:
            return check_view_size(given, "given")
        if self.view_size is None:
            raise ValueError(
                f"{self.report.path}: nothing says on views of which size it was trained: the file is older than its "
                "key 'peclr', and no run's config.yaml stands beside it; give --view-size, or its run's folder"
            )
        return self.view_size


def load_encoder(path: Path | str, expect: ResNetEncoder | None = None) -> ResNetEncoder:
    """An encoder from any checkpoint that holds a ResNet; errors as `load_weights`."""
    return load_weights(path, "encoder", expect).encoder


def load_pose_net(path: Path | str) -> PoseNet25D:
    """A pose network from a published fine-tuned checkpoint or from a fine-tuning run; errors as `load_weights`."""
    network = load_weights(path, "pose_net").pose_net
    assert network is not None
    return network


def load_weights(
    path: Path | str,
    part: Literal["encoder", "pose_net"] | None = None,
    expect: ResNetEncoder | None = None,
) -> Loaded:
    """Read weights into a network; kind, architecture and width are recognized from keys and shapes.

    Args:
        path: a file of torch.save, read with weights_only, or of safetensors; or a run's folder.
        part: what is needed; None takes the whole pose network if there is one, else the encoder.
        expect: the encoder that the weights are for; None takes any.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, is of no known kind, lacks the pose network, has tensors too many or too few, or
            holds another ResNet than expected.
    """
    path = find_checkpoint(path)
    content = read_content(path)
    state = content.state
    layout = recognize_layout(state, path)
    if part == "pose_net" and layout.pose_net is None:
        raise ValueError(
            f"{path}: expected a fine-tuned pose network, found a {layout.kind}, which has no pose head; "
            "load_encoder reads it"
        )
    sources = encoder_sources(state, layout)
    found = recognize_resnet({new: state[old] for new, old in sources.items()}, path)
    if expect is not None and found != (expect.name, expect.width):
        raise ValueError(f"{path}: expected a {described(expect.name, expect.width)}, found a {described(*found)}")
    prefix = None if part == "encoder" else layout.pose_net
    with torch.device("meta"):  # what is drawn at random is replaced
        encoder = ResNetEncoder(*found)
        network = None if prefix is None else PoseNet25D(encoder)
    if prefix is None:
        report = _fill(encoder, state, sources, layout, layout.others, path)
    else:
        sources = {key.removeprefix(prefix): key for key in state if key.startswith(prefix)}
        report = _fill(network or encoder, state, sources, layout, (), path)
    return Loaded(encoder, network, report, content.about, _view_size(content, layout, encoder.width, path))


def described(name: str, width: float) -> str:
    """An architecture, for people: "resnet50", "resnet18 of width 0.5"."""
    return name if width == 1 else f"{name} of width {width:g}"


def _view_size(content: Content, layout: Layout, width: float, path: Path) -> int | None:
    """The side that the file names; of older ones, that of all of their kind, or of their run's config."""
    if content.about is not None:
        return content.about.view_size
    return content.view_size or (layout.view_size if width == 1 else None) or view_size_of_run(path)


def _fill(
    target: nn.Module,
    state: StateDict,
    sources: Mapping[str, str],
    layout: Layout,
    ignorable: tuple[str, ...],
    path: Path,
) -> CoverageReport:
    """Give `target`, on the device "meta", its weights, if all are there, none is left over, and every shape fits.

    `sources` leads from its keys to those of the checkpoint's `state`, of which those that start as one of `ignorable`
    may be left over.
    """
    expected = target.state_dict()
    used = {new: old for new, old in sources.items() if new in expected}
    left = state.keys() - set(used.values())
    ignored = [key for key in state if key in left and key.startswith(ignorable)]
    unexpected = [key for key in state if key in left and not key.startswith(ignorable)]
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
        if state[old].is_floating_point() != expected[new].is_floating_point():
            raise ValueError(f"{path}: {old} is {state[old].dtype}, expected {expected[new].dtype}")
    weights = {new: state[old].to(expected[new].dtype) for new, old in used.items()}
    target.load_state_dict(weights | {key: torch.zeros((), dtype=torch.long) for key in missing}, assign=True)
    return CoverageReport(path, layout.kind, tuple(used.values()), tuple(ignored), tuple(missing))

"""Weights in: an encoder or a pose network from any known checkpoint, every tensor accounted for, and no code run."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from peclr.checkpoints.layouts import CoverageReport, Layout, StateDict, recognize_layout, recognize_resnet
from peclr.data.views.geometric import Border
from peclr.geometry.planar import PUBLISHED_CROP_MARGIN
from peclr.models.encoders import Encoder, ResNetEncoder, class_path_of
from peclr.models.pose_net import PoseNet25D
from peclr.models.timm_encoder import TimmEncoder
from peclr.runs.about import KEY, About
from peclr.runs.layout import check_view_size, find_checkpoint, listed, view_size_of_run, views_of_run
from peclr.untrusted.binary import check_tensors, read_safetensors, read_torch
from peclr.untrusted.text import parse_json, shown
from peclr.weights.catalog import find_weights

# Configs and callbacks that the published training code pickles beside its weights: PeCLR's and SiMHand's
# hyper-parameters are EasyDicts, and early Lightning names a callback's state by its class.
_INERT = (
    "easydict.EasyDict",
    "pytorch_lightning.callbacks.",
    "pytorch_lightning.utilities.parsing.",
    "lightning_fabric.utilities.data.",
)


class Content(NamedTuple):
    """The content of a file of weights: tensors on the CPU, and what it says of itself if it is ours."""

    state: StateDict
    about: About | None = None
    view_size: int | None = None  # px, in files that are older than `about`


class Loaded(NamedTuple):
    """The content of a checkpoint, whatever it was stored in; networks are in training mode, like any new one."""

    encoder: Encoder  # part of the pose network where there is one
    pose_net: PoseNet25D | None  # None if only the encoder was asked for, too
    report: CoverageReport
    about: About | None  # None if the file is not ours, or older than that
    view_size: int | None  # px, of the views that it was trained on; None if nothing says it
    border: Border = "black"  # what they showed beyond the image; as published if nothing says it
    crop_margin: float = PUBLISHED_CROP_MARGIN  # of those around keypoints; the same

    def check_view_size(self, given: int | None) -> int:
        """The side of views to use, the given one or else its own; ValueError if it is no size, or none is known."""
        if given is not None:
            return check_view_size(given, "given")
        if self.view_size is None:
            raise ValueError(
                f"{self.report.path}: nothing says on views of which size it was trained: the file is older than its "
                f"key {KEY!r}, and no run's config.yaml stands beside it; give --view-size, or its run's folder"
            )
        return self.view_size


def load_encoder(path: Path | str, expect: Encoder | None = None) -> Encoder:
    """An encoder from any checkpoint that holds one; errors as `load_weights`."""
    return load_weights(path, "encoder", expect).encoder


def load_pose_net(path: Path | str) -> PoseNet25D:
    """A pose network from a published fine-tuned checkpoint or from a fine-tuning run; errors as `load_weights`."""
    network = load_weights(path, "pose_net").pose_net
    assert network is not None
    return network


def load_weights(
    path: Path | str, part: Literal["encoder", "pose_net"] | None = None, expect: Encoder | None = None
) -> Loaded:
    """Read weights into a network; kind, architecture and width are recognized from keys and shapes.

    An encoder that is no ResNet is named by the file itself, and one that is not of this package has to be expected.

    Args:
        path: a file of torch.save, read with weights_only, or of safetensors; a run's folder; or a published name.
        part: what is needed; None takes the whole pose network if there is one, else the encoder.
        expect: the encoder that the weights are for, which stays as it is; None takes any.

    Raises:
        FileNotFoundError: there is no such file; of a published name, it says how to get it.
        ValueError: it cannot be read, is of no known kind, or does not hold exactly what is needed or expected.
    """
    path = find_checkpoint(find_weights(path))
    content = read_content(path)
    state = content.state
    named = _named_encoder(content, expect, path)
    layout = recognize_layout(state, path, named)
    if part == "pose_net" and layout.pose_net is None:
        found = f"a {layout.kind}, which has no pose head: fine-tune it, or load_encoder reads it"
        raise ValueError(f"{path}: expected a fine-tuned pose network, found {found}")
    sources = layout.encoder_sources(state)
    encoder = named or _resnet({new: state[old] for new, old in sources.items()}, path)
    if expect is not None and _identity(expect) != _identity(encoder):
        raise ValueError(f"{path}: expected a {expect.description}, found a {encoder.description}")
    if content.about is not None:
        encoder.mean, encoder.std = content.about.mean, content.about.std
    prefix = None if part == "encoder" else layout.pose_net
    with torch.device("meta"):  # what is drawn at random is replaced
        network = None if prefix is None else PoseNet25D(encoder)
    if prefix is not None:
        sources = {key.removeprefix(prefix): key for key in state if key.startswith(prefix)}
    ignorable = layout.others if prefix is None else ()
    report = _fill(network or encoder, state, sources, layout, ignorable, path)
    view_size = content.about.view_size if content.about else content.view_size
    if content.about is None and view_size is None:  # that of all of their kind, or of their run's config
        is_published = isinstance(encoder, ResNetEncoder) and encoder.width == 1
        view_size = (layout.view_size if is_published else None) or view_size_of_run(path)
    border, crop_margin = (None, None) if prefix is None else _views(content.about, layout, path)
    border, crop_margin = border or "black", crop_margin or PUBLISHED_CROP_MARGIN
    return Loaded(encoder, network, report, content.about, view_size, border, crop_margin)


def _views(about: About | None, layout: Layout, path: Path) -> tuple[Border | None, float | None]:
    """Border and margin of a pose network's views, as its file or its run's config says them."""
    if about is not None and about.border is not None:
        return about.border, about.crop_margin
    return (None, None) if about is None and layout.view_size else views_of_run(path)


def _resnet(weights: Mapping[str, Tensor], path: Path) -> ResNetEncoder:
    """The ResNet of torchvision-keyed weights, on the device "meta"."""
    name, width = recognize_resnet(dict(weights), path)
    with torch.device("meta"):
        return ResNetEncoder(name, width)


def _named_encoder(content: Content, expect: Encoder | None, path: Path) -> Encoder | None:
    """A new encoder of the class that the file names, if that is no ResNet: one of this package, or the expected."""
    said = content.about.encoder if content.about else {}
    class_path, arguments = said.get("class_path"), said.get("init_args")
    if class_path in (None, class_path_of(ResNetEncoder)):
        return None
    if class_path == class_path_of(TimmEncoder):
        return _timm_encoder(arguments, sum(value.numel() for value in content.state.values()), path)
    if expect is not None and class_path == class_path_of(type(expect)):
        return copy.deepcopy(expect)
    shown_path = shown(class_path)
    raise ValueError(f"{path}: its encoder is a {shown_path}, which no file may have built; give it as encoder")


def _timm_encoder(arguments: Any, numbers: int, path: Path) -> TimmEncoder:
    """The network of timm that a file names, if the file can hold it; what is drawn at random is replaced."""
    arguments = arguments if isinstance(arguments, dict) else {}
    name, view_size = arguments.get("name"), arguments.get("view_size")
    if arguments.keys() != {"name", "view_size"} or not isinstance(name, str):
        raise ValueError(f"{path}: its encoder has arguments {shown(arguments)}, expected a name and view_size")
    if view_size is not None:
        check_view_size(view_size, path)
    try:
        with torch.device("meta"):
            declared = sum(value.numel() for value in TimmEncoder(name, view_size=view_size).parameters())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if declared > numbers:  # nothing is made that the file could not fill
        raise ValueError(f"{path}: {name} has {declared:,} weights, the file {numbers:,} numbers")
    with torch.random.fork_rng(devices=[]):  # on the CPU: timm computes some buffers that no file holds
        return TimmEncoder(name, view_size=view_size)


def _identity(encoder: Encoder) -> tuple[object, ...]:
    """What has to be the same of two encoders whose weights fit each other."""
    described = encoder.description
    return type(encoder), described.partition(".")[0] if isinstance(encoder, TimmEncoder) else described


def read_content(path: Path) -> Content:
    """Read a file of safetensors if its name ends so, else one of torch.save; errors as `load_weights`.

    Tensors are the file's own mapping, or under its key `state_dict`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    content = read_torch(path, _INERT)
    mapping = content if isinstance(content, dict) else {}
    # as a key of checkpoints, as an attribute of state dicts for torchvision, which has no use for further keys
    said = mapping.get(KEY, getattr(content, KEY, None))
    state = mapping.get("state_dict", content)
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        found = f"a mapping with {listed(content)}" if isinstance(content, dict) else f"a {type(content).__name__}"
        raise ValueError(f"{path}: expected a state dict or a mapping with 'state_dict', found {found}")
    check_tensors(state, path)
    return Content(dict(state), None if said is None else About.read(said, path))


def _read_safetensors(path: Path) -> Content:
    state, metadata = read_safetensors(path)
    said = parse_json(metadata.get(KEY, "null"), f"{path}, {KEY!r}")
    if said is not None:
        return Content(state, About.read(said, path))
    if (size := metadata.get("view_size")) is None:  # of what version 0.1 exported
        return Content(state)
    return Content(state, None, check_view_size(int(size) if size.isdecimal() else size, path))


def _fill(
    target: nn.Module,
    state: StateDict,
    sources: Mapping[str, str],
    layout: Layout,
    ignorable: tuple[str, ...],
    path: Path,
) -> CoverageReport:
    """Give `target`, whose own do not matter, weights, if all are there, none is left over, and every shape fits.

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
        faults = f"unexpected {listed(unexpected)}; missing {listed(needed)}"
        raise ValueError(f"{path}: not a complete {layout.kind}: {faults}")
    weights = {}
    for new, old in used.items():
        given, wanted = state[old], expected[new]
        if given.shape != wanted.shape:
            raise ValueError(f"{path}: {old} has shape {tuple(given.shape)}, expected {tuple(wanted.shape)}")
        if given.is_floating_point() != wanted.is_floating_point():
            raise ValueError(f"{path}: {old} is {given.dtype}, expected {wanted.dtype}")
        weights[new] = given.to(wanted.dtype)
    target.load_state_dict(weights | {key: torch.zeros((), dtype=torch.long) for key in missing}, assign=True)
    return CoverageReport(path, layout.kind, tuple(used.values()), tuple(ignored), tuple(missing))

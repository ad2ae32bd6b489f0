"""Weights out, for PyTorch: a state dict that torchvision loads, and safetensors."""

import io
import json
from pathlib import Path

import torch
from safetensors.torch import save

from peclr import __version__
from peclr.geometry.joints import JOINT_NAMES
from peclr.models.encoders import Encoder, ResNetEncoder
from peclr.models.pose_net import PoseNet25D
from peclr.options import check_new, write_whole
from peclr.runs.about import KEY, About

_IMAGENET_CLASSES = 1000


def file_metadata(name: str, about: About) -> dict[str, str]:
    """The description inside exported files, for `peclr` and for those who find them without their card."""
    metadata = {
        "name": name,
        "producer": f"peclr {__version__}",
        "image": "RGB, (pixels / 255 - mean) / std",
        "image_mean": json.dumps(about.mean),
        "image_std": json.dumps(about.std),
        KEY: json.dumps(about.as_dict()),
    }
    if about.kind == "finetune":
        metadata |= {
            "view_size": str(about.view_size),
            "joint_names": json.dumps(JOINT_NAMES),
            "unit_2d": "pixels of the view",
            "unit_3d": "lengths of the bone from middle_mcp to middle_pip, camera frame",
        }
    return metadata


def torchvision_obstacle(encoder: Encoder) -> str | None:
    """Why torchvision cannot load an encoder's weights; None if it can."""
    if not isinstance(encoder, ResNetEncoder):
        return f"the encoder is {encoder.description}, and this format is for torchvision's ResNets"
    return None if encoder.width == 1 else f"torchvision has no {encoder.description}"


def export_torchvision(encoder: Encoder, path: Path | str, about: About | None = None) -> None:
    """Write a new file with a state dict that torchvision's ResNet of that name loads with strict=True.

    Its classifier, which an encoder does not have, is filled with zeros. What the file says of itself is an attribute
    of the state dict. ValueError if torchvision has no ResNet of that width, or it is none.
    """
    if obstacle := torchvision_obstacle(encoder):
        raise ValueError(obstacle)
    path = check_new(path)
    state = encoder.state_dict()  # an OrderedDict, which may carry attributes
    state.update({key: value.cpu() for key, value in state.items()})
    state["fc.weight"] = torch.zeros(_IMAGENET_CLASSES, encoder.feature_dim)
    state["fc.bias"] = torch.zeros(_IMAGENET_CLASSES)
    if about is not None:
        setattr(state, KEY, about.as_dict())
    content = io.BytesIO()
    torch.save(state, content)
    write_whole(path, content.getvalue())


def export_safetensors(
    network: PoseNet25D | Encoder, path: Path | str, metadata: dict[str, str] | None = None, *, half: bool = False
) -> None:
    """Write a new file of safetensors for `load_pose_net` and `load_encoder`, with metadata in its header.

    A pose network has the keys of the published ones, a ResNet those of torchvision. With `half`, numbers are rounded
    to float16, of which loading makes float32 again; ValueError if one of them is beyond its range.
    """
    path = check_new(path)
    state = {key: value.cpu().contiguous() for key, value in network.state_dict().items()}
    if half:
        state = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
        beyond = [key for key, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
        if beyond:
            raise ValueError(f"{path}: float16 ends at 65,504, and {beyond[0]} goes beyond it; export without --half")
    write_whole(path, save(state, metadata={"format": "pt", **(metadata or {})}))

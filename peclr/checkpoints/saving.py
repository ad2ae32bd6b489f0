"""Weights out, for PyTorch: a state dict that torchvision loads, and safetensors."""

import io
import json
from collections import OrderedDict
from pathlib import Path

import torch

from peclr import __version__
from peclr.checkpoints.files import require_extra
from peclr.geometry.joints import JOINT_NAMES
from peclr.models.encoders import ResNetEncoder
from peclr.models.pose_net import PoseNet25D
from peclr.options import naming
from peclr.runs.about import KEY, About

_IMAGENET_CLASSES = 1000


def file_metadata(name: str, about: About) -> dict[str, str]:
    """What exported files say about themselves, to `peclr` and to those who find them without their card.

    Args:
        name: of the weights.
        about: them.
    """
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


def check_new(path: Path) -> None:
    """Refuse to overwrite; FileExistsError if there is such a file already."""
    if path.exists():
        raise FileExistsError(f"{path} exists already; give another path or remove it")


def export_torchvision(encoder: ResNetEncoder, path: Path | str, about: About | None = None) -> None:
    """Write a state dict that torchvision's ResNet of that name loads with strict=True.

    Its classifier, which an encoder does not have, is filled with zeros.

    Args:
        encoder: of width 1.
        path: a new file.
        about: what the file is to say of itself, in an attribute of the state dict.

    Raises:
        FileExistsError: there is such a file already.
        ValueError: torchvision has no ResNet of that width.
    """
    path = Path(path)
    if encoder.width != 1:
        raise ValueError(f"torchvision has no {encoder.name} of width {encoder.width:g}, only of width 1")
    check_new(path)
    tensors = encoder.state_dict().items()
    state = OrderedDict((key, value.detach().cpu()) for key, value in tensors if not key.startswith("fc."))
    state["fc.weight"] = torch.zeros(_IMAGENET_CLASSES, encoder.feature_dim)
    state["fc.bias"] = torch.zeros(_IMAGENET_CLASSES)
    if about is not None:
        setattr(state, KEY, about.as_dict())
    content = io.BytesIO()  # torch.save would hide why it cannot write
    torch.save(state, content)
    with naming(path):
        path.write_bytes(content.getvalue())


def export_safetensors(
    network: PoseNet25D | ResNetEncoder, path: Path | str, metadata: dict[str, str] | None = None
) -> None:
    """Write a network's state dict as safetensors; `load_pose_net` and `load_encoder` read it.

    A pose network has the keys of the published ones, an encoder those of torchvision.

    Args:
        network: all of its tensors are written.
        path: a new file.
        metadata: text by name for the file's header.

    Raises:
        FileExistsError: there is such a file already.
        ValueError: safetensors is not installed.
    """
    path = Path(path)
    check_new(path)
    require_extra("safetensors")
    from safetensors.torch import save

    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    # save_file would make a file that nobody else may read
    with naming(path):
        path.write_bytes(save(state, metadata={"format": "pt", **(metadata or {})}))

"""Weights in and out: published checkpoints, torchvision's, our own runs; torchvision, safetensors, ONNX, a card."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from peclr.checkpoints.loading import load_encoder, load_pose_net
    from peclr.checkpoints.onnx_file import export_onnx
    from peclr.checkpoints.saving import export_safetensors, export_torchvision

__all__ = ["export_onnx", "export_safetensors", "export_torchvision", "load_encoder", "load_pose_net"]


def __getattr__(name: str) -> object:
    """Import a function, and PyTorch with it, when it is asked for: `peclr export --help` does without."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "loading" if name.startswith("load_") else "onnx_file" if name == "export_onnx" else "saving"
    return getattr(import_module(f"{__name__}.{home}"), name)

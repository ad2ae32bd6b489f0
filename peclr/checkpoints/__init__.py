"""Weights in and out: published checkpoints, torchvision's, our own runs; torchvision, safetensors, ONNX, a card."""

from typing import TYPE_CHECKING

from peclr.lazy import lazy_names

if TYPE_CHECKING:
    from peclr.checkpoints.loading import load_encoder, load_pose_net
    from peclr.checkpoints.onnx_file import export_onnx
    from peclr.checkpoints.saving import export_safetensors, export_torchvision

__all__ = ["export_onnx", "export_safetensors", "export_torchvision", "load_encoder", "load_pose_net"]

# `peclr export --help` does without PyTorch
_HOMES = {
    "loading": ("load_encoder", "load_pose_net"),
    "onnx_file": ("export_onnx",),
    "saving": ("export_safetensors", "export_torchvision"),
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)

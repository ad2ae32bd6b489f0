"""Weights in and out: published checkpoints, torchvision's, our own runs; torchvision, safetensors, ONNX, a card."""

from peclr.checkpoints.card import ModelCard
from peclr.checkpoints.files import read_state_dict
from peclr.checkpoints.layouts import CoverageReport
from peclr.checkpoints.loading import (
    LoadedEncoder,
    LoadedPoseNet,
    holds_pose_net,
    load_encoder,
    load_encoder_weights,
    load_pose_net,
    load_pose_net_weights,
)
from peclr.checkpoints.onnx_file import export_onnx
from peclr.checkpoints.saving import export_safetensors, export_torchvision, file_metadata

__all__ = [
    "CoverageReport",
    "LoadedEncoder",
    "LoadedPoseNet",
    "ModelCard",
    "export_onnx",
    "export_safetensors",
    "export_torchvision",
    "file_metadata",
    "holds_pose_net",
    "load_encoder",
    "load_encoder_weights",
    "load_pose_net",
    "load_pose_net_weights",
    "read_state_dict",
]

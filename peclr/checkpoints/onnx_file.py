"""Weights out, for everything else: ONNX with image and camera as inputs, compared with PyTorch."""

import copy
import os
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from peclr.geometry.affine import compose, rotation, scaling, translation
from peclr.models.pose_net import PoseNet25D
from peclr.options import check_new, naming

# before its first import: onnxruntime sends usage data otherwise, and disable_telemetry_events() comes too late
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

INPUTS = ("image", "K")
OUTPUTS = ("keypoints_2d", "depth_rel", "root_depth", "joints_3d")

TOLERANCE_PX, TOLERANCE_M = 1e-4, 1e-4  # what the exported network may differ by from PyTorch
# Metres from middle MCP to middle PIP of a usual hand: joints_3d has no unit, the tolerance has.
_USUAL_SCALE_M = 0.03
# Bone lengths. Where a network that knows no hands puts the wrist beside the camera, its pixels mean nothing.
_NEAREST_WRIST = 4.0
_CHECKED_BATCHES = (1, 3)


class OnnxDifference(NamedTuple):
    """The largest distance of onnxruntime's predictions from PyTorch's: pixels of the view, metres of a usual hand."""

    keypoints_px: float
    joints_m: float


class _Exported(nn.Module):
    """A copy of the network in float32 on the CPU, with a tuple of outputs, which is what ONNX has."""

    def __init__(self, network: PoseNet25D) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).cpu().float()
        self.eval()

    def forward(self, image: Tensor, K: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        output = self.network(image, K)
        return output["keypoints_2d"], output["depth_rel"], output["root_depth"], output["joints_3d"]


def export_onnx(
    network: PoseNet25D, path: Path | str, view_size: int, metadata: dict[str, str] | None = None
) -> OnnxDifference:
    """Write a new file of ONNX, and compare it with PyTorch on random views of rotated cameras.

    The file takes `image` (batch, 3, S, S), normalized, with S the view size, and `K` (batch, 3, 3), and gives
    `OUTPUTS` as `PoseOutput` describes them, for evaluation, of any batch. Metadata become properties. ArithmeticError
    if predictions differ by more than the tolerances; there is no file then.
    """
    path = check_new(path)
    for module in ("onnx", "onnxscript", "onnxruntime"):
        if find_spec(module) is None:
            raise ValueError(f"{module} is not installed; pip install 'peclr[export]' brings it")
    image, K = _random_views(2, view_size, torch.Generator().manual_seed(0))
    batch = torch.export.Dim("batch", min=1)
    with warnings.catch_warnings():
        # of a deprecated name in PyTorch itself, and of inputs that share their batch, which is what we say
        warnings.filterwarnings("ignore", message=r"`isinstance\(treespec", category=FutureWarning)
        warnings.filterwarnings("ignore", message="# The axis name: batch will not be used")
        program = torch.onnx.export(
            _Exported(network),
            (image, K),
            input_names=INPUTS,
            output_names=OUTPUTS,
            dynamic_shapes={"image": {0: batch}, "K": {0: batch}},
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # as it would be where it writes the file itself
    program.model.metadata_props.update({"view_size": str(view_size), **(metadata or {})})
    partial = path.with_name(f".{path.name}.partial")
    try:
        with naming(path):
            program.save(partial)
        difference = compare_with_onnx(network, partial, view_size)
        if not (difference.keypoints_px <= TOLERANCE_PX and difference.joints_m <= TOLERANCE_M):
            most = f"expected at most {TOLERANCE_PX:g} px and {TOLERANCE_M:g} m"
            raise ArithmeticError(f"{path}: onnxruntime differs from PyTorch by {difference}; {most}")
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
    return difference


def compare_with_onnx(network: PoseNet25D, path: Path | str, view_size: int) -> OnnxDifference:
    """Run a network and its ONNX file on the same random views, cameras of rotated crops among them."""
    import onnxruntime  # type: ignore[import-untyped]  # ships no types

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    exported = _Exported(network)
    generator = torch.Generator().manual_seed(1)
    pixels, metres = [], []
    for size in _CHECKED_BATCHES:
        image, K = _random_views(size, view_size, generator)
        with torch.inference_mode():
            expected = [tensor.numpy() for tensor in exported(image, K)]
        found = session.run(OUTPUTS, {"image": image.numpy(), "K": K.numpy()})
        keypoints, _, _, joints = (np.linalg.norm(a - b, axis=-1) for a, b in zip(found, expected, strict=True))
        # all keypoints are regressed, but the wrist's is projected, which divides by its depth
        keypoints[:, 0][expected[3][:, 0, 2] < _NEAREST_WRIST] = 0
        pixels.append(keypoints.max())
        metres.append(joints.max() * _USUAL_SCALE_M)
    # NumPy's max, unlike Python's, keeps NaN
    return OnnxDifference(float(np.max(pixels)), float(np.max(metres)))


def _random_views(count: int, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Noise (count, 3, S, S) and cameras (count, 3, 3) of crops that are turned, scaled and moved."""
    image = torch.randn(count, 3, size, size, generator=generator)
    turn, zoom, *move = torch.rand(4, count, generator=generator).unbind()
    center = torch.tensor([size / 2, size / 2])
    # a focal length of about twice the image's side is FreiHAND's
    camera = torch.tensor([[2.0 * size, 0, size / 2], [0, 2.1 * size, size / 2], [0, 0, 1]])
    crop = compose(
        translation(center + (torch.stack(move, dim=-1) - 0.5) * size / 4),
        rotation((2 * turn - 1) * torch.pi),
        scaling(0.7 + 0.6 * zoom),
        translation(-center),
    )
    return image, compose(crop, camera)

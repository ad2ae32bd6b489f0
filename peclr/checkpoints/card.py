"""The card that goes with exported weights: what they expect, what they give, how they were made, what they score."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from peclr.checkpoints.layouts import CoverageReport
from peclr.checkpoints.onnx_file import OUTPUTS, OnnxDifference
from peclr.geometry.joints import JOINT_NAMES, SCALE_BONE
from peclr.models.encoders import IMAGENET_MEAN, IMAGENET_STD

# Sections of a run's config that say how weights came about; the rest is about folders and progress bars.
_CONFIG_SECTIONS = ("seed_everything", "model", "data", "trainer")
_MEGABYTE = 1e6

# How files are loaded, by suffix
_USES = {
    ".pth": """\
encoder = torchvision.models.{architecture}()  # its fc is zero: an encoder has no classifier
encoder.load_state_dict(torch.load("{file}", weights_only=True), strict=True)""",
    ".safetensors": """\
from peclr.checkpoints import {load}

network = {load}("{file}").eval()""",
    ".onnx": f"""\
session = onnxruntime.InferenceSession("{{file}}")
{", ".join(OUTPUTS)} = session.run(
    [{", ".join(f'"{name}"' for name in OUTPUTS)}], {{{{"image": image, "K": K}}}}
)""",
}
_ONNX = """\
The ONNX file was run by onnxruntime on views of turned and scaled cameras, in batches of several sizes: it differs from
PyTorch by at most {:.1g} px and {:.1g} mm."""
_IMAGE = """\
- `image`: (batch, 3, {side}, {side}), float32, RGB: `(pixels / 255 − mean) / std` with mean {mean} and std {std}. Black
  beyond the image's borders, before normalization."""
_CAMERA = """ A square crop with the hand in its middle. A left hand is mirrored first, and so is its K.
- `K`: (batch, 3, 3), float32: the camera of this crop, pixels; the center of the top left pixel is (0, 0). For a view
  made by `view_from_image` (3 × 3, scaled, moved, also turned) it is `view_from_image @ K_of_the_image`; the 3-D joints
  then are in the frame of the image's camera."""
_OUTPUT = """\
- `keypoints_2d`: (batch, 21, 2), pixels of the crop.
- `depth_rel`: (batch, 21), depth behind the palm (half-way between wrist and middle_mcp), bone lengths.
- `root_depth`: (batch,), depth of the palm, bone lengths.
- `joints_3d`: (batch, 21, 3), camera frame (x right, y down, z forward), bone lengths.

A bone length is the distance between {bone}. Multiplied by it in metres (FreiHAND's `scale`, about 0.03 m
for an adult), `joints_3d` is in metres. Joints are in order freihand:

{joints}"""
_SCORES = """\
The official FreiHAND scores: means in cm, AUC and F-scores from 0 to 1; `al` is after similarity alignment, which may
mirror.

"""


@dataclass(frozen=True)
class ModelCard:
    """Everything that a stranger needs to use exported weights.

    Attributes:
        name: the title.
        architecture: of the encoder, "resnet50" or "resnet18 of width 0.5" for example.
        report: the checkpoint the weights are from, and what of it was used.
        files: what was exported, by what each is for.
        view_size: side of the views the network was trained on, pixels; None for an encoder alone.
        config: of the training run; empty if unknown.
        scores: the official ones of FreiHAND; empty if unknown.
        onnx: how far the ONNX file is from PyTorch; None if there is none.
    """

    name: str
    architecture: str
    report: CoverageReport
    files: Mapping[Path, str]
    view_size: int | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    onnx: OnnxDifference | None = None

    def __str__(self) -> str:
        what = "An image encoder" if self.view_size is None else "A 2.5-D pose network for right hands"
        report = replace(self.report, path=Path(self.report.path.name))  # where it lay is nobody's business
        image = _IMAGE.format(side=self.view_size or "S", mean=list(IMAGENET_MEAN), std=list(IMAGENET_STD))
        sections = {
            "Files": self._files(),
            "Use": self._use(),
            "Input": image if self.view_size is None else image + _CAMERA,
            "Output": None if self.view_size is None else _output(),
            "Scores": self._scores(),
            "Training": self._training(),
        }
        head = f"# {self.name}\n\n{what}: {self.architecture}, exported by peclr. The weights are from a {report.kind}:"
        text = "".join(f"\n\n## {title}\n\n{text}" for title, text in sections.items() if text is not None)
        return f"{head}\n\n```text\n{report}\n```{text}\n"

    def _files(self) -> str:
        rows = [
            (f"`{path.name}`", purpose, f"{path.stat().st_size / _MEGABYTE:.1f} MB", f"`{_sha256(path)}`")
            for path, purpose in self.files.items()
        ]
        return _table(("file", "for", "size", "SHA-256"), rows)

    def _use(self) -> str:
        load = "load_encoder" if self.view_size is None else "load_pose_net"
        names = {path.suffix: path.name for path in self.files}
        blocks = [
            f"```python\n{use.format(file=names[suffix], architecture=self.architecture, load=load)}\n```"
            for suffix, use in _USES.items()
            if suffix in names
        ]
        if self.onnx is not None:
            blocks.append(_ONNX.format(self.onnx.keypoints_px, 1000 * self.onnx.joints_m))
        return "\n\n".join(blocks)

    def _scores(self) -> str:
        if not self.scores:
            return "Not evaluated; `peclr evaluate` scores on data in FreiHAND's layout."
        rows = [(f"`{name}`", f"{value:.4g}") for name, value in self.scores.items()]
        return _SCORES + _table(("score", "value"), rows)

    def _training(self) -> str:
        known = {section: self.config[section] for section in _CONFIG_SECTIONS if section in self.config}
        if not known:
            return "No run's config stood beside the weights."
        text = yaml.safe_dump(_without_none(known), sort_keys=False, allow_unicode=True)
        return f"```yaml\n{text}```"


def _output() -> str:
    bone = " and ".join(JOINT_NAMES[joint] for joint in SCALE_BONE)
    rows = [(str(index), name) for index, name in enumerate(JOINT_NAMES)]
    return _OUTPUT.format(bone=bone, joints=_table(("index", "joint"), rows))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _without_none(config: Any) -> Any:
    """A config without the options that were left at null."""
    if isinstance(config, dict):
        return {key: _without_none(value) for key, value in config.items() if value is not None}
    return config

"""The card that goes with exported weights: what they expect, what they give, how they were made, what they score."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from peclr.checkpoints.layouts import CoverageReport
from peclr.checkpoints.onnx_file import OnnxDifference
from peclr.geometry.joints import JOINT_NAMES, SCALE_BONE
from peclr.models.encoders import IMAGENET_MEAN, IMAGENET_STD

# Sections of a run's config that say how weights came about; the rest is about folders and progress bars.
_CONFIG_SECTIONS = ("seed_everything", "model", "data", "trainer")
_MEGABYTE = 1e6


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
        sections = [self._head(), self._files(), *self._use(), self._preprocessing()]
        if self.view_size is not None:
            sections.append(_OUTPUTS_SECTION)
        return "\n\n".join([*sections, self._scores(), self._training()]) + "\n"

    def _head(self) -> str:
        what = "An image encoder" if self.view_size is None else "A 2.5-D pose network for right hands"
        lines = [f"# {self.name}", f"{what}: {self.architecture}, exported by peclr. The weights are from a"]
        report = replace(self.report, path=Path(self.report.path.name))  # where it lay is nobody's business
        return f"{lines[0]}\n\n{lines[1]} {report.kind}:\n\n```text\n{report}\n```"

    def _files(self) -> str:
        rows = [
            (f"`{path.name}`", purpose, f"{path.stat().st_size / _MEGABYTE:.1f} MB", f"`{_sha256(path)}`")
            for path, purpose in self.files.items()
        ]
        return "## Files\n\n" + _table(("file", "for", "size", "SHA-256"), rows)

    def _use(self) -> list[str]:
        names = {path.suffix: path.name for path in self.files}
        blocks = []
        if ".pth" in names:
            call = f"torchvision.models.{self.architecture}()"
            blocks.append(
                f"encoder = {call}  # its fc is zero: an encoder has no classifier\n"
                f'encoder.load_state_dict(torch.load("{names[".pth"]}", weights_only=True), strict=True)'
            )
        if ".safetensors" in names:
            load = "load_encoder" if self.view_size is None else "load_pose_net"
            blocks.append(f'from peclr.checkpoints import {load}\n\nnetwork = {load}("{names[".safetensors"]}").eval()')
        if ".onnx" in names:
            blocks.append(
                f'session = onnxruntime.InferenceSession("{names[".onnx"]}")\n'
                "keypoints_2d, depth_rel, root_depth, joints_3d = session.run(\n"
                '    ["keypoints_2d", "depth_rel", "root_depth", "joints_3d"], {"image": image, "K": K}\n)'
            )
        text = "## Use\n\n" + "\n\n".join(f"```python\n{block}\n```" for block in blocks)
        if self.onnx is not None:
            text += (
                f"\n\nThe ONNX file was run by onnxruntime on views of turned and scaled cameras, in batches of "
                f"several sizes: it differs from PyTorch by at most {self.onnx.keypoints_px:.1g} px and "
                f"{1000 * self.onnx.joints_m:.1g} mm."
            )
        return [text]

    def _preprocessing(self) -> str:
        mean, std = list(IMAGENET_MEAN), list(IMAGENET_STD)
        side = self.view_size or "S"
        text = (
            "## Input\n\n"
            f"- `image`: (batch, 3, {side}, {side}), float32, RGB: `(pixels / 255 − mean) / std` with mean {mean} "
            f"and std {std}. Black beyond the picture's borders, before normalization."
        )
        if self.view_size is None:
            return text
        return (
            f"{text} A square crop with the hand in its middle. A left hand is mirrored first, and so is its K.\n"
            "- `K`: (batch, 3, 3), float32: the camera of this crop, pixels; the center of the top left pixel is "
            "(0, 0). For a view made by `view_from_image` (3 × 3, scaled, moved, also turned) it is "
            "`view_from_image @ K_of_the_image`; the 3-D joints then are in the frame of the image's camera."
        )

    def _scores(self) -> str:
        if not self.scores:
            return "## Scores\n\nNot evaluated; `peclr evaluate` scores on data in FreiHAND's layout."
        rows = [(f"`{name}`", f"{value:.4g}") for name, value in self.scores.items()]
        legend = (
            "The official FreiHAND scores: means in cm, AUC and F-scores from 0 to 1; `al` is after similarity "
            "alignment, which may mirror."
        )
        return f"## Scores\n\n{legend}\n\n" + _table(("score", "value"), rows)

    def _training(self) -> str:
        known = {section: self.config[section] for section in _CONFIG_SECTIONS if section in self.config}
        if not known:
            return "## Training\n\nNo run's config stood beside the weights."
        text = yaml.safe_dump(_without_none(known), sort_keys=False, allow_unicode=True)
        return f"## Training\n\n```yaml\n{text}```"


def _joint_rows() -> str:
    rows = [(str(index), name) for index, name in enumerate(JOINT_NAMES)]
    return _table(("index", "joint"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _without_none(config: Any) -> Any:
    """A config without the options that were left at null."""
    if isinstance(config, dict):
        return {key: _without_none(value) for key, value in config.items() if value is not None}
    return config


_BONE = " and ".join(JOINT_NAMES[joint] for joint in SCALE_BONE)
_OUTPUTS_SECTION = f"""## Output

- `keypoints_2d`: (batch, 21, 2), pixels of the crop.
- `depth_rel`: (batch, 21), depth behind the palm (half-way between wrist and middle_mcp), bone lengths.
- `root_depth`: (batch,), depth of the palm, bone lengths.
- `joints_3d`: (batch, 21, 3), camera frame (x right, y down, z forward), bone lengths.

A bone length is the distance between {_BONE}. Multiplied by it in metres (FreiHAND's `scale`, about 0.03 m
for an adult), `joints_3d` is in metres. Joints are in order freihand:

{_joint_rows()}"""

"""The card that goes with exported weights: what they expect, what they give, how they were made, what they score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import Template
from typing import Any

import yaml

from peclr.checkpoints.layouts import CoverageReport
from peclr.checkpoints.onnx_file import OUTPUTS, OnnxDifference
from peclr.data.views.geometric import Border
from peclr.geometry.joints import JOINT_NAMES, SCALE_BONE
from peclr.models.encoders import Encoder
from peclr.untrusted.binary import sha256_of

# Sections of a run's config that say how weights came about; the rest is about folders and progress bars.
_CONFIG_SECTIONS = ("seed_everything", "model", "data", "trainer")

# How files are loaded, by suffix
_USES = {
    ".pth": """\
encoder = torchvision.models.$architecture()  # its fc is zero: an encoder has no classifier
encoder.load_state_dict(torch.load("$file", weights_only=True), strict=True)""",
    ".safetensors": """\
from peclr.checkpoints import $load

network = $load("$file").eval()""",
    ".onnx": f"""\
session = onnxruntime.InferenceSession("$file")
{", ".join(OUTPUTS)} = session.run(
    [{", ".join(f'"{name}"' for name in OUTPUTS)}], {{"image": image, "K": K}}
)""",
}
_ONNX = """\
The ONNX file was run by onnxruntime on views of turned and scaled cameras, in batches of several sizes: it differs from
PyTorch by at most {:.1g} px and {:.1g} mm."""
_SCORES = """\
On the evaluation split of data in FreiHAND's layout: `epe_mm` in the camera frame, `root_relative_epe_mm` with both
wrists at the origin, `pa_epe_mm` after similarity alignment without mirroring; AUC and F-scores from 0 to 1.

"""
_BORDERS = {"black": "Black", "reflect": "The image's mirror image"}


@dataclass(frozen=True)
class ModelCard:
    """Everything that a stranger needs to use exported weights, as Markdown."""

    name: str
    encoder: Encoder
    report: CoverageReport  # the checkpoint the weights are from, and what of it was used
    files: Mapping[Path, str]  # what was exported, by what each is for
    view_size: int | None  # px, of the views the network was trained on; None for an encoder alone
    config: Mapping[str, Any]  # of the training run; empty if unknown
    scores: Mapping[str, float]  # the metrics of `peclr evaluate`; empty if unknown
    onnx: OnnxDifference | None  # None if there is no ONNX file
    border: Border = "black"  # what views show beyond the image

    def __str__(self) -> str:
        template = "card_encoder.md" if self.view_size is None else "card_pose_net.md"
        text = Template(Path(__file__).with_name(template).read_text(encoding="utf-8"))
        scores = [(f"`{name}`", f"{value:.4g}") for name, value in self.scores.items()]
        not_scored = "Not evaluated; `peclr evaluate` scores on data in FreiHAND's layout."
        return text.substitute(
            name=self.name,
            architecture=self.encoder.description,
            kind=self.report.kind,
            report=replace(self.report, path=Path(self.report.path.name)),  # where it lay is nobody's business
            files=_table(("file", "for", "size", "SHA-256"), [_file(*file) for file in self.files.items()]),
            uses=self._uses(),
            side=self.view_size,
            beyond=_BORDERS[self.border],
            mean=list(self.encoder.mean),
            std=list(self.encoder.std),
            bone=" and ".join(JOINT_NAMES[joint] for joint in SCALE_BONE),
            joints=_table(("index", "joint"), [(str(index), name) for index, name in enumerate(JOINT_NAMES)]),
            scores=_SCORES + _table(("score", "value"), scores) if scores else not_scored,
            training=self._training(),
        )

    def _uses(self) -> str:
        load = "load_encoder" if self.view_size is None else "load_pose_net"
        blocks = []
        for path in self.files:
            names = {"file": path.name, "architecture": self.encoder.description, "load": load}
            use = Template(_USES[path.suffix]).substitute(names)
            blocks.append(f"```python\n{use}\n```")
        if self.onnx is not None:
            blocks.append(_ONNX.format(self.onnx.keypoints_px, 1000 * self.onnx.joints_m))
        return "\n\n".join(blocks)

    def _training(self) -> str:
        known = {section: self.config[section] for section in _CONFIG_SECTIONS if section in self.config}
        if not known:
            return "No run's config stood beside the weights."
        return f"```yaml\n{yaml.safe_dump(_without_none(known), sort_keys=False, allow_unicode=True)}```"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows))


def _file(path: Path, purpose: str) -> tuple[str, str, str, str]:
    return f"`{path.name}`", purpose, f"{path.stat().st_size / 1e6:.1f} MB", f"`{sha256_of(path)}`"


def _without_none(config: Any) -> Any:
    """A config without the options that were left at null."""
    if isinstance(config, dict):
        return {key: _without_none(value) for key, value in config.items() if value is not None}
    return config

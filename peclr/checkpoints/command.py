"""`peclr export`: a checkpoint as files that other software loads, with a card that explains them."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from peclr.options import check_new_folder, naming

if TYPE_CHECKING:  # `--help` must not import torch
    from peclr.checkpoints.card import ModelCard
    from peclr.checkpoints.layouts import CoverageReport
    from peclr.models.encoders import ResNetEncoder
    from peclr.models.pose_net import PoseNet25D
    from peclr.runs.about import About

FORMATS = ("torchvision", "safetensors", "onnx")
CARD_NAME = "README.md"
_OWN_SCORES = Path("evaluation", "scores.json")  # where `peclr evaluate RUN` writes


@dataclass(frozen=True)
class Weights:
    """What a checkpoint holds: an encoder, around it a pose network or none, and what they are."""

    encoder: ResNetEncoder
    network: PoseNet25D | None
    report: CoverageReport
    about: About

    @property
    def architecture(self) -> str:
        """Of the encoder."""
        encoder = self.encoder
        return encoder.name if encoder.width == 1 else f"{encoder.name} of width {encoder.width:g}"

    def obstacle(self, form: str) -> str | None:
        """Why these weights cannot be written in one of `FORMATS`; None if they can."""
        if form == "torchvision" and self.encoder.width != 1:
            return f"torchvision has no {self.architecture}"
        if form == "onnx" and self.network is None:
            return "ONNX takes an image and a camera, and these are weights of an encoder alone"
        return None


def export_main(arguments: list[str]) -> int:
    """Parse the options and export.

    Args:
        arguments: what follows `peclr export`.

    Returns:
        0; what cannot be done raises.
    """
    parser = argparse.ArgumentParser(
        prog="peclr export",
        description="Write weights for torchvision, as safetensors and as ONNX, with a card that explains them.",
    )
    parser.add_argument("run", type=Path, help="a run's folder, or a checkpoint: own, published or torchvision's")
    parser.add_argument("--out", type=Path, required=True, help="a new or empty folder")
    parser.add_argument(
        "--formats", nargs="+", choices=FORMATS, help="default: all that the weights allow, and a word on the rest"
    )
    parser.add_argument("--name", help="title of the card, stem of the files (default: the run's)")
    parser.add_argument("--view-size", type=int, help="side of the views, pixels (default: those it was trained on)")
    parser.add_argument("--scores", type=Path, help="scores.json of `peclr evaluate` (default: the run's own)")
    options = parser.parse_args(arguments)
    check_new_folder(options.out)
    card = export(**vars(options))
    print(card.report)
    for path in (*card.files, options.out / CARD_NAME):
        print(path)
    if card.onnx is not None:
        print(f"onnxruntime and PyTorch agree to {card.onnx.keypoints_px:.1g} px, {card.onnx.joints_m:.1g} m")
    return 0


def export(
    run: Path,
    out: Path,
    formats: list[str] | None = None,
    name: str | None = None,
    view_size: int | None = None,
    scores: Path | None = None,
) -> ModelCard:
    """Write weights and card into the folder `out`; the arguments are those of the command.

    Raises:
        FileExistsError: a file is there already.
        FileNotFoundError: there is no such checkpoint.
        ValueError: a format is asked for that the weights do not allow, or a package is missing.
    """
    from peclr.checkpoints.card import ModelCard
    from peclr.runs.layout import find_checkpoint, read_run_config, run_folder

    checkpoint = find_checkpoint(run)
    weights = _load(checkpoint, view_size)
    folder = run_folder(checkpoint)
    card = ModelCard(
        name=name or (folder.resolve().name if folder else checkpoint.stem),
        architecture=weights.architecture,
        report=weights.report,
        files={},
        view_size=weights.about.view_size if weights.network else None,
        config=read_run_config(checkpoint),
        scores=_read_scores(scores, folder),
    )
    chosen = _choose(weights, formats)
    out.mkdir(parents=True, exist_ok=True)
    card = _write(weights, card, chosen, out)
    with naming(out / CARD_NAME):
        (out / CARD_NAME).write_text(str(card), encoding="utf-8")
    return card


def _load(checkpoint: Path, view_size: int | None) -> Weights:
    """A pose network if there is one, for views of that size if given; an encoder otherwise."""
    from peclr import __version__
    from peclr.checkpoints.loading import holds_pose_net, load_encoder_weights, load_pose_net_weights
    from peclr.models.encoders import ResNetEncoder
    from peclr.runs.about import FORMAT, About

    if holds_pose_net(checkpoint):
        found = load_pose_net_weights(checkpoint)
        network, encoder = found.network, found.network.backend_model
        about = found.about or About(kind="finetune", encoder=encoder.config())
        about = replace(about, view_size=found.check_view_size(view_size), version=__version__, format=FORMAT)
        return Weights(encoder, network, found.report, about)
    loaded = load_encoder_weights(checkpoint)
    encoder = ResNetEncoder(loaded.name, loaded.width)
    encoder.load_state_dict(loaded.state_dict)
    about = loaded.about or About(kind="pretrain", encoder=encoder.config())
    return Weights(encoder, None, loaded.report, replace(about, version=__version__, format=FORMAT))


def _choose(weights: Weights, formats: list[str] | None) -> list[str]:
    """The formats to write; an impossible one is an error if it was asked for, and otherwise left out."""
    chosen = []
    for form in formats or FORMATS:
        obstacle = weights.obstacle(form)
        if obstacle is None:
            chosen.append(form)
        elif formats:
            raise ValueError(f"--formats {form}: {obstacle}")
        else:
            print(f"no {form}: {obstacle}")
    return chosen


def _write(weights: Weights, card: ModelCard, formats: list[str], out: Path) -> ModelCard:
    """Write the files; returns the card that lists them."""
    from peclr.checkpoints import export_onnx, export_safetensors, export_torchvision
    from peclr.checkpoints.saving import file_metadata

    files: dict[Path, str] = {}
    metadata = file_metadata(card.name, weights.about)
    if "torchvision" in formats:
        path = out / f"{card.name}_torchvision.pth"
        export_torchvision(weights.encoder, path, weights.about)
        files[path] = "torchvision, strict=True"
    if "safetensors" in formats:
        path = out / f"{card.name}.safetensors"
        export_safetensors(weights.network or weights.encoder, path, metadata)
        files[path] = "peclr, and whatever reads safetensors"
    difference = None
    if "onnx" in formats and weights.network is not None and card.view_size is not None:
        path = out / f"{card.name}.onnx"
        difference = export_onnx(weights.network, path, card.view_size, metadata)
        files[path] = "ONNX runtimes; any batch size, any camera"
    return replace(card, files=files, onnx=difference)


def _read_scores(path: Path | None, folder: Path | None) -> dict[str, float]:
    """The official scores from a scores.json: the given one, or that of the run's own evaluation if any."""
    if path is None:
        if folder is None or not (folder / _OWN_SCORES).is_file():
            return {}
        path = folder / _OWN_SCORES
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
    scores = content.get("scores") if isinstance(content, dict) else None
    if not isinstance(scores, dict):
        raise ValueError(f"{path}: expected the scores.json of `peclr evaluate`, with 'scores'")
    return {str(name): float(value) for name, value in scores.items()}

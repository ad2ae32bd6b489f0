"""`peclr export`: a checkpoint as files that other software loads, with a card that explains them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peclr.options import CommandParser, check_new_folder, write_whole
from peclr.runs.aliases import renewed_scores
from peclr.untrusted.text import as_type, read_json

if TYPE_CHECKING:  # `--help` must not import torch
    from peclr.checkpoints.loading import Loaded
    from peclr.checkpoints.onnx_file import OnnxDifference

_FORMATS = ("torchvision", "safetensors", "onnx")
_OWN_SCORES = Path("evaluation", "scores.json")  # where `peclr evaluate RUN` writes


def export_main(arguments: list[str]) -> int:
    """Run `peclr export`; returns 0, and raises what cannot be done."""
    options = _parser().parse_args(arguments)
    if options.half and "safetensors" not in (options.formats or _FORMATS):
        raise ValueError("--half is for safetensors, and --formats leaves them out")
    out = options.out
    check_new_folder(out)

    from peclr.checkpoints.card import ModelCard
    from peclr.checkpoints.loading import load_weights
    from peclr.runs.layout import read_run_config, run_folder
    from peclr.runs.names import run_name

    loaded = load_weights(options.run)
    checkpoint, encoder = loaded.report.path, loaded.encoder
    folder = run_folder(checkpoint)
    name = options.name or (run_name(folder) if folder else checkpoint.stem)
    view_size = None if loaded.pose_net is None else loaded.check_view_size(options.view_size)
    config, scores = read_run_config(checkpoint), _read_scores(options.scores, folder)
    formats = _choose(loaded, options.formats)
    out.mkdir(parents=True, exist_ok=True)
    files, onnx = _write(loaded, name, view_size, formats, out, half=options.half)
    card = ModelCard(name, encoder, loaded.report, files, view_size, config, scores, onnx, loaded.border)
    write_whole(out / "README.md", str(card))
    print(loaded.report, *files, out / "README.md", sep="\n")
    if onnx is not None:
        print(f"onnxruntime and PyTorch agree to {onnx.keypoints_px:.1g} px, {onnx.joints_m:.1g} m")
    return 0


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="peclr export",
        description="Write weights for torchvision, as safetensors and as ONNX, with a card that explains them.",
    )
    add = parser.add_argument
    add("run", type=Path, help="a run's folder, a checkpoint of any kind, or one's name in `peclr weights`")
    add("--out", type=Path, required=True, help="a new or empty folder")
    formats = "default: all that the weights allow, and a word on the rest"
    add("--formats", nargs="+", choices=_FORMATS, help=formats)
    add("--half", action="store_true", help="safetensors in float16: half the size")
    add("--name", help="title of the card, stem of the files (default: the run's)")
    add("--view-size", type=int, help="side of the views, pixels (default: those it was trained on)")
    add("--scores", type=Path, help="scores.json of `peclr evaluate` (default: the run's own)")
    return parser


def _choose(loaded: Loaded, formats: list[str] | None) -> list[str]:
    """The formats to write; an impossible one is an error if it was asked for, and otherwise left out."""
    from peclr.checkpoints.saving import torchvision_obstacle

    obstacles = {"torchvision": torchvision_obstacle(loaded.encoder)}
    if loaded.pose_net is None:
        obstacles["onnx"] = "ONNX takes an image and a camera, and these are weights of an encoder alone"
    chosen = []
    for form in formats or _FORMATS:
        obstacle = obstacles.get(form)
        if obstacle is None:
            chosen.append(form)
        elif formats:
            raise ValueError(f"--formats {form}: {obstacle}")
        else:
            print(f"no {form}: {obstacle}")
    return chosen


def _write(
    loaded: Loaded, name: str, view_size: int | None, formats: list[str], out: Path, *, half: bool
) -> tuple[dict[Path, str], OnnxDifference | None]:
    """Write the files; returns what each is for, and what the ONNX file differs by if there is one."""
    from peclr import __version__
    from peclr.checkpoints import export_onnx, export_safetensors, export_torchvision
    from peclr.checkpoints.saving import file_metadata
    from peclr.runs.about import FORMAT, About, encoder_facts

    encoder, network, stem = loaded.encoder, loaded.pose_net, name.replace(" ", "_")
    about = loaded.about or About(kind="finetune" if network else "pretrain", **encoder_facts(encoder))
    about = replace(about, version=__version__, format=FORMAT, view_size=view_size or about.view_size)
    if network:
        about = replace(about, border=loaded.border, crop_margin=loaded.crop_margin)
    metadata = file_metadata(name, about)
    files: dict[Path, str] = {}
    difference = None
    if "torchvision" in formats:
        path = out / f"{stem}_torchvision.pth"
        export_torchvision(encoder, path, about)
        files[path] = "torchvision, strict=True"
    if "safetensors" in formats:
        path = out / f"{stem}.safetensors"
        export_safetensors(network or encoder, path, metadata, half=half)
        files[path] = "peclr, and whatever reads safetensors" + ("; float16" if half else "")
    if "onnx" in formats and network is not None and view_size is not None:
        path = out / f"{stem}.onnx"
        difference = export_onnx(network, path, view_size, metadata)
        files[path] = "ONNX runtimes; any batch size, any camera"
    return files, difference


def _read_scores(path: Path | None, folder: Path | None) -> dict[str, float]:
    """The metrics in a scores.json: the given one, or that of the run's own evaluation if any."""
    if path is None:
        if folder is None or not (folder / _OWN_SCORES).is_file():
            return {}
        path = folder / _OWN_SCORES
    where = f"{path}: expected the scores.json of `peclr evaluate`, with 'metrics'"
    content = renewed_scores(as_type(read_json(path), dict[str, Any], where))
    return as_type(content.get("metrics"), dict[str, float], where)

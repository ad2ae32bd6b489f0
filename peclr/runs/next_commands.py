"""What one does with a run that has ended, as commands to copy."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

# of the config `finetune`
_ENCODER: Final[dict[str, Any]] = {"name": "resnet50", "width": 1.0}
_DATA: Final = "data/freihand"


def next_commands(run: Path, config: Mapping[str, Any]) -> list[str]:
    """Commands for a run with this config: fine-tune and export after pre-training; score and use after fine-tuning."""
    uses: tuple[tuple[object, ...], ...] = ()
    kind = str(_said(config, "model", "class_path")).rpartition(".")[2]
    if kind == "FinetuneModule":
        data = _said(config, "data", "init_args", "root") or _DATA
        uses = (("evaluate", run, "--data", data), ("predict", run, "photo.jpg", "--out", "hands"), ("report", run))
    elif kind == "PretrainModule":
        source = _said(config, "data", "init_args", "sources")
        source = source[0] if isinstance(source, list) and source else source
        labeled = str(_said(source, "class_path")).rpartition(".")[2] == "FreiHAND"
        data = (_said(source, "init_args", "root") if labeled else None) or _DATA
        encoder = _said(config, "model", "init_args", "encoder", "init_args") or {}
        other = [f"--model.encoder.{key}={encoder[key]}" for key in _ENCODER if encoder.get(key, "") != _ENCODER[key]]
        weights = [f"--model.weights={run}", "--model.encoder.weights=null"]
        tuned = ("fit", "--config", "finetune", f"--data.root={data}", *weights, *other)
        uses = (tuned, ("export", run, "--out", run / "weights"))
    return [shlex.join(["peclr", *map(str, words)]) for words in uses]


def _said(config: Any, *keys: str) -> Any:
    for key in keys:
        config = config.get(key) if isinstance(config, Mapping) else None
    return config

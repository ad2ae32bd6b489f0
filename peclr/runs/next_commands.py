"""What one does with a run that has ended, as commands to copy."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from peclr.untrusted.text import value_at

_LABELS: Final = ("training_xyz.json", "joints_3d.npy")  # of FreiHAND's layout, and of shards
_LABELED: Final = Path("data/freihand")  # stands for the labeled hands of somebody who pre-trained without


def next_commands(run: Path, config: Mapping[str, Any]) -> list[str]:
    """Commands for a run with this config: fine-tune and export after pre-training; use and report after fine-tuning.

    Only data with an evaluation split in FreiHAND's layout can be scored on; shards have none.
    """
    sources = value_at(config, "data", "init_args", "sources")
    source = sources[0] if isinstance(sources, list) and sources else sources
    root = Path(value_at(config, "data", "init_args", "root") or value_at(source, "init_args", "root") or _LABELED)
    uses: tuple[tuple[object, ...], ...] = ()
    kind = str(value_at(config, "model", "class_path")).rpartition(".")[2]
    if kind == "PretrainModule":
        data = root if any((root / sign).is_file() for sign in _LABELS) else _LABELED
        tune = ("fit", "--config", "finetune", f"--data.root={data}", f"--model.weights={run}")
        uses = (tune, ("export", run, "--out", run / "weights"))
    elif kind == "FinetuneModule":
        predict = ("predict", run, "photo.jpg", "--out", "hands")
        scores = (root / "evaluation_xyz.json").is_file()
        evaluate, report = ("evaluate", run, "--data", root), ("report", run)
        uses = (evaluate, predict, (*report, "--data", root)) if scores else (predict, report)
    return [shlex.join(["peclr", *map(str, words)]) for words in uses]

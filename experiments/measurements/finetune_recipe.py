"""Measures the fine-tuning recipe on embedded hands: one factor at a time against one baseline, on validation hands.

Needs embedded hands (`python -m peclr synth HANDS --train 5000 --eval 500 --size 112`) and an encoder that was
pre-trained on them (`python -m peclr fit --config experiments/demo/pretrain.yaml`). Trials that are in the results
are not repeated, so that an interrupted measurement goes on. Test-time averaging is `averaged_views.py`.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from experiments.jobs import fine_tune

EXPERIMENTS = Path(__file__).parents[1]
RESULTS = EXPERIMENTS / "results" / "finetune_recipe.json"
METRICS = ("error_2d_px", "root_relative_epe_mm", "pa_epe_mm")
BASELINE = "baseline"

_EMA = "pytorch_lightning.callbacks.EMAWeightAveraging"
_COLOUR = "--data.photometric={hue: %s, saturation: %s, value: %s, value_offset: %s}"

# The published weights of the loss are for errors in pixels of 224 px views.
_LOSS = "--model.loss={keypoints_2d_weight: %s, depth_weight: %s, root_weight: %s}"
_PIXELS = 224 / 48

# The baseline: experiments/demo/finetune.yaml with what is published, colours of pre-training's views included. They
# only get redder, greyer and darker; "light" goes both ways around what the photograph shows.
BASE = [_LOSS % (_PIXELS, 5, 1), _COLOUR % ([0.01, 1], [0.01, 1], [0.5, 1], [5, 20])]
# What each trial changes of it.
TRIALS: dict[str, list[str]] = {
    BASELINE: [],
    "loss: pixels of 48 px views": [_LOSS % (1, 5, 1)],
    "colour: none": ["--data.photometric=null"],
    "colour: light": [_COLOUR % ([0.9, 1.1], [0.7, 1.3], [0.7, 1.3], [0, 0])],
    "geometry: none": ["--data.geometry=null"],
    "geometry: rotation ±15°": ["--data.geometry={rotation: [-15, 15]}"],
    "geometry: rotation ±90°": ["--data.geometry={rotation: [-90, 90]}"],
    "learning rate: 3e-4": ["--model.optimizer.lr=3e-4"],
    "learning rate: 3e-3": ["--model.optimizer.lr=3e-3"],
    "geometry: scale 0.9 to 1.1": ["--data.geometry={scale: [0.9, 1.1]}"],
    "geometry: scale 0.6 to 1.5": ["--data.geometry={scale: [0.6, 1.5]}"],
    "loss: pixels twice": [_LOSS % (2 * _PIXELS, 5, 1)],
    "loss: depth 2": [_LOSS % (_PIXELS, 2, 1)],
    "loss: depth 15": [_LOSS % (_PIXELS, 15, 1)],
    "loss: root 0": [_LOSS % (_PIXELS, 5, 0)],
    "loss: root 5": [_LOSS % (_PIXELS, 5, 5)],
    "schedule: warm-up of a tenth": ["--model.warmup_epochs=1.7"],
    "schedule: head first, a sixth": ["--model.head_first=0.1667"],
    "schedule: head first, a third": ["--model.head_first=0.3333"],
    "weight decay: 0": ["--model.weight_decay=0"],
    "weight decay: 0.05": ["--model.weight_decay=0.05"],
    "EMA: 0.9": [f"--trainer.callbacks={{class_path: {_EMA}, init_args: {{decay: 0.9}}}}"],
    "EMA: 0.98": [f"--trainer.callbacks={{class_path: {_EMA}, init_args: {{decay: 0.98}}}}"],
}


def run_trial(name: str, labels: int, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Fine-tune and validate once; returns the row."""
    shared = [
        f"--config={EXPERIMENTS / 'demo' / 'finetune.yaml'}",
        f"--data.root={options.hands}",
        f"--data.num_labels={labels}",
        f"--seed_everything={seed}",
        f"--data.seed={seed}",
        f"--trainer.max_steps={options.steps}",
    ]
    given = TRIALS[name]
    runs = options.runs or Path(tempfile.mkdtemp(prefix="recipe-"))
    folder = runs / _file_name(name, labels, seed)
    shutil.rmtree(folder, ignore_errors=True)  # of a trial that was interrupted
    started = time.perf_counter()
    metrics = fine_tune(
        shared,
        folder,
        fit=[*BASE, *given, f"--model.weights={options.encoder}"],
        score="validate",
        score_options=["--trainer.limit_val_batches=1.0"],
    )
    if options.runs is None:
        shutil.rmtree(runs)
    return {
        "trial": name,
        "changes": given,
        "labels": labels,
        "steps": options.steps,
        "seed": seed,
        **{metric: round(metrics[metric], 4) for metric in METRICS},
        "seconds": round(time.perf_counter() - started, 1),
    }


def _file_name(name: str, labels: int, seed: int) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name) + f"-{labels}-{seed}"


def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
    """What makes a row another trial's."""
    return tuple(row[part] for part in ("trial", "labels", "steps", "seed"))


def table(rows: Iterable[dict[str, Any]]) -> str:
    """Mean over seeds of the difference to the baseline of the same seed, ± its standard deviation."""
    known = {key_of(row): row for row in rows}
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in known.values():
        groups.setdefault((row["labels"], row["steps"], row["trial"]), []).append(row)
    lines = [f"{'labels':>6} {'steps':>6}  {'trial':<42}{'seeds':>5}" + "".join(f"{metric:>26}" for metric in METRICS)]
    for (labels, steps, trial), group in sorted(groups.items(), key=lambda item: (item[0][:2], item[0][2] != BASELINE)):
        cells = []
        for metric in METRICS:
            values = [row[metric] for row in group]
            if trial != BASELINE:
                pairs = [(row[metric], known.get((BASELINE, labels, steps, row["seed"]))) for row in group]
                values = [value - other[metric] for value, other in pairs if other is not None]
            spread = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
            cells.append(f"{mean(values):{'' if trial == BASELINE else '+'}.2f}{spread}" if values else "")
        lines.append(f"{labels:>6} {steps:>6}  {trial:<42}{len(group):>5}" + "".join(f"{cell:>26}" for cell in cells))
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the trials that are missing, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m experiments.measurements.finetune_recipe", description=__doc__)
    parser.add_argument("--hands", type=Path, required=True, help="embedded hands")
    parser.add_argument("--encoder", type=Path, required=True, help="checkpoint of a pre-training run")
    parser.add_argument("--results", type=Path, default=RESULTS, help="goes on from it (default: %(default)s)")
    parser.add_argument("--runs", type=Path, help="keep the trials' runs in this folder (default: do not)")
    parser.add_argument("--labels", type=int, default=300)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--trials", nargs="+", default=list(TRIALS), metavar="NAME", help="(default: all)")
    options = parser.parse_args(arguments)
    unknown = set(options.trials) - set(TRIALS)
    if unknown:
        parser.error(f"no trials {sorted(unknown)}; there are {list(TRIALS)}")
    results = json.loads(options.results.read_text()) if options.results.exists() else {"rows": []}
    done = {key_of(row) for row in results["rows"]}
    for seed in options.seeds:
        for name in options.trials:
            if (name, options.labels, options.steps, seed) in done:
                continue
            row = run_trial(name, options.labels, seed, options)
            results["rows"].append(row)
            _write(options.results, results)
            print(json.dumps(row), flush=True)
    print(table(results["rows"]))
    return 0


def _write(path: Path, results: dict[str, Any]) -> None:
    results["machine"] = f"{os.cpu_count()} cores, CPU"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    part.replace(path)


if __name__ == "__main__":
    sys.exit(main())

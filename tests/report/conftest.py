"""Something to report on: a table of seeds, runs with curves, and an evaluation that `peclr evaluate` made."""

import json
from pathlib import Path

import numpy as np
import pytest

from peclr.__main__ import main
from peclr.evaluate.command import evaluate_main
from peclr.evaluate.predictions import Predictions, read_labels, write_predictions

# A folder's name is somebody's input: it must come out as text, in HTML, in scripts and in plotly's labels.
HOSTILE = "<img src=x onerror=alert(1)>"


def write_table(path: Path) -> None:
    """Three seeds of two ways to start, at two label counts; EPE is the label count plus the seed."""
    rows = [
        {
            "protocol": "frozen probe",
            "weights": weights,
            "labels": labels,
            "seed": seed,
            "root_relative_epe_mm": 60 + seed - better - labels / 100,
            "pa_epe_mm": 20 + seed / 10,
            "strength": 3.0,
        }
        for weights, better in (("SimCLR", 0), ("PeCLR", 5))
        for labels in (100, 1000)
        for seed in range(3)
    ]
    path.write_text(json.dumps({"rows": rows}))


def write_run(folder: Path, kind: str, seed: int = 0) -> None:
    """A run's folder with a noisy loss and a probe every 50 steps."""
    folder.mkdir(parents=True)
    config = (
        f"seed_everything: {seed}\nmodel:\n  class_path: peclr.training.{kind}\n"
        "data:\n  class_path: LabeledHandDataModule\n  init_args: {num_labels: 100}\n"
    )
    (folder / "config.yaml").write_text(config)
    (folder / "results.json").write_text(json.dumps({"stage": "fit", "metrics": {"train/loss": 3.0}}))
    noise = np.random.default_rng(seed).normal(0, 0.05, 200)
    lines = ["epoch,step,train/loss_step,probe/pa_epe_mm,lr-AdamW"]
    for index, step in enumerate(range(9, 2000, 10)):
        lines.append(f"{step // 100},{step},{5 * np.exp(-step / 600) + 2 + noise[index]:.4f},,0.001")
        if index % 20 == 19:
            lines.append(f"{step // 100},{step},,{30 - step / 200 + noise[index]:.3f},")
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")


def write_evaluation(out: Path, data: Path, error_m: float) -> None:
    """What `peclr evaluate` makes of labels that are off by so much."""
    xyz = read_labels(data / "evaluation_xyz.json", 21)
    # some hands are better than others
    scale = np.linspace(0.2, 2, len(xyz))[:, None, None]
    noise = np.random.default_rng(0).normal(0, error_m, xyz.shape) * scale
    predictions = out.parent / f"{out.name}-predictions"
    predictions.mkdir(parents=True)
    path, _ = write_predictions(predictions, Predictions(xyz + noise))
    evaluate_main(["--predictions", str(path), "--data", str(data), "--out", str(out)])


@pytest.fixture(scope="session")
def report(everything: Path, rendered_hands: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of all of it, with two best and two worst hands of each evaluation, in a folder that was not there."""
    out = tmp_path_factory.mktemp("page") / "new" / "report.html"
    assert main(["report", str(everything), "--data", str(rendered_hands), "--hands", "2", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory, rendered_hands: Path) -> Path:
    """A folder of all that can be reported on."""
    root = tmp_path_factory.mktemp("reported") / "runs"
    root.mkdir()
    (root / "tables").mkdir()
    write_table(root / "tables" / "table.json")
    write_run(root / "simclr", "PretrainModule")
    write_run(root / "peclr", "PretrainModule", 1)
    write_run(root / HOSTILE, "FinetuneModule")
    write_evaluation(root / HOSTILE / "evaluation", rendered_hands, 0.006)
    write_evaluation(root / "worse" / "evaluation", rendered_hands, 0.012)
    return root

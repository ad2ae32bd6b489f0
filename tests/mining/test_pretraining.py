"""From mined pairs to a trained network, on the command line: pairings, weights and backgrounds together."""

import csv
from pathlib import Path

import pytest
import yaml

from peclr.__main__ import main

CONFIG = Path(__file__).parents[1] / "conf" / "pretrain.yaml"


def logged(run: Path, name: str) -> list[float]:
    with (run / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def test_mined_pairs_weights_and_backgrounds_train_from_yaml(rendered_hands: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.npz"
    assert main(["mine", str(rendered_hands), "--out", str(pairs), "--neighbors", "3"]) == 0
    config = yaml.safe_load(CONFIG.read_text())
    config["model"]["init_args"]["objective"] = {"class_path": "SiMHand"}
    config["data"]["init_args"] |= {
        "root": str(rendered_hands),
        "pairing": {"class_path": "Similar", "init_args": {"pairs": str(pairs), "nearest": 2}},
        "background": {"class_path": "ReplaceBackground", "init_args": {"probability": 1.0, "bank": 4}},
        "with_joints": True,
    }
    config["trainer"] |= {"max_epochs": 1}
    file = tmp_path / "simhand.yaml"
    file.write_text(yaml.safe_dump(config))
    assert main(["fit", f"--config={file}", f"--run_dir={tmp_path / 'run'}"]) == 0
    assert logged(tmp_path / "run", "train/loss")
    # every hand is one item: none is twice in a batch
    assert set(logged(tmp_path / "run", "train/false_negatives")) == {0}


@pytest.mark.parametrize(
    ("pairing", "unique"), [("same_image", False), ("same_image", True), ("across_versions", False)]
)
def test_false_negatives_are_logged_for_every_pairing(
    rendered_hands: Path, tmp_path: Path, pairing: str, *, unique: bool
) -> None:
    options = {
        "run_dir": tmp_path / "run",
        "data.root": rendered_hands,
        "data.pairing": pairing,
        "data.unique_hands_in_batch": str(unique).lower(),
        "trainer.max_epochs": 1,
    }
    assert main(["fit", f"--config={CONFIG}", *(f"--{name}={value}" for name, value in options.items())]) == 0
    counted = logged(tmp_path / "run", "train/false_negatives")
    assert counted
    # of 18 hands in two versions, batches of 8 show some twice unless they are kept apart
    assert (sum(counted) > 0) == (pairing == "same_image" and not unique)

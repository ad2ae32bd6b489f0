"""Scores against labels that a teacher made say so."""

import json
import shutil
from pathlib import Path

import pytest

from peclr.__main__ import main
from peclr.data.datamodules import LabeledHandDataModule
from peclr.data.prepare.cutting import Cutting
from peclr.data.prepare.sharding import shard_source
from peclr.data.sources.composed import JoinedHands, SelectedHands
from peclr.data.sources.freihand import FreiHAND
from peclr.data.sources.selection import pseudo_labels_of
from peclr.data.sources.shards import Shards
from peclr.evaluate.predictions import Predictions, read_labels, write_predictions
from peclr.models.encoders import ResNetEncoder
from peclr.training import FinetuneModule
from peclr.training.callbacks import ResultsFile
from tests.trainer import quiet_trainer


@pytest.mark.parametrize("pseudo", [True, False])
def test_scores_of_pseudo_labels_say_so(
    rendered_hands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], *, pseudo: bool
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(rendered_hands / "evaluation_xyz.json", data)
    if pseudo:
        (data / "collected.json").write_text('{"labels": "pseudo", "teacher": "another network"}')
    write_predictions(tmp_path, Predictions(read_labels(data / "evaluation_xyz.json", 21)))
    words = ["evaluate", f"--predictions={tmp_path / 'pred.json'}", f"--data={data}", f"--out={tmp_path / 'out'}"]
    assert main(words) == 0
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert (scores.get("labels") == "pseudo") == pseudo
    assert ("agreement with another network, not accuracy" in capsys.readouterr().out) == pseudo


def test_tests_on_pseudo_labels_say_so(rendered_hands: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = tmp_path / "data"
    shutil.copytree(rendered_hands, data)
    results = {}
    for name in ("true", "pseudo"):
        module, hands = FinetuneModule(ResNetEncoder("resnet18", 0.125), view_size=32), LabeledHandDataModule(data, 32)
        trainer = quiet_trainer(tmp_path, callbacks=[ResultsFile(tmp_path / name)])
        trainer.test(module, hands, verbose=False)
        results[name] = json.loads((tmp_path / name / "results.json").read_text())
        (data / "collected.json").write_text('{"labels": "pseudo", "teacher": "another network"}')
    assert "labels" not in results["true"]
    assert (results["pseudo"]["labels"], results["pseudo"]["teacher"]) == ("pseudo", "another network")
    assert caplog.text.count("labels are pseudo: scores are agreement with another network, not accuracy") == 1


def test_shards_of_pseudo_labels_are_known_among_others(rendered_hands: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(rendered_hands, data)
    measured = FreiHAND(data)
    assert pseudo_labels_of(measured) is None
    (data / "collected.json").write_text('{"labels": "pseudo"}')
    shard_source(FreiHAND(data, "evaluation"), tmp_path / "shards", Cutting(size=8))
    (data / "collected.json").unlink()
    shards = Shards(tmp_path / "shards")
    assert pseudo_labels_of(SelectedHands(JoinedHands([measured, shards]), [0])) == "a teacher"
    assert pseudo_labels_of(JoinedHands([measured, measured])) is None

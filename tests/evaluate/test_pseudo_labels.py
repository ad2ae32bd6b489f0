"""Scores of labels that a teacher made say so."""

import json
import shutil
from pathlib import Path

import pytest

from peclr.__main__ import main
from peclr.evaluate.predictions import Predictions, read_labels, write_predictions


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

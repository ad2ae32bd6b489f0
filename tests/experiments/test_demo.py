"""The demo from rendering to the picture, at a size that takes seconds."""

import json
from pathlib import Path

import cv2
import pytest

from experiments.demo.run import main, table


def test_the_demo_runs_end_to_end_and_says_what_it_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--quick", "--out", "out"]) == 0
    results = json.loads((tmp_path / "out" / "demo.json").read_text())
    compared = {(row["protocol"], row["weights"], row["labels"]) for row in results["rows"]}
    assert compared == {
        *(("frozen probe", weights, labels) for weights in ("random", "SimCLR", "PeCLR") for labels in (8, 16)),
        *(("fine-tuned", weights, 8) for weights in ("scratch", "SimCLR", "PeCLR")),
    }
    shown = capfd.readouterr().out
    for row in results["rows"]:
        assert f"{row['root_relative_epe_mm']:.2f}" in shown
        assert row["pa_epe_mm"] < row["root_relative_epe_mm"]
    picture = cv2.imread(str(tmp_path / "out" / "demo.png"))
    assert picture is not None
    assert picture.std() > 20, "an empty picture"
    assert "epoch 2/2" in shown


def test_the_demo_does_not_write_into_an_existing_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--out", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_the_table_groups_by_protocol_and_label_count() -> None:
    numbers = {"error_2d_px": 1.0, "root_relative_epe_mm": 2.0, "pa_epe_mm": 3.0}
    rows = [
        {"protocol": "fine-tuned", "weights": "PeCLR", "labels": 100, **numbers},
        {"protocol": "frozen probe", "weights": "PeCLR", "labels": 300, **numbers},
        {"protocol": "frozen probe", "weights": "SimCLR", "labels": 100, **numbers},
    ]
    lines = [line.split() for line in table(rows).splitlines()[2:] if line]
    assert [line[:1] for line in lines] == [["frozen"], ["frozen"], ["fine-tuned"]]
    assert lines[0][2:] == ["100", "SimCLR", "1.00", "2.00", "3.00"]


@pytest.mark.parametrize("arguments", [["--help"]])
def test_help_answers(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert not stop.value.code
    assert "--seed" in capsys.readouterr().out

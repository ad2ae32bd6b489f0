"""`peclr report --evaluate` scores what has not been scored."""

import json
import re
from pathlib import Path

import pytest

from peclr.__main__ import main
from peclr.models.encoders import ResNetEncoder
from peclr.models.pose_net import PoseNet25D
from tests.data.sources.labeled_sets import write_interhand
from tests.data.sources.sets_2d import write_2d
from tests.saved_run import save_run

SIZE = 32


def write_run(run: Path, data: Path) -> None:
    """Write a fine-tuned run that has learned nothing."""
    save_run(run, PoseNet25D(ResNetEncoder("resnet18", 0.125)).init_for(SIZE), SIZE)
    (run / "config.yaml").write_text(
        f"model: {{class_path: peclr.training.FinetuneModule, init_args: {{view_size: {SIZE}}}}}\n"
        f"data: {{init_args: {{root: {data}, num_labels: 24}}}}\n"
    )
    (run / "results.json").write_text('{"stage": "fit", "metrics": {"train/loss": 1.0}}')


def test_runs_without_an_evaluation_are_evaluated_first(
    rendered_hands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = tmp_path / "run", tmp_path / "report.html"
    write_run(run, rendered_hands)
    assert main(["report", str(run), "--out", str(out)]) == 0
    assert "peclr evaluate RUN" in out.read_text()  # says how
    assert not (run / "evaluation").exists()
    command = ["report", str(run), "--evaluate", "keypoints", "--out", str(out), "--force"]
    assert main(command) == 2
    assert f"give --data; no folder is opened because a file of {run} names it" in capsys.readouterr().err
    command += ["--data", str(rendered_hands)]
    assert main(command) == 0
    assert "evaluating run on" in capsys.readouterr().out
    assert json.loads((run / "evaluation" / "scores.json").read_text())["crop"] == "keypoints"
    assert "turn it in 3-D" in out.read_text()
    (group,) = json.loads(out.with_suffix(".json").read_text())["groups"]
    assert (group["weights"], group["labels"]) == ("run", 24)
    assert main(command) == 0
    assert "evaluating" not in capsys.readouterr().out


def test_runs_are_evaluated_on_each_of_several_data_sets(
    rendered_hands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "other"):
        write_run(tmp_path / "runs" / name, rendered_hands)
    write_interhand(tmp_path / "interhand", ["test"])
    write_2d(tmp_path / "coco", "coco_wholebody", "val")
    out = tmp_path / "report.html"
    command = ["report", str(tmp_path / "runs"), "--evaluate", "keypoints", "--out", str(out), "--force"]
    command += [f"--data={path}" for path in (rendered_hands, tmp_path / "interhand", tmp_path / "coco")]
    assert main(command) == 0
    assert capsys.readouterr().out.count("evaluating") == 6
    for name in ("one", "other"):
        folders = [path.parent.name for path in sorted((tmp_path / "runs" / name).glob("*/scores.json"))]
        assert folders == ["evaluation", "evaluation_coco", "evaluation_interhand"]
    page = out.read_text()
    assert "Train × test" in page
    assert re.search(r'scope="col">interhand<br><span class="quiet">\d+ hands, crop: box</span></th>', page)
    assert page.count("turn it in 3-D</button>") == 2 * 2 * 4, "of both runs, on the set in FreiHAND's layout"
    assert main(command) == 0
    assert "evaluating" not in capsys.readouterr().out


def test_what_is_missing_is_said_before_anything_is_evaluated(
    rendered_hands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "run", rendered_hands)
    (tmp_path / "dexycb" / "calibration" / "intrinsics").mkdir(parents=True)
    command = ["report", str(tmp_path / "run"), "--evaluate", "--out", str(tmp_path / "report.html")]
    for data, message in (("dexycb", "--split is None; expected one of s0_train, "), ("nowhere", "no such folder")):
        assert main([*command, f"--data={rendered_hands}", f"--data={tmp_path / data}"]) == 2
        said = capsys.readouterr()
        assert message in said.err
        assert "evaluating" not in said.out

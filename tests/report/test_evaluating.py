"""`peclr report --evaluate` scores what has not been scored."""

import json
from pathlib import Path

import pytest
import torch

from peclr.__main__ import main
from peclr.models.encoders import ResNetEncoder
from peclr.models.pose_net import PoseNet25D

SIZE = 32


def test_runs_without_an_evaluation_are_evaluated_first(
    rendered_hands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = tmp_path / "run", tmp_path / "report.html"
    (run / "checkpoints").mkdir(parents=True)
    network = PoseNet25D(ResNetEncoder("resnet18", 0.125)).init_for(SIZE)
    state = {f"pose_net.{key}": value for key, value in network.state_dict().items()}
    torch.save({"state_dict": state}, run / "checkpoints" / "last.ckpt")
    (run / "config.yaml").write_text(
        f"model: {{class_path: peclr.training.FinetuneModule, init_args: {{view_size: {SIZE}}}}}\n"
        f"data: {{init_args: {{root: {rendered_hands}, num_labels: 24}}}}\n"
    )
    (run / "results.json").write_text('{"stage": "fit", "metrics": {"train/loss": 1.0}}')

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

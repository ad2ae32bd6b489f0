"""Commands that a run suggests at its end."""

import shlex
from pathlib import Path

import pytest

from peclr.runs.next_commands import next_commands


@pytest.mark.parametrize("in_sources", [False, True])
def test_evaluate_is_suggested_only_for_data_that_it_reads(tmp_path: Path, *, in_sources: bool) -> None:
    root = {"root": str(tmp_path)}
    data = {"sources": [{"class_path": "peclr.data.Shards", "init_args": root}]} if in_sources else root
    config = {"model": {"class_path": "peclr.training.FinetuneModule"}, "data": {"init_args": data}}
    run = Path("runs/tuned")

    def suggested() -> list[list[str]]:
        return [shlex.split(line)[1:] for line in next_commands(run, config)]

    assert suggested() == [["predict", str(run), "photo.jpg", "--out", "hands"], ["report", str(run)]]
    (tmp_path / "evaluation_xyz.json").write_text("[]")
    with_data = [str(run), "--data", str(tmp_path)]
    assert [suggested()[0], suggested()[2]] == [["evaluate", *with_data], ["report", *with_data]]


@pytest.mark.parametrize("sign", ["training_xyz.json", "joints_3d.npy"])
def test_labels_beside_the_images_are_those_to_fine_tune_on(tmp_path: Path, sign: str) -> None:
    config = {"model": {"class_path": "peclr.training.PretrainModule"}, "data": {"init_args": {"root": str(tmp_path)}}}
    assert "--data.root=data/freihand" in next_commands(Path("runs/r"), config)[0]
    (tmp_path / sign).touch()
    assert f"--data.root={tmp_path}" in shlex.split(next_commands(Path("runs/r"), config)[0])

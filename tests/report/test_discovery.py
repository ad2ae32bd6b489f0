"""What is found below folders, and what it is called."""

import json
import shutil
from pathlib import Path

import pytest

from peclr.report.discovery import find_all


def write_test_run(folder: Path, seed: int) -> None:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"seed_everything: {seed}\ndata: {{init_args: {{num_labels: 80}}}}\n")
    metrics = {"test/pa_epe_mm": 10.0 + seed, "test/loss": 1.0}
    (folder / "results.json").write_text(json.dumps({"stage": "test", "metrics": metrics}))


def test_everything_below_a_folder_is_found(everything: Path) -> None:
    findings = find_all([everything])
    assert {row.table.name for row in findings.rows if row.table is not None} == {"table.json"}
    assert sorted(run.kind for run in findings.runs) == ["FinetuneModule", "PretrainModule", "PretrainModule"]
    assert len(findings.evaluations) == 2
    scored = [row for row in findings.rows if row.protocol.startswith("scored on")]
    # seed and labels are those of the run around the evaluation, where there is one
    assert {(row.labels, row.seed) for row in scored} == {(100, 0), (None, None)}


def test_an_evaluation_is_called_after_its_run(everything: Path) -> None:
    run = next(path.parent for path in everything.glob("*/evaluation") if path.parent.name != "worse")
    assert find_all([run / "evaluation"]).evaluations[0].name == run.name
    assert find_all([run]).evaluations[0].name == run.name
    assert {evaluation.name for evaluation in find_all([everything]).evaluations} == {run.name, "worse"}


def test_an_evaluation_of_version_0_1_is_read_in_millimetres(everything: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(everything / "worse" / "evaluation", tmp_path / "evaluation")
    (now,) = find_all([folder]).evaluations
    errors = [joint["pa_epe_mm"] for joint in now.scores.per_joint.values()]
    assert sum(errors) / 21 == pytest.approx(now.metrics["pa_epe_mm"])
    content = json.loads((folder / "scores.json").read_text())
    metrics = content.pop("metrics")
    content["scores"] = {"xyz_mean3d": metrics["epe_mm"] / 10, "xyz_auc3d": metrics["auc"], "xyz_al_mean3d": 0.1}
    content["further"] = {
        "xyz_rel_mean3d": metrics["root_relative_epe_mm"] / 10,
        "xyz_al_proper_mean3d": metrics["pa_epe_mm"] / 10,
        "xyz_al_proper_auc3d": metrics["pa_auc"],
    }
    (folder / "scores.json").write_text(json.dumps(content))
    (old,) = find_all([folder]).evaluations
    assert old.metrics == pytest.approx(now.metrics)


def write_scored_run(root: Path, name: str, pa_epe_mm: float) -> Path:
    """A run that `peclr evaluate` and, from another folder, `peclr test` scored."""
    run = root / "finetune" / name
    write_test_run(run, 0)
    (run / "results.json").write_text('{"stage": "fit", "metrics": {}}')
    (run / "evaluation").mkdir()
    pck = {"thresholds_mm": [0.0, 50.0], "xyz": [0.0, 0.5]}
    scores = {"hands": 8, "data": "data/hands", "crop": "keypoints", "metrics": {"pa_epe_mm": pa_epe_mm}}
    (run / "evaluation" / "scores.json").write_text(json.dumps({**scores, "pck": pck, "per_joint": {}}))
    tested = root / "finetune-test" / name
    tested.mkdir(parents=True)
    config = f"seed_everything: 0\ndata: {{init_args: {{root: data/hands, num_labels: 80}}}}\nckpt_path: {run}"
    (tested / "config.yaml").write_text(f"{config}/checkpoints/last.ckpt\n")
    metrics = {"test/pa_epe_mm": 10.0, "test/error_2d_px": 3.0}
    (tested / "results.json").write_text(json.dumps({"stage": "test", "images": 8, "metrics": metrics}))
    return run


def test_a_network_that_was_tested_and_evaluated_is_one_row(tmp_path: Path) -> None:
    run = write_scored_run(tmp_path, "a", 10.00001)
    for root in (tmp_path, run.parent.parent):
        (row,) = find_all([root]).rows
        assert (row.protocol, row.weights, row.labels, row.seed) == (
            "scored on hands, 8 hands, crop: keypoints",
            "finetune/a",
            80,
            0,
        )
        assert row.metrics == {"pa_epe_mm": 10.00001, "error_2d_px": 3.0}
    write_scored_run(tmp_path, "b", 12.0)  # by a version that showed other views
    protocols = [row.protocol.removeprefix(f"{row.weights}") for row in find_all([tmp_path]).rows]
    assert protocols == [*[row.protocol] * 2, f"{row.protocol}, by another version"]


def test_what_is_given_twice_is_read_once(everything: Path) -> None:
    once, twice = find_all([everything]), find_all([everything, everything, everything / "tables" / "table.json"])
    assert twice.rows == once.rows
    assert len(twice.runs) == len(once.runs)


def test_tests_of_seeds_make_one_group_unless_a_table_sums_them_up(tmp_path: Path) -> None:
    for seed in range(2):
        write_test_run(tmp_path / "a" / f"peclr-80-seed{seed}" / "test", seed)
    rows = find_all([tmp_path]).rows
    assert {(row.protocol, row.weights, row.labels) for row in rows} == {("peclr test", "a/peclr", 80)}
    assert sorted(row.metrics["pa_epe_mm"] for row in rows) == [10.0, 11.0]
    (tmp_path / "results.json").write_text('{"rows": [{"weights": "peclr", "pa_epe_mm": 10.5}]}')
    assert [row.protocol for row in find_all([tmp_path]).rows] == ["result"]


def test_a_table_sums_up_the_evaluations_below_it_and_no_others(everything: Path, tmp_path: Path) -> None:
    for place in ("inside", "outside"):
        shutil.copytree(everything / "worse" / "evaluation", tmp_path / place / "run" / "evaluation")
    (tmp_path / "inside" / "results.json").write_text('{"rows": [{"weights": "PeCLR", "pa_epe_mm": 10.5}]}')
    findings = find_all([tmp_path])
    assert [row.weights for row in findings.rows] == ["PeCLR", "outside/run"]
    assert [evaluation.name for evaluation in findings.evaluations] == ["inside/run", "outside/run"]


def test_folders_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for place in ("x", "y"):
        write_test_run(tmp_path / place / "run", 0)
    rows = find_all([tmp_path / "x" / "run", tmp_path / "y" / "run"]).rows
    assert {row.weights for row in rows} == {"x/run", "y/run"}


def test_json_that_is_no_table_is_passed_over_in_folders_but_not_where_it_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_test_run(tmp_path / "run", 0)
    trials = '{"rows": [{"trial": "baseline", "pa_epe_mm": 1.0}]}'
    odd = '{"rows": [{"weights": "a", "pa_epe_mm": 1.0}, 7]}'
    for name, content in (("other.json", "[1]"), ("broken.json", "{"), ("trials.json", trials), ("odd.json", odd)):
        (tmp_path / name).write_text(content)
    assert len(find_all([tmp_path]).rows) == 1
    assert "broken.json: not valid JSON" in caplog.text
    assert "odd.json: 1 of 2 rows name `weights`" in caplog.text
    assert "trials.json" not in caplog.text
    with pytest.raises(ValueError, match=r"other\.json: expected a result table"):
        find_all([tmp_path / "other.json"])


def test_nothing_to_report_on_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: nothing to report on; expected a run"):
        find_all([tmp_path / "empty"])
    (tmp_path / "last.ckpt").touch()
    with pytest.raises(ValueError, match=r"last\.ckpt: nothing to report on; expected a run"):
        find_all([tmp_path / "last.ckpt"])
    with pytest.raises(FileNotFoundError, match="gone: no such file or folder"):
        find_all([tmp_path / "gone"])


@pytest.mark.parametrize("content", ["{}", "[]", '{"scores": {}, "pck": {}}', "nothing"])
def test_damaged_scores_are_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text(content)
    with pytest.raises(ValueError, match=r"scores\.json: not"):
        find_all([tmp_path])

"""Curves of training runs."""

from pathlib import Path

import pytest

from peclr.report.runs import Curve, read_curves, read_run


def write(folder: Path, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.csv").write_text(text)


def test_loss_validation_and_probes_are_read_and_gaps_left_out(tmp_path: Path) -> None:
    write(
        tmp_path,
        "step,train/loss_step,train/loss_epoch,val/pa_epe_mm,probe/pa_epe_mm,lr\n"
        "1,5.0,,,,0.1\n2,nan,,,,0.1\n2,,4.5,30.0,25.5,\n3,4.0,,,,0.1\n",
    )
    assert read_curves(tmp_path) == {
        "train/loss": Curve((1, 3), (5.0, 4.0)),
        "val/pa_epe_mm": Curve((2,), (30.0,)),
        "probe/pa_epe_mm": Curve((2,), (25.5,)),
    }


def test_a_resumed_run_repeats_steps_and_the_later_values_count(tmp_path: Path) -> None:
    write(tmp_path, "step,train/loss\n10,5\n20,4\n30,3.5\n")
    # stopped at 35, resumed from the checkpoint of step 15, and once more from 25
    write(tmp_path / "resumed-20260101-000000", "step,train/loss\n19,4.5\n29,3\n")
    write(tmp_path / "resumed-20260102-000000", "step,train/loss\n28,2.5\n40,2\n")
    assert read_curves(tmp_path) == {"train/loss": Curve((10, 19, 28, 40), (5.0, 4.5, 2.5, 2.0))}


def test_a_run_that_was_resumed_and_killed_at_once_keeps_its_curves(tmp_path: Path) -> None:
    write(tmp_path, "step,train/loss\n10,5\n")
    write(tmp_path / "resumed-20260101-000000", "step,train/loss\n")
    assert read_curves(tmp_path) == {"train/loss": Curve((10,), (5.0,))}


def test_an_error_that_probes_called_otherwise_goes_by_its_name_now(tmp_path: Path) -> None:
    write(tmp_path, "step,probe/epe_mm\n10,50\n")
    assert list(read_curves(tmp_path)) == ["probe/root_relative_epe_mm"]


def test_a_run_without_metrics_has_no_curves(tmp_path: Path) -> None:
    assert read_curves(tmp_path) == {}


def test_half_a_line_at_the_end_is_of_a_run_that_goes_on(tmp_path: Path) -> None:
    write(tmp_path / "begun", "")
    write(tmp_path / "going", "epoch,step,train/loss\n0,10,5\n0,20,4\n1,3")
    write(tmp_path / "killed", "epoch,step,train/loss\n0,10,5\n1")
    assert read_curves(tmp_path / "begun") == {}
    assert read_curves(tmp_path / "going") == {"train/loss": Curve((10, 20), (5.0, 4.0))}
    assert read_curves(tmp_path / "killed") == {"train/loss": Curve((10,), (5.0,))}


def test_kind_seed_and_data_come_from_the_config(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "seed_everything: 3\nmodel: {class_path: peclr.training.FinetuneModule}\ndata: {init_args: {num_labels: 80}}\n"
    )
    (tmp_path / "results.json").write_text('{"stage": "test", "metrics": {"test/pa_epe_mm": 9.5}}')
    run = read_run(tmp_path, "a")
    assert (run.kind, run.seed, run.labels) == ("FinetuneModule", 3, 80)
    assert (run.stage, run.metrics) == ("test", {"test/pa_epe_mm": 9.5})
    assert run.data is None


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("metrics.csv", "epoch,loss\n1,2\n", "expected a column `step`"),
        ("metrics.csv", "step,train/loss\n1,2\n2,two\n", "line 3"),
        ("metrics.csv", "step,train/loss\n,2\n", "line 2"),
        ("results.json", "[]", "expected an object"),
        ("results.json", "{", "not valid JSON"),
        ("config.yaml", "{", "not valid YAML"),
    ],
)
def test_damaged_files_are_named(name: str, content: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=name) as caught:
        read_run(tmp_path, "a")
    assert complaint in str(caught.value)


def test_what_is_no_number_of_labels_or_no_metric_is_none(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(f"data: {{init_args: {{num_labels: 1{'0' * 400}}}}}\n")
    (tmp_path / "results.json").write_text('{"stage": "test", "metrics": {"test/epe_mm": true, "test/pa_epe_mm": 2}}')
    run = read_run(tmp_path, "a")
    assert run.labels is None
    assert run.metrics == {"test/pa_epe_mm": 2.0}
    write(tmp_path, f"step,train/loss\n{'9' * 400},5\n")
    with pytest.raises(ValueError, match=r"metrics\.csv, line 2: expected numbers"):
        read_curves(tmp_path)

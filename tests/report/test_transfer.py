"""Train × test: what runs score on several data sets."""

from dataclasses import replace
from pathlib import Path

import pytest

from peclr.report.results import Group, Row, group_rows
from peclr.report.runs import TrainingRun, read_run
from peclr.report.transfer import html_transfers, latex_transfers, transfers

ROOT = Path("/runs")
HOSTILE = "<b>50%</b>"


def scored(run: str, tested_on: str, seed: int, how: str = "9 hands, crop: box", **metrics: float) -> Row:
    row = Row(f"scored on {tested_on}, {how}", run, None, seed, metrics)
    return replace(row, of=ROOT / f"{run}-{seed}", tested_on=tested_on)


def trained(run: str, *names: str, seeds: int = 2) -> list[TrainingRun]:
    return [
        TrainingRun(run, ROOT / f"{run}-{seed}", "FinetuneModule", seed, None, None, "fit", {}, {}, trained_on=names)
        for seed in range(seeds)
    ]


def groups() -> list[Group]:
    rows = [scored("a", "A", seed, pa_epe_mm=8.0 + seed, pck_0_2=0.5) for seed in range(2)]
    rows += [scored("a", "B", seed, pa_epe_mm=20.0 + seed) for seed in range(2)]
    rows += [scored("both", "A", 0, pa_epe_mm=9.5), scored("both", "B", 0, pa_epe_mm=11.0, auc=0.7)]
    rows += [scored(HOSTILE, "B", 0, pa_epe_mm=30.0)]
    return group_rows([*rows, Row("frozen probe", "a", 100, 0, {"pa_epe_mm": 1.0})])


RUNS = [*trained("a", "A"), *trained("both", "B", "A"), *trained(HOSTILE)]


def test_runs_are_rows_data_sets_columns_and_seeds_averaged() -> None:
    (found,) = transfers(groups(), RUNS)  # of other metrics no run has two columns
    assert found.metric.name == "pa_epe_mm"
    assert found.heads() == [("A", "9 hands, crop: box"), ("B", "9 hands, crop: box")]
    table = {tuple(found.names(row)): found.cells(row) for row in found.rows}
    assert table == {
        ("a", "A"): [("8.5 ± 0.7", True, True), ("20.5 ± 0.7", False, False)],
        ("both", "B + A"): [("9.5", False, True), ("11.0", True, True)],
        (HOSTILE, "—"): [("—", False, False), ("30.0", False, False)],
    }


def test_columns_stand_as_rows_do() -> None:
    rows = [scored(run, tested, 0, pa_epe_mm=1.0) for tested in "YXZ" for run in "xyz"]
    runs = [one for run in "xyz" for one in trained(run, run.upper())]
    (found,) = transfers(group_rows(rows), runs)
    assert [name for name, _ in found.heads()] == ["X", "Y", "Z"]


def test_one_data_set_or_two_crops_of_it_make_no_table() -> None:
    assert transfers([group for group in groups() if not group.protocol.startswith("scored on B")], RUNS) == []
    crops = [scored("a", "A", 0, how, pa_epe_mm=8.0) for how in ("9 hands, crop: image", "9 hands, crop: two-pass")]
    assert transfers(group_rows(crops), RUNS) == []
    assert (html_transfers([]), latex_transfers([])) == ("", "")


def test_names_of_folders_are_text_in_html_and_latex() -> None:
    found = transfers(groups(), RUNS)
    html, latex = html_transfers(found), latex_transfers(found)
    assert "<b>" not in html
    assert html.count("<table>") == 1
    assert '<td class="best own">8.5 ± 0.7</td>' in html
    assert "<td>20.5 ± 0.7</td>" in html
    assert r"<b>50\%</b> & — & -- & $30.0$ \\" in latex
    assert r"a & A & \boldmath$8.5 \pm 0.7$ & $20.5 \pm 0.7$ \\" in latex


@pytest.mark.parametrize(
    ("data", "trained_on", "tested"),
    [
        ("root: /data/hands", ("hands",), "/data/hands"),
        ("sources: {class_path: HO3D, init_args: {root: /data/ho3d}}", ("ho3d",), None),
        (
            """sources: [{init_args: {root: a/b}}, {init_args: {root: c}}, {init_args: {}}, 3]
    test_sources: {init_args: {root: d/e}}""",
            ("b", "c"),
            "d/e",
        ),
        ("sources: 3", (), None),
    ],
)
def test_a_config_says_what_a_run_has_trained_on(
    tmp_path: Path, data: str, trained_on: tuple[str, ...], tested: str | None
) -> None:
    (tmp_path / "config.yaml").write_text(f"data:\n  init_args:\n    {data}\n")
    (tmp_path / "results.json").write_text('{"stage": "test", "metrics": {}, "labels": "pseudo"}')
    run = read_run(tmp_path, "run")
    assert (run.trained_on, run.data, run.labels_are) == (trained_on, tested, "pseudo")

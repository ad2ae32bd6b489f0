"""Result rows: read, gathered over seeds, compared."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from peclr.report.rows import METRICS, ResultRow, best_groups, group_rows, metrics_of, read_table, without_seed

PA_EPE = next(metric for metric in METRICS if metric.name == "pa_epe_mm")
PA_AUC = next(metric for metric in METRICS if metric.name == "pa_auc")


def row(weights: str, seed: int | None, labels: float | None = 100, protocol: str = "p", **metrics: float) -> ResultRow:
    return ResultRow(protocol, weights, labels, seed, metrics)


def test_a_group_is_what_differs_in_the_seed_only() -> None:
    values = [20.0, 23.0, 21.5]
    groups = group_rows(
        [
            *(row("PeCLR", seed, pa_epe_mm=value) for seed, value in enumerate(values)),
            row("PeCLR", 0, labels=300, pa_epe_mm=1.0),
            row("PeCLR", 0, protocol="q", pa_epe_mm=2.0),
            row("SimCLR", 0, pa_epe_mm=3.0),
        ]
    )
    assert len(groups) == 4
    spread = groups[0].spread("pa_epe_mm")
    assert spread is not None
    assert (spread.mean, spread.deviation) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    alone = groups[1].spread("pa_epe_mm")
    assert alone is not None
    assert alone.deviation is None
    assert groups[0].spread("pa_auc") is None


def test_a_copy_of_a_row_counts_once() -> None:
    rows = [row("PeCLR", 0, pa_epe_mm=1.0), row("PeCLR", 1, pa_epe_mm=2.0)]
    assert [len(group.rows) for group in group_rows([*rows, *rows])] == [2]


def test_label_counts_are_in_order_whatever_the_order_of_the_rows() -> None:
    groups = group_rows(row("PeCLR", 0, labels=labels, pa_epe_mm=1.0) for labels in (1000, 100, None, 300))
    assert [group.labels for group in groups] == [100, 300, 1000, None]


def test_the_best_is_chosen_within_protocol_and_label_count_by_the_metrics_direction() -> None:
    groups = group_rows(
        [
            row("a", 0, pa_epe_mm=1.0, pa_auc=0.9),
            row("b", 0, pa_epe_mm=2.0, pa_auc=0.95),
            row("a", 0, labels=300, pa_epe_mm=0.5),
            row("b", 0, labels=300, pa_epe_mm=0.25),
        ]
    )
    assert best_groups(groups, PA_EPE) == {0, 3}
    assert best_groups(groups, PA_AUC) == {1}


def test_nothing_is_best_without_a_choice() -> None:
    assert best_groups(group_rows([row("a", 0, pa_epe_mm=1.0)]), PA_EPE) == set()
    alike = group_rows([row("a", 0, pa_epe_mm=1.0), row("b", 0, pa_epe_mm=1.0)])
    assert best_groups(alike, PA_EPE) == set()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("peclr-seed1", "peclr"), ("a/seed=3/peclr", "a/peclr"), ("peclr_seed_12", "peclr"), ("seed0", "seed0")],
)
def test_seeds_are_taken_out_of_names(name: str, expected: str) -> None:
    assert without_seed(name) == expected


def test_both_outlines_of_tables_are_read(tmp_path: Path) -> None:
    rows = [{"protocol": "p", "weights": "PeCLR", "labels": 8, "pa_epe_mm": 1.5, "strength": 3.0}]
    flat, nested = tmp_path / "flat.json", tmp_path / "nested.json"
    flat.write_text(json.dumps({"seed": 7, "rows": rows}))
    nested.write_text(json.dumps({"seeds": [{"seed": 7, "rows": rows}, {"seed": 8, "rows": rows}]}))
    expected = ResultRow("p", "PeCLR", 8, 7, {"pa_epe_mm": 1.5})
    assert read_table(flat).rows == [expected]
    assert read_table(nested).rows[0] == expected
    assert [found.seed for found in read_table(nested).rows] == [7, 8]
    assert [metric.name for metric in metrics_of(read_table(flat).rows)] == ["pa_epe_mm"]


def test_what_is_not_finite_or_has_failed_is_not_averaged(tmp_path: Path) -> None:
    path = tmp_path / "sweep.json"
    rows: list[dict[str, Any]] = [
        {"weights": "a", "pa_epe_mm": float("nan"), "epe_mm": 2.0},
        {"weights": "a", "status": "failed"},
    ]
    path.write_text(json.dumps({"rows": rows}))
    assert read_table(path).rows == [ResultRow("result", "a", None, None, {"epe_mm": 2.0})]


def test_a_sweep_over_seeds_alone_goes_by_its_protocol(tmp_path: Path) -> None:
    path = tmp_path / "sweep.json"
    path.write_text(json.dumps({"rows": [{"protocol": "seeds", "weights": "", "seed": 1, "pa_epe_mm": 2.0}]}))
    assert read_table(path).rows == [ResultRow("seeds", "seeds", None, 1, {"pa_epe_mm": 2.0})]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "not valid JSON"),
        ("[1, 2]", "expected a result table"),
        ('{"seeds": [{"seed": 0}]}', 'expected a list of "rows"'),
        ('{"rows": [3]}', "row 0: expected an object"),
        ('{"rows": [{"protocol": "p"}]}', "row 0: weights None"),
        ('{"rows": [{"weights": "a", "labels": "many"}]}', "labels 'many'"),
        ('{"rows": [{"weights": "a", "labels": NaN}]}', "labels nan"),
        ('{"rows": [{"weights": "a", "seed": "x"}]}', "seed 'x'"),
        ('{"rows": [{"weights": "a", "pa_epe_mm": "small"}]}', "pa_epe_mm 'small'"),
    ],
)
def test_damaged_tables_are_named(content: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "damaged.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"damaged\.json") as caught:
        read_table(path)
    assert complaint in str(caught.value)

"""Result rows: read, gathered over seeds, compared."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from peclr.report.results import (
    METRICS,
    Row,
    best_groups,
    group_rows,
    keep_apart,
    metrics_of,
    read_table,
    shortest_tails,
    without_seed,
)

PA_EPE = next(metric for metric in METRICS if metric.name == "pa_epe_mm")
PA_AUC = next(metric for metric in METRICS if metric.name == "pa_auc")


def row(weights: str, seed: int | None, labels: float | None = 100, protocol: str = "p", **metrics: float) -> Row:
    return Row(protocol, weights, labels, seed, metrics)


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
    spread = groups[0].spread(PA_EPE)
    assert spread is not None
    assert (spread.mean, spread.deviation) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    alone = groups[1].spread(PA_EPE)
    assert alone is not None
    assert alone.deviation is None
    assert groups[0].spread(PA_AUC) is None


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
    expected = Row("p", "PeCLR", 8, 7, {"pa_epe_mm": 1.5})
    assert read_table(flat) == [expected]
    assert read_table(nested)[0] == expected
    assert [found.seed for found in read_table(nested)] == [7, 8]
    assert [metric.name for metric in metrics_of(group_rows(read_table(flat)))] == ["pa_epe_mm"]


def test_no_pretraining_goes_by_one_word(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    rows = [{"weights": weights, "seed": n, "pa_epe_mm": 1.0} for n, weights in enumerate(("random", "scratch"))]
    path.write_text(json.dumps({"rows": rows}))
    assert [(group.weights, len(group.rows)) for group in group_rows(read_table(path))] == [("scratch", 2)]


def test_what_is_not_finite_or_has_failed_is_not_averaged(tmp_path: Path) -> None:
    path = tmp_path / "sweep.json"
    rows: list[dict[str, Any]] = [
        {"weights": "a", "pa_epe_mm": float("nan"), "epe_mm": 2.0},
        {"weights": "a", "status": "failed"},
    ]
    path.write_text(json.dumps({"rows": rows}))
    assert read_table(path) == [Row("result", "a", None, None, {"epe_mm": 2.0})]


def test_a_sweep_over_seeds_alone_goes_by_its_protocol(tmp_path: Path) -> None:
    path = tmp_path / "sweep.json"
    path.write_text(json.dumps({"rows": [{"protocol": "seeds", "weights": "", "seed": 1, "pa_epe_mm": 2.0}]}))
    assert read_table(path) == [Row("seeds", "seeds", None, 1, {"pa_epe_mm": 2.0})]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "not valid JSON"),
        ("[1, 2]", "expected a result table"),
        ('{"seeds": [{"seed": 0}]}', "expected a result table"),
        ('{"rows": [3]}', "row 0: Expected `object`"),
        ('{"rows": [{"protocol": "p"}]}', "row 0: Object missing required field `weights`"),
        (
            '{"rows": [{"weights": "a", "labels": "many"}]}',
            "row 0: Expected `int | float | null`, got `str` - at `$.labels`",
        ),
        ('{"rows": [{"weights": "a", "labels": NaN}]}', "labels nan"),
        ('{"rows": [{"weights": "a", "labels": true}]}', "got `bool` - at `$.labels`"),
        ('{"rows": [{"weights": "a", "seed": "x"}]}', "Expected `int | null`, got `str` - at `$.seed`"),
        ('{"rows": [{"weights": "a", "pa_epe_mm": "small"}]}', "Expected `float | null`, got `str` - at `$.pa_epe_mm`"),
    ],
)
def test_damaged_tables_are_named(content: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "damaged.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"damaged\.json") as caught:
        read_table(path)
    assert complaint in str(caught.value)


def table(path: str, seed: int, pa_epe_mm: float, size: Any = None) -> list[Row]:
    return [Row("frozen probe", "PeCLR", 100, seed, {"pa_epe_mm": pa_epe_mm}, Path(path), size)]


def protocols(*tables: list[Row]) -> list[str]:
    return [row.protocol for row in keep_apart([row for rows in tables for row in rows])]


def test_seeds_of_one_experiment_in_several_tables_make_one_group() -> None:
    rows = [row for seed in range(3) for row in table(f"/runs/{seed}/demo.json", seed, 20.0 + seed, {"train": 6000})]
    (group,) = group_rows(keep_apart(rows))
    assert group.protocol == "frozen probe"
    assert len(group.rows) == 3


def test_tables_of_other_sizes_are_not_averaged() -> None:
    found = protocols(
        table("/a/demo.json", 0, 20.0, {"train": 64}),
        table("/b/demo.json", 1, 10.0, {"train": 6000}),
        table("/c/demo.json", 2, 11.0, {"train": 6000}),
    )
    assert found == ["frozen probe (a/demo.json)", *["frozen probe (b/demo.json)"] * 2]


def test_a_seed_that_came_to_other_numbers_is_of_another_experiment_but_a_copy_is_not() -> None:
    first, changed = table("/runs/monday/demo.json", 0, 20.0), table("/runs/friday/demo.json", 0, 19.0)
    assert protocols(first, changed) == ["frozen probe (monday/demo.json)", "frozen probe (friday/demo.json)"]
    assert protocols(first, table("/copy.json", 0, 20.0)) == ["frozen probe"] * 2


def test_tails_are_as_short_as_they_can_be() -> None:
    paths = [Path("/a/x/1"), Path("/b/x/1"), Path("/b/x/2")]
    assert list(shortest_tails(paths).values()) == ["a/x/1", "b/x/1", "b/x/2"]
    assert list(shortest_tails(paths[1:]).values()) == ["1", "2"]
    assert list(shortest_tails(paths[:1], at_least=2).values()) == ["x/1"]
    assert shortest_tails([]) == {}

"""Tables side by side: seeds go together, different experiments do not."""

from pathlib import Path
from typing import Any

from peclr.report.mixing import rows_of_tables, shortest_tails
from peclr.report.rows import ResultRow, ResultTable, group_rows


def table(path: str, seed: int, pa_epe_mm: float, size: Any = None) -> ResultTable:
    rows = [ResultRow("frozen probe", "PeCLR", 100, seed, {"pa_epe_mm": pa_epe_mm})]
    return ResultTable(Path(path), size, rows)


def protocols(*tables: ResultTable) -> list[str]:
    return [row.protocol for row in rows_of_tables(tables)]


def test_seeds_of_one_experiment_in_several_tables_make_one_group() -> None:
    tables = [table(f"/runs/{seed}/demo.json", seed, 20.0 + seed, {"train": 6000}) for seed in range(3)]
    (group,) = group_rows(rows_of_tables(tables))
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

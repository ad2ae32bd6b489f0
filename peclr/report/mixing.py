"""Result tables side by side: measurements of different experiments are never averaged."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from peclr.report.rows import ResultRow, ResultTable


def rows_of_tables(tables: Sequence[ResultTable]) -> list[ResultRow]:
    """The rows of all tables.

    Tables that differ in the seed alone go together. A protocol that tables of different experiments share, "frozen
    probe" on different data for example, gets the names of the tables: neither means over both nor the better of both
    would say anything. Experiments differ if their tables say so by "size", or if the same seed came to other numbers.
    """
    renamed: dict[tuple[Path, str], str] = {}
    names = shortest_tails([table.path for table in tables], at_least=2)
    for protocol in {row.protocol for table in tables for row in table.rows}:
        experiments: list[list[ResultTable]] = []
        for table in tables:
            if any(row.protocol == protocol for row in table.rows):
                same = next((found for found in experiments if _is_one(protocol, [*found, table])), None)
                if same is None:
                    experiments.append(same := [])
                same.append(table)
        if len(experiments) > 1:
            renamed |= {
                (table.path, protocol): f"{protocol} ({names[experiment[0].path.resolve()]})"
                for experiment in experiments
                for table in experiment
            }
    return [
        replace(row, protocol=renamed.get((table.path, row.protocol), row.protocol))
        for table in tables
        for row in table.rows
    ]


def shortest_tails(paths: Iterable[Path], at_least: int = 1) -> dict[Path, str]:
    """What tells paths apart: as many of their last parts as that takes, by resolved path."""
    resolved = list(dict.fromkeys(path.resolve() for path in paths))
    depths = range(at_least, 1 + max((len(path.parts) for path in resolved), default=0))
    enough = next((n for n in depths if len({path.parts[-n:] for path in resolved}) == len(resolved)), at_least)
    return {path: "/".join(path.parts[-enough:]) for path in resolved}


def _is_one(protocol: str, tables: Sequence[ResultTable]) -> bool:
    """Whether the tables' rows of a protocol can be of one experiment: one size, and copies of a row are equal."""
    if any(table.size != tables[0].size for table in tables):
        return False
    measured: dict[tuple[str, float | None, int | None], tuple[Path, ResultRow]] = {}
    for table in tables:
        for row in table.rows:
            if row.protocol == protocol:
                key = (row.weights, row.labels, row.seed)
                path, first = measured.setdefault(key, (table.path, row))
                if path != table.path and first != row:
                    return False
    return True

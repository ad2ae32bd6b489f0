"""A fixed slice of `make fuzz` over every reader, and that the engine sees what it looks for."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.engine import GOOD, Reader, run_all, try_one
from tests.fuzz.readers import READERS

INPUTS = 15  # for each reader


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_read_or_refused_by_name(name: str) -> None:
    honest: dict[str, tuple[Path, str]] = {}
    outcomes = [try_one({name: READERS[name]}, 0, number, honest) for number in range(INPUTS)]
    assert [outcome for outcome in outcomes if outcome.outcome not in GOOD] == []
    assert {outcome.outcome for outcome in outcomes} & {"refused"}, "no damage was noticed"


def make(folder: Path) -> list[Path]:
    (folder / "a.txt").write_text("whole")
    return [folder / "a.txt"]


def raising(folder: Path) -> Any:
    return [][len((folder / "a.txt").read_bytes())] if (folder / "a.txt").read_bytes() != b"whole" else None


def hanging(folder: Path) -> Any:
    while (folder / "a.txt").read_bytes() != b"whole":
        time.sleep(0.01)


def crashing(folder: Path) -> Any:
    if (folder / "a.txt").read_bytes() != b"whole":
        os._exit(9)


@pytest.mark.parametrize(
    ("read", "outcome"),
    [
        (raising, "traceback"),
        (hanging, "hang"),
        (crashing, "crash"),
        (lambda folder: (folder / "a.txt").read_bytes(), "accepted"),
    ],
)
def test_the_engine_tells_faults_apart(read: Any, outcome: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.engine.SECONDS", 1.0)
    found = list(run_all({"a": Reader(make, read, protected=True)}, seed=0, count=3, processes=1))
    assert sorted(one.number for one in found) == [0, 1, 2]
    assert {one.outcome for one in found} <= {outcome, "read"}
    assert outcome in {one.outcome for one in found}


def test_the_same_seed_gives_the_same_damage() -> None:
    readers = {name: READERS[name] for name in ("box files", "predictions")}
    first, again, other = (
        [try_one(readers, seed, number, {}).message.rpartition("/")[2] for number in range(8)] for seed in (1, 1, 2)
    )
    assert first == again != other

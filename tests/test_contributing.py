"""The examples of CONTRIBUTING run as they stand there."""

import re
from pathlib import Path
from typing import Any

import pytest

TEXT = (Path(__file__).parents[1] / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^## ([^\n]+)\n\n```python\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL))


def run(title: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(EXAMPLES[title], f"CONTRIBUTING.md, {title}", "exec"), names)  # noqa: S102 (our own text)
    return names


def test_an_objective() -> None:
    assert run("An objective")["loss"].item() > 0


def test_a_data_set() -> None:
    names = run("A data set")
    assert names["views"].shape == (8, 2, 3, 64, 64)
    assert names["matrices"].shape == (8, 2, 3, 3)


def test_an_encoder() -> None:
    assert run("An encoder")["projections"].shape == (4, 2, 128)


@pytest.mark.parametrize("title", EXAMPLES)
def test_examples_are_short(title: str) -> None:
    assert len(EXAMPLES[title].splitlines()) <= 30


def test_every_package_is_on_the_map() -> None:
    packages = {path.parent.name for path in (Path(__file__).parents[1] / "peclr").glob("*/__init__.py")}
    assert {name for name in packages if f"`{name}/`" not in TEXT} == set()

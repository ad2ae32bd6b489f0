"""JSON files that tests write, and change in place."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_json(path: Path, content: Any) -> None:
    """Write a file, and the folders that it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def edit_json(path: Path, change: Callable[[Any], object]) -> None:
    """Write a file again after `change` has changed its content in place."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def set_at(value: object, *place: Any) -> Callable[[Any], None]:
    """A change that puts a value at a place: a key or index in what is at the one before."""

    def change(content: Any) -> None:
        for step in place[:-1]:
            content = content[step]
        content[place[-1]] = value

    return change

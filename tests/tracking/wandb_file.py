"""What an offline run left on disk, by W&B's own message types.

A .wandb file is a log in LevelDB's format (github.com/google/leveldb, doc/log_format.md) behind a header of 7 bytes.
"""

import json
import struct
import time
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

_BLOCK, _HEADER, _FILE_HEADER = 32768, 7, 7
_FULL, _FIRST, _LAST = 1, 2, 4


def records(run: Path) -> list[Any]:
    """All records of the one offline run below a run's folder, when its last is there: W&B's process writes on."""
    end = time.monotonic() + 60.0
    while not (found := _written(run)) or found[-1].WhichOneof("record_type") != "exit":
        assert time.monotonic() < end, f"W&B wrote no end of the run, but {len(found)} records"
        time.sleep(0.02)
    return found


def _written(run: Path) -> list[Any]:
    (path,) = run.glob("wandb/offline-run-*/run-*.wandb")
    data = path.read_bytes()
    if not data:
        return []
    assert data[:4] == b":W&B"
    found, parts, position = [], b"", _FILE_HEADER
    while position + _HEADER <= len(data):
        if (left := _BLOCK - position % _BLOCK) < _HEADER:
            position += left
            continue
        length, kind = struct.unpack("<HB", data[position + 4 : position + _HEADER])
        chunk = data[position + _HEADER : position + _HEADER + length]
        if len(chunk) < length:
            break
        position += _HEADER + length
        parts = chunk if kind in (_FULL, _FIRST) else parts + chunk
        if kind in (_FULL, _LAST):
            found.append(wandb_internal_pb2.Record.FromString(parts))  # type: ignore[attr-defined]  # made at run time
    return found


def config_of(found: list[Any]) -> dict[str, Any]:
    """The run's config, as W&B would show it."""
    config: dict[str, Any] = {}
    for record in found:
        updates = [*record.config.update, *record.run.config.update]
        config |= {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in updates}
    return config


def history_of(found: list[Any]) -> list[dict[str, Any]]:
    """What was logged, step by step."""
    rows = []
    for record in found:
        if record.WhichOneof("record_type") != "history":
            continue
        row: dict[str, Any] = {}
        for item in record.history.item:
            value = json.loads(item.value_json)
            if len(item.nested_key) > 1:  # an image, one of its properties at a time
                row.setdefault(item.nested_key[0], {})[item.nested_key[1]] = value
            else:
                row[item.key or item.nested_key[0]] = value
        rows.append(row)
    return rows

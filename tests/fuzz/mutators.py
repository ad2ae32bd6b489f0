"""Damage to files, from a seed: bytes that changed on the way, and fields that somebody filled in otherwise."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

Rng = np.random.Generator

DEEP = "<deep>"  # stands for what no Python object can be written from
HUGE = "<huge>"
_RAW = {f'"{DEEP}"': "[" * 3000 + "]" * 3000, f'"{HUGE}"': "9" * 400}
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 7, 2**31, 2**63, 1e308, -1e-308, 0.5, float("nan"), float("inf"), "", "1.5", "1_000",
    "nan", "../../etc/passwd", "/etc/passwd", "http:", "-o", "=1+1", "\x1b[2J\x1b]0;x\x07", "a\nb", "a\0b", "\u202eabc",
    "ü" * 300, [], {}, [[]], [[[1.0]]], {"a": 1}, [1, "2", None], DEEP, HUGE,
)  # fmt: skip
TOKENS = (b"\0", b"\xff\xff\xff\xff", b"NaN", b"1e999", b"[", b"{", b'"', b"\n", b",", b":", b"*a", b"&a", b"!!python/")


def damage(path: Path, rng: Rng) -> None:
    """Change a file: its structure, where its kind is known and in half of all cases, else its bytes."""
    change = STRUCTURED.get(path.suffix, damage_bytes) if rng.random() < 0.5 else damage_bytes
    path.write_bytes(change(path.read_bytes(), rng))


def damage_bytes(content: bytes, rng: Rng) -> bytes:
    """Flip bits, overwrite, cut, repeat, insert or leave out, once to four times."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        at, length = (int(rng.integers(0, len(changed) + 1)), int(rng.integers(1, 65)))
        match int(rng.integers(7)):
            case 0 | 1 if changed:
                changed[at % len(changed)] ^= 1 << int(rng.integers(8))
            case 2:
                changed[at : at + length] = rng.bytes(min(length, len(changed) - at))
            case 3:
                del changed[at:]
            case 4:
                changed[at:at] = changed[max(0, at - length) : at]
            case 5:
                changed[at:at] = TOKENS[int(rng.integers(len(TOKENS)))]
            case 6:
                del changed[at : at + length]
    return bytes(changed)


def replace_somewhere(value: Any, rng: Rng) -> Any:
    """Copy plain data with one entry, anywhere, replaced, left out or repeated."""
    if not isinstance(value, list | dict) or not value or rng.random() < 0.1:
        return ODD_VALUES[int(rng.integers(len(ODD_VALUES)))]
    keys: list[Any] = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = keys[int(rng.integers(len(keys)))]
    copied: Any = dict(value) if isinstance(value, dict) else list(value)
    kind = rng.random()
    if kind < 0.08:
        del copied[key]
    elif kind < 0.16 and isinstance(copied, list):
        copied.insert(key, copied[key])
    elif kind < 0.16:
        copied[str(ODD_VALUES[int(rng.integers(len(ODD_VALUES)))])] = copied[key]
    else:
        copied[key] = replace_somewhere(copied[key], rng)
    return copied


def _json(content: bytes, rng: Rng) -> bytes:
    text = json.dumps(replace_somewhere(json.loads(content), rng))
    for placeholder, raw in _RAW.items():
        text = text.replace(placeholder, raw)
    return text.encode()


def _yaml(content: bytes, rng: Rng) -> bytes:
    text = yaml.safe_dump(replace_somewhere(yaml.safe_load(content), rng))
    return text.replace(DEEP, "[" * 3000 + "]" * 3000).replace(HUGE, "9" * 400).encode()


def _csv(content: bytes, rng: Rng) -> bytes:
    rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
    out = io.StringIO(newline="")
    changed = replace_somewhere(rows, rng)
    table = changed if isinstance(changed, list) else [changed]
    csv.writer(out).writerows(row if isinstance(row, list) else [row] for row in table)
    return out.getvalue().encode()


STRUCTURED = {".json": _json, ".yaml": _yaml, ".csv": _csv}

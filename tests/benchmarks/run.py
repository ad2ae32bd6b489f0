"""`make bench`: runs all benchmarks beside this file, prints a table, writes `runs/bench.json`.

A benchmark is a file bench_NAME.py with `run() -> list[Row]`. Words after the command choose benchmarks:
`python -m tests.benchmarks.run views`.
"""

import importlib
import json
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

OUT = Path("runs", "bench.json")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

Row = tuple[str, float, str, str | None]  # name, value, unit, and a target such as "<= 2.6"


def machine() -> str:
    """Processor, cores and memory in words."""
    try:
        name = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
        memory = f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    except (OSError, ValueError):
        name, memory = None, ""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name[1] if name else platform.processor() or platform.machine()}, {cores} cores{memory}"


def meets(value: float, target: str | None) -> bool | None:
    """Whether a value keeps its target; None without one.

    Args:
        value: As measured.
        target: "<= 2.6", "≥ 1.6" and the like.
    """
    if target is None:
        return None
    matched = re.fullmatch(r"(<=|≤|<|>=|≥|>)\s*([\d.]+)", target)
    if matched is None:
        raise ValueError(f"target {target!r} is not a comparison with a number")
    limit = float(matched[2])
    return value >= limit if matched[1] in (">=", "≥", ">") else value <= limit


def benchmarks(chosen: Sequence[str]) -> dict[str, Callable[[], list[Row]]]:
    """The `run` of each benchmark, by its name."""
    found = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))
    if unknown := set(chosen) - set(found):
        raise SystemExit(f"bench: no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(found)}")
    modules = {name: f"{__package__}.bench_{name}" for name in chosen or found}
    return {name: importlib.import_module(module).run for name, module in modules.items()}


def table(rows: Sequence[Row]) -> str:
    """Rows as text, with what misses its target marked."""
    marks = {True: "ok", False: "MISSED", None: ""}
    lines = [
        (name, f"{value:.4g}", unit, target or "", marks[meets(value, target)]) for name, value, unit, target in rows
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def main(chosen: Sequence[str]) -> int:
    """Runs benchmarks one after the other; what was measured before one fails is kept.

    Returns:
        1 if a target is missed.
    """
    os.environ.update(ONE_THREAD)
    here, rows = machine(), list[Row]()
    for name, run in benchmarks(chosen).items():
        start = time.perf_counter()
        print(f"{name} …", end=" ", flush=True)
        measured = run()
        print(f"{time.perf_counter() - start:.0f} s", flush=True)
        rows += measured
        OUT.parent.mkdir(exist_ok=True)
        written = [
            {"name": name, "value": round(value, 4), "unit": unit, "target": target, "machine": here}
            for name, value, unit, target in rows
        ]
        OUT.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"\n{here}, one thread each\n\n{table(rows)}\n\n{OUT}")
    return int(any(meets(value, target) is False for _, value, _, target in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

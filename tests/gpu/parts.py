"""The parts of `python -m tests.gpu`: how long each may take, results that outlive who is stopped, and arithmetic."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from tests.benchmarks.run import machine, meets

# Seconds at most of each part, in the order of worth; the last one has what the others leave.
TOTAL: Final = 540.0
PARTS: Final = {"correctness": 120.0, "throughput": 240.0, "science": TOTAL}
# Dense bf16 and fp16, FLOP/s, of NVIDIA's data sheets: by a part of the card's name, the first that fits.
PEAK_FLOPS: Final = {"NVL": 835e12, "H100 PCIe": 756e12, "H200": 989e12, "H100": 989e12, "A100": 312e12, "V100": 125e12}
BARE, DEVICE, COMPILED = "bare resnet50 128", "device resnet50 128", "device resnet50 128 compiled"  # rows

Row = dict[str, Any]


@dataclass(frozen=True)
class Work:
    """One thing to do for a row of a part: not begun if less is left than the seconds that it takes, about."""

    name: str
    seconds: float
    run: Callable[[], Row]


@dataclass(frozen=True)
class Goal:
    """What a value of a row shall keep, in words that `meets` reads."""

    text: str
    row: str
    value: str
    target: str


GOALS: Final = [
    Goal("views/s, ResNet-50 at 128 px, images on the device", COMPILED, "views_per_s", "≥ 15000"),
    Goal("the same over the published style", COMPILED, "over_published", "≥ 2"),
    Goal("share of a step that waits for data, from files", "files resnet50 128", "data_wait", "≤ 0.02"),
    Goal("Lightning's time over a bare loop's", "lightning over bare", "ratio", "≤ 1.03"),
    Goal("NT-Xent over its products, 2N = 8192", "nt-xent 8192", "ratio", "≤ 1.5"),
    Goal("NT-Xent over its products, 2N = 65,536", "nt-xent 65536", "ratio", "≤ 1.5"),
]


class Results:
    """Rows by name in a JSON file; what it holds already counts as done; ValueError if it is of another machine."""

    def __init__(self, path: Path, here: Row) -> None:
        self.path = path
        self.content: Row = json.loads(path.read_text()) if path.exists() else {"machine": here, "rows": {}}
        there = self.content["machine"]
        if any(there[key] != here[key] for key in ("card", "torch")):  # memory grows on some machines
            raise ValueError(f"{path} was measured on {there}, this is {here}: choose another --out")

    @property
    def rows(self) -> dict[str, Row]:
        """By name."""
        return self.content["rows"]  # type: ignore[no-any-return]  # JSON

    def done(self, name: str) -> bool:
        """Whether a row is there that is neither an error nor left out."""
        return name in self.rows and not {"error", "left_out"} & self.rows[name].keys()

    def put(self, name: str, row: Row) -> None:
        """Add a row, or replace it, and write the file, whole or not at all."""
        self.rows[name] = row
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(self.content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.replace(self.path)


def do(works: Iterable[Work], results: Results, deadline: float) -> None:
    """Do what is not done yet and fits before `deadline`, by `time.time`; one that fails does not stop the others."""
    for work in works:
        if results.done(work.name):
            continue
        left = deadline - time.time()
        if work.seconds > left:
            results.put(work.name, {"left_out": f"takes about {work.seconds:.0f} s, {max(left, 0):.0f} s were left"})
            continue
        results.put(work.name, {"left_out": "stopped: no time was left"})  # if it comes to that
        started = time.time()
        try:
            row = work.run()
        except Exception as error:  # noqa: BLE001  # whatever it is, it belongs into the results
            row = {"error": f"{type(error).__name__}: {error}"}
        results.put(work.name, {**row, "seconds": round(time.time() - started, 1)})
        print(f"{work.name}: {results.rows[work.name]}", flush=True)


def judge(goals: Iterable[Goal], rows: dict[str, Row], *, measured: bool = True) -> list[Row]:
    """Each goal with its number and whether it is met: None where there is no number, or none that counts."""
    values = [(goal, rows.get(goal.row, {}).get(goal.value)) for goal in goals]
    met = [meets(value, goal.target) if measured and value is not None else None for goal, value in values]
    named = [{"goal": goal.text, "row": goal.row, "value": value, "target": goal.target} for goal, value in values]
    return [{**row, "met": kept} for row, kept in zip(named, met, strict=True)]


def share_of_peak(views_per_s: float, flops_per_view: float, card: str | None) -> float | None:
    """Of the dense half-precision rate that the card's data sheet promises; None if the card is not listed."""
    peak = next((flops for name, flops in PEAK_FLOPS.items() if card and name in card), None)
    return None if peak is None else views_per_s * flops_per_view / peak


def this_machine(device: str) -> Row:
    """Processor, card, driver and torch."""
    here: Row = {"host": machine(), "torch": torch.__version__, "card": None, "driver": None}
    if device == "cuda":
        here["card"] = torch.cuda.get_device_name()
        if smi := shutil.which("nvidia-smi"):
            query = [smi, "--query-gpu=driver_version", "--format=csv,noheader"]
            here["driver"] = subprocess.run(query, capture_output=True, text=True, check=False).stdout.split("\n")[0]
    return here

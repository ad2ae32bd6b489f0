"""Prove and measure what only a GPU can: `python -m tests.gpu`, nine minutes at most; again, to go on.

Three parts: correctness (the tests with the marker `cuda`), throughput and science (the rendered benchmark). Each is a
process of its own, which is stopped when its time is up; what it has by then is in the results.
"""

import argparse
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from tests.gpu.parts import GOALS, PARTS, TOTAL, Results, judge, this_machine

GRACE = 10.0  # seconds to save and end in, after a part's time is up


def run_part(name: str, options: argparse.Namespace, seconds: float) -> int:
    """Run a part in a process group of its own, which ends when its time is up."""
    command = [sys.executable, "-m", "tests.gpu", f"--part={name}", f"--out={options.out}"]
    command += [f"--deadline={time.time() + seconds}", *(["--dry"] if options.dry else [])]
    unbuffered = {**os.environ, "PYTHONUNBUFFERED": "1"}  # what is stopped has printed what it did
    process = subprocess.Popen(command, start_new_session=True, env=unbuffered)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        print(f"{name}: its {seconds:.0f} s are up", flush=True)
        return 0
    finally:
        end_group(process)


def end_group(process: subprocess.Popen[Any], grace: float = GRACE) -> None:
    """Ask a process and its children to end, and make them if they do not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(grace)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def summarize(out: Path) -> dict[str, Any]:
    """All parts' results and what they say of the goals in one file, which experiments/results keeps."""
    parts = {name: json.loads((out / f"{name}.json").read_text()) for name in PARTS if (out / f"{name}.json").exists()}
    if part := parts.get("throughput"):
        part["goals"] = judge(GOALS, part["rows"], measured=part["machine"]["card"] is not None)
    (out / "gpu.json").write_text(json.dumps(parts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for name, part in parts.items():
        failed, left_out = (sum(word in row for row in part["rows"].values()) for word in ("error", "left_out"))
        print(f"{name}: {len(part['rows']) - failed - left_out} done, {failed} failed, {left_out} left out")
        for goal in part.get("goals", []):
            mark = {True: "met", False: "MISSED", None: "not measured"}[goal["met"]]
            print(f"  {mark:12}  {goal['goal']}: {goal['value']} ({goal['target']})")
    return parts


def main(arguments: list[str]) -> int:
    """Run the parts that are asked for; 1 if something failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas (default: %(default)s)")
    parser.add_argument("--dry", action="store_true", help="everything at toy size on the CPU: proves itself alone")
    parser.add_argument("--out", type=Path, help="folder of the results (default: runs/gpu, with --dry runs/gpu-dry)")
    parser.add_argument("--minutes", type=float, default=TOTAL / 60, help="of all parts (default: %(default)g)")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--deadline", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.out = options.out or Path("runs", "gpu-dry" if options.dry else "gpu")
    if unknown := set(options.only.split(",")) - PARTS.keys():
        parser.error(f"--only: no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if not options.dry and not torch.cuda.is_available():
        parser.error("no CUDA device is here; --dry runs everything at toy size on the CPU")
    if options.part:
        results = Results(options.out / f"{options.part}.json", this_machine("cpu" if options.dry else "cuda"))
        importlib.import_module(f"tests.gpu.{options.part}").run(results, options.deadline, dry=options.dry)
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    end, failed = time.time() + 60 * options.minutes, False
    for name in PARTS:
        if name in options.only.split(","):
            left = max(0.0, end - time.time())
            failed |= run_part(name, options, left if options.dry else min(left, PARTS[name])) != 0
    parts = summarize(options.out)
    return int(failed or any("error" in row for part in parts.values() for row in part["rows"].values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`make demo`: render hands, pre-train with SimCLR and with PeCLR, and see which encoder knows more about pose."""

import argparse
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from experiments.demo.jobs import Arm, DemoSize, finetune, pretrain, probe
from experiments.jobs import ONE_THREAD, gather

COLUMNS = {"error_2d_px": "2-D px", "root_relative_epe_mm": "EPE mm", "pa_epe_mm": "PA-EPE mm"}
VERSIONS = 2  # pictures of each training hand: the two views of a pair come from different ones


class Clock:
    """Says what begins, and how long the demo has run."""

    def __init__(self) -> None:
        self.start = time.perf_counter()

    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self.start

    def say(self, text: str) -> None:
        """Print a line with the time."""
        minutes, seconds = divmod(int(self.seconds()), 60)
        print(f"\n[{minutes}:{seconds:02d}] {text}", flush=True)


def make_hands(size: DemoSize, seed: int) -> Path:
    """Render the hands, or take those that an earlier demo with the same arguments has rendered."""
    from peclr.synthetic.writer import is_complete, write_freihand_layout

    out = Path("data", f"embedded-{size.train}-{size.evaluation}-{size.picture_size}px-seed{seed}")
    arguments: dict[str, Any] = {
        "train": size.train,
        "evaluation": size.evaluation,
        "seed": seed,
        "size": size.picture_size,
        "versions": VERSIONS,
    }
    if is_complete(out, **arguments):
        print(f"{out} is there already")
    else:
        write_freihand_layout(out, **arguments)
    return out


def table(rows: list[dict[str, Any]]) -> str:
    """The comparison as text: one block per protocol and label count."""
    head = f"{'protocol':<14}{'labels':>7}  {'weights':<9}" + "".join(f"{title:>11}" for title in COLUMNS.values())
    lines = [head, "─" * len(head)]
    block = None
    for row in sorted(rows, key=lambda row: (row["protocol"] == "fine-tuned", row["labels"])):
        if block not in (None, (row["protocol"], row["labels"])):
            lines.append("")
        block = (row["protocol"], row["labels"])
        numbers = "".join(f"{row[key]:>11.2f}" for key in COLUMNS)
        lines.append(f"{row['protocol']:<14}{row['labels']:>7}  {row['weights']:<9}{numbers}")
    return "\n".join(lines)


def demo(out: Path, size: DemoSize, seed: int) -> dict[str, Any]:
    """Run everything into the new folder `out`; returns what `demo.json` holds."""
    from experiments.demo.figure import draw_demo_figure

    clock = Clock()
    clock.say(f"1/4 render {size.train} training and {size.evaluation} evaluation hands")
    hands = make_hands(size, seed)
    arms = [Arm("random", None), *(Arm(name, out / name.lower()) for name in ("SimCLR", "PeCLR"))]
    with ProcessPoolExecutor(max_workers=2, mp_context=get_context("spawn")) as pool:
        clock.say(f"2/4 pre-train with SimCLR and with PeCLR, side by side, {size.pretrain_epochs} epochs")
        gather(pool.submit(pretrain, arm, hands, size, seed) for arm in arms if arm.run)
        clock.say("3/4 fine-tune from each, and probe the frozen encoders")
        probes = [pool.submit(probe, arm, hands, size, seed) for arm in arms]
        tunings = [
            pool.submit(finetune, arm, labels, out / f"finetune-{arm.name.lower()}-{labels}", hands, size, seed)
            for labels in size.finetune_labels
            for arm in arms
        ]
        done = gather([*probes, *tunings])
        rows = [row for probed in done[: len(probes)] for row in probed] + done[len(probes) :]
    clock.say("4/4 draw")
    results = {"seed": seed, "size": asdict(size), "rows": rows, "seconds": round(clock.seconds(), 1)}
    (out / "demo.json").write_text(json.dumps(results, indent=2) + "\n")
    figure = draw_demo_figure(out, hands, size, rows, seed)
    clock.say("Errors on hands and scenes that no encoder has seen (lower is better; EPE relative to the wrist):")
    print(f"\n{table(rows)}\n\nTable as JSON: {out / 'demo.json'}\nPictures:      {figure}")
    print(f"As a page:     make report RUN={out}")
    return results


def main(arguments: list[str] | None = None) -> int:
    """Parse the options and run."""
    parser = argparse.ArgumentParser(prog="python -m experiments.demo.run", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the hands, the weights and the views (default: 0)")
    parser.add_argument("--out", type=Path, default=None, help="a new folder (default: runs/demo/TIME)")
    parser.add_argument("--quick", action="store_true", help="a minute's walk through every step; numbers mean nothing")
    options = parser.parse_args(arguments)
    out = options.out or Path("runs", "demo", f"{datetime.now():%Y%m%d-%H%M%S}")
    if out.exists():
        print(f"demo: {out} exists; choose a new folder", file=sys.stderr)
        return 2
    quick = DemoSize(64, 24, 64, 32, 16, 2, probe_labels=(8, 16), finetune_labels=(8,), finetune_steps=4)
    os.environ.update(ONE_THREAD)  # inherited by the processes that work
    out.mkdir(parents=True)
    try:
        demo(out, quick if options.quick else DemoSize(), options.seed)
    except ValueError as error:  # hands of an older renderer in the way, for example
        print(f"demo: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

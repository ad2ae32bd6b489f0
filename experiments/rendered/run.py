"""Run an embedded experiment: `python -m experiments.rendered.run benchmark --size cpu`; again, to go on with it."""

import argparse
import json
import os
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import yaml

from experiments.jobs import ONE_THREAD, gather
from experiments.rendered.plan import FINETUNE, HEAD_FIRST, PRETRAIN, SIZES, Size, Suite, read_suite
from peclr.sweeps.lock import LOCK_NAME, locked


def make_hands(size: Size) -> Path:
    """Render the hands, or take those that are there."""
    from peclr.synthetic.writer import is_complete, write_freihand_layout

    out = Path("data", f"embedded-{size.train}x{size.versions}-{size.evaluation}-{size.picture_px}px")
    arguments: dict[str, Any] = {
        "train": size.train,
        "evaluation": size.evaluation,
        "seed": 0,
        "size": size.picture_px,
        "versions": size.versions,
    }
    if not is_complete(out, **arguments):
        write_freihand_layout(out, **arguments)
    return out


def check_plan(out: Path, suite: Suite, size: Size) -> None:
    """Note what the folder is for, so that another experiment is not mixed into it.

    Raises:
        ValueError: the folder holds another experiment.
    """
    recipe = {
        "head_first": HEAD_FIRST,
        **{path.stem: yaml.safe_load(path.read_text()) for path in (PRETRAIN, FINETUNE)},
    }
    arms = {arm.name: arm.overrides for arm in suite.arms}
    plan = json.loads(json.dumps({"arms": arms, "size": asdict(size), "recipe": recipe}))
    noted = out / "plan.json"
    if not noted.exists():
        if any(path.name != LOCK_NAME for path in out.iterdir()):
            raise ValueError(f"{out} is not empty and holds no plan.json; choose a new folder")
        noted.write_text(json.dumps(plan, indent=2) + "\n")
        return
    there = json.loads(noted.read_text())
    if there["size"] != plan["size"]:
        raise ValueError(f"{out} was begun with another size; choose a new --out, or that size")
    if there.get("recipe") != plan["recipe"]:
        raise ValueError(f"{out} was begun with another {PRETRAIN.name} or {FINETUNE.name}; choose a new --out")
    changed = [name for name, overrides in plan["arms"].items() if there["arms"].get(name, overrides) != overrides]
    if changed:
        raise ValueError(f"{out} was begun with other overrides for {changed}; choose a new --out")
    noted.write_text(json.dumps({**plan, "arms": {**there["arms"], **plan["arms"]}}, indent=2) + "\n")


def run_suite(suite: Suite, size: Size, out: Path, seeds: list[int], processes: int) -> list[dict[str, Any]]:
    """Do what is not done yet; returns the rows of all seeds."""
    from experiments.rendered.jobs import Job, finetune, mine, pretrain, probe

    hands = make_hands(size)
    mine(suite.arms, hands)
    rows: list[dict[str, Any]] = []
    with ProcessPoolExecutor(max_workers=processes, mp_context=get_context("spawn")) as pool:
        for seed in seeds:
            jobs = [Job(arm, seed, size, hands, out) for arm in suite.arms]
            gather(pool.submit(pretrain, job) for job in jobs)
            probes = [pool.submit(probe, job, suite.probe_labels) for job in jobs]
            tunings = [
                pool.submit(finetune, job, labels, schedule)
                for schedule in size.finetune_steps
                for labels in suite.finetune_labels
                for job in jobs
                if job.arm.name in suite.finetune_arms
            ]
            rows += [row for done in gather([*probes, *tunings]) for row in done]
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Parse the options and run."""
    parser = argparse.ArgumentParser(prog="python -m experiments.rendered.run", description=__doc__)
    parser.add_argument("suite", help="a file of experiments/rendered/suites, without .yaml")
    parser.add_argument("--size", choices=SIZES, default="cpu", help="how much work (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of pre-training (default: 0 1 2)")
    parser.add_argument("--out", type=Path, default=None, help="folder (default: runs/embedded/SUITE-SIZE)")
    parser.add_argument("--processes", type=int, default=None, help="runs side by side (default: one per core; gpu: 1)")
    options = parser.parse_args(arguments)
    size = SIZES[options.size]
    out = options.out or Path("runs", "embedded", f"{options.suite}-{options.size}")
    on_cpu = size.trainer["accelerator"] == "cpu"
    started = time.perf_counter()
    try:
        suite = read_suite(options.suite)
        if on_cpu:
            os.environ.update(ONE_THREAD)  # inherited by the processes that work
        processes = options.processes or ((os.cpu_count() or 1) if on_cpu else 1)
        with locked(out):
            check_plan(out, suite, size)
            rows = run_suite(suite, size, out, options.seeds, processes)
    except ValueError as error:
        print(f"embedded: {error}", file=sys.stderr)
        return 2
    from experiments.rendered.summary import METRICS, draw, table

    results = {
        "suite": suite.name,
        "title": suite.title,
        "size": {"name": options.size, **asdict(size)},
        "seeds": options.seeds,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores" + ("" if on_cpu else ", GPU"),
        "seconds_of_this_session": round(time.perf_counter() - started),
        "rows": rows,
    }
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    tables = "\n".join(table(rows, metric) for metric in METRICS)
    (out / "table.md").write_text(tables)
    draw(results, out / "figure.png")
    print(f"\n{tables}\n{out / 'results.json'}\n{out / 'figure.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Compare pre-training on rendered hands: `python -m experiments.rendered.run benchmark`; again, to go on with it."""

import argparse
import json
import os
import platform
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any, Final

import yaml

from experiments.rendered.plan import FINETUNE, PRETRAIN, SIZES, Size, Suite, read_suite
from peclr.options import usable_cores
from peclr.sweeps.lock import hold

LOCK: Final = ".lock"


def folder_of_hands(size: Size) -> Path:
    """Where the hands are; the Makefile names the demo's."""
    return Path("data", f"rendered-{size.train}x{size.versions}-{size.evaluation}-{size.picture_px}px")


def make_hands(size: Size) -> Path:
    """Render the hands, or take those that are there."""
    from peclr.synthetic.writer import is_complete, write_freihand_layout

    out = folder_of_hands(size)
    arguments: dict[str, Any] = {"train": size.train, "evaluation": size.evaluation, "seed": 0}
    arguments |= {"size": size.picture_px, "versions": size.versions}
    if not is_complete(out, **arguments):
        write_freihand_layout(out, **arguments)
    return out


def settled(out: Path, size: Size, given: str | None) -> Size:
    """The size with a precision: the given one, that of an experiment which goes on, or what pays on this CPU."""
    if given is None and (out / "plan.json").exists():
        given = json.loads((out / "plan.json").read_text())["size"]["trainer"].get("precision")
    if given is None and "precision" not in size.trainer:
        from peclr.training.precision import precision_that_pays

        given = precision_that_pays()
    return replace(size, trainer={**size.trainer, **({"precision": given} if given else {})})


def check_plan(out: Path, suite: Suite, size: Size) -> None:
    """Note what the folder is for; ValueError if it holds another experiment."""
    configs = {path.stem: yaml.safe_load(path.read_text()) for path in (PRETRAIN, FINETUNE)}
    arms = {arm.name: arm.plan for arm in suite.arms}
    # as JSON has it
    plan = json.loads(json.dumps({"arms": arms, "size": asdict(size), "recipe": configs}))
    noted = out / "plan.json"
    if noted.exists():
        there = json.loads(noted.read_text())
        changed = [name for name, words in plan["arms"].items() if there["arms"].get(name, words) != words]
        names = {"size": "another size", "recipe": f"another {PRETRAIN.name} or {FINETUNE.name}"}
        differences = [said for key, said in names.items() if there.get(key) != plan[key]]
        if changed or differences:
            said = ", ".join([*differences, *([f"other overrides for {changed}"] if changed else [])])
            raise ValueError(f"{out} was begun with {said}; choose a new --out")
        plan["arms"] = there["arms"] | plan["arms"]
    elif any(path.name != LOCK for path in out.iterdir()):
        raise ValueError(f"{out} is not empty and holds no plan.json; choose a new --out")
    noted.write_text(json.dumps(plan, indent=2) + "\n")


@contextmanager
def workers(processes: int) -> Iterator[Executor]:
    """Processes that work; if anything goes wrong, or somebody stops it, their runs save, and nothing is begun."""

    def stop(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    # Ctrl-C reaches all processes of a terminal; whether they stop is for this one to say
    ignore = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=ignore)
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield pool
    except BaseException:
        children = active_children()
        pool.shutdown(wait=False, cancel_futures=True)
        for child in children:
            child.terminate()
        for child in children:
            child.join()
        raise
    finally:
        pool.shutdown()
        for number, handler in before.items():
            signal.signal(number, handler)


def run_suite(suite: Suite, size: Size, hands: Path, out: Path, seeds: Sequence[int], processes: int) -> None:
    """Do what is not done yet on hands in FreiHAND's layout."""
    from experiments.rendered.jobs import jobs_of, mine, stages_of, timed
    from experiments.rendered.progress import remaining, run_stages, until

    mine(suite.arms, hands)
    jobs = [jobs_of(suite, seed, size, hands, out) for seed in seeds]
    stages = [stage for of_seed in jobs for stage in stages_of(suite, of_seed)]
    todo = [[task for task in stage if task.rows() is None] for stage in stages]
    with workers(processes) as pool:
        # where a GPU steps, starting a run to time it takes longer than to learn from the first one
        on_cpu = size.trainer["accelerator"] == "cpu"
        pace = timed(pool, jobs[0], suite, [task for stage in todo for task in stage]) if on_cpu else {}
        if any(todo):
            print(until(sum(remaining(stage, processes, pace) for stage in todo)), flush=True)
        run_stages(stages, pool, processes, pace)


def rows_of(suite: Suite, size: Size, hands: Path, out: Path) -> list[dict[str, Any]]:
    """What is known of all arms, from this session and from others, which may have had more seeds."""
    from experiments.rendered.jobs import jobs_of, stages_of

    seeds = sorted(int(folder.name.removeprefix("seed")) for folder in out.glob("seed*"))
    stages = (stage for seed in seeds for stage in stages_of(suite, jobs_of(suite, seed, size, hands, out)))
    return [row for stage in stages for task in stage for row in task.rows() or ()]


def write_results(
    suite: Suite, size: Size, name: str, rows: list[dict[str, Any]], hands: Path, out: Path, **session: Any
) -> None:
    """Write and print tables, and draw."""
    from experiments.rendered.summary import changes, draw, metrics_of, table

    cpuinfo = Path("/proc/cpuinfo")  # of Linux
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    processor = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
    results: dict[str, Any] = {"suite": suite.name, "title": suite.title, "size": {"name": name, **asdict(size)}}
    results |= {"score": suite.score, "baseline": suite.baseline, "machine": f"{processor}, {os.cpu_count()} cores"}
    results |= {"seeds": sorted({row["seed"] for row in rows}), **session, "rows": rows}
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    tables = "\n".join(table(rows, metric, suite.baseline) for metric in metrics_of(rows))
    if suite.baseline:
        tables += f"\n{changes(results)}"
    (out / "table.md").write_text(tables)
    draw(results, out / "figure.png")
    print(f"\n{tables}\n{out / 'results.json'}\n{out / 'figure.png'}")
    if suite.pictured and {*suite.pictured} <= {row["weights"] for row in rows}:
        from experiments.rendered.figure import draw_figure

        print(draw_figure(suite, size, hands, results, out))
    print(f"As a page: make report RUN={out} DATA={hands}")


def add_options(parser: argparse.ArgumentParser, out: str) -> None:
    """Add the options of every comparison; `out` says where its folder is by default."""
    parser.add_argument("--size", choices=SIZES, default=None, help="how much work (default: the suite's own)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of pre-training (default: 0 1 2)")
    parser.add_argument("--arms", nargs="+", metavar="ARM", help="only these; results show all that is done")
    parser.add_argument("--out", type=Path, default=None, help=f"folder (default: {out})")
    parser.add_argument("--processes", type=int, default=None, help="runs side by side (default: one per core; gpu: 1)")
    parser.add_argument("--precision", default=None, help="of training (default: what pays on this CPU)")


def compare(
    suite: Suite, size: Size, out: Path, options: argparse.Namespace, command: str, hands: Path | None = None
) -> None:
    """Do what is not done yet of a suite by `add_options`, and write its results; `hands` are rendered by default."""
    started, name = time.perf_counter(), options.size or suite.size
    chosen = suite if options.arms is None else suite.only(options.arms)
    on_cpu = size.trainer["accelerator"] == "cpu"
    if on_cpu:
        # Half of what experiments do is small matrices: more threads would only wait for one another.
        os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")  # inherited by the processes that work
    processes = options.processes or (usable_cores() if on_cpu else 1)
    with hold(out / LOCK):
        size = settled(out, size, options.precision)
        check_plan(out, suite, size)
        folder = hands or make_hands(size)
        run_suite(chosen, size, folder, out, options.seeds, processes)
        rows = rows_of(suite, size, folder, out)
    given = ["--size", name, *(["--arms", *options.arms] if options.arms else ()), "--seeds", *map(str, options.seeds)]
    session = {
        "command": f"python -m {command} {shlex.join(given)}",
        "seconds_of_this_session": round(time.perf_counter() - started),
        "cpu_seconds_of_this_session": round(sum(os.times()[:4])),  # with its processes
    }
    write_results(suite, size, name, rows, folder, out, **session)


def status_of(name: str, work: Callable[[], None]) -> int:
    """Do the work of an experiment; the exit status, with a line where it ends early."""
    try:
        work()
    except (ValueError, FileExistsError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    except SystemExit as stop:
        print(f"{name}: stopped; the same command goes on where it was", file=sys.stderr)
        return int(stop.code or 0)
    except BrokenProcessPool:
        killed = "a process that worked was killed, perhaps for want of memory"
        print(f"{name}: {killed}; the same command goes on where it was", file=sys.stderr)
        return 1
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Parse the options and run."""
    parser = argparse.ArgumentParser(prog="python -m experiments.rendered.run", description=__doc__)
    parser.add_argument("suite", help="a file of experiments/rendered/suites, without .yaml")
    add_options(parser, "runs/rendered/SUITE-SIZE")
    options = parser.parse_args(arguments)

    def work() -> None:
        suite = read_suite(options.suite)
        name = options.size or suite.size
        out = options.out or Path("runs", "rendered", name if suite.name == name else f"{suite.name}-{name}")
        compare(suite, SIZES[name], out, options, f"experiments.rendered.run {suite.name}")

    return status_of("rendered", work)


if __name__ == "__main__":
    sys.exit(main())

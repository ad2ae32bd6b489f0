"""`peclr sweep`: run a W&B sweep's file without an account."""

import shlex
from pathlib import Path

from peclr.options import CommandParser
from peclr.shipped import find_config
from peclr.sweeps.plan import folder_options, read_sweep
from peclr.sweeps.results import CSV_NAME, JSON_NAME, table


def sweep_main(arguments: list[str]) -> int:
    """Run what `peclr sweep` is given: 0 if every run has finished or was stopped early, 1 if not."""
    parser = _parser()
    known, overrides = parser.parse_known_args(arguments)
    sweep = read_sweep(known.file).with_options(overrides)
    out = known.out or Path("runs", "sweeps", sweep.name)
    gpus = [gpu.strip() for gpu in known.gpus.split(",")] if known.gpus else []
    jobs = known.jobs or max(1, len(gpus))
    if not all(gpus):  # an empty one would hide all GPUs from its runs
        parser.error(f"--gpus {known.gpus}: expected identifiers with commas between them, such as 0,1")
    if jobs < 1 or (gpus and jobs > len(gpus)):
        parser.error(f"--jobs {jobs}: expected at least 1, and no more than there are --gpus")
    if (known.max_runs is not None and known.max_runs < 1) or known.seed < 0:
        parser.error(f"--max-runs {known.max_runs}, --seed {known.seed}: expected at least 1, and at least 0")
    if known.dry_run:
        if sweep.method == "bayes":
            raise ValueError("--dry-run: bayes search has no plan; what it runs depends on results")
        for name, values in sweep.runs(known.max_runs, known.seed).items():
            print(shlex.join([*sweep.words(values), *folder_options(out / name)]))
        return 0
    try:
        from peclr.sweeps.runner import run_sweep
        from peclr.sweeps.study import Study
    except ModuleNotFoundError as error:
        raise ValueError("sweeps need Optuna: pip install 'peclr[sweeps]'") from error
    study = Study(sweep, out, known.max_runs, known.seed)
    run_sweep(study, jobs, gpus)
    outcomes = study.outcomes
    print(f"\n{table(outcomes, sweep)}\n\n{out / JSON_NAME}\n{out / CSV_NAME}")
    logged = [outcome.metrics for outcome in outcomes if outcome.status == "finished"]
    without = [metrics for metrics in logged if sweep.metric.name not in metrics]
    if without:
        others = ", ".join(sorted({name for metrics in without for name in metrics})) or "no metrics"
        print(f"{len(without)} runs have no {sweep.metric.name}; they have: {others}")
    left = [outcome for outcome in outcomes if not outcome.is_done]
    if left:
        elsewhere = sum(outcome.status == "running" for outcome in left)
        print(f"{len(left)} of {len(outcomes)} runs did not finish; the same command tries them again")
        print(f"their output: {out / 'logs'}", *([f"({elsewhere} of them goes on elsewhere)"] if elsewhere else []))
    return 1 if left else 0


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="peclr sweep",
        allow_abbrev=False,
        usage="peclr sweep FILE [options] [--name=value ...]",
        description="Run a grid, random or bayes search that is written for `wandb sweep`, without an account. "
        "Finished runs are skipped, interrupted ones go on from their checkpoint, failed ones are tried again. Several "
        "machines with one shared folder may run the same command at the same time.",
        epilog="Other options, --name=value, go to every run and take the place of the file's constants.",
    )
    parser.add_argument("file", type=find_config, metavar="FILE", help="a sweep's YAML, or one of `peclr configs`")
    parser.add_argument("--out", type=Path, help="its folder, new or of the same sweep (default: runs/sweeps/NAME)")
    parser.add_argument("--jobs", type=int, help="runs at a time (default: 1, or as many as --gpus)")
    parser.add_argument("--gpus", help="such as 0,1: a GPU of its own for each run at a time")
    parser.add_argument("--max-runs", type=int, help="no more than these; a search needs it, or a run_cap")
    parser.add_argument("--seed", type=int, default=0, help="of a search (default: %(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="print the commands, run nothing")
    return parser

"""`peclr report`: runs, evaluations and result tables on one page that one can look at and send."""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from peclr.evaluate.command import CROPS
from peclr.options import CommandParser, check_writable, write_whole

if TYPE_CHECKING:  # `--help` must not import NumPy
    from peclr.report.discovery import Findings

_EVALUATION: Final = "evaluation"


def report_main(arguments: list[str]) -> int:
    """Write the page, and its table as CSV, LaTeX and JSON beside it; return 0, or raise what cannot be done."""
    options = _parser().parse_args(arguments)
    targets = _targets(options)
    import json

    try:  # before any work
        import plotly.offline  # type: ignore[import-untyped]  # noqa: F401  # plotly ships no types
    except ImportError as error:
        raise ValueError("the report's figures need plotly: pip install 'peclr[report]'") from error
    from peclr.report.discovery import find_all
    from peclr.report.page import report_page
    from peclr.report.results import group_rows, metrics_of
    from peclr.report.tables import csv_table, json_table, latex_table, text_table
    from peclr.report.transfer import latex_transfers, transfers
    from peclr.runs.names import run_name

    findings = find_all(options.runs)
    # not even --force lets a report take the place of what it reports on
    tables = {row.table.resolve() for row in findings.rows if row.table is not None}
    if replaced := [target for target in targets if target.resolve() in tables]:
        raise ValueError(f"--out {options.out}: it would replace {replaced[0]}, its subject")
    if options.evaluate and _evaluate(findings, options):
        findings = find_all(options.runs)
    groups = group_rows(findings.rows)
    metrics = metrics_of(groups)
    title = options.title or "Report on " + ", ".join(map(run_name, options.runs))
    contents = (
        report_page(title, findings, options.data, options.hands),
        csv_table(groups, metrics),
        "\n".join(filter(None, (latex_table(groups, metrics), latex_transfers(transfers(groups, findings.runs))))),
        json.dumps({"title": title, **json_table(groups, metrics)}, indent=1) + "\n",
    )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for target, content in zip(targets, contents, strict=True):
        write_whole(target, content)
    print(text_table(groups, metrics) if groups else "no scores, only curves", *("", *targets), sep="\n")
    return 0


def _targets(options: argparse.Namespace) -> list[Path]:
    """The page, and what is written beside it; refuses what cannot be, before any work."""
    out: Path = options.out
    if out.suffix not in {".html", ".htm"}:
        raise ValueError(f"--out {out}: expected a name that ends in .html")
    check_writable(out.parent)
    targets = [out, *(out.with_suffix(suffix) for suffix in (".csv", ".tex", ".json"))]
    if (taken := [target for target in targets if target.exists()]) and not options.force:
        raise FileExistsError(f"{taken[0]} exists; choose another name by --out, or replace it by --force")
    if options.hands < 1:
        raise ValueError(f"--hands {options.hands}: expected at least 1")
    return targets


def _evaluate(findings: Findings, options: argparse.Namespace) -> bool:
    """Evaluate the fine-tuned runs on the data sets on which they have not been; return whether there were any."""
    import contextlib
    import io

    from peclr.evaluate.command import evaluate_main
    from peclr.report.runs import FINETUNING, data_name

    scored = {(one.folder.absolute().parent, data_name(one.scores.data)) for one in findings.evaluations}
    runs = [run for run in findings.runs if run.kind == FINETUNING]
    if not options.data:
        if missing := [run for run in runs if not any((run.folder / _EVALUATION).glob("*"))]:
            named = f", as its config does {missing[0].data}" if missing[0].data else ""
            raise ValueError(
                f"--evaluate: give --data; no folder is opened because a file of {missing[0].folder} names it{named}"
            )
        return False
    evaluated, choices = False, {data: _choices(data, options) for data in options.data}
    for run, data in product(runs, options.data):
        out = run.folder / _EVALUATION
        if any(out.glob("*")):
            out = run.folder / f"{_EVALUATION}_{data_name(str(data))}"
        if (run.folder.absolute(), data_name(str(data))) in scored or any(out.glob("*")):
            continue
        print(f"evaluating {run.name} on {data}", flush=True)
        words = [str(run.folder), f"--data={data}", f"--out={out}", *choices[data]]
        with contextlib.redirect_stdout(io.StringIO()):  # its scores are in the report
            try:
                evaluate_main(words)
            except (FileNotFoundError, ValueError) as error:
                raise ValueError(f"{run.name} cannot be evaluated: {error}") from error
        evaluated = True
    return evaluated


def _choices(data: Path, options: argparse.Namespace) -> list[str]:
    """What `peclr evaluate` needs to know of a data set: where to look in FreiHAND's layout, the split of DexYCB."""
    from peclr.data.sources.layouts import LAYOUTS, data_set_at

    if not data.is_dir():
        raise FileNotFoundError(f"--data {data}: no such folder")
    layout = LAYOUTS[data_set_at(data) or "freihand"]
    if layout is LAYOUTS["freihand"]:
        return [f"--crop={options.evaluate}"]
    if layout.choice and options.split not in layout.splits:
        raise ValueError(
            f"{data}: --split is {options.split}; expected one of {', '.join(layout.splits)}; {layout.choice}"
        )
    return [f"--split={options.split}"] if layout.choice else []


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="peclr report",
        description="One self-contained HTML page from runs, evaluations and result tables.",
        epilog="Folders are searched: `peclr report runs/rendered/demo` takes everything that `make demo` wrote. "
        "A result table sums up the runs below its folder.",
    )
    help_data = "data set, or one of several, to show hands of and to --evaluate on; no file's own is opened"
    help_runs = "folder of a run, of an evaluation, of many; or result JSON"
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help=help_runs)
    parser.add_argument("--out", type=Path, default=Path("report.html"), help="page to write (default: %(default)s)")
    parser.add_argument("--title", help="of the page (default: from the names of what it reports on)")
    parser.add_argument("--data", type=Path, action="append", default=[], metavar="PATH", help=help_data)
    parser.add_argument("--split", help="of DexYCB, to --evaluate on: s0_test to s3_test")
    parser.add_argument("--hands", type=int, default=4, metavar="N", help="best and worst shown (default: %(default)s)")
    help_evaluate = "first run `peclr evaluate --crop CROP` where it has not been (%(choices)s; default: %(const)s)"
    crops: dict[str, Any] = {"nargs": "?", "const": CROPS[0], "choices": CROPS, "metavar": "CROP"}
    parser.add_argument("--evaluate", **crops, help=help_evaluate)
    parser.add_argument("--force", action="store_true", help="replace an earlier report")
    return parser

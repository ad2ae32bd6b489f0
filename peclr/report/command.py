"""`peclr report`: runs, evaluations and result tables on one page that one can look at and send."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from peclr.evaluate.command import CROPS
from peclr.options import check_writable, naming

if TYPE_CHECKING:  # `--help` must not import NumPy
    from peclr.report.discovery import Findings
    from peclr.report.evaluations import EvaluationFolder
    from peclr.report.page import Page
    from peclr.report.runs import TrainingRun

_FINETUNING, _EVALUATION = "FinetuneModule", "evaluation"
_BESIDE: Final = (".csv", ".tex", ".json")
_HOW_TO_EVALUATE: Final = (
    '<p class="quiet"><code>peclr evaluate RUN --data DATA</code> makes accuracy curves, errors of each joint and a '
    "gallery; <code>peclr report … --evaluate</code> does so first for the runs that have none.</p>"
)
_OBJECTIVES_DIFFER: Final = (
    '<p class="quiet">Contrastive losses of different objectives or batch sizes cannot be compared; probes can.</p>'
)


def report_main(arguments: list[str]) -> int:
    """Parse the options and write the report.

    Args:
        arguments: what follows `peclr report`.

    Returns:
        0; what cannot be done raises.
    """
    options = _parser().parse_args(arguments)
    out: Path = options.out
    if out.suffix not in {".html", ".htm"}:
        raise ValueError(f"--out {out}: expected a name that ends in .html")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"--out {out}: the folder {out.parent} does not exist")
    check_writable(out.parent)
    targets = [out, *(out.with_suffix(suffix) for suffix in _BESIDE)]
    taken = [target for target in targets if target.exists()]
    if taken and not options.force:
        raise FileExistsError(f"{taken[0]} exists; choose another name by --out, or replace it by --force")
    if options.hands < 1:
        raise ValueError(f"--hands {options.hands}: expected at least 1")
    write_report(options.runs, out, options)
    for target in targets:
        print(target)
    return 0


def write_report(given: list[Path], out: Path, options: argparse.Namespace) -> None:
    """Write the page, and its table as CSV, LaTeX and JSON beside it."""
    import json

    from peclr.report.discovery import find_all
    from peclr.report.rows import group_rows, metrics_of
    from peclr.report.tables import csv_table, json_table, latex_table, text_table

    try:  # before any work
        import plotly.offline  # type: ignore[import-untyped]  # noqa: F401  # plotly ships no types
    except ImportError as error:
        raise ValueError("the report's figures need plotly: pip install 'peclr[report]'") from error
    findings = find_all(given)
    _check_spared(findings, out)
    if options.evaluate and _evaluate(findings.runs, options.evaluate, options.data):
        findings = find_all(given)
    groups, metrics = group_rows(findings.rows), metrics_of(findings.rows)
    title = options.title or "Report on " + ", ".join(path.resolve().name for path in given)
    contents = {
        ".html": _page(title, findings, options.data, options.hands).html(),
        ".csv": csv_table(groups, metrics),
        ".tex": latex_table(groups, metrics),
        ".json": json.dumps({"title": title, **json_table(groups, metrics)}, indent=1) + "\n",
    }
    for suffix, content in contents.items():
        target = out if suffix == ".html" else out.with_suffix(suffix)
        with naming(target):  # names of files may be any bytes
            target.write_text(content, encoding="utf-8", errors="backslashreplace")
    print(text_table(groups, metrics) if groups else "no scores, only curves")
    print()


def _check_spared(findings: Findings, out: Path) -> None:
    """Not even --force lets a report take the place of what it reports on."""
    targets = {out.with_suffix(suffix).resolve() for suffix in _BESIDE}
    for table in findings.tables:
        if table.path.resolve() in targets:
            raise ValueError(f"--out {out}: its table would replace {table.path}, which it reports on")


def _page(title: str, findings: Findings, data: Path | None, hands: int) -> Page:
    from peclr.report import charts
    from peclr.report.page import Page, run_details
    from peclr.report.rows import group_rows
    from peclr.report.tables import html_tables

    groups = group_rows(findings.rows)
    page = Page(title)
    table = html_tables(groups)
    remark = (
        "<p>Mean ± sample standard deviation of n measurements, which differ in the seed. The best mean of a protocol "
        "and number of labeled hands is marked, where there is a choice.</p>"
    )
    page.add("comparison", "Comparison", remark if table else "", table)
    page.add("labels", "Label efficiency", page.charts(charts.label_efficiency(groups)))
    evaluations = findings.evaluations
    page.add("pck", "Accuracy curves", page.charts(charts.pck(evaluations)))
    page.add("joints", "Errors of each joint", page.charts(charts.joint_errors(evaluations)))
    finetuning = [run for run in findings.runs if run.kind == _FINETUNING]
    pretraining = [run for run in findings.runs if run.kind != _FINETUNING]
    curves = page.charts(charts.training_curves(pretraining, "Pre-training"))
    page.add(
        "training",
        "Training and probes",
        curves + _OBJECTIVES_DIFFER if curves else "",
        page.charts(charts.training_curves(finetuning, "Fine-tuning")),
    )
    galleries = [_gallery(page, evaluation, data, hands) for evaluation in evaluations]
    if galleries:
        galleries.insert(0, "<p>By PA-EPE; EPE is relative to the wrist. Above the prediction, below the label.</p>")
    elif finetuning:
        galleries = [_HOW_TO_EVALUATE]
    page.add("gallery", "Best and worst hands", *galleries)
    page.add("three-d", "A hand in 3-D", page.turning())
    page.add("runs", "Runs", run_details(findings.runs))
    return page


def _gallery(page: Page, evaluation: EvaluationFolder, data: Path | None, hands: int) -> str:
    """Best and worst hands, or why there are none: on page and terminal, and no reason to write no report."""
    from html import escape

    from peclr.report.evaluations import shown_hands

    try:
        return page.gallery(evaluation, shown_hands(evaluation, data, hands))
    except (FileNotFoundError, ValueError) as error:
        print(f"{evaluation.name}: no gallery: {error}", file=sys.stderr)
        return f'<h3>{escape(evaluation.name)}</h3><p class="quiet">Not drawn: {escape(str(error))}</p>'


def _evaluate(runs: list[TrainingRun], crop: str, data: Path | None) -> bool:
    """Evaluate the fine-tuned runs that have not been; says whether there were any."""
    import contextlib
    import io

    from peclr.evaluate.command import evaluate_main

    tuned = [run for run in runs if run.kind == _FINETUNING]
    missing = [run for run in tuned if not any((run.folder / _EVALUATION).glob("*"))]
    for run in missing:
        root = data or run.data_setting("root")
        if root is None:
            raise ValueError(f"{run.folder}: its config names no data to evaluate on; give --data")
        print(f"evaluating {run.name} on {root}", flush=True)
        with contextlib.redirect_stdout(io.StringIO()):  # its scores are in the report
            try:
                evaluate_main([str(run.folder), f"--data={root}", f"--crop={crop}"])
            except (FileNotFoundError, ValueError) as error:
                hint = "" if data else "; --data tells where the data set is now"
                raise ValueError(f"{run.name} cannot be evaluated: {error}{hint}") from error
    return bool(missing)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="peclr report",
        description="One self-contained HTML page from runs, evaluations and result tables.",
        epilog="Folders are searched: `peclr report runs/rendered/demo` takes everything that `make demo` wrote.",
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="folder of a run, of an evaluation, of many; or result JSON"
    )
    parser.add_argument("--out", type=Path, default=Path("report.html"), help="page to write (default: %(default)s)")
    parser.add_argument("--title", help="of the page (default: from the names of what it reports on)")
    parser.add_argument("--data", type=Path, help="where the evaluated data set is now (default: where it was)")
    parser.add_argument("--hands", type=int, default=4, metavar="N", help="best and worst shown (default: %(default)s)")
    parser.add_argument(
        "--evaluate",
        nargs="?",
        const=CROPS[0],
        choices=CROPS,
        metavar="CROP",
        help="first run `peclr evaluate --crop CROP` where it has not been (CROP: %(choices)s; default: %(const)s)",
    )
    parser.add_argument("--force", action="store_true", help="replace an earlier report")
    return parser

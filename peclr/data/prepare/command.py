"""`peclr prepare`: one pass that checks a data set, packs its labels, and cuts out its hands if told to.

Heavy modules are imported where they are needed: `--help` does without them, and the labels of YouTube3DHands are
packed without torch.
"""

import argparse
import os
from pathlib import Path

from peclr.data.prepare.doctor import Finding, Look, check_split, show
from peclr.data.sources.layouts import DEPTHS, LAYOUTS, open_source, prepared_kind, present_splits
from peclr.options import check_writable


def prepare_main(arguments: list[str]) -> int:
    """Run `peclr prepare`.

    Args:
        arguments: What follows it on the command line.

    Returns:
        0, or 1 if there are images that cannot be read.

    Raises:
        ValueError: If labels are missing or wrong; nothing is written then.
    """
    options = _parser().parse_args(arguments)
    splits = options.split or present_splits(options.dataset, options.root)
    if not splits:
        raise ValueError(
            f"{options.root} does not hold {options.dataset}; expected {LAYOUTS[options.dataset].expected}"
        )
    return max([_prepare(options, split) for split in splits])


def _prepare(options: argparse.Namespace, split: str) -> int:
    """Check and pack one split, cut out its hands if asked for; the exit status."""
    if split not in LAYOUTS[options.dataset].splits:
        raise ValueError(f"split {split!r} does not exist; expected one of {LAYOUTS[options.dataset].splits}")
    crops = None if options.crops is None else options.crops / split
    if crops is not None and crops.exists():  # found out before the long part
        raise FileExistsError(f"{crops} exists; crops are written to a new folder")
    for written in (options.root / "prepared", crops):
        if written is not None:
            check_writable(written)
    look = Look(options.images, options.workers, progress=True)
    findings = [*check_split(options.dataset, options.root, split, look, pack=True)]
    findings.append(
        Finding("ok", f"labels are packed in {options.root / 'prepared' / prepared_kind(options.dataset, split)}")
    )
    if crops is not None:
        findings += _write_crops(options, split, crops)
    return show(f"{options.root}, {split}", findings)


def _write_crops(options: argparse.Namespace, split: str, folder: Path) -> list[Finding]:
    """Cut out the hands of a split."""
    from peclr.data.prepare.write_crops import DEFAULT_CONTEXT, write_crops

    left_out = write_crops(
        open_source(options.root, split, **({"mano": options.mano} if options.dataset == "youtube3d" else {})),
        folder,
        size=options.size,
        context=DEFAULT_CONTEXT if options.context is None else options.context,
        quality=options.quality,
        workers=options.workers,
        progress=True,
    )
    findings = [Finding("ok", f"crops are in {folder}")]
    if left_out:
        findings.append(Finding("wrong", "\n".join(f"{problem}: no crop" for problem in left_out.values())))
    return findings


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="peclr prepare",
        description="Check a data set and pack its labels into ROOT/prepared, where its reader finds them and all "
        "workers share them. Labels that are wrong are an error; images that cannot be read are listed.",
    )
    parser.add_argument("dataset", choices=LAYOUTS, help="which data set it is")
    parser.add_argument("root", type=Path, help="its folder")
    parser.add_argument("--split", action="append", metavar="S", help="may be repeated (default: all there are)")
    parser.add_argument(
        "--images",
        choices=DEPTHS,
        default="headers",
        help="how closely to look at images: not at all, at their beginnings and ends, or decode each "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--workers", type=_positive, default=os.cpu_count() or 1, metavar="N", help="threads (default: one a core)"
    )
    crops = parser.add_argument_group("crops", "each hand as a small JPEG, which `PreparedCrops` reads")
    crops.add_argument("--crops", type=Path, metavar="OUT", help="write them to OUT/SPLIT, a new folder")
    crops.add_argument("--size", type=_positive, default=256, help="side of a crop, px (default: %(default)s)")
    crops.add_argument(
        "--context",
        type=float,
        help="side of what is shown over that of the crop box (default: 1.93, all that the default augmentation sees)",
    )
    crops.add_argument("--quality", type=_positive, default=95, help="of the JPEGs, to 100 (default: %(default)s)")
    crops.add_argument(
        "--mano", type=Path, metavar="FILE", help="joint regressor of MANO, for joints of youtube3d; .npy or .npz"
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return number

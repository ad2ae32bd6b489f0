"""`peclr prepare`: one pass that checks a data set, packs its labels, and cuts out its hands if asked to."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from peclr.data.prepare.doctor import Finding, Look, add_look, check_split, show
from peclr.data.sources.layouts import (
    LAYOUTS,
    DataSet,
    check_labels,
    label_files,
    open_source,
    prepared_folder,
    present_splits,
)
from peclr.options import CommandParser, check_writable, naming, positive

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def prepare_main(arguments: list[str]) -> int:
    """Run `peclr prepare` with the words that follow it on the command line; 1 if images cannot be read, otherwise 0.

    ValueError if labels are missing or wrong; nothing is written then.
    """
    options = _parser().parse_args(arguments)
    layout, splits = LAYOUTS[options.dataset], options.split or present_splits(options.dataset, options.root)
    if not splits:
        raise ValueError(f"{options.root} does not hold {options.dataset}; expected {layout.expected}")
    return max([_prepare(options, split) for split in splits])


def pack_labels(dataset: DataSet, root: Path, split: str, *, progress: bool = False) -> None:
    """Read and check the labels of a split, and pack them; errors as of the reader, and nothing is written then."""
    from peclr.data.sources.packed_labels import replacing, stamp_of, write_packed

    files, folder = label_files(dataset, root, split), prepared_folder(dataset, root, split)
    with replacing(folder) as partial:
        before = [path.stat().st_mtime_ns for path in files if path.is_file()]
        arrays = _read_labels(dataset, root, split, partial, progress=progress)
        stamps = {path.name: stamp_of(path) for path in files}
        if before != [stamp.mtime_ns for stamp in stamps.values()]:
            raise ValueError(f"{root}: {', '.join(stamps)} changed while it was read; expected it to stay as it is")
        write_packed(partial, folder.name, arrays, stamps, {})


def _read_labels(
    dataset: DataSet, root: Path, split: str, folder: Path, *, progress: bool
) -> Mapping[str, "NDArray[np.generic]"]:
    """The arrays to pack; those that would take much memory are written to `folder` at once."""
    if dataset == "freihand":
        from peclr.data.sources.freihand import FreiHAND

        return FreiHAND(root, split, use_prepared=False).labels  # type: ignore[arg-type]  # the reader checks the split
    import numpy as np

    from peclr.data.sources.youtube3d_labels import read_labels

    def on_disk(shape: tuple[int, ...], kind: "type[np.float32]") -> "NDArray[np.float32]":
        path = folder / "vertices.npy"
        array = np.lib.format.open_memmap(path, "w+", kind, shape)
        if hasattr(os, "posix_fallocate"):  # a full disk would end the process by a signal when pages are written
            with naming(path), path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        return array

    return read_labels(label_files(dataset, root, split)[0], on_disk, progress=progress)


def _prepare(options: argparse.Namespace, split: str) -> int:
    """Check and pack one split, cut out its hands if asked for; the exit status."""
    dataset, root = options.dataset, options.root
    check_labels(dataset, root, split)
    crops = None if options.crops is None else options.crops / split
    if crops is not None and crops.exists():  # found out before the long part
        raise FileExistsError(f"{crops} exists; crops are written to a new folder")
    for written in (root / "prepared", crops):
        if written is not None:
            check_writable(written)
    pack_labels(dataset, root, split, progress=True)
    findings = [*check_split(dataset, root, split, Look(options.images, options.workers, progress=True))]
    findings.append(Finding("ok", f"labels are packed in {prepared_folder(dataset, root, split)}"))
    if crops is not None:
        from peclr.data.sources.crops import write_crops

        source = open_source(root, split, **({"mano": options.mano} if dataset == "youtube3d" else {}))
        given = {name: getattr(options, name) for name in ("size", "context", "quality", "workers")}
        left_out = write_crops(source, crops, **given, progress=True)
        findings.append(Finding("ok", f"crops are in {crops}"))
        if left_out:
            findings.append(Finding("wrong", "\n".join(f"{problem}: no crop" for problem in left_out.values())))
    return show(f"{root}, {split}", findings)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="peclr prepare",
        description="Check a data set and pack its labels into ROOT/prepared, where its reader finds them and all "
        "workers share them. Labels that are wrong are an error; images that cannot be read are listed.",
    )
    parser.add_argument("dataset", choices=LAYOUTS, help="which data set it is")
    parser.add_argument("root", type=Path, help="its folder")
    parser.add_argument("--split", action="append", metavar="S", help="may be repeated (default: all there are)")
    add_look(parser)
    add = parser.add_argument_group("crops", "each hand as a small JPEG, which `PreparedCrops` reads").add_argument
    add("--crops", type=Path, metavar="OUT", help="write them to OUT/SPLIT, a new folder")
    add("--size", type=positive, default=256, help="side of a crop, px (default: %(default)s)")
    context = "side of what is shown over that of the crop box (default: %(default)s, all that the default augmentation"
    add("--context", type=float, default=1.93, help=f"{context} sees)")
    add("--quality", type=positive, default=95, help="of the JPEGs, to 100 (default: %(default)s)")
    add("--mano", type=Path, metavar="FILE", help="joint regressor of MANO, for joints of youtube3d; .npy or .npz")
    return parser

"""`peclr prepare`: one pass that checks a data set, packs its labels, and cuts out its hands if asked to."""

import argparse
from pathlib import Path
from typing import Final

from peclr.data.prepare.doctor import Finding, Look, add_look, check_split, show
from peclr.data.sources.layouts import (
    LAYOUTS,
    MANIFEST,
    DataSet,
    check_labels,
    label_files,
    open_source,
    prepared_folder,
    splits_to_check,
)
from peclr.data.sources.listing import some
from peclr.data.sources.remote import is_remote, place
from peclr.options import CommandParser, check_writable, positive
from peclr.parallel import add_part, check_claim

ANY: Final = "any"  # in place of a data set's name


def prepare_main(arguments: list[str]) -> int:
    """Run `peclr prepare` with the words that follow it on the command line; 1 if images cannot be read, otherwise 0.

    ValueError if labels are missing or wrong; nothing is written then.
    """
    options = _parser().parse_args(arguments)
    if options.shards is None and (options.part or options.scheduler):
        raise ValueError("--part and --scheduler divide the work of --shards OUT, which is not given")
    if options.quality > 100 or not options.context > 0:
        raise ValueError(f"--context {options.context} --quality {options.quality}: expected > 0 and 1 … 100")
    if options.dataset == ANY:
        if options.shards is None or (options.split and len(options.split) > 1):
            raise ValueError(f"{ANY} needs --shards OUT, and takes one --split: labels of data sets alone are packed")
        _check_apart(options.root, options.shards)
        return show(str(options.root), _cut(options, options.split and options.split[0], options.shards))
    if is_remote(options.root):
        raise ValueError(f"{options.root}: at an address there are shards; expected {ANY}, not {options.dataset}")
    layout, splits = LAYOUTS[options.dataset], options.split or splits_to_check(options.dataset, options.root)
    if not splits:
        raise ValueError(f"{options.root} does not hold {options.dataset}; expected {layout.expected}")
    packed = set[Path]()
    return max([_prepare(options, split, packed) for split in splits])


def _check_apart(root: str | Path, shards: Path) -> None:
    """Refuse crops in the folder that they are of, which would be taken for them alone; ValueError."""
    if isinstance(root, Path) and shards.resolve().parent == root.resolve() and not any(root.glob(f"*/{MANIFEST}")):
        raise ValueError(f"--shards {shards} is in {root}, which would be taken for its crops; give a folder elsewhere")


def pack_labels(dataset: DataSet, root: Path, split: str, *, progress: bool = False) -> None:
    """Read and check the labels of a split, and pack them; errors as of the reader, and nothing is written then."""
    from peclr.data.sources.freihand import FreiHAND
    from peclr.data.sources.packed_labels import name_below, read_labels, replacing, stamp_of, write_packed

    files, folder = label_files(dataset, root, split), prepared_folder(dataset, root, split)
    with replacing(folder) as partial:
        before = [path.stat().st_mtime_ns for path in files if path.is_file()]
        if dataset == "freihand":
            arrays = FreiHAND(root, split, use_prepared=False).labels  # type: ignore[arg-type]  # it checks the split
        else:
            options = {"folder": partial} if dataset == "youtube3d" else {}
            arrays = read_labels(dataset, root, split, progress=progress, **options)
        stamps = {name_below(root, path): stamp_of(path) for path in files}
        if before != [stamp.mtime_ns for stamp in stamps.values()]:
            raise ValueError(f"{root}: {some(list(stamps))} changed while it was read; expected it to stay as it is")
        write_packed(partial, folder.name, arrays, stamps, {})


def _prepare(options: argparse.Namespace, split: str, packed: set[Path]) -> int:
    """Check and pack one split, unless its labels are `packed`, cut out its hands if asked for; the exit status."""
    dataset, root = options.dataset, options.root
    check_labels(dataset, root, split)
    shards = None if options.shards is None else options.shards / split
    if options.part is not None:
        assert shards is not None
        return show(f"{root}, {split}", _cut(options, split, shards))
    if shards is not None:
        check_claim(shards)
        check_writable(shards)
    check_writable(root / "prepared")
    if (folder := prepared_folder(dataset, root, split)) not in packed:
        pack_labels(dataset, root, split, progress=True)
        packed.add(folder)
    findings = [*check_split(dataset, root, split, Look(options.images, options.workers, progress=True))]
    findings.append(Finding("ok", f"labels are packed in {folder}"))
    if shards is not None:
        findings += _cut(options, split, shards)
    return show(f"{root}, {split}", findings)


def _cut(options: argparse.Namespace, split: str | None, folder: Path) -> list[Finding]:
    """Cut out the hands of a source, or a part of them."""
    from peclr.data.prepare.cutting import Cutting
    from peclr.data.prepare.sharding import shard_source

    check_writable(folder)
    source = open_source(options.root, split, **({"mano": options.mano} if options.dataset == "youtube3d" else {}))
    parallel = {"workers": options.workers, "part": options.part, "scheduler": options.scheduler}
    cutting = Cutting(options.size, options.context, options.quality)
    facts = shard_source(source, folder, cutting, **parallel, progress=True)
    if facts is None:
        part = f"{options.part.number} of {options.part.parts} in {folder}"
        return [Finding("ok", f"part {part}; when all are there: the same command without --part, which checks them")]
    crops = sum(shard.crops for shard in facts.shards)
    findings = [
        Finding("ok", f"{crops:,} crops are in {folder}, in {len(facts.shards):,} shard{'s' * (len(facts.shards) > 1)}")
    ]
    if facts.problems:
        findings.append(Finding("wrong", "\n".join(f"{problem}: no crop" for problem in facts.problems)))
    return findings


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="peclr prepare",
        description="Check a data set and pack its labels into ROOT/prepared, where its reader finds them and all "
        "workers share them. Labels that are wrong are an error; images that cannot be read are listed.",
    )
    which = f"which data set it is; {ANY}, with --shards: images, videos or crops"
    parser.add_argument("dataset", choices=[*LAYOUTS, ANY], help=which)
    parser.add_argument("root", type=place, help=f"its folder; with {ANY}, the address of shards, too")
    parser.add_argument("--split", action="append", metavar="S", help="may be repeated (default: all there are)")
    add_look(parser)
    group = parser.add_argument_group("crops", "each hand as a small JPEG, in tar files that `open_source` recognizes")
    add = group.add_argument
    where = f"write them to OUT/SPLIT, or of {ANY} to OUT: a new folder, or one to go on with"
    add("--shards", "--crops", type=Path, metavar="OUT", help=where)
    add_part(group)
    add("--size", type=positive, default=256, help="side of a crop, px (default: %(default)s)")
    context = "side of what is shown over that of the crop box (default: %(default)s, all that the default augmentation"
    add("--context", type=float, default=1.93, help=f"{context} sees)")
    add("--quality", type=positive, default=95, help="of the JPEGs, to 100 (default: %(default)s)")
    add("--mano", type=Path, metavar="FILE", help="joint regressor of MANO, for joints of youtube3d; .npy or .npz")
    return parser

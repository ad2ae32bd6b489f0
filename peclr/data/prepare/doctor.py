"""`peclr doctor`: what is below a folder, what of it is missing or wrong, and the command that fixes it."""

import argparse
import os
import textwrap
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from peclr.data.sources import layouts
from peclr.data.sources.layouts import DataSet, Depth
from peclr.data.sources.listing import IMAGES, VIDEOS, describe_left_out, list_files, some
from peclr.data.sources.remote import place
from peclr.options import CommandParser, positive

if TYPE_CHECKING:
    from peclr.data.samples import HandSource
    from peclr.data.sources.shards import Shards

_ARCHIVES: Final = {"training": "FreiHAND_pub_v2.zip", "evaluation": "FreiHAND_pub_v2_eval.zip"}


class Finding(NamedTuple):
    """One row of the table."""

    level: Literal["ok", "note", "wrong"]  # wrong makes the exit status 1; a note may stay as it is
    what: str  # there is, or is wrong with it
    fix: str = ""  # command or deed


class Look(NamedTuple):
    """How to look at images, see `peclr.data.sources.images`; by how many threads, and whether with bars."""

    depth: Depth = "headers"
    workers: int = 1
    progress: bool = False


def doctor_main(arguments: list[str]) -> int:
    """Run `peclr doctor` with the words that follow it on the command line; 1 if something is wrong, otherwise 0."""
    parser = CommandParser(
        prog="peclr doctor",
        description="List what data sets are below folders, what is missing or wrong, and what fixes it. The exit "
        "status is 1 if something is wrong.",
    )
    root = "folder of a data set, or of several; address of shards"
    parser.add_argument("roots", type=place, nargs="+", metavar="ROOT", help=root)
    add_look(parser)
    options = parser.parse_args(arguments)
    look = Look(options.images, options.workers, progress=True)
    return max([show(title, findings) for root in options.roots for title, findings in _tables(root, look)])


def _tables(root: str | Path, look: Look) -> Iterator[tuple[str, list[Finding]]]:
    if isinstance(root, str):
        yield root, list(_address(root, look))
    else:
        yield from ((str(folder), examine(folder, look)) for folder in data_sets_below(root))


def add_look(parser: argparse.ArgumentParser) -> None:
    """Add the options of a `Look`."""
    look = "how closely to look at images: whether they are there, at their beginnings and ends, or decode each"
    parser.add_argument("--images", choices=layouts.DEPTHS, default="headers", help=f"{look} (default: %(default)s)")
    cores = os.cpu_count() or 1
    parser.add_argument("--workers", type=positive, default=cores, metavar="N", help="threads (default: one a core)")


def show(title: str, findings: Sequence[Finding]) -> int:
    """Print findings as a table; returns 1 if something is wrong, otherwise 0."""
    print(title)
    for finding in findings:
        what = textwrap.indent(finding.what, " " * 9).lstrip()
        print(f"  {finding.level:<5}  {what}" + (f"\n         → {finding.fix}" if finding.fix else ""))
    return int(any(finding.level == "wrong" for finding in findings))


def data_sets_below(root: Path) -> list[Path]:
    """Data sets down to two folders below one, and what else there holds images or videos; itself if there are none.

    Folders of images beside folders of videos are two, as no source reads both.
    """
    found, others = _below(root, 2)
    if found:
        return [*found, *others]
    kinds = {folder: (_holds(folder, IMAGES), _holds(folder, VIDEOS)) for folder in sorted(root.glob("*/"))}
    kinds = {folder: held for folder, held in kinds.items() if any(held) and not folder.name.startswith(".")}
    return list(kinds) if others and len({*kinds.values()}) > 1 and not _holds(root / "*") else [root]


def _below(root: Path, depth: int) -> tuple[list[Path], list[Path]]:
    from peclr.data.sources.packed_labels import PARTIAL
    from peclr.parallel.job import PLAN

    splits = [split for dataset in layouts.LAYOUTS for split in layouts.present_splits(dataset, root)]
    if splits or PARTIAL in root.name or any((root / sign).is_file() for sign in (layouts.MANIFEST, PLAN)):
        return [root], []
    folders = sorted(path for path in root.glob("*/") if not path.name.startswith(".")) if depth else []
    below = [_below(folder, depth - 1) for folder in folders]
    found, others = ([folder for part in below for folder in part[kind]] for kind in (0, 1))
    if found and not others and all((folder / layouts.MANIFEST).is_file() for folder in found):
        return [root], []  # splits of crops
    if found:
        return found, others
    return [], [root] if _holds(root) else []


def _holds(root: Path, suffixes: Sequence[str] = (*IMAGES, *VIDEOS)) -> bool:
    try:
        list_files(root, suffixes, "images or videos", warns=False)
    except ValueError:
        return False
    return True


def examine(root: Path, look: Look) -> list[Finding]:
    """Look at a folder: a data set, what `peclr prepare` wrote, images or videos."""
    if not root.is_dir():
        return [Finding("wrong", f"{root} is not a folder; expected that of a data set")]
    there = [(dataset, split) for dataset in layouts.LAYOUTS for split in layouts.splits_to_check(dataset, root)]
    findings = [finding for dataset, split in there for finding in _data_set(dataset, root, split, look)]
    packed = {layouts.prepared_folder(dataset, root, split) for dataset, split in there}
    for folder in sorted({root, *root.glob("*/"), *root.glob("prepared/*/")} - packed):
        findings += _prepared_folder(folder, look)
    if findings:
        return findings
    try:
        if not _holds(root, IMAGES) and _holds(root, VIDEOS):
            return list(_videos(root, look))
        images = layouts.open_source(root)
    except ValueError as error:
        return [Finding("wrong", f"no data set that is known, and {error}")]
    return [*_source(images, f"{len(images):,} images", look)]


def _address(address: str, look: Look) -> Iterator[Finding]:
    """What is at an address, of which the labels are copied, and the shards at the depth "decode" alone."""
    from peclr.data.sources.shards import Shards

    try:
        source = layouts.open_source(address)
        assert isinstance(source, Shards)
        yield from _shards(source, address, look)
    except (ValueError, OSError) as error:
        yield Finding("wrong", str(error))


def _videos(root: Path, look: Look) -> Iterator[Finding]:
    """What a folder of videos is, and those of them that are broken or cut short."""
    from peclr.data.sources.images import in_threads
    from peclr.data.sources.videos import index_frames

    if find_spec("av") is None:
        yield Finding("wrong", "videos, which only PyAV reads", "pip install 'peclr[video]'")
        return
    listing, frames, short, broken = list_files(root, VIDEOS, "videos", warns=False), 0, list[str](), list[str]()

    def count(path: Path) -> tuple[int, int] | str:
        try:
            indexed = index_frames(path)
        except ValueError as error:
            return str(error)
        return len(indexed.times), indexed.announced

    paths = [listing.folder / file for file in listing.files]
    for path, counted in in_threads(count, paths, look.workers, "videos", progress=look.progress):
        if isinstance(counted, str):
            broken.append(counted)
        else:
            frames += counted[0]
            short += [f"{path}: cut short, {counted[0]} of {counted[1]} frames"] if counted[0] < counted[1] else []
    yield Finding("ok", f"{len(paths) - len(broken):,} videos, {frames:,} frames")
    if short:
        yield Finding("note", some(short, "\n"))
    if broken:
        yield Finding("wrong", some(broken, "\n"), "get them again, or move them elsewhere")
    if listing.left_out:
        yield Finding("note", describe_left_out(listing.left_out))


def _data_set(dataset: DataSet, root: Path, split: str, look: Look) -> list[Finding]:
    from peclr.data.sources.packed_labels import open_fresh

    packed, command = None, layouts.prepare_command(dataset, root, split)
    of_labels = Finding("note", f"labels of {split} are not packed: they open slower, and workers copy them", command)
    try:
        if packed := open_fresh(dataset, root, split):
            of_labels = Finding("ok", f"{packed.folder}: packed, fresh")
    except ValueError as error:
        of_labels = Finding("wrong", str(error), command)
    try:
        return [*check_split(dataset, root, split, look, use_prepared=packed is not None), of_labels]
    except ValueError as error:
        unzip = f"unzip -o {_ARCHIVES[split]} -d {root}" if dataset == "freihand" else ""
        frames = ", and extract the videos' frames" if dataset == "youtube3d" else ""
        return [Finding("wrong", str(error), unzip or f"get the labels again{frames}")]


def check_split(
    dataset: DataSet, root: Path, split: str, look: Look, *, use_prepared: bool = True
) -> Iterator[Finding]:
    """Check labels, which may be packed ones, and images of a split; ValueError as of the reader."""
    from peclr.data.samples import HasMasks

    source = layouts.open_data_set(dataset, root, split, use_prepared=use_prepared)
    # of readers of several sets, which one
    which = "".join(f"{name}, " for name in layouts.LAYOUTS[dataset].options.values())
    title = f"{type(source).__name__} {which}{split}: {source.num_hands:,} hands, {len(source):,} images"
    yield from _source(source, title, look)
    if isinstance(source, HasMasks) and split == layouts.LAYOUTS[dataset].splits[0]:
        try:
            source.check_masks()
            yield Finding("ok", "masks of all hands: pre-training can replace their `background`")
        except ValueError as error:
            found = f"no masks, hence no `background` in pre-training: {error}"
            yield Finding("note" if (root / split / "mask").is_dir() else "ok", found)


def _prepared_folder(folder: Path, look: Look) -> Iterator[Finding]:
    """Crops, packed labels whose data set is gone, or what an interrupted run has left."""
    from peclr.data.sources import crops, shard_format
    from peclr.data.sources.packed_labels import PARTIAL, PackedArrays
    from peclr.data.sources.shards import Shards
    from peclr.parallel.job import PLAN

    if PARTIAL in folder.name:
        yield Finding("note", f"{folder}: an unfinished run, still going or interrupted", f"rm -r {folder}")
    elif (folder / layouts.MANIFEST).is_file():
        try:
            manifest = PackedArrays(folder).manifest
        except ValueError as error:
            yield Finding("wrong", str(error), f"rm -r {folder}, and prepare it again")
            return
        if manifest.kind not in (shard_format.KIND, crops.KIND):
            yield Finding("note", f"{folder}: packed labels {manifest.kind} without their data set")
            return
        try:
            source = Shards(folder)
        except ValueError as error:
            yield Finding("wrong", str(error), f"rm -r {folder}, and make it again")
            return
        yield from _shards(source, folder, look)
    elif (folder / PLAN).is_file():
        yield Finding("note", f"{folder}: begun, and not yet whole", "give the command that began it again")


def _shards(source: "Shards", where: object, look: Look) -> Iterator[Finding]:
    tars = len(source.facts.shards)
    stored = f", {tars:,} shard{'s' * (tars > 1)}" + (", labels of a teacher" if source.labels == "pseudo" else "")
    yield from _source(source, f"{where}: {len(source):,} {source.name}{stored}", look)


def _source(source: "HandSource", title: str, look: Look) -> Iterator[Finding]:
    """What a source says of itself, and its images that are missing or broken."""
    from peclr.data.samples import HasFiles
    from peclr.data.sources.image_faults import find_problems
    from peclr.data.sources.shards import Shards

    yield Finding("ok", title)
    if isinstance(source, HasFiles | Shards):
        yield from (Finding("note", doubt) for doubt in source.doubts())
        find = source.find_problems if isinstance(source, Shards) else partial(find_problems, source.image_paths())
        problems = find(look.depth, look.workers, progress=look.progress)
        if problems:
            listed = some([f"{path} {problem}" for path, problem in problems.items()], "\n")
            # never to remove what may be good
            yield Finding("wrong", listed, "get them again, or train with on_bad_image: skip")

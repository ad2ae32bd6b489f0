"""`peclr doctor`: what is below a folder, what of it is missing or wrong, and the command that fixes it.

`peclr prepare` makes the same checks by the same functions, and packs the labels.
"""

import argparse
import os
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from peclr.data.sources.layouts import (
    DEPTHS,
    LAYOUTS,
    DataSet,
    Depth,
    expected,
    label_files,
    prepare_command,
    prepared_kind,
    present_splits,
)
from peclr.data.sources.listing import IMAGES, list_files

if TYPE_CHECKING:  # annotations only
    from peclr.data.sources.packed_labels import Array

Level = Literal["ok", "note", "wrong"]

_LISTED: Final = 5  # files that are named; the rest is counted
_ARCHIVES: Final = {"training": "FreiHAND_pub_v2.zip", "evaluation": "FreiHAND_pub_v2_eval.zip"}
_OTHER_IMAGES: Final = "get them again, or train with on_bad_image: skip"  # never to remove what may be good


@dataclass(frozen=True)
class Finding:
    """One row of the table.

    Attributes:
        level: "wrong" makes the exit status 1; a "note" is worth knowing and may stay as it is.
        what: What there is, or what is wrong with it.
        fix: The command or the deed that fixes it.
    """

    level: Level
    what: str
    fix: str = ""


@dataclass(frozen=True)
class Look:
    """How closely to look at images: the depth, the number of threads, and whether to show bars."""

    depth: Depth = "headers"
    workers: int = 1
    progress: bool = False


def doctor_main(arguments: list[str]) -> int:
    """Run `peclr doctor`.

    Args:
        arguments: What follows it on the command line.

    Returns:
        1 if something is wrong, otherwise 0.
    """
    options = _parser().parse_args(arguments)
    look = Look(options.images, options.workers, progress=True)
    status = 0
    for root in options.roots:
        findings = examine(root, look)
        status = max(status, show(str(root), findings))
    return status


def show(title: str, findings: Sequence[Finding]) -> int:
    """Print findings as a table; returns 1 if something is wrong, otherwise 0."""
    print(title)
    for finding in findings:
        what = textwrap.indent(finding.what, " " * 9).lstrip()
        print(f"  {finding.level:<5}  {what}" + (f"\n         → {finding.fix}" if finding.fix else ""))
    return int(any(finding.level == "wrong" for finding in findings))


def examine(root: Path, look: Look) -> list[Finding]:
    """Looks at a folder: FreiHAND, YouTube3DHands, what `peclr prepare` wrote, or photographs."""
    if not root.is_dir():
        return [Finding("wrong", f"{root} is not a folder; expected that of a data set")]
    findings: list[Finding] = []
    for dataset in LAYOUTS:
        for split in present_splits(dataset, root):
            findings += _split_or_fault(dataset, root, split, look)
    findings += _prepared_folders(root, look)
    return findings or list(_images(root, look))


def _split_or_fault(dataset: DataSet, root: Path, split: str, look: Look) -> list[Finding]:
    try:
        return [*check_split(dataset, root, split, look), _packed_labels(dataset, root, split)]
    except ValueError as error:
        again = f"unzip -o {_ARCHIVES[split]} -d {root}" if dataset == "freihand" else "get the labels again"
        return [Finding("wrong", str(error), again)]


def check_split(dataset: DataSet, root: Path, split: str, look: Look, pack: bool = False) -> Iterator[Finding]:
    """Check labels and images of a split.

    Args:
        dataset: Which it is.
        root: Its folder.
        split: A split of it.
        look: How closely to look at images.
        pack: Whether to pack the labels, too, into `prepared` below the root.

    Raises:
        ValueError: If labels are missing or wrong; nothing is written then.
    """
    return (_freihand if dataset == "freihand" else _youtube3d)(root, split, look, pack)


def _freihand(root: Path, split: str, look: Look, pack: bool) -> Iterator[Finding]:
    from peclr.data.prepare.packing import pack_freihand
    from peclr.data.sources.freihand import FreiHAND  # imports torch

    # type: the reader checks the split
    source = pack_freihand(root, split) if pack else FreiHAND(root, split, use_prepared=False)  # type: ignore[arg-type]
    labels = "labels are whole" if source.has_labels else f"no {split}_xyz.json: for prediction only"
    yield Finding("ok", f"FreiHAND {split}: {source.num_hands:,} hands, {len(source):,} images, {labels}")
    for doubt in source.doubts():
        yield Finding("note", doubt)
    if split == "training":
        try:
            source.check_masks()
        except ValueError as error:
            level: Level = "note" if (root / split / "mask").is_dir() else "ok"
            yield Finding(level, f"no masks, hence no `background` in pre-training: {error}")
        else:
            yield Finding("ok", "masks of all hands: pre-training can replace their `background`")
    yield from _unreadable([Path(source.image_file(number)) for number in range(len(source))], look)


def _youtube3d(root: Path, split: str, look: Look, pack: bool) -> Iterator[Finding]:
    from peclr.data.prepare.packing import describe_youtube3d, pack_youtube3d, youtube3d_frames
    from peclr.data.sources.packed_labels import open_if_fresh
    from peclr.data.sources.youtube3d_labels import find_frames, read_labels, stretched_frames

    [path] = files = label_files("youtube3d", root, split)
    if pack:
        arrays: Mapping[str, Array] = pack_youtube3d(root, split, look.progress)  # type: ignore[arg-type]  # checked by the caller
    else:
        packed = open_if_fresh(root, prepared_kind("youtube3d", split), files)
        arrays = read_labels(path, progress=look.progress) if packed is None else packed
    suffix = find_frames(root, arrays["image_name"])
    frames = youtube3d_frames(root, arrays, suffix)
    stretched = stretched_frames(root, arrays, suffix, every=look.depth != "present")
    first, *more = describe_youtube3d(arrays, suffix, stretched)
    yield Finding("ok", f"YouTube3DHands {split}: {first}")
    if not frames:
        yield Finding(
            "wrong", f"{root / 'youtube'}: no frame is there", f"extract the films' frames to {root / 'youtube'}"
        )
    elif more:
        yield Finding("note", "\n".join(more))
    # frames that are missing are left out, frames that are broken are not
    yield from _unreadable(frames, look)


def _packed_labels(dataset: DataSet, root: Path, split: str) -> Finding:
    from peclr.data.sources.packed_labels import open_fresh, prepared_folder

    command, kind = prepare_command(dataset, root, split), prepared_kind(dataset, split)
    folder = prepared_folder(root, kind)
    if not folder.is_dir():
        return Finding("note", f"labels of {split} are not packed: they open slower, and workers copy them", command)
    try:
        open_fresh(root, kind, label_files(dataset, root, split))
    except ValueError as error:
        return Finding("wrong", str(error), command)
    return Finding("ok", f"{folder}: packed labels, fresh")


def _prepared_folders(root: Path, look: Look) -> Iterator[Finding]:
    """Crops at or below a folder, packed labels whose data set is gone, and what interrupted runs have left."""
    from peclr.data.sources.packed_labels import MANIFEST, PARTIAL

    packed = {
        root / "prepared" / prepared_kind(dataset, split)
        for dataset in LAYOUTS
        for split in present_splits(dataset, root)
    }
    for folder in sorted({root, *root.glob("*/"), *root.glob("prepared/*/")}):
        if PARTIAL in folder.name:
            yield Finding("note", f"{folder}: an unfinished run, still going or interrupted", f"rm -r {folder}")
        elif folder not in packed and (folder / MANIFEST).is_file():
            yield from _prepared_folder(folder, look)


def _prepared_folder(folder: Path, look: Look) -> Iterator[Finding]:
    from peclr.data.sources.crops import KIND, crop_file  # imports torch
    from peclr.data.sources.packed_labels import PackedArrays

    remove = f"rm -r {folder}, and prepare it again"
    try:
        packed = PackedArrays(folder)
    except ValueError as error:
        yield Finding("wrong", str(error), remove)
        return
    kind, facts = packed.manifest["kind"], packed.manifest["facts"]
    if kind != KIND:
        yield Finding("note", f"{folder}: packed labels {kind} without their data set, which nothing reads")
        return
    number = len(packed["hand"])
    yield Finding("ok", f"{folder}: {number:,} crops of {facts['source']}, {facts['size']} px")
    if facts["skipped"]:
        yield Finding(
            "note", f"{len(facts['skipped']):,} images could not be cut out: {_some(facts['skipped'].values())}"
        )
    yield from _unreadable([crop_file(folder, index) for index in range(number)], look)


def _images(root: Path, look: Look) -> Iterator[Finding]:
    try:
        listing = list_files(root, IMAGES, "images", warns=False)
    except ValueError as error:
        yield Finding("wrong", f"no data set that is known, and {error}; {expected([])}")
        return
    yield Finding("ok", f"{len(listing.files):,} images")
    if listing.left_out:
        yield Finding("note", listing.describe_left_out())
    yield from _unreadable([root / file for file in listing.files], look)


def _unreadable(files: Sequence[Path], look: Look) -> Iterator[Finding]:
    """Images that are missing or broken, each with its reason while they are few."""
    from peclr.data.sources.headers import find_problems

    problems = find_problems(files, look.depth, look.workers, look.progress)
    listed = [f"{path} {problem}" for path, problem in list(problems.items())[:_LISTED]]
    if len(problems) > _LISTED:
        listed.append(f"… and {len(problems) - _LISTED:,} more images")
    if listed:
        yield Finding("wrong", "\n".join(listed), _OTHER_IMAGES)


def _some(names: Iterable[object]) -> str:
    """The first few of many names, and how many more there are."""
    listed = [str(name) for name in names]
    more = f" and {len(listed) - _LISTED:,} more" if len(listed) > _LISTED else ""
    return ", ".join(listed[:_LISTED]) + more


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="peclr doctor",
        description="List what data sets are below folders, what is missing or wrong, and what fixes it. The exit "
        "status is 1 if something is wrong.",
    )
    parser.add_argument("roots", type=Path, nargs="+", metavar="ROOT", help="folder of a data set")
    parser.add_argument(
        "--images",
        choices=DEPTHS,
        default="headers",
        help="how closely to look at images: whether they are there, at their beginnings and ends, or decode each "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="threads (default: one a core)"
    )
    return parser

"""`peclr doctor`: what is below a folder, what of it is missing or wrong, and the command that mends it."""

import argparse
import os
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from peclr.data.sources.layouts import (
    DEPTHS,
    LAYOUTS,
    SPLITS,
    DataSet,
    Depth,
    label_files,
    prepare_command,
    prepared_kind,
    present_splits,
)

Level = Literal["ok", "note", "wrong"]

_LISTED: Final = 5  # files that are named; the rest is counted
_PHOTOS: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
_ARCHIVES: Final = {"training": "FreiHAND_pub_v2.zip", "evaluation": "FreiHAND_pub_v2_eval.zip"}


@dataclass(frozen=True)
class Finding:
    """One row of the table.

    Attributes:
        level: "wrong" makes the exit status 1; a "note" is worth knowing and need not be mended.
        what: What there is, or what is wrong with it.
        mend: The command that mends it.
    """

    level: Level
    what: str
    mend: str = ""


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
        print(f"{root}\n{_table(findings)}")
        if any(finding.level == "wrong" for finding in findings):
            status = 1
    return status


def examine(root: Path, look: Look) -> list[Finding]:
    """Looks at a folder: FreiHAND, YouTube3DHands, what `peclr prepare` wrote, or photographs."""
    if not root.is_dir():
        return [Finding("wrong", f"{root} is not a folder; expected that of a data set")]
    findings: list[Finding] = []
    for split in present_splits("freihand", root):
        findings += _freihand(root, split, look)
    for split in present_splits("youtube3d", root):
        findings += _youtube3d(root, split, look)
    findings += _prepared_folders(root, look)
    return findings or list(_photos(root, look))


def _freihand(root: Path, split: str, look: Look) -> Iterator[Finding]:
    from peclr.data.sources.freihand import FreiHAND  # imports torch

    unzip = f"unzip -o {_ARCHIVES[split]} -d {root}"
    missing = [path for path in label_files("freihand", root, split) if not path.is_file()]
    for path in missing:
        yield Finding("wrong", f"{path} is missing", unzip)
    rgb = root / split / "rgb"
    numbers = {int(path.stem) for path in rgb.glob("*.jpg") if path.stem.isdecimal()}
    gaps = [rgb / f"{number:08d}.jpg" for number in sorted(set(range(max(numbers, default=-1) + 1)) - numbers)]
    if not numbers:
        yield Finding("wrong", f"{rgb}: no images; expected 00000000.jpg, 00000001.jpg, …", unzip)
    elif gaps:
        yield Finding("wrong", f"missing images, {len(gaps):,}: {_some(gaps)}", unzip)
    if missing or gaps or not numbers:
        return
    try:
        source = FreiHAND(root, split, use_prepared=False)  # type: ignore[arg-type]  # from present_splits
    except ValueError as error:
        yield Finding("wrong", str(error), unzip)
        return
    labels = "labels are whole" if source.has_labels else f"no {split}_xyz.json: for prediction only"
    yield Finding("ok", f"FreiHAND {split}: {source.num_hands:,} hands, {len(source):,} images, {labels}")
    if split == "training":
        try:
            source.check_masks()
        except ValueError as error:
            yield Finding("ok", f"no masks, hence no `background` in pre-training: {error}")
        else:
            yield Finding("ok", "masks of all hands: pre-training can replace their `background`")
    yield from _unreadable([rgb / f"{number:08d}.jpg" for number in range(len(source))], look, unzip)
    yield from _packed_labels("freihand", root, split)


def _youtube3d(root: Path, split: str, look: Look) -> Iterator[Finding]:
    from peclr.data.prepare.packing import describe_youtube3d, youtube3d_frames
    from peclr.data.sources.packed_labels import PackedArrays, prepared_folder
    from peclr.data.sources.youtube3d_labels import find_frames, read_labels

    [path] = label_files("youtube3d", root, split)
    packed = list(_packed_labels("youtube3d", root, split))
    try:
        if packed[0].level == "ok":
            arrays = dict(PackedArrays(prepared_folder(root, prepared_kind("youtube3d", split))))
        else:
            arrays = read_labels(path, progress=look.progress)
    except ValueError as error:
        yield Finding("wrong", str(error), f"get {path.name} again from the data set's authors")
        return
    suffix = find_frames(root, arrays["image_name"])
    frames = youtube3d_frames(root, arrays, suffix)
    first, *more = describe_youtube3d(arrays, suffix)
    yield Finding("ok", f"YouTube3DHands {split}: {first}")
    if not frames:
        yield Finding(
            "wrong", f"{root / 'youtube'}: no frame is there", f"extract the films' frames to {root / 'youtube'}"
        )
    elif more:
        yield Finding("note", "\n".join(more))
    # frames that are missing are left out, frames that are broken are not
    yield from _unreadable(frames, look, "rm FILE, or extract it again")
    yield from packed


def _packed_labels(dataset: DataSet, root: Path, split: str) -> Iterator[Finding]:
    from peclr.data.sources.packed_labels import PackedArrays, prepared_folder, staleness

    command = prepare_command(dataset, root, split)
    folder = prepared_folder(root, prepared_kind(dataset, split))
    if not folder.is_dir():
        yield Finding("note", f"labels of {split} are not packed: they open slower, and workers copy them", command)
        return
    try:
        packed = PackedArrays(folder)
    except ValueError as error:
        yield Finding("wrong", str(error), command)
        return
    reason = staleness(packed.manifest, root, label_files(dataset, root, split))
    if reason is not None:
        yield Finding("wrong", f"{folder} is stale: {reason}", command)
    elif damaged := packed.damaged():
        yield Finding("wrong", f"{_some(damaged)} is not what was written", command)
    else:
        yield Finding("ok", f"{folder}: packed labels, fresh")


def _prepared_folders(root: Path, look: Look) -> Iterator[Finding]:
    """Crops at or below a folder, packed labels whose data set is gone, and what interrupted runs have left."""
    from peclr.data.sources.packed_labels import MANIFEST, PARTIAL

    expected = {
        root / "prepared" / prepared_kind(dataset, split)
        for dataset in SPLITS
        for split in present_splits(dataset, root)
    }
    for folder in sorted({root, *root.glob("*/"), *root.glob("prepared/*/")}):
        if PARTIAL in folder.name:
            yield Finding("note", f"{folder}: an unfinished run, still going or interrupted", f"rm -r {folder}")
        elif folder not in expected and (folder / MANIFEST).is_file():
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
    kind, facts, damaged = packed.manifest["kind"], packed.manifest["facts"], packed.damaged()
    if damaged:
        yield Finding("wrong", f"{_some(damaged)} is not what was written", remove)
    if kind != KIND:
        yield Finding("note", f"{folder}: packed labels {kind} without their data set, which nothing reads")
        return
    number = len(packed["hand"])
    yield Finding("ok", f"{folder}: {number:,} crops of {facts['source']}, {facts['size']} px")
    if facts["skipped"]:
        yield Finding(
            "note", f"{len(facts['skipped']):,} images could not be cut out: {_some(facts['skipped'].values())}"
        )
    yield from _unreadable([crop_file(folder, index) for index in range(number)], look, remove)


def _photos(root: Path, look: Look) -> Iterator[Finding]:
    files = sorted(
        Path(folder, name)
        for folder, _, names in os.walk(root)
        for name in names
        if name.lower().endswith(_PHOTOS) and not name.startswith(".")
    )
    if not files:
        known = "; ".join(f"{dataset}: {layout}" for dataset, layout in LAYOUTS.items())
        yield Finding("wrong", f"{root} holds no data set that is known, and no photographs; expected {known}")
        return
    yield Finding("ok", f"{len(files):,} photographs")
    yield from _unreadable(files, look, "rm FILE")


def _unreadable(files: Sequence[Path], look: Look, mend: str) -> Iterator[Finding]:
    """Images that are missing or broken, each with its reason while they are few."""
    from peclr.data.sources.headers import find_problems

    problems = find_problems(files, look.depth, look.workers, look.progress)
    for path, problem in list(problems.items())[:_LISTED]:
        yield Finding("wrong", f"{path} {problem}", mend.replace("FILE", str(path)))
    if len(problems) > _LISTED:
        yield Finding("wrong", f"… and {len(problems) - _LISTED:,} more images")


def _some(names: Iterable[object]) -> str:
    """The first few of many names, and how many more there are."""
    listed = [str(name) for name in names]
    more = f" and {len(listed) - _LISTED:,} more" if len(listed) > _LISTED else ""
    return ", ".join(listed[:_LISTED]) + more


def _table(findings: Sequence[Finding]) -> str:
    rows = []
    for finding in findings:
        what = textwrap.indent(finding.what, " " * 9).lstrip()
        rows.append(f"  {finding.level:<5}  {what}" + (f"\n         → {finding.mend}" if finding.mend else ""))
    return "\n".join(rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="peclr doctor",
        description="Tell what data sets are below folders, what is missing or wrong, and what mends it. The exit "
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

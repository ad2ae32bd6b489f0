"""`peclr collect`: a data set of hands out of images and videos that nobody labeled."""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from peclr.collect.frames import every_of
from peclr.options import CommandParser, check_new_folder, check_writable, positive, write_whole
from peclr.parallel import add_job_options
from peclr.untrusted.text import printable

if TYPE_CHECKING:
    from peclr.collect.work import Collector
    from peclr.data.prepare.cutting import Cutting
    from peclr.data.sources.shards import Shards

LAYOUTS: Final = ("shards", "freihand", "coco")

_EPILOG = """\
Hands are found by MediaPipe's networks, and small ones in parts of images, too. What they say of a hand becomes its
label, a pseudo-label: joints in 2-D, and in 3-D, put where the camera sees them. The camera is --K, or has the focal
length that Exif says, or else 1.2 × the longer side. A left hand is stored mirrored, as a right one.

--out then is a data set: pre-train on it, mine it, inspect it, fine-tune on it. The layout freihand has FreiHAND's
files in place of shards; coco has COCO keypoints, which CVAT and Label Studio open for correction. A folder that was
collected before may be the SOURCE: for another layout, or to read corrected keypoints back. Splits keep groups
together: a row of --groups, or else a video or a folder.

When it was stopped, the same command goes on. Without --part it does what is left, and puts all parts together.

The exit status is 1 if an image or video could not be read; 2 if nothing could be done.
"""


def collect_main(arguments: list[str]) -> int:
    """Run `peclr collect`; returns 0, or 1 if something could not be read."""
    options = _parser().parse_args(arguments)
    if options.out.name in ("", ".."):  # of the folder itself; others are made beside it
        options.out = options.out.resolve()
    if options.layout != "shards":
        check_new_folder(options.out)
    if options.evaluation and options.layout != "freihand":
        raise ValueError("--evaluation divides what is written with --layout freihand; other layouts have no splits")
    if not 0 <= options.evaluation < 1:
        raise ValueError(f"--evaluation {options.evaluation}: expected a share of the hands, from 0 to below 1")
    check_writable(options.out)
    # where hands are collected, before they are brought into another layout
    folder = options.out if options.layout == "shards" else options.out.with_name(f"{options.out.name}.shards")
    source = _collected_before(options)
    hands = _collect(options, folder) if source is None else _convert(source, options, folder)
    if hands is None:
        print(f"{folder}: part {options.part.number} of {options.part.parts}; without --part all are put together")
        return 0
    _finish(hands, options, folder)
    return int(source is None and bool(hands.facts.problems))


def _collect(options: argparse.Namespace, folder: Path) -> Shards | None:
    """Do what is left of the work; None after a part of it."""
    from peclr.data.prepare.merging import is_done, is_merged, merge
    from peclr.data.sources.shards import Shards
    from peclr.parallel import Job, claim, run

    collector, settings = _collector(options, folder), _settings(options)
    claim(folder, {"inputs": _hash_of(collector), **settings})
    if not is_merged(folder):
        sizes = [task.images for task in collector.tasks]
        job = Job(collector, sizes, lambda task: is_done(folder, task), "images")
        problems = run(job, workers=options.workers, part=options.part, scheduler=options.scheduler)
        for task, problem in problems.items():
            print(f"task {task}: {printable(problem)}", file=sys.stderr)
        if problems:
            raise ValueError(f"{len(problems)} of {len(sizes)} tasks failed; the same command tries them again")
        if options.part is not None:
            return None
        merge(folder, len(sizes), name="collected", labels="pseudo", settings=settings, progress=True)
    return Shards(folder)


def _collected_before(options: argparse.Namespace) -> Path | None:
    """The only source, if it is a folder that was collected before."""
    from peclr.collect.layouts.coco import HANDS
    from peclr.data.sources.layouts import MANIFEST
    from peclr.data.sources.shard_format import FOLDER

    def is_collected(word: str) -> bool:
        below = (Path(word), Path(word) / HANDS)
        return any((folder / MANIFEST).is_file() and (folder / FOLDER).is_dir() for folder in below)

    found = [word for word in options.sources if is_collected(word)]
    if found and len(options.sources) > 1:
        raise ValueError(f"{found[0]} was collected before; expected no other source beside it")
    if not found and options.corrections is not None:
        raise ValueError("--corrections needs the folder that --layout coco wrote as the only SOURCE")
    return Path(found[0]) if found else None


def _convert(source: Path, options: argparse.Namespace, folder: Path) -> Shards:
    """Hands that were collected before, corrected if they come back from COCO's layout."""
    from peclr.collect.layouts.coco import ANNOTATIONS, HANDS, correct
    from peclr.data.sources.shards import Shards

    if (source / ANNOTATIONS).is_file():
        check_new_folder(folder)
        return correct(Shards(source / HANDS), options.corrections or source / ANNOTATIONS, folder)
    if options.layout == "shards" or options.corrections is not None:
        raise ValueError(f"{source} was collected before; expected --layout freihand or coco, and no corrections of it")
    return Shards(source)


def _collector(options: argparse.Namespace, folder: Path) -> Collector:
    """What does the work; everything that may be wrong with the options is found here."""
    from peclr.collect.cameras import read_cameras
    from peclr.collect.groups import groups_of
    from peclr.collect.hands import Thresholds
    from peclr.collect.work import Collector, tasks_of, with_unique_files
    from peclr.data.sources.inputs import find_inputs
    from peclr.detection import MediaPipeHands, find_task_file

    task_file = find_task_file(options.hand_landmarker)
    MediaPipeHands(task_file)  # not each process by itself is to find out that it cannot be used
    out = os.path.abspath(options.out)  # noqa: PTH100 (pathlib's keeps ..)
    found = find_inputs(options.sources)  # the sheet of a run before is none
    beside = [one for one in found if os.path.commonpath((os.path.abspath(one.source), out)) != out]  # noqa: PTH100
    if not beside:
        raise ValueError(f"all of {len(found):,} images and videos are in {options.out}; expected some from elsewhere")
    inputs = with_unique_files(beside)
    if cameras := [one.source for one in inputs if one.kind == "camera"]:
        raise ValueError(f"{cameras[0]}: a camera has no end; record a video, and give that")
    return Collector(
        tasks_of(inputs, groups_of(inputs, options.groups), options.every),
        folder.absolute(),
        task_file.absolute(),
        options.tiles,
        read_cameras(options.K, inputs),
        Thresholds(options.min_score, options.min_size, options.min_sharpness),
        options.every,
        _cutting(options),
    )


def _cutting(options: argparse.Namespace) -> Cutting:
    from peclr.collect.layouts.freihand import SIZE
    from peclr.data.prepare.cutting import Cutting

    given = {name: value for name in Cutting._fields if (value := getattr(options, name)) is not None}
    cutting = Cutting(**({"size": SIZE} if options.layout == "freihand" else {}) | given)
    cutting.check()
    return cutting


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """What the result depends on beside the inputs."""
    names = ("min_score", "min_size", "min_sharpness", "tiles", "K")
    return {
        "every": str(options.every),
        **{name: getattr(options, name) for name in names},
        **_cutting(options)._asdict(),
    }


def _hash_of(collector: Collector) -> str:
    """Hash cameras, and the names and groups of all inputs, which other machines may see elsewhere, in order."""
    given = {file: K.tolist() for file, K in sorted(collector.cameras.items())}
    digest = hashlib.sha256(repr(given).encode(errors="surrogateescape"))
    for task in collector.tasks:
        for found, group in zip(task.inputs, task.groups, strict=True):
            digest.update("\0".join((found.file, *group, "")).encode(errors="surrogateescape"))
    return digest.hexdigest()


def _finish(hands: Shards, options: argparse.Namespace, folder: Path) -> None:
    """Write the layout, the summary and the sheet; hands that were collected in `folder` for that alone go."""
    from peclr.collect.layouts.coco import HANDS, write_coco
    from peclr.collect.layouts.freihand import write_freihand
    from peclr.collect.summary import SHEET, draw_sheet, summary, table
    from peclr.data.sources.images import write_image
    from peclr.data.sources.layouts import PROVENANCE
    from peclr.data.sources.packed_labels import replacing
    from peclr.data.sources.selection import split_source

    facts, own = hands.facts, hands.root == folder
    with ExitStack() as stack:
        out = hands.root if options.layout == "shards" else stack.enter_context(replacing(options.out))
        if options.layout == "freihand":
            training, evaluation = split_source(hands, options.evaluation, seed=0)
            splits = {"training": sorted(training), "evaluation": sorted(evaluation)}
            write_freihand(hands, out, {split: chosen for split, chosen in splits.items() if chosen}, _cutting(options))
        elif options.layout == "coco":
            write_coco(hands, out)
        write_whole(out / PROVENANCE, summary(facts))
        write_image(out / SHEET, draw_sheet(hands))
        if options.layout == "coco":
            (shutil.move if own else shutil.copytree)(hands.root, out / HANDS)
    if own and folder != options.out:
        shutil.rmtree(folder, ignore_errors=True)
    print(table(facts), f"{options.out}: look at {SHEET}", sep="\n")


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="peclr collect",
        description="Find the hands in images and videos, and make a data set of them with pseudo-labels.",
        epilog=_EPILOG,
    )
    add = parser.add_argument
    add("sources", nargs="+", metavar="SOURCE", help="image, video, folder, pattern; or what was collected before")
    add("--out", type=Path, required=True, metavar="FOLDER", help="a new one, or one that was begun")
    add("--layout", choices=LAYOUTS, default=LAYOUTS[0], help="of --out (default: %(default)s)")
    groups = "CSV with the columns file, group (a person, for example) and, perhaps, class"
    add("--groups", type=Path, metavar="FILE", help=groups)
    evaluation = "share of the hands, whole groups, for the split evaluation of --layout freihand (default: 0)"
    add("--evaluation", type=float, default=0.0, metavar="SHARE", help=evaluation)
    corrections = "COCO keypoints, corrected, of the SOURCE that --layout coco wrote (default: the file in it)"
    add("--corrections", type=Path, metavar="FILE", help=corrections)
    every = "of videos, look at every N-th frame, or at one in so many seconds, such as 0.5s (default: 0.2s)"
    add("--every", type=every_of, default="0.2s", metavar="N|SECONDS", help=every)
    add("--K", metavar="FILE|FX,FY,CX,CY", help="camera, px; JSON: 3×3, or by file")
    task_file = "hand_landmarker.task (default: that of `peclr weights`, or PECLR_HAND_LANDMARKER)"
    add("--hand-landmarker", "--hand_landmarker", type=Path, metavar="FILE", help=task_file)
    tiles = "look for small hands in parts of the images, too (default: yes)"
    add("--tiles", action=argparse.BooleanOptionalAction, default=True, help=tiles)
    add = parser.add_argument_group("which hands are kept").add_argument
    score, size = "of the detector (default: %(default)s)", "longer side of a hand (default: %(default)s)"
    add("--min-score", "--min_score", type=float, default=0.5, metavar="P", help=score)
    add("--min-size", "--min_size", type=float, default=32, metavar="PX", help=size)
    sharpness = "below 0.02 is blurred, 0.1 to 0.6 in focus (default: %(default)s, all)"
    add("--min-sharpness", "--min_sharpness", type=float, default=0.0, metavar="S", help=sharpness)
    add = parser.add_argument_group("crops").add_argument
    add("--size", type=positive, metavar="PX", help="side (default: 256; 224 with --layout freihand)")
    add("--context", type=float, help="side of a crop over that of the crop box (default: what augmentation can show)")
    add("--quality", type=positive, help="of the JPEGs, to 100 (default: 95)")
    add_job_options(parser)
    return parser

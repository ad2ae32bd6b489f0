"""`peclr mine`: which hands of a data set are most alike, for `pairing: Similar`."""

from __future__ import annotations

import shutil
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from peclr.data.sources.remote import place
from peclr.options import CommandParser, check_writable, locked, positive, usable_cores
from peclr.parallel import add_part

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from peclr.data.samples import HandSource
    from peclr.mining.joints import Detector, JointFinder

MEMORY_GB: Final = 4.0  # the whole descriptors of 50 million hands
_SEARCH: Final = "search"  # folder, beside what tasks have found, of what one process makes of it

_EPILOG = """\
Where labels hold no joints, each image is looked at, in tasks; what they find is kept in OUT.parts, so that the same
command goes on when it was stopped. With --part, on as many machines as there are, only that is done; without it,
what is left, and then the search.
"""


def mine_main(arguments: list[str]) -> int:
    """Run `peclr mine` with the arguments that follow it; returns 0, and raises what the user can fix."""
    options = _parser().parse_args(arguments)
    options.picture = options.picture or options.out.with_suffix(".png")
    _check(options)

    import cv2

    from peclr.data.samples import hash_of
    from peclr.data.sources import open_source
    from peclr.mining.joints import JointFinder, labels_of, tasks_of
    from peclr.mining.pairs import hands_apart, video_of_hands
    from peclr.parallel import claim
    from peclr.parallel.job import LOCK

    cv2.setNumThreads(1)  # reading has threads of its own, and PyTorch has
    sources = [open_source(root, options.split) for root in options.data]
    detectors = _detectors(options, sources)
    apart = [video_of_hands(source) if options.other_video else hands_apart(source) for source in sources]
    known = [None if detector else labels_of(source) for source, detector in zip(sources, detectors, strict=True)]
    tasks = tasks_of(sources, [joints is not None for joints in known])
    if options.part is not None and not tasks:
        print("the labels hold all joints: there is nothing to do in parts; without --part, neighbors are found")
        return 0
    folder = options.out.absolute().with_name(f"{options.out.name}.parts")
    plan = {
        "command": "mine",
        "sources": [[source.name, source.identity(), source.num_hands] for source in sources],
        "detectors": [detector and detector.sha256 for detector in detectors],
        "tasks": len(tasks),
    }
    claim(folder, plan)
    finder = JointFinder(tasks, sources, detectors, folder, hash_of(str(plan)))
    _find_joints(finder, options)
    if options.part is not None:
        print(f"{folder}: part {options.part.number} of {options.part.parts}; without --part, neighbors are found")
        return 0
    try:
        with locked(folder / LOCK, f"{folder}: another process searches; waiting for it"):
            _search(options, finder, known, apart)
    except BaseException:  # Ctrl-C, too
        if not tasks:  # there is nothing in it that took long
            shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    print(f"{options.out} and {options.picture}")
    return 0


def _check(options: Namespace) -> None:
    for path, suffix in ((options.out, ".npz"), (options.picture, ".png")):
        if path.suffix != suffix or not path.parent.is_dir():
            raise ValueError(f"{path}: expected an {suffix} file in a folder that exists")
        _check_new(path)
        check_writable(path.parent)
    if options.neighbors < 1 or options.components < 1:
        raise ValueError(f"--neighbors {options.neighbors} --components {options.components}: expected at least 1")
    if not options.memory_gb > 0:
        raise ValueError(f"--memory-gb {options.memory_gb}: expected more than 0")
    if options.ignore_labels and options.detector is None:
        raise ValueError("--ignore-labels needs --detector RUN, which finds the joints instead")


def _check_new(path: Path) -> None:
    if path.exists():
        raise FileExistsError(f"{path} exists; nothing is overwritten")


def _detectors(options: Namespace, sources: Sequence[HandSource]) -> list[Detector | None]:
    """What finds the joints of each source; None for its labels. ValueError where there is neither."""
    from peclr.inference.network import load_network
    from peclr.mining.joints import Detector, has_labels
    from peclr.untrusted.binary import sha256_of

    labeled = list(map(has_labels, sources))
    if options.detector is None:
        if not all(labeled):
            unlabeled = options.data[labeled.index(False)]
            raise ValueError(
                f"{unlabeled}: without labels; give --detector RUN, a fine-tuned network that finds joints"
            )
        detectors: list[Detector | None] = [None] * len(sources)
    else:
        trained = load_network(options.detector)
        detector = Detector(options.detector, str(trained.checkpoint), sha256_of(trained.checkpoint))
        detectors = [detector if options.ignore_labels or not known else None for known in labeled]
    for source, found_by in zip(sources, detectors, strict=True):
        network = found_by and f"{trained.checkpoint}, views of {trained.view_size} px"
        print(f"{source.name}: joints of {network or 'the labels'}")
    return detectors


def _find_joints(finder: JointFinder, options: Namespace) -> None:
    """Do what is left of the tasks, or of a part of them; ValueError names one that failed."""
    from peclr.mining.joints import is_done
    from peclr.parallel import Job, run

    tasks = finder.tasks
    job = Job(finder, [len(task.hands) for task in tasks], lambda task: is_done(finder.folder, task), "hands")
    own = range(len(tasks)) if options.part is None else options.part.of(len(tasks))
    workers = min(_workers(options, finder), sum(not job.is_done(task) for task in own))
    workers = 0 if workers == 1 else workers  # it takes longer to start than most tasks do
    if problems := run(job, workers=workers, part=options.part, scheduler=options.scheduler):
        task, reason = next(iter(problems.items()))
        failed = f"{len(problems)} of {len(tasks)} tasks failed, task {task} for one"
        raise ValueError(f"{failed}: {reason}; the same command tries them again")


def _workers(options: Namespace, finder: JointFinder) -> int:
    """Number of processes: with a GPU, for which they would wait, one."""
    import torch

    on_gpu = torch.cuda.is_available() and any(finder.detectors)
    return options.workers or (1 if on_gpu else usable_cores())


def _search(
    options: Namespace,
    finder: JointFinder,
    known: Sequence[NDArray[np.float32] | None],
    apart: Sequence[NDArray[np.int64] | None],
) -> None:
    """Write the neighbors of all hands, and draw some, when all joints are there."""
    from peclr.data.loading.pairs_file import write_pairs
    from peclr.data.sources.images import write_image
    from peclr.mining.pairs import Search, draw_pairs, mine

    _check_new(options.out)  # another process may have been quicker
    shutil.rmtree(finder.folder / _SEARCH, ignore_errors=True)  # of one that was killed
    search, mined = Search(options.neighbors, options.components, options.memory_gb), []
    for number, source in enumerate(finder.sources):
        folder = finder.folder / _SEARCH / str(number)
        folder.mkdir(parents=True)
        joints = known[number]
        joints = finder.read(number, folder / "joints.npy") if joints is None else joints
        mined.append(mine(source, joints, apart[number], search, folder))
        if number == 0:
            drawn = draw_pairs(source, joints, mined[0])
    facts = {name: getattr(options, name) for name in ("neighbors", "components", "other_video")}
    facts["joints"] = [detector.checkpoint if detector else "labels" for detector in finder.detectors]
    write_pairs(options.out, mined, facts)
    write_image(options.picture, drawn)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="peclr mine",
        description="Find the hands of a data set that are most alike: 2-D joints without their place and size, PCA,\n"
        "nearest neighbors by FAISS. Pre-train with them by pairing: {class_path: Similar, init_args: {pairs: FILE}}.",
        epilog=_EPILOG,
    )
    add = parser.add_argument
    what = "folder of a data set, or of images each of one right hand; address of shards"
    add("data", type=place, nargs="+", metavar="DATA", help=what)
    add("--out", type=Path, required=True, help="a new .npz file")
    add("--split", help="of the data sets (default: the one to train on)")
    add("--neighbors", "--neighbours", type=int, default=8, metavar="K", help="of each hand (%(default)s)")
    add("--components", type=int, default=14, metavar="D", help="of the PCA (default: %(default)s)")
    memory = "of the lists that are searched; the joints' own stay on disk (default: %(default)s)"
    add("--memory-gb", type=float, default=MEMORY_GB, metavar="GB", help=memory)
    add("--detector", type=Path, metavar="RUN", help="fine-tuned network that finds the joints of data without labels")
    add("--ignore-labels", action="store_true", help="use --detector for all data")
    apart = "never pair hands of one video (default: of one track)"
    add("--other-video", "--other-film", action="store_true", help=apart)
    group = parser.add_argument_group("work in parts", "where images have to be looked at")
    help_ = "processes (default: one a core; with a GPU, this one)"
    group.add_argument("--workers", type=positive, metavar="N", help=help_)
    add_part(group)
    add("--picture", type=Path, help="of a few pairs (default: FILE.png beside --out)")
    return parser

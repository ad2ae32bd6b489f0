"""`peclr mine`: which hands of a data set are most alike, for `pairing: Similar`."""

from pathlib import Path
from typing import Final

from peclr.options import CommandParser, check_writable

MEMORY_GB: Final = 4.0  # the whole descriptors of 50 million hands


def mine_main(arguments: list[str]) -> int:
    """Run `peclr mine` with the arguments that follow it; returns 0, and raises what the user can fix."""
    options = _parser().parse_args(arguments)
    drawing = options.picture or options.out.with_suffix(".png")
    for path, suffix in ((options.out, ".npz"), (drawing, ".png")):
        if path.suffix != suffix or not path.parent.is_dir():
            raise ValueError(f"{path}: expected an {suffix} file in a folder that exists")
        if path.exists():
            raise FileExistsError(f"{path} exists; nothing is overwritten")
        check_writable(path.parent)
    if options.neighbors < 1 or options.components < 1:
        raise ValueError(f"--neighbors {options.neighbors} --components {options.components}: expected at least 1")
    if not options.memory_gb > 0:
        raise ValueError(f"--memory-gb {options.memory_gb}: expected more than 0")
    if options.ignore_labels and options.detector is None:
        raise ValueError("--ignore-labels needs --detector RUN, which finds the joints instead")

    import cv2

    from peclr.data.loading.pairs_file import write_pairs
    from peclr.data.sources import open_source
    from peclr.data.sources.images import write_image
    from peclr.inference.network import load_network
    from peclr.mining.pairs import draw_pairs, hands_apart, has_labels, joints_of, mine, video_of_hands

    cv2.setNumThreads(1)  # reading has threads of its own, and PyTorch has
    sources = [open_source(root, options.split) for root in options.data]
    trained, labeled = options.detector and load_network(options.detector), list(map(has_labels, sources))
    if trained is None and not all(labeled):
        unlabeled = options.data[labeled.index(False)]
        raise ValueError(f"{unlabeled}: without labels; give --detector RUN, a fine-tuned network that finds joints")
    detectors = [trained if options.ignore_labels or not known else None for known in labeled]
    apart = [video_of_hands(source) if options.other_video else hands_apart(source) for source in sources]
    mined = []
    for source, detector, groups in zip(sources, detectors, apart, strict=True):
        joints = joints_of(source, detector)
        mined.append(mine(source, joints, groups, options.neighbors, options.components, options.memory_gb))
        if len(mined) == 1:
            drawn = draw_pairs(source, joints, mined[0])
    facts = {name: getattr(options, name) for name in ("neighbors", "components", "other_video")}
    facts["joints"] = ["labels" if detector is None else str(detector.checkpoint) for detector in detectors]
    write_pairs(options.out, mined, facts)
    write_image(drawing, drawn)
    print(f"{options.out} and {drawing}")
    return 0


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="peclr mine",
        description="Find the hands of a data set that are most alike: 2-D joints without their place and size, PCA, "
        "nearest neighbors by FAISS. Pre-train with them by pairing: {class_path: Similar, init_args: {pairs: FILE}}.",
    )
    add = parser.add_argument
    add("data", type=Path, nargs="+", metavar="DATA", help="folder of a data set, or of images each of one right hand")
    add("--out", type=Path, required=True, help="a new .npz file")
    add("--split", help="of the data sets (default: the one to train on)")
    add("--neighbors", "--neighbours", type=int, default=8, metavar="K", help="of each hand (%(default)s)")
    add("--components", type=int, default=14, metavar="D", help="of the PCA (default: %(default)s)")
    memory = "of the lists that are searched; the joints' own stay on disk (default: %(default)s)"
    add("--memory-gb", type=float, default=MEMORY_GB, metavar="GB", help=memory)
    add("--detector", type=Path, metavar="RUN", help="fine-tuned network that finds the joints of data without labels")
    add("--ignore-labels", action="store_true", help="use --detector for all data")
    add(
        "--other-video",
        "--other-film",
        action="store_true",
        help="never pair hands of one video (default: of one track)",
    )
    add("--picture", type=Path, help="of a few pairs (default: FILE.png beside --out)")
    return parser

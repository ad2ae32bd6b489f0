"""`peclr mine`: which hands of a data set are most alike, for `pairing: Similar`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from peclr.options import check_writable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from peclr.data.loading.pairs_file import MinedPairs
    from peclr.data.samples import HandSource
    from peclr.inference.network import TrainedNetwork

_PAIRS_SHOWN: Final = 8


def mine_main(arguments: list[str]) -> int:
    """Run `peclr mine`.

    Args:
        arguments: What follows it on the command line.

    Returns:
        0; ValueError, FileExistsError and FileNotFoundError tell what the user can mend.
    """
    options = _parser().parse_args(arguments)
    picture = options.picture or options.out.with_suffix(".png")
    if options.out.suffix != ".npz" or picture.suffix != ".png":
        raise ValueError(f"--out {options.out} --picture {picture}: expected an .npz file and a .png")
    for path in (options.out, picture):
        if path.exists():
            raise FileExistsError(f"{path} exists; nothing is overwritten")
        if not path.parent.is_dir():
            raise ValueError(f"{path}: {path.parent} is not a folder")
        check_writable(path.parent)
    if options.neighbors < 1 or options.components < 1:
        raise ValueError(f"--neighbors {options.neighbors} --components {options.components}: expected at least 1")

    if options.ignore_labels and options.detector is None:
        raise ValueError("--ignore-labels needs --detector RUN, which tells the joints instead")

    import cv2

    from peclr.data.loading.pairs_file import write_pairs
    from peclr.data.sources import open_source
    from peclr.data.sources.images import write_image
    from peclr.mining.picture import draw_pairs

    cv2.setNumThreads(1)  # reading has threads of its own, and PyTorch has
    sources = [open_source(root, options.split) for root in options.data]
    detectors = _detectors(sources, options)
    films = [videos_of(source) if options.other_film else None for source in sources]
    mined = []
    for number, source in enumerate(sources):
        joints = _joints(source, detectors[number])
        mined.append(_mine(source, joints, films[number], options))
        if number == 0:
            picture_of = draw_pairs(source, joints, mined[0], _PAIRS_SHOWN)
    facts = {
        "neighbors": options.neighbors,
        "components": options.components,
        "other_film": options.other_film,
        "joints": ["labels" if detector is None else str(detector.checkpoint) for detector in detectors],
    }
    write_pairs(options.out, mined, facts)
    write_image(picture, picture_of)
    print(f"{options.out} and {picture}")
    return 0


def _detectors(sources: Sequence[HandSource], options: argparse.Namespace) -> list[TrainedNetwork | None]:
    """The network that tells the joints of each source; None where labels do."""
    from peclr.inference.network import load_network
    from peclr.mining.keypoints import has_labels

    trained = None if options.detector is None else load_network(options.detector)
    chosen: list[TrainedNetwork | None] = []
    for source, root in zip(sources, options.data, strict=True):
        labeled = has_labels(source)
        if not labeled and trained is None:
            raise ValueError(
                f"{root}: {source.name} without labels; give --detector RUN, a fine-tuned network that finds 2-D joints"
            )
        chosen.append(None if labeled and not options.ignore_labels else trained)
    return chosen


def _joints(source: HandSource, detector: TrainedNetwork | None) -> NDArray[np.float32]:
    """(hands, 21, 2), pixels of each hand's first version."""
    from peclr.mining.keypoints import detected_joints, labeled_joints

    if detector is None:
        print(f"{source.name}: joints of the labels")
        return labeled_joints(source)
    print(f"{source.name}: joints of {detector.checkpoint}, views of {detector.view_size} px")
    return detected_joints(detector, source)


def _mine(
    source: HandSource, joints: NDArray[np.float32], films: NDArray[Any] | None, options: argparse.Namespace
) -> MinedPairs:
    import numpy as np

    from peclr.data.loading.pairs_file import NOBODY, MinedPairs
    from peclr.mining.neighbors import nearest, normalize_joints, principal_components

    started = time.perf_counter()
    try:
        poses = normalize_joints(joints)
    except ValueError as error:
        raise ValueError(f"{source.name}: {error}") from error
    descriptors, share = principal_components(poses, options.components)
    neighbors, distances = nearest(descriptors, options.neighbors, films, progress=True)
    seconds = time.perf_counter() - started
    alone = int((neighbors[:, 0] == NOBODY).sum())
    print(
        f"{source.name}: {source.num_hands:,} hands in {seconds:.1f} s; {descriptors.shape[1]} components explain "
        f"{share:.1%}; median distance {np.nanmedian(distances[:, 0]) if alone < len(neighbors) else np.nan:.3f}"
        + (f"; {alone:,} hands without a neighbor" if alone else "")
    )
    return MinedPairs(source.name, source.identity(), neighbors, distances)


def videos_of(source: HandSource) -> NDArray[np.int64]:
    """(hands,), the number of the video that each hand is from; ValueError where it is not known."""
    from peclr.data.samples import HasVideos

    if not isinstance(source, HasVideos):
        raise ValueError(f"--other-film: which video a hand of {source.name} is from is not known")
    return source.video_of_hands()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="peclr mine",
        description="Find the hands of a data set that are most alike: 2-D joints without their place and size, PCA, "
        "nearest neighbors by FAISS. Pre-train with them by pairing: {class_path: Similar, init_args: {pairs: FILE}}.",
    )
    parser.add_argument(
        "data",
        type=Path,
        nargs="+",
        metavar="DATA",
        help="folder of FreiHAND's layout, of YouTube3DHands, or of photographs, each of one right hand",
    )
    parser.add_argument("--out", type=Path, required=True, help="a new .npz file")
    parser.add_argument("--split", help="of the data sets (default: the one to train on)")
    parser.add_argument(
        "--neighbors", "--neighbours", type=int, default=8, metavar="K", help="of each hand (%(default)s)"
    )
    parser.add_argument("--components", type=int, default=14, metavar="D", help="of the PCA (default: %(default)s)")
    parser.add_argument(
        "--detector",
        type=Path,
        metavar="RUN",
        help="fine-tuning run or checkpoint that finds the 2-D joints of data without labels",
    )
    parser.add_argument("--ignore-labels", action="store_true", help="use --detector for all data")
    parser.add_argument("--other-film", action="store_true", help="never pair hands of one film")
    parser.add_argument("--picture", type=Path, help="of a few pairs (default: FILE.png beside --out)")
    return parser

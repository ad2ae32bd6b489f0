"""`peclr predict`: options, progress, exit status. Imports nothing heavy before the options are parsed."""

from __future__ import annotations

import argparse
import glob
import sys
from collections.abc import Iterable
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from peclr.options import CommandParser, UsageError, check_new_folder, check_writable, positive
from peclr.untrusted.text import printable
from peclr.weights.catalog import BUILT_IN, catalog

if TYPE_CHECKING:
    from peclr.data.sources.inputs import Frame, Input
    from peclr.inference.crop_search import CropSearch
    from peclr.inference.hands import Result
    from peclr.predict.annotations import Annotations
    from peclr.predict.finding import HandFinder
    from peclr.predict.outputs import OutputFolder

_OF_BUILT_IN = f"{BUILT_IN}, trained on rendered hands and pseudo-labeled digits"
_FROM_BOX_FILE = "both-from-box-file"
_STILLS_PER_SECOND = 10.0  # in a video of still images

_EPILOG = """\
A box is tight around the hand, in pixels of the upright image; it fills 0.7 of the network's view. Without one,
--find detector has all hands of an image, with their sides, and follows them through videos: MediaPipe's networks,
by the extra `hands` and `peclr weights get hand-landmarker --accept`; --find auto takes it where both are there.
--find search has one hand, a right one unless --hand says else: the network looks at four central squares, and again
around the hand that it found where it was surest; --find published looks as FreiHAND's evaluation does, at the
central third, then at the box of the joints it found there. With these, a hand far from the middle, or smaller than
a fifth of the image, needs a box.

Scores are 0 to 1: a joint's by how little it spreads over turned and shifted views, a hand's by the detector, or the
mean of its joints'. The JSON says which, and how hands were found.

Without --K and --focal, the focal length is taken as 28/36 of the image's longer side: 2-D hardly depends on
it, the distance to the camera is proportional to it. Without --scale, 3-D is in lengths of the bone from middle
MCP to middle PIP. The JSON says which.

The exit status is 1 if an image could not be read, or its box lies beyond it; 2 if nothing could be done.
"""


def predict_main(arguments: list[str]) -> int:
    """Run `peclr predict`; returns 0, or 1 if an image could not be read, or 130 if interrupted."""
    options = _parser().parse_args(arguments)

    from peclr.data.sources.inputs import count_frames, find_inputs, frame_rate, frames_of
    from peclr.inference.network import load_network
    from peclr.predict.outputs import CAMERA_RATE, OutputFolder
    from peclr.predict.predictor import HandPredictor
    from peclr.predict.video_file import VideoFile

    network, words = _network_and_inputs(options)
    folder = options.out or Path("runs", "predict", f"{datetime.now():%Y%m%d-%H%M%S}")
    check_new_folder(folder)
    inputs = find_inputs(words)
    annotations, notes = _annotations(options, inputs)
    video = None
    if options.video is not None:
        default = CAMERA_RATE if inputs[0].kind == "camera" else _STILLS_PER_SECOND
        check_writable(options.video.parent)
        video = VideoFile(options.video, frame_rate(inputs[0]) or default)
    if options.overlay and any(found.kind != "image" for found in inputs) and find_spec("av") is None:
        notes.append("overlays of videos: left out, they need PyAV; `pip install peclr[video]` brings it")
    search, finder = _way_to_look(options, annotations, notes)
    trained = load_network(network, options.view_size, options.device)
    name = _OF_BUILT_IN if str(network) == BUILT_IN else str(trained.checkpoint)
    print(f"{name}, views of {trained.view_size} px", *notes, sep="\n")
    predictor = HandPredictor(trained, search, finder)
    method = predictor.method(annotations)
    table = None if options.format == "json" else options.format
    wanted = {"overlay": options.overlay, "sides": options.sides}
    with OutputFolder(folder, method, **wanted, video=video, table=table) as outputs:
        frames, total = frames_of(inputs, options.max_frames), count_frames(inputs, options.max_frames)
        status = _write_all(predictor.stream(frames, annotations, options.batch_size), total, outputs)
    print(f"written to {folder}" + ("" if video is None else f" and {video.path}"))
    return status


def _network_and_inputs(options: argparse.Namespace) -> tuple[str, list[str]]:
    """The network and the inputs that are asked for; the network that comes with the package, if none is."""
    words = [*([] if options.run is None else [options.run]), *options.inputs]
    if BUILT_IN in catalog() and _is_input(words[0]):
        return BUILT_IN, words
    if len(words) == 1:
        missing = "an INPUT after the network" if not _is_input(words[0]) else "a network before the INPUT"
        raise UsageError(f"expected {missing}, {words[0]}\n`peclr predict --help` lists what there is")
    return words[0], words[1:]


def _is_input(word: str) -> bool:
    """Whether a word means images, videos or a camera, there or not, and no network."""
    from peclr.data.sources.listing import IMAGES, VIDEOS
    from peclr.runs.layout import CHECKPOINTS, CONFIG

    path = Path(word)
    if path.is_dir():
        return not ((path / CONFIG).is_file() or (path / CHECKPOINTS).is_dir() or any(path.glob("*.ckpt")))
    is_pattern = glob.has_magic(word) and not path.exists()
    return path.suffix.lower() in (*IMAGES, *VIDEOS) or word.startswith("camera:") or is_pattern


def _way_to_look(
    options: argparse.Namespace, annotations: Annotations, notes: list[str]
) -> tuple[CropSearch, HandFinder | None]:
    """How hands are looked at, and the detector, if hands without a box are found by it; adds lines that say so."""
    from peclr.inference.crop_search import CropSearch
    from peclr.predict.finding import choose_finder

    finder, finding = None, CropSearch.find
    if not annotations.have_boxes:
        finder, finding, said = choose_finder(options.find, options.hand_landmarker)
        notes.append(said)
    if finder is None and annotations.assume_sides:
        notes.append("sides: every hand is taken for a right one; a left one needs --hand, or a box file with sides")
    return CropSearch(finding, options.turn, options.scores), finder


def _write_all(results: Iterable[Result[Frame]], total: int | None, outputs: OutputFolder) -> int:
    import cv2
    from tqdm import tqdm

    cv2.setNumThreads(1)  # the pipeline has threads of its own, and PyTorch has
    images = hands = unreadable = empty = 0
    interrupted, reason = False, ""
    # a file or a pipe gets a line now and then
    every = 0.2 if sys.stderr.isatty() else 10.0
    with tqdm(total=total, unit=" images", mininterval=every, maxinterval=every) as progress:
        try:
            for frame, scene, found in results:
                if isinstance(scene, ValueError):
                    unreadable += 1
                    if str(scene) != reason:  # a video's frames may all have the same
                        progress.write(f"skipped: {printable(str(scene))}", file=sys.stderr)
                    reason = str(scene)
                else:
                    images += 1
                    hands += len(found)
                    empty += not found
                    outputs.write(frame, scene, found)
                progress.update()
        except KeyboardInterrupt:  # how a camera is stopped: what there is gets written
            interrupted = True
    if not images and unreadable and not interrupted:
        raise ValueError(f"nothing could be predicted; the last reason: {reason}")
    seconds = progress.format_dict["elapsed"]
    none = f", none in {empty} of them" if empty else ""
    print(f"{images} images, {hands} hands{none}, in {seconds:.1f} s: {images / seconds:.1f} images/s")
    if unreadable:
        print(f"{unreadable} could not be read", file=sys.stderr)
    return 130 if interrupted else int(unreadable > 0)


def _annotations(options: argparse.Namespace, inputs: list[Input]) -> tuple[Annotations, list[str]]:
    """Annotations from the options, and lines on those that fit no image, and on what is assumed."""
    from peclr.predict.annotations import annotate, check_names

    boxes, K, scale = options.boxes, options.K, options.scale
    listed = options.hand == _FROM_BOX_FILE
    if listed and boxes is None:
        raise ValueError(f"--hand {_FROM_BOX_FILE} needs --boxes FILE")
    side = None if listed else options.hand
    known = annotate(side, boxes or options.box, K, options.focal, scale, needs_side=listed)
    files = ((f"--boxes {boxes}", known.hands), (f"--K {K}", known.cameras), (f"--scale {scale}", known.scales))
    notes = [line for what, values in files for line in check_names(what, values, inputs)]
    if not known.cameras and known.focal is None:
        notes.append("camera: not given; focal length taken as 28/36 of an image's longer side (--K, --focal)")
    if not known.scales:
        notes.append("3-D: in lengths of the bone from middle MCP to middle PIP; --scale METRES makes it metres")
    return known, notes


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="peclr predict",
        description="Predict hands on images, videos or a camera: JSON, and images with skeletons.",
        epilog=_EPILOG,
    )
    add = parser.add_argument
    run = "a fine-tuning run's folder, a fine-tuned checkpoint, or one's name in `peclr weights`"
    add("run", nargs="?", metavar="RUN", help=f"{run} (default: {BUILT_IN}, where peclr comes with it)")
    add("inputs", nargs="+", metavar="INPUT", help="image, video, folder, pattern, camera:0")
    add("--out", type=Path, help="a new folder (default: runs/predict/TIME)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--box", type=_four_numbers, metavar="L,T,R,B", help="where the hand is, in every image")
    where.add_argument(
        "--boxes", type=Path, metavar="FILE", help="where hands are: CSV, JSON, COCO, or what predict wrote"
    )
    sides = ["right", "left", _FROM_BOX_FILE]
    add("--hand", choices=sides, help="which hands they are (default: as --boxes or the detector says, or right)")
    add("--K", type=_camera, metavar="FILE|FX,FY,CX,CY", help="camera, px; JSON: 3×3, or by file")
    add("--focal", type=float, metavar="PX", help="focal length where K is not known")
    scale = "length of the bone from middle MCP to middle PIP, about 0.03; JSON: by file (default: none)"
    add("--scale", type=_scale, metavar="METRES|FILE|none", help=scale)
    find = "how hands without a box are found (default: the detector where it is installed, search elsewhere)"
    add("--find", choices=["auto", "detector", "search", "published"], default="auto", help=find)
    task_file = "of the detector (default: PECLR_HAND_LANDMARKER, or as `peclr weights` puts it)"
    add("--hand-landmarker", "--hand_landmarker", type=Path, metavar="FILE", help=task_file)
    turn = "average with views turned by this to either side: 30 makes root-relative EPE 3 to 4 %% smaller"
    add("--turn", type=float, default=0.0, metavar="DEGREES", help=turn)
    scores = "a score per joint, by two more looks at each hand (default: yes)"
    add("--scores", action=argparse.BooleanOptionalAction, default=True, help=scores)
    add("--view-size", type=positive, metavar="PX", help="of the network (default: as it was trained)")
    add("--batch-size", type=positive, default=8, help="views at a time (default: %(default)s)")
    add("--device", help="cpu, cuda, … (default: CUDA where there is one)")
    form = "one JSON for each image; or all hands in hands.csv, hands.coco.json or hands.npz (default: %(default)s)"
    add("--format", choices=["json", "csv", "coco", "npz"], default="json", help=form)
    overlay = "skeletons over images and videos, small ones enlarged (default: yes; videos need the extra `video`)"
    add("--overlay", action=argparse.BooleanOptionalAction, default=True, help=overlay)
    add("--sides", action="store_true", help="also the hands of still images in 3-D, from two sides")
    add("--video", type=Path, metavar="OUT", help="skeletons over all inputs in one video: a new .mp4 or .avi")
    add("--max-frames", type=positive, metavar="N", help="of each video and camera")
    return parser


def _four_numbers(text: str) -> list[float]:
    try:
        left, top, right, bottom = map(float, text.split(","))
    except ValueError:
        reason = f"{text!r}; expected left, top, right, bottom in px, 4 numbers with commas between"
        raise argparse.ArgumentTypeError(reason) from None
    return [left, top, right, bottom]


def _camera(text: str) -> list[list[float]] | Path:
    try:
        fx, fy, cx, cy = map(float, text.split(","))
    except ValueError:
        return Path(text)
    return [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]


def _scale(text: str) -> float | Path | None:
    if text == "none":
        return None
    try:
        return float(text)
    except ValueError:
        return Path(text)

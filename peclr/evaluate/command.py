"""`peclr evaluate`: score a network, or anybody's file of predictions, as FreiHAND's leaderboard does."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peclr.data.sources.layouts import data_set_at
from peclr.data.sources.remote import folder_here
from peclr.evaluate.keypoints_2d import evaluate_2d
from peclr.evaluate.official import SCORERS, evaluate_official
from peclr.options import CommandParser, check_new_folder

if TYPE_CHECKING:  # `--help` must not import torch
    from peclr.data.sources.freihand import FreiHAND
    from peclr.evaluate.predictions import Predictions
    from peclr.inference.network import TrainedNetwork

# Where the network looks: twice, as published; at the box of the true keypoints; at the whole image.
CROPS = ("two-pass", "keypoints", "image")
_OUT_NAME = "evaluation"


def evaluate_main(arguments: list[str]) -> int:
    """Parse the options and evaluate; return 0, or raise what cannot be done."""
    parser = _parser()
    options = parser.parse_args(arguments)
    given = options.run or options.predictions
    if (options.run is None) == (options.predictions is None):
        parser.error("give either RUN, whose network predicts, or --predictions FILE")
    # inside a run's folder; beside a file, and named after it
    out = options.out or (given / _OUT_NAME if given.is_dir() else given.parent / f"{given.stem}_{_OUT_NAME}")
    check_new_folder(out)
    dataset = data_set_at(options.data)
    if dataset in SCORERS:
        evaluate_official(dataset, options, out)
    elif dataset and dataset not in ("freihand", "youtube3d"):  # its labels are 2-D alone
        evaluate_2d(dataset, options, out)
    else:
        _check_of_freihand(options)
        if options.run is not None:
            evaluate_run(options, out)
        else:
            evaluate_predictions(options.predictions, options.data, out)
    print(f"\n{out}")
    return 0


def _check_of_freihand(options: argparse.Namespace) -> None:
    """Refuse what only other sets have a choice of."""
    for name, value in (("split", options.split), ("version", options.version)):
        if value not in (None, "evaluation"):
            raise ValueError(f"--{name} {value} is of other sets; of FreiHAND's layout, evaluation is scored")


def evaluate_run(options: argparse.Namespace, out: Path) -> None:
    """Predict the evaluation split, and score it if it has labels, into the new folder `out`."""
    from peclr.data.sources.freihand import FreiHAND
    from peclr.evaluate.predictions import write_predictions
    from peclr.inference.network import load_network

    data, crop, turn = options.data, options.crop or CROPS[0], options.turn
    trained = load_network(options.run, options.view_size, options.device)
    # the crop around keypoints is the reader's, as in training; the others do not look at labels
    source = FreiHAND(data, "evaluation", trained.crop_margin, "keypoints" if crop == "keypoints" else "image")
    predictions = predict_split(trained, source, crop, options.batch_size, turn=turn, progress=True)
    out.mkdir(parents=True, exist_ok=True)
    print(*write_predictions(out, predictions), sep="\n")
    if not source.has_labels:
        print(f"{data / 'evaluation_xyz.json'} is not there: predicted only, not scored")
        return
    about = {"checkpoint": str(trained.checkpoint), "data": str(data), "crop": crop, "turn": turn}
    views = {"view_size": trained.view_size, "border": trained.border}
    _score(predictions, data, out, {**about, **views}, source)


def predict_split(
    trained: TrainedNetwork, source: FreiHAND, crop: str, batch_size: int, *, turn: float = 0.0, progress: bool = False
) -> Predictions:
    """Predict every hand of a split on its first image, in metres by the split's own scales.

    `turn` is in degrees: the last views are also seen turned by this to either side, and averaged.
    """
    import numpy as np

    from peclr.evaluate.predictions import Predictions
    from peclr.inference.crop_search import CropSearch
    from peclr.inference.hands import predict_source

    if crop == "keypoints" and not source.has_labels:
        raise ValueError(f"{source.root}: the crop around keypoints needs evaluation_xyz.json, which is not there")
    if len(source) != source.num_hands:
        raise ValueError(
            f"{source.root}: {len(source)} evaluation images of {source.num_hands} hands; expected one each"
        )
    search, boxes = CropSearch("published", turn), crop != "two-pass"
    hands = predict_source(trained, source, batch_size, search, crop_boxes=boxes, progress=progress)
    return Predictions(np.stack([hand.joints_3d for hand in hands]))


def evaluate_predictions(path: Path, data: Path, out: Path) -> None:
    """Score a file of predictions into the new folder `out`; of `data`, the labels are needed, the rest is not."""
    from peclr.data.sources.freihand import FreiHAND
    from peclr.evaluate.predictions import read_predictions, write_joints

    predictions = read_predictions(path)
    if predictions.verts is None:
        print(f"{path}: no meshes, or all of them zero: keypoints are scored")
    source = FreiHAND(data, "evaluation", crop="image") if (data / "evaluation" / "rgb").is_dir() else None
    _score(predictions, data, out, {"predictions": str(path), "data": str(data)}, source)
    write_joints(out, predictions)  # a report draws them, and opens no file that another one names


def _score(predictions: Predictions, data: Path, out: Path, about: dict[str, Any], source: FreiHAND | None) -> None:
    from peclr.data.sources.layouts import teacher_of
    from peclr.evaluate.predictions import NUM_VERTICES, read_labels
    from peclr.evaluate.scoring import draw_pck, draw_worst, score, table, write_scores
    from peclr.geometry.joints import NUM_JOINTS

    xyz_path, verts_path = data / "evaluation_xyz.json", data / "evaluation_verts.json"
    xyz = read_labels(xyz_path, NUM_JOINTS)
    if teacher := teacher_of(data):
        about |= {"labels": "pseudo", "teacher": teacher}
        print(f"labels are pseudo: scores are agreement with {teacher}, not accuracy")
    if len(xyz) != len(predictions.xyz):
        what = about.get("predictions", "the network")
        raise ValueError(f"{what}: predicts {len(predictions.xyz)} hands, but {xyz_path} has {len(xyz)}")
    verts = None
    if predictions.verts is not None and verts_path.is_file():
        verts = read_labels(verts_path, NUM_VERTICES)
    elif predictions.verts is not None:
        print(f"{verts_path} is not there: meshes are not scored")
    evaluation = score(predictions, xyz, verts)
    out.mkdir(parents=True, exist_ok=True)
    write_scores(out, evaluation, about)
    draw_pck(evaluation, out / "pck.png")
    if source is None:
        print(f"{data / 'evaluation' / 'rgb'} is not there: the worst cases are not drawn")
    else:
        draw_worst(evaluation, predictions, source, out / "worst.png")
    print(f"\n{table(evaluation)}")


def _parser() -> CommandParser:
    description = "Score on the evaluation split of a labeled data set as its leaderboard or benchmark does."
    parser = CommandParser(prog="peclr evaluate", description=description)
    run = "a fine-tuning run's folder, a fine-tuned checkpoint, or one's name in `peclr weights`"
    parser.add_argument("run", nargs="?", type=Path, help=run)
    where = "folder of FreiHAND or in its layout, or of another labeled data set that `peclr prepare` knows"
    parser.add_argument("--data", type=folder_here, required=True, help=where)
    parser.add_argument("--split", help="of DexYCB, s0_test to s3_test; of others, such as val (default: the last one)")
    parser.add_argument("--version", choices=("v2", "v3"), help="of HO-3D, where its folder has images of both")
    parser.add_argument("--predictions", type=Path, help="score this pred.json, or its zip, instead of a network")
    parser.add_argument("--out", type=Path, help=f"a new or empty folder (default: {_OUT_NAME} in the run's)")
    crop = (
        "where the network looks: twice, as published; around the true keypoints, as `peclr test`; at the whole image"
    )
    parser.add_argument("--crop", choices=CROPS, help=f"{crop} (default: {CROPS[0]})")
    turn = "degrees: average with views turned by this to either side (default: 0)"
    parser.add_argument("--turn", type=float, default=0.0, help=turn)
    parser.add_argument("--batch-size", type=int, default=64, help="does not change results (default: %(default)s)")
    parser.add_argument("--view-size", type=int, help="side of the views, pixels (default: those it was trained on)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 … (default: cuda where there is one)")
    return parser

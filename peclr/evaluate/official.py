"""Official scores of labeled sets other than FreiHAND, and the files that their own scorers take: HO-3D, DexYCB."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from peclr.data.sources.layouts import present_splits
from peclr.options import write_whole

if TYPE_CHECKING:  # `--help` must not import torch
    import numpy as np
    from numpy.typing import NDArray

    from peclr.data.sources.dexycb import DexYCB
    from peclr.data.sources.ho3d import HO3D
    from peclr.inference.network import TrainedNetwork

OfficialSet = Literal["ho3d", "dexycb"]

RESULTS_NAME: Final = "results.txt"  # of DexYCB, comma separated
_MM_PER_M: Final = 1000.0
_UNITS: Final = "mm; AUC and PCK 0 to 1; scores.txt has the benchmark's, in "


def official_set(data: Path) -> OfficialSet | None:
    """Which of these sets is at a path; None for any other, which is taken to be FreiHAND."""
    known: tuple[OfficialSet, ...] = ("ho3d", "dexycb")
    return next((name for name in known if present_splits(name, data)), None)


def evaluate_official(dataset: OfficialSet, options: argparse.Namespace, out: Path) -> None:
    """Predict a split around the reader's crop boxes, and score it into the new folder `out`.

    ValueError where a choice is missing, or the labels, without which there is no scale.
    """
    from peclr.data.sources.dexycb import DexYCB
    from peclr.data.sources.ho3d import HO3D
    from peclr.inference.network import load_network

    if options.run is None:
        raise ValueError(
            f"{options.data} is {dataset}, of which runs are scored; --predictions are of FreiHAND's layout"
        )
    if options.crop not in (None, "keypoints"):
        raise ValueError(f"--crop {options.crop} is of FreiHAND's layout; here the network looks at the reader's boxes")
    if dataset == "dexycb" and options.split is None:
        raise ValueError(f"{options.data} is dexycb: give --split s0_test, as most papers, or another of s0 to s3")
    if dataset == "ho3d" and options.split not in (None, "evaluation"):
        raise ValueError(f"--split {options.split}: HO-3D is scored on evaluation")
    trained = load_network(options.run, options.view_size, options.device)
    margin = trained.crop_margin
    source: HO3D | DexYCB
    if dataset == "ho3d":
        source = HO3D(options.data, "evaluation", options.version, margin)
        if not source.has_labels:
            raise ValueError(f"{options.data / 'evaluation_xyz.json'} is missing: it has the scales, and is scored by")
    else:
        source = DexYCB(options.data, options.split, margin)
    joints, labels = _predict(trained, source, options)
    about: dict[str, object] = {"checkpoint": str(trained.checkpoint), "data": str(options.data)}
    about |= {
        "split": source.split,
        "crop": "box",
        "view_size": trained.view_size,
        "border": trained.border,
        "turn": options.turn,
    }
    out.mkdir(parents=True, exist_ok=True)
    _write(source, joints, labels, about, out)


def _predict(
    trained: TrainedNetwork, source: HO3D | DexYCB, options: argparse.Namespace
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Predictions and labels (N, 21, 3), metres, camera frame, order freihand; of left hands as they are."""
    import numpy as np

    from peclr.inference.crop_search import CropSearch
    from peclr.inference.hands import predict_source

    search = CropSearch("published", options.turn)
    hands = predict_source(trained, source, options.batch_size, search, progress=True)
    joints = np.stack([hand.joints_3d for hand in hands])
    joints[np.asarray(source.is_left), :, 0] *= -1  # readers mirror them
    return joints, np.asarray(source.joints_3d, np.float64)


def _write(
    source: HO3D | DexYCB, joints: NDArray[np.float64], labels: NDArray[np.float64], about: dict[str, object], out: Path
) -> None:
    """Write scores, curves, and the file that the set's own scorer takes."""
    from peclr.data.sources.ho3d import HO3D
    from peclr.data.sources.ho3d_labels import from_project
    from peclr.evaluate.predictions import Predictions, write_predictions
    from peclr.evaluate.scoring import draw_pck, score, write_scores
    from peclr.metrics.dexycb import dexycb_scores
    from peclr.metrics.ho3d import ho3d_scores

    evaluation = score(Predictions(joints), labels)
    files: tuple[Path, ...]
    if isinstance(source, HO3D):
        files, unit = write_predictions(out, Predictions(from_project(joints))), "cm"
        official = ho3d_scores(from_project(joints), from_project(labels))
    else:
        files, unit, official = (out / RESULTS_NAME,), "mm", dexycb_scores(joints, labels)
        rows = zip(source.items.tolist(), (joints * _MM_PER_M).reshape(-1, 63).tolist(), strict=True)
        write_whole(out / RESULTS_NAME, "".join(f"{item},{','.join(f'{x:.4f}' for x in row)}\n" for item, row in rows))
    write_scores(out, replace(evaluation, leaderboard=official), about, units=_UNITS + unit)
    draw_pck(evaluation, out / "pck.png")
    print(*files, (out / "scores.txt").read_text(), sep="\n")

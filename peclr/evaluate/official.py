"""Official scores of labeled sets other than FreiHAND, and the files that their own scorers take."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from peclr.data.sources.layouts import LAYOUTS, DataSet, open_data_set
from peclr.options import write_whole

if TYPE_CHECKING:  # `--help` must not import torch
    import numpy as np
    from numpy.typing import NDArray

    from peclr.data.sources.dexycb import DexYCB
    from peclr.data.sources.hanco import HanCo
    from peclr.data.sources.ho3d import HO3D
    from peclr.data.sources.interhand import InterHand
    from peclr.data.sources.rhd import RHD
    from peclr.inference.network import TrainedNetwork

    Array = NDArray[np.float64]
    Source = HO3D | DexYCB | HanCo | InterHand | RHD

RESULTS_NAME: Final = "results.txt"  # of DexYCB, comma separated
_MM_PER_M: Final = 1000.0
_UNITS: Final = "mm; AUC and PCK 0 to 1; scores.txt has the benchmark's, in "
_MRRPE: Final = (
    "mrrpe is the error of the left wrist's place relative to the right one's where hands interact; both places are "
    "those of the camera's frame that the true length of a bone gives each predicted hand by itself"
)


class Official(NamedTuple):
    """What a set's own scorer says."""

    scores: dict[str, float]
    unit: str
    files: tuple[Path, ...] = ()  # that its scorer takes
    note: str = ""
    metrics: Mapping[str, float] = MappingProxyType({})  # that reports compare, beside those that runs log


def chosen_split(dataset: DataSet, options: argparse.Namespace) -> str:
    """The split to score, by default the last one; ValueError for options that are of other sets alone."""
    if options.run is None:
        raise ValueError(
            f"{options.data} is {dataset}, of which runs are scored; --predictions are of FreiHAND's layout"
        )
    if options.crop not in (None, "keypoints"):
        raise ValueError(f"--crop {options.crop} is of FreiHAND's layout; here the network looks at the reader's boxes")
    if options.version is not None and dataset != "ho3d":
        raise ValueError(f"--version {options.version} is of HO-3D; {options.data} is {dataset}")
    layout = LAYOUTS[dataset]
    if options.split is None and layout.choice:
        raise ValueError(f"{options.data} is {dataset}: give --split s0_test, as most papers, or another of s0 to s3")
    splits = layout.splits[-1:] if dataset in ("ho3d", "hanco") else layout.splits
    split: str = options.split or layout.splits[-1]
    if split not in splits:
        raise ValueError(f"--split {split}: {dataset} is scored on {' or '.join(splits)}")
    return split


def how_predicted(trained: TrainedNetwork, options: argparse.Namespace, split: str) -> dict[str, object]:
    """What scores.json says of the network, and of where it looked."""
    about: dict[str, object] = {"checkpoint": str(trained.checkpoint), "data": str(options.data), "split": split}
    return about | {"crop": "box", "view_size": trained.view_size, "border": trained.border, "turn": options.turn}


def evaluate_official(dataset: DataSet, options: argparse.Namespace, out: Path) -> None:
    """Predict a split, of a set in `SCORERS`, around the reader's crop boxes, and score it into the new folder `out`.

    ValueError where a choice is missing, or the labels, without which there is no scale.
    """
    import numpy as np

    from peclr.data.sources.composed import SelectedHands
    from peclr.evaluate.predictions import Predictions
    from peclr.evaluate.scoring import draw_pck, draw_worst, score, write_scores
    from peclr.inference.crop_search import CropSearch
    from peclr.inference.hands import predict_source
    from peclr.inference.network import load_network

    split = chosen_split(dataset, options)
    trained = load_network(options.run, options.view_size, options.device)
    source = _open(dataset, split, options, trained.crop_margin)
    labels, whole = _labels_of(source)
    source.check_images()
    search = CropSearch("published", options.turn)
    hands = predict_source(trained, source, options.batch_size, search, progress=True)
    as_right = np.stack([hand.joints_3d for hand in hands])  # as readers show them
    joints = as_right.copy()
    joints[source.is_left, :, 0] *= -1
    about = how_predicted(trained, options, split)
    if not whole.all():
        about["unknown"] = f"{(~whole).sum():,} of {len(whole):,} hands have unknown joints: only scores.txt has these"
    out.mkdir(parents=True, exist_ok=True)
    official = SCORERS[dataset](source, joints, labels, out)
    if official.note:
        about["note"] = official.note
    evaluation = score(Predictions(joints[whole]), labels[whole])
    metrics = evaluation.metrics | dict(official.metrics)
    evaluation = replace(evaluation, leaderboard=official.scores, metrics=metrics)
    write_scores(out, evaluation, about, units=_UNITS + official.unit)
    draw_pck(evaluation, out / "pck.png")
    shown = SelectedHands(source, whole.nonzero()[0])  # left ones mirrored
    draw_worst(evaluation, Predictions(as_right[whole]), shown, out / "worst.png")
    notes = [about[name] for name in ("unknown", "note") if name in about]
    print(*official.files, (out / "scores.txt").read_text(), *notes, sep="\n")


def _open(dataset: DataSet, split: str, options: argparse.Namespace, margin: float) -> Source:
    version = {"version": options.version} if dataset == "ho3d" else {}
    source: Any = open_data_set(dataset, options.data, split, crop_margin=margin, **version)
    if dataset == "ho3d" and not source.has_labels:
        raise ValueError(f"{options.data / 'evaluation_xyz.json'} is missing: it has the scales, and is scored by")
    return source  # type: ignore[no-any-return]  # one of these, by name


def _labels_of(source: Source) -> tuple[Array, NDArray[np.bool_]]:
    """Labels (N, 21, 3), metres, camera frame, NaN where unknown, and (N,), of which hands all of them are known."""
    import numpy as np

    from peclr.data.sources.interhand import InterHand

    if isinstance(source, InterHand) and (unknown := np.isnan(source.scale_m)).any():
        found = f"{source.root}, {source.split}: {unknown.sum():,} of {len(unknown):,} hands have no scale"
        raise ValueError(f"{found}, nor has another one of the same person; expected what makes them millimetres")
    labels = np.asarray(source.joints_3d, np.float64)
    whole = np.asarray(np.isfinite(labels).all(axis=(1, 2)))
    if not whole.any():
        raise ValueError(f"{source.root}: all {len(whole):,} hands have unknown joints; expected one that is known")
    return labels, whole


def _ho3d(source: HO3D, joints: Array, labels: Array, out: Path) -> Official:
    from peclr.data.sources.ho3d_labels import from_project
    from peclr.evaluate.predictions import Predictions, write_predictions
    from peclr.metrics.ho3d import ho3d_scores

    files = write_predictions(out, Predictions(from_project(joints)))
    return Official(ho3d_scores(from_project(joints), from_project(labels)), "cm", files)


def _dexycb(source: DexYCB, joints: Array, labels: Array, out: Path) -> Official:
    from peclr.metrics.dexycb import dexycb_scores

    rows = zip(source.items.tolist(), (joints * _MM_PER_M).reshape(-1, 63).tolist(), strict=True)
    lines = (f"{item},{','.join(f'{x:.4f}' for x in row)}\n" for item, row in rows)
    write_whole(out / RESULTS_NAME, "".join(lines))
    return Official(dexycb_scores(joints, labels), "mm", (out / RESULTS_NAME,))


def _hanco(source: HanCo, joints: Array, labels: Array, out: Path) -> Official:
    from peclr.metrics.freihand import freihand_scores

    # it has no scores of its own, and is of those who made FreiHAND
    return Official(freihand_scores(joints, labels), "cm")


def _interhand(source: InterHand, joints: Array, labels: Array, out: Path) -> Official:
    import numpy as np

    from peclr.geometry.joints import convert
    from peclr.metrics.interhand import interhand_scores

    def by_image(hands: Array) -> Array:
        """(images, 42, 3), mm, the right hand first, order interhand, NaN where there is no such hand."""
        both = np.full((len(source.interact), 2, *hands.shape[1:]), np.nan)
        both[source.image, source.is_left.astype(int)] = _MM_PER_M * convert(hands, "freihand", "interhand")
        return both.reshape(len(both), -1, 3)

    true = by_image(labels)
    kinds = np.where(source.interact, "interacting", "right")  # any single one
    scores = interhand_scores(by_image(joints), true, np.isfinite(true[..., 0]), kinds)
    known = {f"{name}_mm": score for name, score in scores.items() if np.isfinite(score)}  # where there are such hands
    return Official(scores, "mm", note=_MRRPE, metrics=known)


def _assemblyhands(source: InterHand, joints: Array, labels: Array, out: Path) -> Official:
    # its toolkit takes each hand for a single one
    mpjpe = _interhand(source, joints, labels, out).scores["mpjpe_all"]
    return Official({"mpjpe": mpjpe}, "mm", metrics={"mpjpe_all_mm": mpjpe})


def _rhd(source: RHD, joints: Array, labels: Array, out: Path) -> Official:
    from peclr.metrics.rhd import rhd_scores

    return Official(rhd_scores(joints, labels, source.visible), "mm")


SCORERS: Final[dict[DataSet, Callable[[Any, Array, Array, Path], Official]]] = {
    "ho3d": _ho3d,
    "dexycb": _dexycb,
    "hanco": _hanco,
    "interhand": _interhand,
    "assemblyhands": _assemblyhands,
    "rhd": _rhd,
}

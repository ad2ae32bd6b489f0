"""What `peclr evaluate` left in a folder: scores, curves, and the hands themselves where their pictures are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from peclr.report.rows import known_metrics, read_json

Array = NDArray[np.float64]

SCORES_NAME: Final = "scores.json"
_MM_PER_CM: Final = 10.0
# names of scores.txt and of its neighbors; means are in cm there
_MEANS: Final = {
    "xyz_mean3d": "epe_mm",
    "xyz_rel_mean3d": "root_relative_epe_mm",
    "xyz_al_mean3d": "pa_epe_mm",
    "mesh_mean3d": "mesh_epe_mm",
    "mesh_al_mean3d": "pa_mesh_epe_mm",
}
_SHARES: Final = {
    "xyz_auc3d": "auc",
    "xyz_al_auc3d": "pa_auc",
    "f_al_score_5": "f_score_5",
    "f_al_score_15": "f_score_15",
}


@dataclass(frozen=True)
class EvaluationFolder:
    """One evaluation.

    Attributes:
        name: unique in the report.
        folder: holds scores.json.
        hands: number of hands.
        crop: where the network looked; "" if a file of predictions was scored.
        data: the data set, as the evaluation knew its place.
        metrics: names and units of `peclr.report.rows.METRICS`.
        pck: share of points within each threshold, by name of the curve, and "thresholds_mm".
        per_joint: errors in mm by their names, by joint.
    """

    name: str
    folder: Path
    hands: int
    crop: str
    data: Path
    metrics: dict[str, float]
    pck: dict[str, list[float]]
    per_joint: dict[str, dict[str, float]]


@dataclass(frozen=True)
class ShownHand:
    """One evaluated hand with what it takes to draw it.

    Attributes:
        id: of the photograph, as its data set calls it.
        rank: "best" or "worst".
        image: (H, W, 3) RGB.
        K: (3, 3), px.
        predicted: (21, 3), metres, camera frame, order freihand.
        label: (21, 3), the same.
        pa_epe_mm: after an alignment that may not mirror.
        epe_mm: relative to the wrist.
    """

    id: str
    rank: str
    image: NDArray[np.uint8]
    K: Array
    predicted: Array
    label: Array
    pa_epe_mm: float
    epe_mm: float


def read_evaluation(folder: Path, name: str) -> EvaluationFolder:
    """Read the scores of a folder that `peclr evaluate` wrote.

    Raises:
        ValueError: scores.json is damaged, or another program's; the message names it.
    """
    path = folder / SCORES_NAME
    content = read_json(path)
    try:
        scores = {**content["scores"], **content["further"]}
        means = {new: scores[old] * _MM_PER_CM for old, new in _MEANS.items() if old in scores}
        shares = {new: scores[old] for old, new in _SHARES.items() if old in scores}
        pck = {key: [float(share) for share in curve] for key, curve in content["pck"].items()}
        lengths = {len(curve) for curve in (pck["thresholds_mm"], *pck.values())}
        if len(lengths) > 1 or min(lengths) < 2:
            raise ValueError(f"PCK curves of {sorted(lengths)} thresholds")
        per_joint = {joint: {k: float(v) for k, v in found.items()} for joint, found in content["per_joint"].items()}
        return EvaluationFolder(
            name=name,
            folder=folder,
            hands=int(content["hands"]),
            crop=str(content.get("crop", "")),
            data=Path(content["data"]),
            metrics=known_metrics(means | shares),
            pck=pck,
            per_joint=per_joint,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not the scores.json of `peclr evaluate`: {error!r}") from error


def shown_hands(evaluation: EvaluationFolder, data: Path | None, count: int) -> list[ShownHand]:
    """The best and the worst hands of an evaluation, by their error after an alignment that may not mirror.

    Args:
        evaluation: of which the predictions are read.
        data: where the data set is now; None takes the place that the evaluation knew.
        count: of the best, and as many of the worst, if there are so many hands.

    Returns:
        The best, best first, then the worst, worst first.

    Raises:
        FileNotFoundError: predictions or photographs are not there.
        ValueError: they are damaged, or do not fit each other.
    """
    import torch

    from peclr.data.sources.freihand import FreiHAND
    from peclr.evaluate.predictions import PREDICTIONS_NAME, read_labels, read_predictions
    from peclr.geometry.joints import NUM_JOINTS, WRIST
    from peclr.metrics.pose import aligned_errors

    root = data or evaluation.data
    if not (root / "evaluation" / "rgb").is_dir():
        raise FileNotFoundError(f"{root / 'evaluation' / 'rgb'} is not there; --data tells where the data set is now")
    predicted_path = evaluation.folder / PREDICTIONS_NAME
    if not predicted_path.is_file():  # somebody's predictions were scored, and stayed where they were
        predicted_path = Path(read_json(evaluation.folder / SCORES_NAME).get("predictions") or predicted_path)
    predicted = read_predictions(predicted_path).xyz
    labels = read_labels(root / "evaluation_xyz.json", NUM_JOINTS)
    if len(predicted) != len(labels):
        raise ValueError(f"{predicted_path} has {len(predicted)} hands, but {root} has {len(labels)}")
    pa_epe_mm = aligned_errors(torch.from_numpy(predicted), torch.from_numpy(labels))[1].mean(dim=-1).numpy()
    relative = (predicted - predicted[:, [WRIST]]) - (labels - labels[:, [WRIST]])
    epe_mm = 1000 * np.linalg.norm(relative, axis=-1).mean(axis=-1)
    order = np.argsort(pa_epe_mm, kind="stable").tolist()
    count = min(count, len(order) // 2)
    source = FreiHAND(root, "evaluation", crop="image")
    ranks = [("best", hand) for hand in order[:count]] + [("worst", hand) for hand in order[: -count - 1 : -1]]
    shown = []
    for rank, hand in ranks:
        sample = source[hand]
        K = np.asarray(sample["K"], np.float64)
        errors = float(pa_epe_mm[hand]), float(epe_mm[hand])
        shown.append(ShownHand(sample["id"], rank, sample["image"], K, predicted[hand], labels[hand], *errors))
    return shown

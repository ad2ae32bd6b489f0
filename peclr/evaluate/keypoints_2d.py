"""Scores of sets with 2-D labels alone, as mmpose and HaMeR give them, and the hands that are farthest from theirs."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from peclr.data.sources.layouts import DataSet, open_data_set
from peclr.evaluate.official import chosen_split, how_predicted
from peclr.options import write_whole

if TYPE_CHECKING:  # `--help` must not import torch
    import numpy as np
    from numpy.typing import NDArray

    from peclr.data.sources.coco_hands import CocoHands

    Array = NDArray[np.floating]

KEYPOINTS_NAME: Final = "keypoints.json"
_HINT_THRESHOLDS: Final = (0.05, 0.1, 0.15)  # of the longer side of the hand's box
_THRESHOLD: Final = 0.2  # the same, of all other sets
_UNITS: Final = "px of the image; PCK and AUC 0 to 1, PCK by the longer side of the set's own box"
_WORST, _COLUMNS = 8, 4  # hands, and tiles side by side


def evaluate_2d(dataset: DataSet, options: argparse.Namespace, out: Path) -> None:
    """Predict the 2-D keypoints of a split in the reader's crop boxes, and score them into the new folder `out`.

    These sets have no cameras, on which the wrist alone would depend: it is taken to be as far as the palm.
    """
    import numpy as np

    from peclr.inference.crop_search import CropSearch
    from peclr.inference.hands import predict_source
    from peclr.inference.network import load_network

    split = chosen_split(dataset, options)
    trained = replace(load_network(options.run, options.view_size, options.device), flat_wrist=True)
    source: Any = open_data_set(dataset, options.data, split, crop_margin=trained.crop_margin)  # `CocoHands`
    source.check_images()
    search = CropSearch("published", options.turn)
    hands = predict_source(trained, source, options.batch_size, search, progress=True)
    predicted, labels = np.stack([hand.keypoints_2d for hand in hands]), source.joints_2d_of_hands()
    scores = score_2d(source, predicted, labels)
    about = how_predicted(trained, options, split) | {
        "hands": len(predicted),
        "notes": source.doubts(),
        "units": _UNITS,
        "metrics": _logged(scores),
    }
    about |= {"pck": {}, "per_joint": {}}  # of 3-D
    out.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{name}: {value:f}\n" for name, value in scores.items())
    write_whole(out / "scores.txt", lines)
    write_whole(out / "scores.json", json.dumps(about, indent=2) + "\n")
    _write_keypoints(source, predicted, out / KEYPOINTS_NAME)
    _draw_worst(source, predicted, labels, out / "worst.png")
    print(out / KEYPOINTS_NAME, *source.doubts(), lines, sep="\n")


def score_2d(source: CocoHands, predicted: Array, labels: Array) -> dict[str, float]:
    """Score keypoints (N, 21, 2), px, against labels, NaN where unknown, of the hands of a source.

    PCK@0.2, AUC to 30 px and mean error as mmpose. Of HInt PCK at 0.05, 0.1 and 0.15, of all, visible and occluded
    joints, of each of its parts, such as `newdays_img`, and of all together.
    """
    import numpy as np

    from peclr.metrics.keypoints_2d import auc, epe, pck

    boxes, known = source.boxes, np.asarray(np.isfinite(labels).all(axis=-1))
    size = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    scores = dict[str, float]()
    if source.occluded is None:
        scores["pck_0.2"] = pck(predicted, labels, known, size, _THRESHOLD, strict=True)
        scores["auc_30px"] = auc(predicted, labels, known)
    else:
        kinds = {"all": known, "visible": known & ~source.occluded, "occluded": known & source.occluded}
        parts = np.array([source.image_name(hand).split("/")[0].partition("_")[2] for hand in range(source.num_hands)])
        for part in ["", *sorted(set(parts.tolist()))]:
            of_part = np.equal(parts, part) if part else np.ones(len(parts), np.bool_)
            for kind, counted in kinds.items():
                if counted[of_part].any():
                    pair = predicted[of_part], labels[of_part], counted[of_part], size[of_part]
                    scores |= {
                        f"{f'{part}_' * bool(part)}pck_{limit}_{kind}": pck(*pair, limit) for limit in _HINT_THRESHOLDS
                    }
    return scores | {"epe_px": epe(predicted, labels, known)}


def _logged(scores: dict[str, float]) -> dict[str, float]:
    """Scores by the names of reports; of HInt those of all joints and parts."""
    names = {"pck_0.2": "pck_0_2", "auc_30px": "auc_30px", "epe_px": "epe_image_px"}
    names |= {f"pck_{limit}_all": f"pck_{limit}".replace(".", "_") for limit in _HINT_THRESHOLDS}
    return {new: scores[name] for name, new in names.items() if name in scores}


def _write_keypoints(source: CocoHands, predicted: Array, path: Path) -> None:
    """Write predictions, px of the images as they are, as COCO keypoints."""
    import numpy as np

    from peclr.data.sources.coco_keypoints import CocoKeypoints
    from peclr.data.sources.images import image_sizes

    document, images = CocoKeypoints({"description": "predicted by peclr"}), dict[Path, int]()
    files = source.image_paths()
    for file, (width, height) in zip(files, image_sizes(files).astype(int).tolist(), strict=True):
        images[file] = document.add_image(file.relative_to(source.root).as_posix(), width, height)
    is_left, as_they_are = source.is_left, np.asarray(source.mirrored(predicted), np.float64)
    for hand, points in enumerate(as_they_are):
        document.add_hand(images[source.image_file(hand)], "left" if is_left[hand] else "right", points)
    write_whole(path, document.to_bytes())


def _draw_worst(source: CocoHands, predicted: Array, labels: Array, path: Path) -> None:
    """Draw the hands whose keypoints are farthest from their labels, in boxes: prediction, label beside it."""
    import numpy as np

    from peclr.data.sources.images import write_image
    from peclr.drawing.tiles import overlays_2d, sheet

    boxes = source.boxes
    errors = np.nanmean(np.linalg.norm(predicted - labels, axis=-1), axis=1) / (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    worst = np.argsort(errors)[::-1][:_WORST].tolist()
    tiles = [tile for hand in worst for tile in overlays_2d(source[hand]["image"], predicted[hand], labels[hand])]
    titles = [title for hand in worst for title in (f"{source.image_name(hand)}: {errors[hand]:.2f} boxes", "label")]
    rows = [slice(start, start + _COLUMNS) for start in range(0, len(tiles), _COLUMNS)]
    write_image(path, sheet([tiles[row] for row in rows], [titles[row] for row in rows]))

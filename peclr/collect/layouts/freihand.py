"""Collected hands in FreiHAND's layout, with pseudo-labels in place of labels."""

import csv
import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from peclr.collect.layouts.json_list import JsonList, open_text
from peclr.data.prepare.cutting import Cutting
from peclr.data.samples import HandSample
from peclr.data.sources.images import write_image
from peclr.data.sources.shards import Shards
from peclr.data.views.geometric import ViewGeometry, render_view
from peclr.geometry.planar import similarity
from peclr.untrusted.text import quoted

SIZE: Final = 224  # px, of FreiHAND's images
TABLE: Final = "hands.csv"
_COLUMNS: Final = ("file", "group", "class", "source", "frame", "time_s", "track", "hand", "score")


def write_freihand(hands: Shards, root: Path, splits: Mapping[str, Sequence[int]], cutting: Cutting) -> None:
    """Write images and labels into the folder `root`, hand after hand; `splits` has the hands of each.

    Images have one size and the hand in the middle, as FreiHAND's; where the hand's image ends, its last pixels go on.
    Beside FreiHAND's files and the groups and classes, see `peclr.data.sources.freihand`, the table
    `hands.csv` says where each image is from. ValueError if a hand has no joints in space.
    """
    with ExitStack() as stack:
        table = csv.writer(stack.enter_context(open_text(root / TABLE)))
        table.writerow(_COLUMNS)
        for split, chosen in splits.items():
            (root / split / "rgb").mkdir(parents=True)
            kinds = ("K", "xyz", "scale", "group", *(["class"] if hands.names_of_hands("class") else []))
            lists = [stack.enter_context(JsonList(root / f"{split}_{kind}.json")) for kind in kinds]
            for number, hand in enumerate(chosen):
                about, sample, file = hands.about(hand), hands[hand], f"{split}/rgb/{number:08d}.jpg"
                if sample["K"] is None or sample["joints_3d"] is None:
                    lacking = f"{sample['id']} has no joints in space"
                    raise ValueError(f"{hands.root}: {lacking}, which FreiHAND's layout needs")
                image = render_view(_continued(sample, cutting), ViewGeometry(scale=cutting.context), cutting.size)
                write_image(root / file, image.image)
                labels: list[Any] = [image.view_from_image @ sample["K"], sample["joints_3d"], sample["scale_m"]]
                for each, label in zip(lists, [*labels, about.group, about.class_name], strict=False):
                    each.append(label if isinstance(label, str | float) else label.tolist())
                of_video = ("", "", "") if about.frame < 0 else (about.frame, round(about.time, 6), about.track)
                row = (file, about.group, about.class_name, about.file, *of_video)
                table.writerow(map(quoted, (*row, sample["hand"], round(about.score, 4))))


def _continued(sample: HandSample, cutting: Cutting) -> HandSample:
    """A sample whose image has its last pixels beyond its edges, too: a mirror image would show more hands."""
    box = sample["crop_box"]
    far = math.ceil(cutting.context * float(box[2] - box[0]))
    image = cv2.copyMakeBorder(sample["image"], far, far, far, far, cv2.BORDER_REPLICATE)
    continued = sample.copy()
    continued["image"], continued["image_from_decoded"] = image.astype(np.uint8), similarity(shift=(-far, -far))
    return continued

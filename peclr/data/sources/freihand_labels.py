"""The label files of FreiHAND as arrays; see `peclr.data.sources.freihand`. Does not import torch."""

from pathlib import Path
from typing import Final

import numpy as np

from peclr.data.sources.layouts import DataSet, label_files
from peclr.data.sources.packed_labels import Array
from peclr.geometry.joints import NUM_JOINTS
from peclr.untrusted.binary import numbers
from peclr.untrusted.text import read_json

_SHAPES: Final[dict[str, tuple[int, ...]]] = {"K": (3, 3), "scale": (), "xyz": (NUM_JOINTS, 3)}  # as files


def read_labels(dataset: DataSet, root: Path, split: str, *, progress: bool = False) -> dict[str, Array]:
    """Read the labels of a split, in no time that a bar would be needed for; ValueError names the file and value.

    K (N, 3, 3), px; scale (N,), metres; and, where its file is there, xyz (N, 21, 3), metres, camera frame.
    """
    files = dict(zip(_SHAPES, label_files(dataset, root, split), strict=False))
    labels = {kind: numbers(read_json(path), _SHAPES[kind], path).astype(np.float32) for kind, path in files.items()}
    if len({len(array) for array in labels.values()}) > 1:
        listed = ", ".join(f"{files[kind]} has {len(array)}" for kind, array in labels.items())
        raise ValueError(f"label files must list the same hands, but {listed}")
    return labels

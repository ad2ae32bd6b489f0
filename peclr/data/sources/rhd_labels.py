"""The label file of RHD, a pickle a split, as arrays; see `peclr.data.sources.rhd`. Does not import torch."""

from pathlib import Path
from typing import Final

import numpy as np

from peclr.data.sources.layouts import DataSet, label_files
from peclr.data.sources.packed_labels import Array
from peclr.geometry.joints import NUM_JOINTS, convert
from peclr.untrusted.binary import numbers_in
from peclr.untrusted.pickles import read_pickle
from peclr.untrusted.text import shown

_SHAPES: Final = {"xyz": (2 * NUM_JOINTS, 3), "uv_vis": (2 * NUM_JOINTS, 3), "K": (3, 3)}
_ROUNDING: Final = 1.0  # px, of the published 2-D joints
_MOST_FRAMES: Final = 100_000  # their numbers have five digits


def read_labels(dataset: DataSet, root: Path, split: str, *, progress: bool = False) -> dict[str, Array]:
    """Read the labels of a split, of which no bar is shown; ValueError names the file, the frame and the value.

    Of N frames, `frame` (N,), their numbers; `K` (N, 3, 3), px; of the left and then the right hand `joints_3d`
    (N, 2, 21, 3), metres, camera frame, order freihand, and `visible` (N, 2, 21) bool.
    """
    path = label_files(dataset, root, split)[0]
    content = read_pickle(path)
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{path}: expected frames by their numbers, found {shown(content)}")
    if wrong := [key for key in content if not isinstance(key, int) or not 0 <= key < _MOST_FRAMES]:
        raise ValueError(f"{path}: a frame is called {shown(wrong[0])}; expected a number of five digits")
    frames = sorted(content)
    labels = {
        name: np.stack([numbers_in(content[frame], name, shape, f"{path}: frame {frame}") for frame in frames])
        for name, shape in _SHAPES.items()
    }
    labels = {name: array.astype(np.float64) for name, array in labels.items()}
    joints, flags = labels["xyz"].reshape(-1, 2, NUM_JOINTS, 3), labels["uv_vis"].reshape(-1, 2, NUM_JOINTS, 3)
    projected = joints @ labels["K"][:, None].swapaxes(-1, -2)
    depth = np.where(projected[..., 2:] > 0, projected[..., 2:], np.nan)
    visible = flags[..., 2] > 0
    off = np.where(visible, np.linalg.norm(projected[..., :2] / depth - flags[..., :2], axis=-1), 0).max(axis=(1, 2))
    if np.median(np.nan_to_num(off, nan=np.inf)) > _ROUNDING:
        first = int(np.argmax(~(off <= _ROUNDING)))
        seen = f"frame {frames[first]} has xyz {off[first]:.1f} px from its uv_vis by K, as most"
        raise ValueError(f"{path}: {seen}; expected at most {_ROUNDING} px")
    return {
        "frame": np.array(frames, np.int32),
        "K": labels["K"].astype(np.float32),
        "joints_3d": convert(joints, "rhd", "freihand").astype(np.float32),
        "visible": convert(flags, "rhd", "freihand")[..., 2] > 0,
    }

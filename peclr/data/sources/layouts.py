"""What data sets look like on disk, for commands that must not import their readers."""

from pathlib import Path
from typing import Final, Literal, get_args

DataSet = Literal["freihand", "youtube3d"]
Depth = Literal["present", "headers", "decode"]  # how closely to look at images, see `peclr.data.sources.headers`

DEPTHS: Final[tuple[Depth, ...]] = get_args(Depth)
SPLITS: Final[dict[DataSet, tuple[str, ...]]] = {
    "freihand": ("training", "evaluation"),
    "youtube3d": ("train", "val", "test"),
}
LAYOUTS: Final[dict[DataSet, str]] = {
    "freihand": "training/rgb/00000000.jpg … with training_K.json, training_xyz.json, training_scale.json",
    "youtube3d": "youtube_train.json, and frames in youtube/VIDEO/video/frames/",
}
# What says that a split is there, whole or not.
_SIGNS: Final[dict[DataSet, tuple[str, ...]]] = {
    "freihand": ("{}/rgb", "{}_K.json", "{}_xyz.json"),
    "youtube3d": ("youtube_{}.json",),
}


def present_splits(dataset: DataSet, root: Path) -> list[str]:
    """The splits of a data set of which there is something below `root`."""
    signs = _SIGNS[dataset]
    return [split for split in SPLITS[dataset] if any((root / sign.format(split)).exists() for sign in signs)]


def freihand_labels(root: Path, split: str) -> dict[str, Path]:
    """The label files that a split of FreiHAND is read from.

    Evaluation joints were held back by the authors until their challenge was over, and may be missing.
    """
    files = {kind: root / f"{split}_{kind}.json" for kind in ("K", "scale", "xyz")}
    if split == "evaluation" and not files["xyz"].is_file():
        del files["xyz"]
    return files


def youtube3d_labels(root: Path, split: str) -> Path:
    """The label file of a split of YouTube3DHands."""
    return root / f"youtube_{split}.json"


def label_files(dataset: DataSet, root: Path, split: str) -> list[Path]:
    """The files that the labels of a split are packed from."""
    if dataset == "freihand":
        return list(freihand_labels(root, split).values())
    return [youtube3d_labels(root, split)]


def prepared_kind(dataset: DataSet, split: str) -> str:
    """The name of a split's packed labels."""
    return f"{dataset}_{split}"


def prepare_command(dataset: DataSet, root: Path, split: str) -> str:
    """The command that packs the labels of a split."""
    return f"peclr prepare {dataset} {root} --split {split}"

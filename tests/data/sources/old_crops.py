"""Crops as version 0.2 wrote them: a JPEG file each, and packed labels."""

from pathlib import Path

import numpy as np

from peclr.data.prepare.cutting import Cutting
from peclr.data.samples import HandSource
from peclr.data.sources.packed_labels import write_packed
from peclr.data.sources.shard_format import CUT


def write_old_crops(source: HandSource, folder: Path, cutting: Cutting = Cutting()) -> None:  # noqa: B008
    """Cut out all hands of a source."""
    cut = [cutting(source[index]) for index in range(len(source))]
    for index, crop in enumerate(cut):
        file = folder / f"{index // 1000:05d}" / f"{index:08d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(crop.encoded)
    arrays = {
        name: np.stack([np.full(column.shape, crop.labels.get(name, np.nan), column.kind) for crop in cut])
        for name, column in CUT.items()
    }
    hand = np.array([source.hand_of(index) for index in range(len(source))])
    version = np.argsort(hand, kind="stable")
    arrays |= {"hand": hand, "version": version, "hand_of_version": hand[version]}
    arrays["id"] = np.array([crop.labels["id"].encode() for crop in cut])
    facts = {"source": source.name, "skipped": {"99": "a.jpg is empty"}, **cutting._asdict()}
    write_packed(folder, "crops", arrays, {}, facts)

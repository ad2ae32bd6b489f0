"""From files on disk to batches: readers, views with their matrices, data sets and Lightning data modules."""

from typing import TYPE_CHECKING

from peclr.lazy import lazy_names

if TYPE_CHECKING:
    from peclr.data.datamodules import LabeledHandDataModule, PairedViewDataModule
    from peclr.data.samples import HandSample, HandSource
    from peclr.data.sources.freihand import FreiHAND
    from peclr.data.sources.image_files import ImageFiles
    from peclr.data.sources.layouts import open_source
    from peclr.data.sources.shards import Shards
    from peclr.data.sources.videos import Videos
    from peclr.data.sources.youtube3d import YouTube3DHands

__all__ = [
    "FreiHAND",
    "HandSample",
    "HandSource",
    "ImageFiles",
    "LabeledHandDataModule",
    "PairedViewDataModule",
    "Shards",
    "Videos",
    "YouTube3DHands",
    "open_source",
]

_HOMES = {
    "datamodules": ("LabeledHandDataModule", "PairedViewDataModule"),
    "samples": ("HandSample", "HandSource"),
    "sources.freihand": ("FreiHAND",),
    "sources.image_files": ("ImageFiles",),
    "sources.layouts": ("open_source",),
    "sources.shards": ("Shards",),
    "sources.videos": ("Videos",),
    "sources.youtube3d": ("YouTube3DHands",),
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)

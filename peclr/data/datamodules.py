"""Lightning data modules: paired views for pre-training, labeled hands for fine-tuning and evaluation.

Both take hands from a `root`, the path of anything that `open_source` recognizes, or from `sources`, readers with
options of their own; exactly one of the two. Configs may name the classes that are imported here without their modules.
"""

import logging
import math
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from peclr.data.datasets import Augmentation, PairedViewDataset
from peclr.data.labeled import LabeledHandDataModule as LabeledHandDataModule
from peclr.data.loading.amounts import AUTO, Auto, batch_for, splits_for
from peclr.data.loading.loaders import NumWorkers, ResumableLoader, loader_of, process_of
from peclr.data.loading.pairing import (  # noqa: F401 (for configs)
    AcrossCameras,
    AcrossVersions,
    NearbyFrames,
    Pairing,
    PairingName,
    SameImage,
    Similar,
    pairings_of,
)
from peclr.data.loading.sampling import HandsOf, check_weights
from peclr.data.loading.shards_at_once import shards_at_once_of
from peclr.data.loading.skipping import OnBadImage
from peclr.data.options import GEOMETRY, PHOTOMETRIC, Published, check_sizes, one_of, ranges
from peclr.data.samples import HandSource
from peclr.data.sources import open_source
from peclr.data.sources.coco_hands import CocoHands  # noqa: F401 (for configs)
from peclr.data.sources.composed import SelectedHands
from peclr.data.sources.dexycb import DexYCB  # noqa: F401 (for configs)
from peclr.data.sources.freihand import FreiHAND  # noqa: F401 (for configs)
from peclr.data.sources.hanco import HanCo  # noqa: F401 (for configs)
from peclr.data.sources.ho3d import HO3D  # noqa: F401 (for configs)
from peclr.data.sources.image_files import ImageFiles  # noqa: F401 (for configs)
from peclr.data.sources.interhand import InterHand  # noqa: F401 (for configs)
from peclr.data.sources.rhd import RHD  # noqa: F401 (for configs)
from peclr.data.sources.selection import Split, count_hands, split_source
from peclr.data.sources.shards import PreparedCrops, Shards  # noqa: F401 (for configs)
from peclr.data.sources.videos import Videos  # noqa: F401 (for configs)
from peclr.data.sources.youtube3d import YouTube3DHands  # noqa: F401 (for configs)
from peclr.data.views.backgrounds import ReplaceBackground
from peclr.data.views.geometric import Border, GeometryRange
from peclr.data.views.photometric import Photometric

_log = logging.getLogger(__name__)


class PairedViewDataModule(pl.LightningDataModule):
    """Pairs of augmented views, batches of `PairedViewBatch`."""

    def __init__(
        self,
        root: str | Path | None = None,
        pairing: Pairing | PairingName | list[Pairing | PairingName] = "same_image",
        *,
        sources: HandSource | list[HandSource] | None = None,
        view_size: int = 128,
        geometry: GeometryRange | Published | None = GEOMETRY,
        photometric: Photometric | Published | None = PHOTOMETRIC,
        batch_size: int | Auto = AUTO,
        num_workers: NumWorkers = 0,
        val_fraction: float | Auto = AUTO,
        epoch_length: int | None = None,
        seed: int = 0,
        border: Border = "black",
        weights: list[float] | None = None,
        on_bad_image: OnBadImage = "error",
        with_joints: bool = False,
        unique_hands_in_batch: bool = False,
        background: ReplaceBackground | None = None,
        shards_at_once: int | Auto = AUTO,
    ) -> None:
        """Hold out validation hands and make the data sets.

        Args:
            root: Path of the images: a data set's folder, crops, a folder of images or of videos, or a pattern of them.
            sources: One reader or several instead; several are drawn from with replacement.
            pairing: Which two images the views of a pair are of: "same_image", as published, "across_versions",
                "across_cameras" or `AcrossCameras`, `NearbyFrames` of videos, or `Similar` with a file of `peclr mine`;
                of several sources perhaps a list, one of each.
            view_size: Side of a view, px.
            geometry: Geometric augmentation; null turns it off, "published" draws as the published code did.
            photometric: Photometric augmentation; null turns it off, "published" draws as the published code did.
            batch_size: Pairs per batch, of all devices together; "auto" is the published 128, less where data are few.
            num_workers: Processes that load, of all devices together; "auto" makes one for every core.
            val_fraction: Fraction of each source's hands to hold out for the validation loss; 0 for none. "auto" is the
                published 0.05, none where data are few.
            epoch_length: Pairs per epoch, drawn with replacement; by default as many as there are items.
            seed: Of the split, the order and the views.
            border: What views show beyond an image: "black", or "reflect", which does not show how a view was turned.
            weights: How often each source is drawn from, in any unit; by default all are equally often, as published.
            on_bad_image: "error" stops at an image that cannot be read; "skip" takes another one, and lists what was
                skipped in the run's folder.
            with_joints: Whether batches have `joints_2d`, which objectives that weigh pairs by their pose need.
            unique_hands_in_batch: Keeps two versions or frames of a hand, false negatives, out of one batch.
            background: Replaces what is around the hands, see `ReplaceBackground`; needs a mask of every hand.
            shards_at_once: Shards to read from at a time: the order goes from one to the next, so that those of an
                address need not all be in the cache; "auto" is 16 of an address, and 0, all, of a folder.
        """
        super().__init__()
        check_sizes(view_size, batch_size)
        root, given = one_of(root, sources)
        sources = given or [open_source(root)]
        if weights is not None:
            check_weights(weights, len(sources))
        self.view_size, self.num_workers, self.seed = view_size, num_workers, seed
        self.epoch_length, self.weights = epoch_length, weights
        if on_bad_image == "error":
            for source in sources:
                source.check_images()

        def split(fraction: float) -> list[Split]:
            return [split_source(source, fraction, seed) for source in sources]

        if val_fraction == AUTO:
            self.val_fraction, splits = splits_for([source.num_hands for source in sources], split)
        else:
            self.val_fraction, splits = val_fraction, split(float(val_fraction))
        for source, own in zip(sources, pairings_of(pairing, len(sources)), strict=True):
            if isinstance(own, AcrossVersions) and len(source) == source.num_hands:
                single = "each hand has one image: both views are of it, as with pairing same_image"
                _log.warning("%s, pairing across_versions: %s", source.name, single)
        augmentation = Augmentation(
            ranges("geometry", geometry, GeometryRange.published()),
            ranges("photometric", photometric, Photometric.published()),
            border=border,
            background=background,
        )

        def pairs(part: int) -> PairedViewDataset:
            return PairedViewDataset(
                [SelectedHands(source, split[part]) for source, split in zip(sources, splits, strict=True)],
                pairing,
                view_size=view_size,
                augmentation=augmentation,
                seed=seed,
                on_bad_image=on_bad_image,
                with_joints=with_joints,
                shards_at_once=0 if part else shards_at_once_of(shards_at_once, sources),
            )

        self.train_set = pairs(0)
        self.train_set.check_caches(self.val_fraction)
        self.val_set = pairs(1) if self.val_fraction else None
        self._unique_hands = unique_hands_in_batch
        self.batch_size = batch_for(self.pairs) if batch_size == AUTO else batch_size
        while batch_size == AUTO and self.batch_size > 2 and self._repeats():
            self.batch_size //= 2
        options: dict[str, float | Auto] = {"batch_size": batch_size, "val_fraction": val_fraction}
        # what was left to the amount of data, and what it is
        self.chosen = {name: float(getattr(self, name)) for name, value in options.items() if value == AUTO}
        self._check_batches()

    @property
    def pairs(self) -> int:
        """Of an epoch."""
        return len(self.train_set) if self.epoch_length is None else self.epoch_length

    def _check_batches(self) -> None:
        """Refuse batches that are longer than an epoch, or in which hands have to repeat."""
        if self.pairs < 2:
            raise ValueError("there is 1 pair to train on, which leaves nothing to contrast with; expected at least 2")
        if self.pairs < self.batch_size:
            raise ValueError(f"batch_size {self.batch_size} is more than the {self.pairs} pairs of an epoch")
        if self.batch_size < 2:
            raise ValueError(f"batch_size {self.batch_size} leaves nothing to contrast with; expected at least 2")
        if self.val_set is not None and len(self.val_set) < 2:
            raise ValueError(f"val_fraction {self.val_fraction} holds out 1 pair; a contrast needs at least 2, or none")
        if repeats := self._repeats():
            raise ValueError(repeats)

    def _repeats(self) -> str | None:
        """Why hands have to repeat in a batch that is to show each once; None if they need not."""
        weights = self.weights or [1.0] * len(self.train_set.sources)
        for source, weight in zip(self.train_set.sources if self._unique_hands else (), weights, strict=False):
            pairs = self.batch_size * weight / sum(weights)
            hands = count_hands(source, math.ceil(pairs))
            if pairs > hands:
                return (
                    f"unique_hands_in_batch: of a batch of {self.batch_size} pairs {pairs:.0f} are from "
                    f"{source.name}, which has {hands} hands" + ("" if hands == source.num_hands else " (tracks)")
                )
        return None

    def train_dataloader(self) -> ResumableLoader:
        """Shuffled; full batches only, as the loss depends on their size."""
        unique = self._unique(self.train_set)
        return loader_of(
            self,
            self.train_set,
            training=True,
            length=self.epoch_length,
            weights=self.weights,
            unique=unique,
            in_shards=self.train_set.in_shards,
        )

    def val_dataloader(self) -> ResumableLoader | list[Any]:
        """The held-out hands, the same views at every validation; full batches only, if there is one."""
        if self.val_set is None:
            return []
        length = len(self.val_set)
        # processes meet in every batch: all of them have as many; in one batch, one more pair than others
        even = length >= self.batch_size or length < process_of(self.trainer)[1]
        return loader_of(self, self.val_set, even=even, unique=self._unique(self.val_set))

    def _unique(self, dataset: PairedViewDataset) -> tuple[HandsOf, int] | None:
        return (dataset.hands_of, self.batch_size) if self._unique_hands else None

    def teardown(self, stage: str) -> None:
        """Say how many images were skipped."""
        for dataset in filter(None, (self.train_set, self.val_set)):
            dataset.skipped.report()


LabelledHandDataModule = LabeledHandDataModule  # its name before 0.2

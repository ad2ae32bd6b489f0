"""Lightning data modules: paired views for pre-training, labeled hands for fine-tuning and evaluation.

Both take hands from a `root`, the path of anything that `open_source` recognizes, or from `sources`, readers with
options of their own; exactly one of the two. Configs may name the classes that are imported here without their modules.
"""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray

from peclr.data.datasets import NOTHING, Augmentation, LabeledHandDataset, PairedViewDataset
from peclr.data.loading.amounts import AUTO, Auto, Split, batch_for, splits_for
from peclr.data.loading.loaders import NumWorkers, ResumableLoader, make_loader, process_of, shuffles, workers_of
from peclr.data.loading.pairing import (  # noqa: F401 (for configs)
    AcrossVersions,
    NearbyFrames,
    Pairing,
    PairingName,
    SameImage,
    Similar,
    pairing_of,
)
from peclr.data.loading.sampling import EpochSampler, check_weights
from peclr.data.loading.skipping import OnBadImage
from peclr.data.samples import HandSource
from peclr.data.sources import open_source
from peclr.data.sources.dexycb import DexYCB  # noqa: F401 (for configs)
from peclr.data.sources.freihand import Crop, FreiHAND
from peclr.data.sources.ho3d import HO3D  # noqa: F401 (for configs)
from peclr.data.sources.image_files import ImageFiles  # noqa: F401 (for configs)
from peclr.data.sources.layouts import present_splits
from peclr.data.sources.selection import JoinedHands, SelectedHands, hand_count, split_source, tracks_of
from peclr.data.sources.shards import PreparedCrops, Shards  # noqa: F401 (for configs)
from peclr.data.sources.videos import Videos  # noqa: F401 (for configs)
from peclr.data.sources.youtube3d import YouTube3DHands  # noqa: F401 (for configs)
from peclr.data.views.backgrounds import ReplaceBackground
from peclr.data.views.geometric import Border, GeometryRange
from peclr.data.views.photometric import Photometric
from peclr.geometry.planar import PUBLISHED_CROP_MARGIN

_GEOMETRY: Final = GeometryRange()
_PHOTOMETRIC: Final = Photometric()

Published = Literal["published", "reference"]  # the second is its name before 0.2

_log = logging.getLogger(__name__)

Ranges = TypeVar("Ranges", GeometryRange, Photometric)


class PairedViewDataModule(pl.LightningDataModule):
    """Pairs of augmented views, batches of `PairedViewBatch`."""

    def __init__(
        self,
        root: str | Path | None = None,
        pairing: Pairing | PairingName = "same_image",
        *,
        sources: HandSource | list[HandSource] | None = None,
        view_size: int = 128,
        geometry: GeometryRange | Published | None = _GEOMETRY,
        photometric: Photometric | Published | None = _PHOTOMETRIC,
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
    ) -> None:
        """Hold out validation hands and make the data sets.

        Args:
            root: Path of the images: a data set's folder, crops, a folder of images or of videos, or a pattern of them.
            sources: One reader or several instead; several are drawn from with replacement.
            pairing: Which two images the views of a pair are of: "same_image", as published, "across_versions",
                `NearbyFrames` of videos, or `Similar` with a file of `peclr mine`.
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
        """
        super().__init__()
        _check_sizes(view_size, batch_size)
        root, given = _one_of(root, sources)
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
        for source in sources if isinstance(pairing_of(pairing), AcrossVersions) else ():
            if len(source) == source.num_hands:
                single = "each hand has one image: both views are of it, as with pairing same_image"
                _log.warning("%s, pairing across_versions: %s", source.name, single)
        augmentation = Augmentation(
            _ranges("geometry", geometry, GeometryRange.published()),
            _ranges("photometric", photometric, Photometric.published()),
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
            )

        self.train_set = pairs(0)
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
            tracks = tracks_of(source)
            hands = source.num_hands if tracks is None else len(np.unique(tracks.first_hand()))
            if pairs > hands:
                return (
                    f"unique_hands_in_batch: of a batch of {self.batch_size} pairs {pairs:.0f} are from "
                    f"{source.name}, which has {hands} hands" + ("" if tracks is None else " (tracks)")
                )
        return None

    def train_dataloader(self) -> ResumableLoader:
        """Shuffled; full batches only, as the loss depends on their size."""
        unique = self._unique(self.train_set)
        return _loader(
            self, self.train_set, training=True, length=self.epoch_length, weights=self.weights, unique=unique
        )

    def val_dataloader(self) -> ResumableLoader | list[Any]:
        """The held-out hands, the same views at every validation; full batches only, if there is one."""
        if self.val_set is None:
            return []
        length = len(self.val_set)
        # processes meet in every batch: all of them have as many; in one batch, one more pair than others
        even = length >= self.batch_size or length < process_of(self.trainer)[1]
        return _loader(self, self.val_set, even=even, unique=self._unique(self.val_set))

    def _unique(self, dataset: PairedViewDataset) -> tuple[NDArray[np.int64], int] | None:
        return (dataset.hands(), self.batch_size) if self._unique_hands else None

    def teardown(self, stage: str) -> None:
        """Say how many images were skipped."""
        for dataset in filter(None, (self.train_set, self.val_set)):
            dataset.skipped.report()


class LabeledHandDataModule(pl.LightningDataModule):
    """Labeled hands, batches of `LabeledBatch`.

    Training and validation hands are from the training split, test and prediction from the evaluation split.
    Validation hands depend on the seed alone, and fewer labels are a subset of more.
    """

    # after `setup`
    train_set: LabeledHandDataset
    val_set: LabeledHandDataset | None
    test_set: LabeledHandDataset

    def __init__(
        self,
        root: str | Path | None = None,
        view_size: int = 224,
        *,
        sources: HandSource | list[HandSource] | None = None,
        test_sources: HandSource | list[HandSource] | None = None,
        geometry: GeometryRange | None = _GEOMETRY,
        photometric: Photometric | None = _PHOTOMETRIC,
        batch_size: int = 128,
        num_workers: NumWorkers = 0,
        label_fraction: float = 1.0,
        num_labels: int | None = None,
        val_fraction: float = 0.1,
        crop: Crop = "keypoints",
        crop_margin: float = PUBLISHED_CROP_MARGIN,
        seed: int = 0,
        border: Border = "black",
        on_bad_image: OnBadImage = "error",
    ) -> None:
        """Check the options; `setup` reads the files.

        Args:
            root: Folder of a data set with both splits, for example in FreiHAND's layout.
            sources: Readers of the hands to train on and to hold out instead; images of all are equally often.
            test_sources: Beside `sources`, readers of the hands to test on, or to predict.
            view_size: Side of a view, px.
            geometry: Geometric augmentation in training; null turns it off.
            photometric: Photometric augmentation in training; null turns it off.
            batch_size: Images per batch, of all devices together.
            num_workers: Processes that load, of all devices together; "auto" makes one for every core.
            label_fraction: Fraction of the training hands whose labels may be used, in (0, 1].
            num_labels: Their number instead.
            val_fraction: Fraction of the training split's hands to hold out; 0 for no validation.
            crop: Of a `root` in FreiHAND's layout, as of `FreiHAND`, in evaluation, too.
            crop_margin: Of crops around keypoints: half their side over the distance of the farthest one.
            seed: Of the split, the choice of labels, the order and the views.
            border: What views show beyond an image: "black", or "reflect", its mirror image.
            on_bad_image: As of `PairedViewDataModule`; validation and test always stop.
        """
        super().__init__()
        _check_sizes(view_size, batch_size)
        if not 0 < label_fraction <= 1:
            raise ValueError(f"label_fraction {label_fraction} is outside (0, 1]")
        if num_labels is not None and label_fraction != 1:
            raise ValueError(f"give label_fraction {label_fraction} or num_labels {num_labels}, not both")
        if not 0 <= val_fraction < 1:
            raise ValueError(f"val_fraction {val_fraction} is outside [0, 1)")
        self.root, self._sources = _one_of(root, sources)
        self._test_sources = _listed(test_sources)
        if self._test_sources and not self._sources:
            raise ValueError(
                "data.test_sources go with data.sources; of a data.root, the evaluation split is tested on"
            )
        options = {"crop": crop, "crop_margin": crop_margin}
        # readers that are given, or of other data sets, have no such options
        self._options = {} if options == {"crop": "keypoints", "crop_margin": PUBLISHED_CROP_MARGIN} else options
        if self._options and not (self.root and present_splits("freihand", Path(self.root))):
            raise ValueError(f"crop {crop}, crop_margin {crop_margin}: these are of a data.root in FreiHAND's layout")
        self.view_size = view_size
        # checkpoints of fine-tuning note them; readers have margins of their own
        self.border, self.crop_margin = border, crop_margin if self.root else None
        self.augmentation, self.on_bad_image = Augmentation(geometry, photometric, border=border), on_bad_image
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.labels = float(label_fraction) if num_labels is None else num_labels
        self.val_fraction = float(val_fraction)

    def setup(self, stage: str) -> None:
        """Read and check the labels of the splits that `stage` needs."""
        if stage in ("fit", "validate") and not hasattr(self, "train_set"):
            training = self._read(self._sources)
            train_hands, val_hands = split_source(training, self.val_fraction, self.seed)
            what = "num_labels" if isinstance(self.labels, int) else "label_fraction"
            labeled = train_hands[: hand_count(self.labels, len(train_hands), what)]
            self.train_set = LabeledHandDataset(
                SelectedHands(training, labeled),
                self.view_size,
                augmentation=self.augmentation,
                seed=self.seed,
                on_bad_image=self.on_bad_image,
            )
            if self.on_bad_image == "error":
                self.train_set[0]  # here, that labels lack a camera is said before anything else
            self.val_set = self._unaugmented(SelectedHands(training, val_hands)) if len(val_hands) else None
        if stage in ("test", "predict"):
            if self._sources and not self._test_sources:
                raise ValueError(f"{stage}: data.sources are for training; give data.test_sources, or a data.root")
            evaluation = self._read(self._test_sources, "evaluation")
            if stage == "test" and isinstance(evaluation, FreiHAND) and not evaluation.has_labels:
                raise ValueError(f"{evaluation.root / 'evaluation_xyz.json'} is missing: only predictions can be made")
            self.test_set = self._unaugmented(evaluation)

    def _unaugmented(self, source: HandSource) -> LabeledHandDataset:
        still = replace(NOTHING, border=self.augmentation.border)
        return LabeledHandDataset(source, self.view_size, augmentation=still)

    def _read(self, given: list[HandSource], split: str | None = None) -> HandSource:
        sources = given or [open_source(self.root, split, **self._options)]
        source = sources[0] if len(sources) == 1 else JoinedHands(sources)
        if self.on_bad_image == "error":
            source.check_images()
        return source

    def train_dataloader(self) -> ResumableLoader:
        """Shuffled images of the labeled hands, every version an image of its own."""
        return _loader(self, self.train_set, training=True)  # a last batch of one image would stop batch normalization

    def val_dataloader(self) -> ResumableLoader | list[Any]:
        """The held-out hands of the training split."""
        return [] if self.val_set is None else _loader(self, self.val_set, even=False, full=False)

    def test_dataloader(self) -> ResumableLoader:
        """The evaluation split."""
        return _loader(self, self.test_set, even=False, full=False)

    def predict_dataloader(self) -> ResumableLoader:
        """The evaluation split, which may lack labels."""
        return self.test_dataloader()

    def teardown(self, stage: str) -> None:
        """Say how many images were skipped."""
        if stage == "fit":
            self.train_set.skipped.report()


LabelledHandDataModule = LabeledHandDataModule  # its name before 0.2


def _one_of(root: Any, sources: HandSource | list[HandSource] | None) -> tuple[str | Path, list[HandSource]]:
    """Return a path, or else readers; ValueError unless there is exactly one of the two."""
    if isinstance(root, HandSource | list):  # in version 0.1, readers stood in its place
        root, sources = None, root
    listed = _listed(sources)
    check_given(root, listed)
    return root or "", listed


def check_given(root: Any, sources: Any) -> None:
    """Refuse data of neither path nor readers, or of both."""
    if bool(root) == bool(sources):
        if sources:
            raise ValueError(f"data.root {root} and data.sources are both given; expected one of them, the other null")
        kinds = "data.root, the path of a data set, of images or of videos, or data.sources, readers with options"
        raise ValueError(f"no data: give {kinds}")


def _listed(sources: HandSource | list[HandSource] | None) -> list[HandSource]:
    return sources if isinstance(sources, list) else [] if sources is None else [sources]


def _check_sizes(view_size: int, batch_size: int | Auto) -> None:
    """Refuse sizes below 1 before anything is read."""
    for name, size in (("view_size", view_size), ("batch_size", batch_size)):
        if size != AUTO and size < 1:
            raise ValueError(f"{name} {size}: expected at least 1")


def _ranges(option: str, chosen: Ranges | Published | None, published: Ranges) -> Ranges | None:
    if not isinstance(chosen, str):
        return chosen
    if chosen not in get_args(Published):
        raise ValueError(f"{option} {chosen!r} does not exist; by name there is only 'published'")
    return published


def _loader(
    module: PairedViewDataModule | LabeledHandDataModule,
    dataset: PairedViewDataset | LabeledHandDataset,
    *,
    training: bool = False,
    even: bool = True,
    full: bool = True,
    **order: Any,
) -> ResumableLoader:
    """Load `even` shares for all processes, in `full` batches only if there is one, by options of `EpochSampler`."""
    trainer, shuffle = module.trainer, training and shuffles(module.trainer)
    if trainer is not None:
        dataset.skipped.write_to(Path(trainer.default_root_dir))
    process = process_of(trainer)
    sampler = EpochSampler(dataset.sizes, module.seed, shuffle=shuffle, process=process, drop_last=even, **order)
    return make_loader(
        dataset,
        sampler,
        batch_size=module.batch_size,
        num_workers=workers_of(module.num_workers, trainer),
        drop_last=full and sampler.total >= module.batch_size,
        trainer=trainer if training else None,
    )

"""Labeled hands for fine-tuning and evaluation, as a Lightning data module."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray

from peclr.data.datasets import NOTHING, Augmentation, LabeledHandDataset
from peclr.data.labels import labels_in_view
from peclr.data.loading.loaders import NumWorkers, ResumableLoader, loader_of
from peclr.data.loading.sampling import check_weights
from peclr.data.loading.shards_at_once import in_shards
from peclr.data.loading.skipping import OnBadImage
from peclr.data.options import GEOMETRY, PHOTOMETRIC, as_list, check_sizes, one_of
from peclr.data.samples import HandSource
from peclr.data.sources import open_source
from peclr.data.sources.composed import JoinedHands, SelectedHands
from peclr.data.sources.freihand import Crop, FreiHAND
from peclr.data.sources.layouts import present_splits, splits_of
from peclr.data.sources.selection import hand_count, pseudo_labels_of, split_source
from peclr.data.sources.some_hands import listed
from peclr.data.views.geometric import Border, GeometryRange
from peclr.data.views.photometric import Photometric
from peclr.geometry.planar import PUBLISHED_CROP_MARGIN

_log = logging.getLogger(__name__)

_LOOKED_AT: Final = 16  # hands of a source, among which one must have labels


class LabeledHandDataModule(pl.LightningDataModule):
    """Labeled hands, batches of `LabeledBatch`, of one data set or of several.

    Training and validation hands are from the training split, test and prediction from the evaluation split, or where
    a set calls it so, the test split.
    Validation hands depend on the seed alone, and fewer labels are a subset of more.
    """

    # after `setup`
    train_set: LabeledHandDataset
    val_set: LabeledHandDataset | None
    test_set: LabeledHandDataset
    teacher: str | None  # who made the labels that scores are against, where these are pseudo-labels

    def __init__(
        self,
        root: str | Path | None = None,
        view_size: int = 224,
        *,
        sources: HandSource | list[HandSource] | None = None,
        test_sources: HandSource | list[HandSource] | None = None,
        geometry: GeometryRange | None = GEOMETRY,
        photometric: Photometric | None = PHOTOMETRIC,
        batch_size: int = 128,
        num_workers: NumWorkers = 0,
        label_fraction: float = 1.0,
        num_labels: int | None = None,
        val_fraction: float = 0.1,
        epoch_length: int | None = None,
        weights: list[float] | None = None,
        split: str | None = None,
        crop: Crop = "keypoints",
        crop_margin: float = PUBLISHED_CROP_MARGIN,
        seed: int = 0,
        border: Border = "black",
        on_bad_image: OnBadImage = "error",
    ) -> None:
        """Check the options; `setup` reads the files.

        Args:
            root: Folder of a data set with both splits, for example in FreiHAND's layout.
            sources: Readers of the hands to train on and to hold out instead; each image comes once an epoch.
            test_sources: Beside `sources`, readers of the hands to test on, or to predict.
            view_size: Side of a view, px.
            geometry: Geometric augmentation in training; null turns it off.
            photometric: Photometric augmentation in training; null turns it off.
            batch_size: Images per batch, of all devices together.
            num_workers: Processes that load, of all devices together; "auto" makes one for every core.
            label_fraction: Fraction of the training hands whose labels may be used, in (0, 1].
            num_labels: Their number instead.
            val_fraction: Fraction of the training split's hands to hold out; 0 for no validation.
            epoch_length: Images per epoch, drawn with replacement; by default as many as there are.
            weights: How often each source is drawn from, in any unit, with replacement, however large it is.
            split: Of a `root` that is divided in several ways, which: "s0" to "s3" of DexYCB.
            crop: Of a `root` in FreiHAND's layout, as of `FreiHAND`, in evaluation, too.
            crop_margin: Of crops around keypoints: half their side over the distance of the farthest one.
            seed: Of the split, the choice of labels, the order and the views.
            border: What views show beyond an image: "black", or "reflect", its mirror image.
            on_bad_image: As of `PairedViewDataModule`; validation and test always stop.
        """
        super().__init__()
        check_sizes(view_size, batch_size)
        if not 0 < label_fraction <= 1:
            raise ValueError(f"label_fraction {label_fraction} is outside (0, 1]")
        if num_labels is not None and label_fraction != 1:
            raise ValueError(f"give label_fraction {label_fraction} or num_labels {num_labels}, not both")
        if not 0 <= val_fraction < 1:
            raise ValueError(f"val_fraction {val_fraction} is outside [0, 1)")
        if epoch_length is not None and epoch_length < 1:
            raise ValueError(f"epoch_length {epoch_length}: expected at least 1")
        self.root, self._sources = one_of(root, sources)
        if weights is not None:
            check_weights(weights, max(1, len(self._sources)))
        if split is not None and self._sources:
            raise ValueError(f"data.split {split} is of a data.root; readers of data.sources have one of their own")
        self.epoch_length, self.weights, self._split = epoch_length, weights, split
        self.teacher = None
        self._test_sources = as_list(test_sources)
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
            training = self._read(self._sources, testing=False)
            train_hands, val_hands = split_source(training, self.val_fraction, self.seed)
            what = "num_labels" if isinstance(self.labels, int) else "label_fraction"
            labeled = train_hands[: hand_count(self.labels, len(train_hands), what)]
            labeled, sizes = (labeled, None) if self.weights is None else by_source(training, listed(labeled))
            self.train_set = LabeledHandDataset(
                SelectedHands(training, labeled),
                self.view_size,
                augmentation=self.augmentation,
                seed=self.seed,
                on_bad_image=self.on_bad_image,
                sizes=sizes,
            )
            self._check_labels(training)
            self.val_set = self._unaugmented(SelectedHands(training, val_hands)) if len(val_hands) else None
        if stage in ("test", "predict"):
            if self._sources and not self._test_sources:
                raise ValueError(f"{stage}: data.sources are for training; give data.test_sources, or a data.root")
            evaluation = self._read(self._test_sources, testing=True)
            if stage == "test" and isinstance(evaluation, FreiHAND) and not evaluation.has_labels:
                raise ValueError(f"{evaluation.root / 'evaluation_xyz.json'} is missing: only predictions can be made")
            if stage == "test":
                self._check_labels(evaluation)
            self.test_set = self._unaugmented(evaluation)

    def _check_labels(self, source: HandSource) -> None:
        """Refuse a source without labels before anything is computed."""
        for one in source.sources if isinstance(source, JoinedHands) else (source,):
            if self.on_bad_image == "error":
                check_labels(one)

    def _unaugmented(self, source: HandSource) -> LabeledHandDataset:
        still = replace(NOTHING, border=self.augmentation.border)
        return LabeledHandDataset(source, self.view_size, augmentation=still)

    def _read(self, given: list[HandSource], *, testing: bool) -> HandSource:
        sources = given or [open_source(self.root, splits_of(self.root, self._split)[testing], **self._options)]
        source = sources[0] if len(sources) == 1 else JoinedHands(sources)
        if teacher := pseudo_labels_of(source):
            _log.warning("labels are pseudo: scores are agreement with %s, not accuracy", teacher)
        self.teacher = teacher
        for shards in in_shards(source):
            shards.check_cache(None, "fine-tuning, validation and test read from all shards at once")
        if self.on_bad_image == "error":
            source.check_images()
        return source

    def train_dataloader(self) -> ResumableLoader:
        """Shuffled images of the labeled hands, every version an image of its own."""
        # full batches only: a last one of one image would stop batch normalization
        return loader_of(self, self.train_set, training=True, length=self.epoch_length, weights=self.weights)

    def val_dataloader(self) -> ResumableLoader | list[Any]:
        """The held-out hands of the training split."""
        return [] if self.val_set is None else loader_of(self, self.val_set, even=False, full=False)

    def test_dataloader(self) -> ResumableLoader:
        """The evaluation split."""
        return loader_of(self, self.test_set, even=False, full=False)

    def predict_dataloader(self) -> ResumableLoader:
        """The evaluation split, which may lack labels."""
        return self.test_dataloader()

    def teardown(self, stage: str) -> None:
        """Say how many images were skipped."""
        if stage == "fit":
            self.train_set.skipped.report()


def by_source(source: HandSource, hands: NDArray[np.int64]) -> tuple[NDArray[np.int64], list[int]]:
    """Put hands in the order of the sources that they are from, and count the images of each source.

    ValueError where one has none of them.
    """
    if not isinstance(source, JoinedHands):
        return hands, [int(source.images_of_hands(hands)[1].sum())]
    number = source.source_of_hands()[hands]
    parts = [hands[number == one] for one in range(len(source.sources))]
    for part, one in zip(parts, source.sources, strict=True):
        if not len(part):
            raise ValueError(f"of the {len(hands)} labeled hands none is of {one.name}, which has a weight; take more")
    return np.concatenate(parts), [int(source.images_of_hands(part)[1].sum()) for part in parts]


def check_labels(source: HandSource) -> None:
    """Refuse a source of which no hand, of a few from everywhere in it, has a label to learn from or to score by."""
    for hand in np.unique(np.linspace(0, source.num_hands - 1, _LOOKED_AT).astype(int)).tolist():
        sample = source[source.versions_of(hand)[0]]
        if labels_in_view(sample, np.eye(3))["joint_valid"].any():
            return
    raise ValueError(
        f"{source.name}, {sample['id']}: no label, neither joints in the image nor joints in space with a camera K; "
        "`peclr collect` labels images"
    )

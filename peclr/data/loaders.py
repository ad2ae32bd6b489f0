"""Data loaders whose place in an epoch can be saved and restored."""

from collections.abc import Callable
from typing import Any

import cv2
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from peclr.data.sampling import EpochSampler

Progress = Callable[[], tuple[int, int]]


class ResumableLoader(DataLoader[Any]):
    """A loader whose state is two integers, epoch and position, which Lightning saves and restores.

    Workers load ahead, so the loader does not know what was used: the trainer does. A position counts items, of all
    processes together. It stays what it is when the number of workers or processes changes; for Lightning to carry on
    in the middle of an epoch, all processes together must also use as many items per step as before, as it counts
    steps.
    """

    sampler: EpochSampler

    def __init__(
        self, dataset: Dataset[Any], batch_size: int, progress: Progress | None = None, **options: Any
    ) -> None:
        """Makes a loader.

        Args:
            dataset: Of keys (epoch, index).
            batch_size: Items per batch and process.
            progress: Tells epoch and number of batches of it that have been used, see `progress_of`.
            options: Of DataLoader; `sampler` has to be an EpochSampler.
        """
        super().__init__(dataset, batch_size, **options)
        self._progress = progress

    def state_dict(self) -> dict[str, int]:
        """Epoch, and position in it."""
        if self._progress is None:
            return {"epoch": self.sampler.epoch, "position": self.sampler.position}
        epoch, batches = self._progress()
        assert self.batch_size is not None
        return {"epoch": epoch, "position": batches * self.batch_size * self.sampler.num_replicas}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Goes there."""
        self.sampler.seek(state["epoch"], state["position"])


def make_loader(
    dataset: Dataset[Any],
    sampler: EpochSampler,
    batch_size: int,
    num_workers: int,
    drop_last: bool,
    trainer: pl.Trainer | None = None,
) -> ResumableLoader:
    """Makes a loader of one process.

    Args:
        dataset: Of keys (epoch, index).
        sampler: Of keys.
        batch_size: Items per batch and process.
        num_workers: Processes that load.
        drop_last: Whether to leave out a last batch that is not full.
        trainer: For training, what counts the batches that have been used.
    """
    if trainer is not None:
        # a run that resumes at the end of an epoch, or from a checkpoint without the loader's state
        epochs: Any = trainer.fit_loop.epoch_progress.current  # typed as a base class that lacks `processed`
        sampler.seek(epochs.processed, 0)
    return ResumableLoader(
        dataset,
        batch_size,
        progress=None if trainer is None else progress_of(trainer),
        sampler=sampler,
        num_workers=num_workers,
        drop_last=drop_last,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=num_workers > 0,
        worker_init_fn=_one_thread,
    )


def process_of(trainer: pl.Trainer | None) -> tuple[int, int]:
    """Rank of this process and number of processes."""
    return (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)


def progress_of(trainer: pl.Trainer) -> Progress:
    """Tells the epoch that a trainer is in, and how many batches of it have been trained on.

    A batch counts as soon as its step is done, as it does when Lightning resumes: a step that is interrupted is
    repeated, one whose checkpoint is written at its end is not.
    """

    def progress() -> tuple[int, int]:
        loop = trainer.fit_loop
        epochs: Any = loop.epoch_progress.current  # typed as base classes that lack these counts
        steps: Any = loop.epoch_loop.batch_progress.current
        epoch, batches = max(epochs.started - 1, 0), steps.processed
        if batches >= trainer.num_training_batches:  # all of them, which `limit_train_batches` may make fewer
            return epoch + 1, 0
        return epoch, batches

    return progress


def _one_thread(worker: int) -> None:
    """Keeps OpenCV from starting a thread per core in every worker, which then fight for the cores."""
    cv2.setNumThreads(0)

"""Data loaders whose place in an epoch can be saved and restored."""

import logging
import math
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import cv2
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from peclr.data.loading.sampling import EpochSampler
from peclr.data.sources.composed import SelectedHands
from peclr.data.sources.some_hands import SomeHands
from peclr.options import usable_cores

if TYPE_CHECKING:
    from peclr.data.datamodules import LabeledHandDataModule, PairedViewDataModule
    from peclr.data.datasets import LabeledHandDataset, PairedViewDataset

_log = logging.getLogger(__name__)

NumWorkers = int | Literal["auto"]

# the order of large epochs, see `EpochSampler`, and the split of many hands; the first kinds had no number
_COMPUTED: Final = 2
_GRACE_SECONDS = 20  # that workers outlive SIGTERM: schedulers give a job 30 s or so


class ResumableLoader(DataLoader[Any]):
    """A loader whose state is two integers, epoch and position, which Lightning saves and restores.

    Workers load ahead, so the loader does not know what was used: the trainer does. It counts steps, which must stay of
    one size in the middle of an epoch; positions count items of all processes together.
    """

    sampler: EpochSampler
    trainer: pl.Trainer | None = None

    def _has_computed_split(self) -> bool:
        sources = getattr(self.dataset, "sources", None) or [getattr(self.dataset, "source", None)]
        return any(isinstance(source, SelectedHands) and isinstance(source.hands, SomeHands) for source in sources)

    def state_dict(self) -> dict[str, int]:
        """Give the epoch and the position: a step counts when it is done, so that an interrupted one is repeated."""
        order = {"order": _COMPUTED} if self.sampler.computes else {}
        order |= {"split": _COMPUTED} if self._has_computed_split() else {}
        order |= {"shards_at_once": self.sampler.shards_at_once} if self.sampler.shards_at_once else {}
        if self.trainer is None:
            return {"epoch": self.sampler.epoch, "position": self.sampler.position} | order
        loop = self.trainer.fit_loop
        epochs: Any = loop.epoch_progress.current  # typed as base classes that lack these counts
        steps: Any = loop.epoch_loop.batch_progress.current
        epoch, batches = max(epochs.started - 1, 0), steps.processed
        if batches >= self.trainer.num_training_batches:  # all of them, which `limit_train_batches` may make fewer
            epoch, batches = epoch + 1, 0
        assert self.batch_size is not None
        return {"epoch": epoch, "position": batches * self.batch_size * self.sampler.num_replicas} | order

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go there; a run begun before large orders were computed goes on with its own.

        ValueError where other hands were held out than are now, as of more than a million before that was computed, or
        where it began with an order of other shards at once.
        """
        if self._has_computed_split() and state.get("split") != _COMPUTED:
            raise ValueError(
                "this run began when the split of more than a million hands was not computed: others would be held out "
                "now; go on with the version of peclr that it began with, or begin a new run"
            )
        begun, given = state.get("shards_at_once", 0), self.sampler.shards_at_once
        if begun != given:
            first = f"this run began with data.shards_at_once {begun}, on which the order of its data depends"
            raise ValueError(f"{first}; expected the same to go on, not {given}")
        if self.sampler.computes and state.get("order") != _COMPUTED:
            self.sampler.computes = False
            _log.warning("this run began with its order in memory, and goes on so: a new run starts faster")
        self.sampler.seek(state["epoch"], state["position"])


def make_loader(
    dataset: Dataset[Any],
    sampler: EpochSampler,
    *,
    batch_size: int,
    num_workers: int = 0,
    drop_last: bool = False,
    trainer: pl.Trainer | None = None,
) -> ResumableLoader:
    """Make a loader of one process, which gets its share of every batch: steps are the same on any number of devices.

    `batch_size` and `num_workers` are of all processes together. For training, `trainer` counts the batches used.
    """
    processes = sampler.num_replicas
    if batch_size % processes:
        raise ValueError(f"batch_size {batch_size} is of all processes and cannot be divided evenly among {processes}")
    num_workers = math.ceil(num_workers / processes)
    if trainer is not None:
        # a run that resumes at the end of an epoch, or from a checkpoint without the loader's state
        epochs: Any = trainer.fit_loop.epoch_progress.current  # typed as a base class that lacks `processed`
        sampler.seek(epochs.processed, 0)
    loader = ResumableLoader(
        dataset,
        batch_size // processes,
        sampler=sampler,
        num_workers=num_workers,
        drop_last=drop_last,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=num_workers > 0,
        worker_init_fn=_prepare_worker,
    )
    loader.trainer = trainer
    return loader


def loader_of(
    module: "PairedViewDataModule | LabeledHandDataModule",
    dataset: "PairedViewDataset | LabeledHandDataset",
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


def workers_of(num_workers: NumWorkers, trainer: pl.Trainer | None) -> int:
    """Number of loading processes of all training processes together.

    "auto" is one for every core: processes of a node share them, unless SLURM has bound each to cores of its own.
    """
    if isinstance(num_workers, int) and num_workers >= 0:
        return num_workers
    if num_workers != "auto":
        raise ValueError(f"num_workers is {num_workers!r}; expected a number from 0, or auto")
    cores = usable_cores()
    bound = cores <= int(os.environ.get("SLURM_CPUS_PER_TASK", "0"))
    sharing = 1 if trainer is None or bound else trainer.num_devices
    return max(1, cores // sharing) * process_of(trainer)[1]


def process_of(trainer: pl.Trainer | None) -> tuple[int, int]:
    """Rank of this process and number of processes."""
    return (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)


def shuffles(trainer: pl.Trainer | None) -> bool:
    """Whether to train in a new order and with new views in every epoch: not if a few batches are to be overfitted."""
    overfit: float = getattr(trainer, "overfit_batches", 0)  # set at run time
    return overfit == 0


def _prepare_worker(worker: int) -> None:
    """Keep OpenCV from starting a thread per core in every worker, and let workers outlive signals.

    These go to all processes of a job; the trainer, which a worker's death stops, wants to finish its step and save.
    """
    cv2.setNumThreads(0)
    for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    # not ignored, as a loader stops its workers by it: it comes into force later
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_GRACE_SECONDS))

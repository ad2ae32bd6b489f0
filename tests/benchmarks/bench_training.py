"""What Lightning and loading add to training: against a bare loop of the same network, and as a share of its steps.

A step under Lightning and a step of a bare loop take turns in one process: same network, same optimizer, same batches,
each drawn from a loader of its own. So both have the same share of the machine, and their ratio is about Lightning
and not about the machine's other work. In CPU time, one thread. Metrics are logged in every step, which is more often
than in the experiments' configs.
"""

import logging
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.profilers import SimpleProfiler

from peclr.data.datamodules import PairedViewDataModule
from peclr.losses.objectives import PeCLR
from peclr.models.encoders import ResNetEncoder
from peclr.synthetic.writer import write_freihand_layout
from peclr.training import PretrainModule
from peclr.training.callbacks import FiniteLoss
from peclr.training.optim import LARS, split_weight_decay
from tests.benchmarks.bench_views import one_thread_each
from tests.benchmarks.run import Row

HANDS, VIEW_SIZE, PAIRS = 64, 64, 32  # a step of half a ResNet-18 on 64 views takes 0.1 to 0.3 s
STEPS, WARM_UP = 28, 4


class BareStepsBetween(Callback):
    """After each step under Lightning makes one without, and notes the CPU seconds of both.

    A step under Lightning is all that happens between two steps without.
    """

    def __init__(self, module: PretrainModule, data: PairedViewDataModule) -> None:
        self.module, self.batches = module, iter(data.train_dataloader())
        self.optimizer = LARS(torch.optim.Adam(split_weight_decay(module.parameters(), 1e-6)))
        self.lightning, self.bare = list[float](), list[float]()
        self.begun = 0.0

    def on_train_epoch_start(self, *arguments: Any) -> None:
        """Begin to count."""
        self.begun = time.process_time()

    def on_train_batch_end(self, *arguments: Any) -> None:
        """A loop of five lines, once."""
        start = time.process_time()
        self.lightning.append(start - self.begun)
        batch = next(self.batches)
        self.optimizer.zero_grad()
        self.module.objective(self.module(batch["views"]), batch["view_from_crop"]).backward()
        self.optimizer.step()
        self.begun = time.process_time()
        self.bare.append(self.begun - start)


class QuietProfiler(SimpleProfiler):
    """Records, and prints no table."""

    def describe(self) -> None:
        """Nothing."""


def make(root: Path, num_workers: int) -> tuple[PretrainModule, PairedViewDataModule]:
    """The same network and data for every run."""
    torch.manual_seed(0)
    module = PretrainModule(ResNetEncoder("resnet18", width=0.5), PeCLR(), warmup_epochs=0)
    data = PairedViewDataModule(
        root,
        view_size=VIEW_SIZE,
        batch_size=PAIRS,
        epoch_length=PAIRS * STEPS,
        val_fraction=0.0,
        num_workers=num_workers,
    )
    return module, data


def trainer(folder: Path, callbacks: list[Callback], **options: Any) -> pl.Trainer:
    """As `peclr fit` makes it, but for what it prints and writes."""
    return pl.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        max_epochs=1,
        callbacks=[FiniteLoss(), *callbacks],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **options,
    )


def step_seconds(root: Path, folder: Path) -> tuple[float, float]:
    """Median CPU seconds of a step under Lightning, and of a bare one."""
    bare = BareStepsBetween(*make(root, 0))
    module, data = make(root, 0)
    logger = pl.loggers.CSVLogger(folder)
    trainer(folder, [bare], logger=logger, log_every_n_steps=1).fit(module, data)
    return statistics.median(bare.lightning[WARM_UP:]), statistics.median(bare.bare[WARM_UP:])


def data_wait_share(root: Path, folder: Path) -> float:
    """Share of the time of an epoch that Lightning waits for its next batch, which one worker makes meanwhile."""
    module, data = make(root, 1)
    profiler = QuietProfiler()
    trainer(folder, [], logger=False, profiler=profiler).fit(module, data)
    recorded = profiler.recorded_durations
    waits = recorded["[_TrainingEpochLoop].train_dataloader_next"]
    steps = recorded["run_training_batch"]
    # the first batches wait for the worker to start
    waited, worked = sum(waits[WARM_UP:]), sum(steps[WARM_UP:])
    return float(waited / (waited + worked))


def run() -> list[Row]:
    """Measure everything, one thread each."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)  # the table is what is to be read
    with one_thread_each() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few workers are meant
        root = folder / "hands"
        write_freihand_layout(root, HANDS, 1, seed=0, size=112, versions=1, workers=1, progress=False)
        lightning, bare = step_seconds(root, folder)
        share = data_wait_share(root, folder)
    unit = f"× a bare step of {1000 * bare:.0f} ms CPU; Lightning adds {1000 * (lightning - bare):.1f} ms"
    return [
        ("lightning_over_bare_loop", lightning / bare, unit, "≤ 1.05"),
        ("data_wait_share", share, "of a step's time, one worker", None),
    ]

"""What Lightning and loading add to training: against a bare loop of the same network, and as a share of its steps.

What Lightning adds to a step does not depend on the network. So it is measured with one that is tiny, where it is a
good part of the step, as the difference from a bare loop; and told relative to a step of a network and batch that take
about 0.2 s here, as a ResNet-50 with a batch of thousands of views does on a GPU. All in CPU time, one thread, bare and
Lightning runs in turns: the difference of two long times would tell more about the machine's other work.
"""

import itertools
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.profilers import SimpleProfiler

from peclr.data.datamodules import PairedViewDataModule
from peclr.data.freihand import FreiHAND
from peclr.data.synthetic.writer import write_freihand_layout
from peclr.losses.objectives import PeCLR
from peclr.models.encoders import ResNetEncoder
from peclr.training import PretrainModule
from peclr.training.callbacks import FiniteLoss
from peclr.training.optim import LARS, split_weight_decay

HANDS = 64
STEPS, WARM_UP, ROUNDS = 12, 2, 6


class Size(NamedTuple):
    """Of a network and its batches."""

    width: float
    view_size: int
    batch_size: int


TINY, SMALL = Size(0.125, 32, 4), Size(0.5, 64, 32)


class StepTimes(Callback):
    """CPU seconds from the end of a step to the end of the next, all that Lightning does between included."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *arguments: Any) -> None:
        """Note the time."""
        self.ends.append(time.process_time())


class QuietProfiler(SimpleProfiler):
    """Records, and prints no table."""

    def describe(self) -> None:
        """Nothing."""


def make(root: Path, size: Size, num_workers: int) -> tuple[PretrainModule, PairedViewDataModule]:
    """The same network and data for every run."""
    torch.manual_seed(0)
    module = PretrainModule(ResNetEncoder("resnet18", width=size.width), PeCLR(), warmup_epochs=0)
    data = PairedViewDataModule(
        FreiHAND(root),
        view_size=size.view_size,
        batch_size=size.batch_size,
        epoch_length=size.batch_size * STEPS,
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
        callbacks=[*callbacks, FiniteLoss()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **options,
    )


def lightning_step_seconds(root: Path, folder: Path) -> list[float]:
    """The same of tiny steps under Lightning."""
    module, data = make(root, TINY, 0)
    times = StepTimes()
    trainer(folder, [times], logger=pl.loggers.CSVLogger(folder), log_every_n_steps=10).fit(module, data)
    return _between(times.ends)


def bare_step_seconds(root: Path, size: Size) -> list[float]:
    """CPU seconds of the steps of a loop of five lines."""
    module, data = make(root, size, 0)
    optimizer = LARS(torch.optim.Adam(split_weight_decay(module, 1e-6)))
    ends = []
    for batch in data.train_dataloader():
        optimizer.zero_grad()
        module.objective(module(batch["views"]), batch["view_from_crop"]).backward()
        optimizer.step()
        ends.append(time.process_time())
    return _between(ends)


def data_wait_share(root: Path, folder: Path) -> float:
    """Share of the time of an epoch that Lightning waits for its next batch, which one worker makes meanwhile."""
    module, data = make(root, SMALL, 1)
    profiler = QuietProfiler()
    trainer(folder, [], logger=False, profiler=profiler).fit(module, data)
    recorded = profiler.recorded_durations
    waits = recorded["[_TrainingEpochLoop].train_dataloader_next"]
    steps = recorded["run_training_batch"]
    # the first batches wait for the worker to start
    waited, worked = sum(waits[WARM_UP:]), sum(steps[WARM_UP:])
    return float(waited / (waited + worked))


def _between(ends: list[float]) -> list[float]:
    kept = ends[WARM_UP:]
    return [after - before for before, after in itertools.pairwise(kept)]


def run() -> list[dict[str, Any]]:
    """Measures everything, one thread each."""
    threads = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # few workers are meant
            folder, root = Path(temporary), Path(temporary, "hands")
            write_freihand_layout(root, HANDS, 1, seed=0, size=112, versions=1, workers=1, progress=False)
            extra = []
            for _ in range(ROUNDS):
                bare = statistics.median(bare_step_seconds(root, TINY))
                extra.append(statistics.median(lightning_step_seconds(root, folder)) - bare)
            overhead, small = statistics.median(extra), statistics.median(bare_step_seconds(root, SMALL))
            share = data_wait_share(root, folder)
    finally:
        cv2.setNumThreads(threads[0])
        torch.set_num_threads(threads[1])
    unit = f"of a bare step of {1000 * small:.0f} ms; Lightning adds {1000 * overhead:.1f} ms"
    return [
        {
            "name": "lightning_over_bare_loop",
            "value": round(1 + overhead / small, 3),
            "unit": unit,
            "target": "<= 1.05",
        },
        {"name": "data_wait_share", "value": round(share, 4), "unit": "of a step's time, one worker", "target": None},
    ]


if __name__ == "__main__":
    for row in run():
        print(row)

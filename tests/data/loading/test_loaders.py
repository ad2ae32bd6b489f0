from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from peclr.data.datamodules import PairedViewDataModule
from peclr.data.loading.loaders import NumWorkers, ResumableLoader, make_loader, workers_of
from peclr.data.loading.sampling import EpochSampler
from peclr.data.samples import PairedViewBatch
from tests.trainer import OneWeight, quiet_trainer

if TYPE_CHECKING:
    from tests.data.conftest import Layout

EPOCHS, BATCHES = 3, 4  # 18 images, batches of 4

Record = tuple[int, list[int], bytes]


class Recorder(OneWeight):
    """Notes what it is trained on: epoch, indices, pixels. Stops in the middle of a step if asked to."""

    def __init__(self, stop_in_step: int | None = None) -> None:
        super().__init__()
        self.seen: list[Record] = []
        self.stop_in_step = stop_in_step

    def training_step(self, batch: PairedViewBatch) -> torch.Tensor:
        if self.global_step == self.stop_in_step:
            raise InterruptedError("in the middle of a step")
        self.seen.append((self.current_epoch, batch["index"].tolist(), batch["views"].numpy().tobytes()))
        return super().training_step(batch)

    def validation_step(self, batch: PairedViewBatch) -> None:
        pass


class SaveAndStop(Callback):
    """Saves a checkpoint after a number of steps and stops there, or where training stops by itself."""

    def __init__(self, path: Path, steps: int | None = None, at: str = "batch") -> None:
        self.path, self.steps, self.at = path, steps, at

    def _save(self, trainer: pl.Trainer, at: str) -> None:
        if self.at == at and trainer.global_step == self.steps:
            trainer.save_checkpoint(self.path)
            raise InterruptedError("after a step")

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        self._save(trainer, "batch")

    def on_validation_end(self, trainer: pl.Trainer, *args: Any) -> None:
        self._save(trainer, "validation")

    def on_train_epoch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        self._save(trainer, "epoch")

    def on_exception(self, trainer: pl.Trainer, *args: Any) -> None:
        if self.steps is None:
            trainer.save_checkpoint(self.path)


def train(root: Path, recorder: Recorder, num_workers: int = 0, callback: Callback | None = None, **fit: Any) -> None:
    module = PairedViewDataModule(
        root, view_size=16, batch_size=4, val_fraction=fit.pop("val_fraction", 0.0), num_workers=num_workers, seed=3
    )
    trainer = quiet_trainer(
        root, max_epochs=EPOCHS, num_sanity_val_steps=0, callbacks=[callback] if callback is not None else []
    )
    trainer.fit(recorder, datamodule=module, **fit)


@pytest.fixture(scope="module")
def whole(written_layout: Layout) -> list[Record]:
    """A run without interruption."""
    recorder = Recorder()
    train(written_layout.root, recorder)
    assert len(recorder.seen) == EPOCHS * BATCHES
    return recorder.seen


@pytest.mark.parametrize(
    ("steps", "workers_before", "workers_after"),
    [(2, 0, 0), (BATCHES, 0, 1), (BATCHES + 1, 1, 0), (2 * BATCHES + 1, 0, 0), (BATCHES + 3, 0, 1)],
)
def test_a_run_that_stops_after_a_step_goes_on_as_if_it_had_not(
    layout: Layout, whole: list[Record], steps: int, workers_before: int, workers_after: int
) -> None:
    path = layout.root / "checkpoint.ckpt"
    first, second = Recorder(), Recorder()
    with pytest.raises(InterruptedError):
        train(layout.root, first, workers_before, SaveAndStop(path, steps))
    train(layout.root, second, workers_after, ckpt_path=path)
    assert len(first.seen) == steps
    assert first.seen + second.seen == whole


@pytest.mark.parametrize("step", [1, BATCHES, BATCHES + 2])
def test_a_step_that_is_interrupted_is_repeated(layout: Layout, whole: list[Record], step: int) -> None:
    path = layout.root / "checkpoint.ckpt"
    first, second = Recorder(stop_in_step=step), Recorder()
    with pytest.raises(InterruptedError):
        train(layout.root, first, 1, SaveAndStop(path))
    train(layout.root, second, 1, ckpt_path=path)
    assert first.seen + second.seen == whole


@pytest.mark.parametrize("at", ["epoch", "validation"])
def test_checkpoints_at_the_end_of_an_epoch_lead_to_the_next(layout: Layout, at: str) -> None:
    path = layout.root / "checkpoint.ckpt"
    whole, first, second = Recorder(), Recorder(), Recorder()
    train(layout.root, whole, val_fraction=0.34)
    steps = len(whole.seen) // EPOCHS
    with pytest.raises(InterruptedError):
        train(layout.root, first, 0, SaveAndStop(path, steps, at), val_fraction=0.34)
    train(layout.root, second, 1, val_fraction=0.34, ckpt_path=path)
    assert first.seen + second.seen == whole.seen


def test_the_state_is_two_integers(layout: Layout) -> None:
    path = layout.root / "checkpoint.ckpt"
    with pytest.raises(InterruptedError):
        train(layout.root, Recorder(), 1, SaveAndStop(path, BATCHES + 1))
    checkpoint = torch.load(path, weights_only=True)
    assert checkpoint["loops"]["fit_loop"]["state_dict"]["combined_loader"] == [{"epoch": 1, "position": 4}]


def keys(loaders: list[ResumableLoader]) -> list[tuple[int, int]]:
    """Keys of several processes in the order in which they are trained on."""
    return [key for step in zip(*loaders, strict=True) for batch in zip(*step, strict=True) for key in batch]


class Keys(torch.utils.data.Dataset[tuple[int, int]]):
    """A data set that gives its keys."""

    def __getitem__(self, key: tuple[int, int]) -> tuple[int, int]:
        return key


def loaders_of(world_size: int, batch_size: int, num_workers: int = 0) -> list[ResumableLoader]:
    def collate(items: list[tuple[int, int]]) -> list[tuple[int, int]]:
        return items

    made = []
    for rank in range(world_size):
        sampler = EpochSampler([26, 7], 5, length=24, process=(rank, world_size), drop_last=True)
        loader = make_loader(
            Keys(), sampler, batch_size=batch_size * world_size, num_workers=num_workers, drop_last=True
        )
        loader.collate_fn = collate
        made.append(loader)
    return made


@pytest.mark.parametrize(("world_size", "batch_size"), [(1, 4), (2, 2), (4, 1), (2, 4)])
def test_a_position_survives_a_change_of_processes(world_size: int, batch_size: int) -> None:
    (alone,) = loaders_of(1, 4)
    alone.sampler.set_epoch(2)
    whole = keys([alone])
    loaders = loaders_of(world_size, batch_size)
    for loader in loaders:
        loader.load_state_dict({"epoch": 2, "position": 8})
        assert loader.state_dict() == {"epoch": 2, "position": 8}
    assert keys(loaders) == whole[8:]
    for loader in loaders:
        loader.sampler.set_epoch(2)  # what a trainer that resumes does: it stays where it is
    assert keys(loaders) == whole[8:]
    for loader in loaders:
        loader.sampler.set_epoch(3)
    assert len(keys(loaders)) == 24


@pytest.mark.parametrize(
    ("num_workers", "devices", "nodes", "bound", "expected"),
    [
        (3, 4, 1, None, 3),
        (0, 1, 1, None, 0),
        ("auto", None, 1, None, 12),
        ("auto", 1, 1, None, 12),
        ("auto", 5, 1, None, 10),  # two each: no more than cores
        ("auto", 4, 2, None, 24),
        ("auto", 16, 1, None, 16),  # one at least
        ("auto", 4, 2, 12, 96),  # SLURM gave each process twelve of its own
        ("auto", 4, 1, 3, 12),
    ],
)
def test_auto_makes_a_worker_for_every_core(
    monkeypatch: pytest.MonkeyPatch,
    num_workers: NumWorkers,
    devices: int | None,
    nodes: int,
    bound: int | None,
    expected: int,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(12)), raising=False)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    if bound is not None:
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", str(bound))
    trainer: Any = None
    if devices is not None:
        trainer = SimpleNamespace(num_devices=devices, global_rank=0, world_size=devices * nodes)
    assert workers_of(num_workers, trainer) == expected


@pytest.mark.parametrize("wrong", [-1, "all"])
def test_workers_are_a_number_or_auto(wrong: Any) -> None:
    with pytest.raises(ValueError, match=f"num_workers is {wrong!r}; expected a number from 0, or auto"):
        workers_of(wrong, None)

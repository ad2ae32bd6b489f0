"""One order and the same views, whatever loads them: every number of workers and processes, before and after a stop."""

from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch.utils.data import default_collate

from peclr.data.datamodules import PairedViewDataModule
from peclr.data.loading.loaders import ResumableLoader, make_loader
from peclr.data.loading.sampling import EpochSampler
from peclr.data.prepare.cutting import Cutting
from peclr.data.prepare.sharding import shard_source
from peclr.data.samples import HandSource, PairedViewBatch
from peclr.data.sources.freihand import FreiHAND
from peclr.data.sources.shards import Shards
from peclr.data.views.photometric import Photometric
from tests.trainer import OneWeight, quiet_trainer

if TYPE_CHECKING:
    from tests.data.conftest import Layout

BATCH, STEPS = 4, 6  # of all processes together; in an epoch
EPOCH, STOP = 1, 2  # not the first epoch: workers must learn which it is; in the middle of it
EVERYTHING = Photometric(color_drop=0.5, blur=0.5, noise=0.5, sobel=0.2, cut_out=0.5)

# index, and hash of both views and all matrices, of each item in the order of training
Seen = list[tuple[int, str]]

# more workers than cores are meant
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")
LOADERS = [(0, 1), (0, 2), (1, 1), (3, 1), (2, 2)]  # workers of each process, processes


def data_module(root: Path, num_workers: int = 0) -> PairedViewDataModule:
    """Two sources of unequal weight, one of them in shards, and every augmentation that draws anything."""
    shard_source(FreiHAND(root), root / "shards", Cutting(64), per_task=5)
    sources: list[HandSource] = [Shards(root / "shards"), FreiHAND(root, "evaluation")]
    return PairedViewDataModule(
        sources=sources,
        view_size=24,
        batch_size=BATCH,
        val_fraction=0.0,
        num_workers=num_workers,
        seed=3,
        weights=[3, 1],
        epoch_length=BATCH * STEPS,
        photometric=EVERYTHING,
    )


def items(batch: PairedViewBatch) -> Seen:
    parts = zip(batch["views"], batch["view_from_image"], batch["view_from_crop"], strict=True)
    hashes = [hashlib.sha256(b"".join(part.numpy().tobytes() for part in item)).hexdigest() for item in parts]
    return list(zip(batch["index"].tolist(), hashes, strict=True))


def interleaved(shares: list[Seen]) -> Seen:
    """Items of all processes in the order in which one process has them."""
    return [item for step in zip(*shares, strict=True) for item in step]


def sampler_of(module: PairedViewDataModule, rank: int = 0, world_size: int = 1) -> EpochSampler:
    return EpochSampler(
        module.train_set.sizes, 3, length=BATCH * STEPS, process=(rank, world_size), drop_last=True, weights=[3, 1]
    )


def loaders_of(module: PairedViewDataModule, num_workers: int, world_size: int) -> list[ResumableLoader]:
    """The loaders of all processes, of which each has `num_workers`."""
    samplers = [sampler_of(module, rank, world_size) for rank in range(world_size)]
    options: dict[str, Any] = {"batch_size": BATCH, "num_workers": num_workers * world_size, "drop_last": True}
    return [make_loader(module.train_set, sampler, **options) for sampler in samplers]


def load(loaders: list[ResumableLoader], steps: int) -> Seen:
    """What all processes together train on in the next steps."""
    taken = [itertools.islice(loader, steps) for loader in loaders]
    return interleaved([[item for batch in batches for item in items(batch)] for batches in taken])


def without_loader(module: PairedViewDataModule, epoch: int = EPOCH) -> Seen:
    """An epoch as the data set itself gives it."""
    sampler = sampler_of(module)
    sampler.set_epoch(epoch)
    return [item for key in sampler for item in items(default_collate([module.train_set[key]]))]


@pytest.mark.parametrize(("num_workers", "world_size"), LOADERS)
def test_any_loaders_carry_on_in_the_middle_of_an_epoch_and_go_through_others(
    layout: Layout, num_workers: int, world_size: int
) -> None:
    """From the state that any others have left there: `test_the_state_does_not_tell_who_has_loaded`."""
    module = data_module(layout.root)
    loaders = loaders_of(module, num_workers, world_size)
    for loader in loaders:
        loader.load_state_dict({"epoch": EPOCH, "position": STOP * BATCH})
    assert load(loaders, STEPS - STOP) == without_loader(module)[STOP * BATCH :]
    for loader in loaders:
        loader.sampler.set_epoch(EPOCH + 1)  # the workers, which remain, do not see it
    assert load(loaders, STEPS) == without_loader(module, EPOCH + 1)


@pytest.mark.parametrize(("num_workers", "world_size"), LOADERS)
def test_the_state_does_not_tell_who_has_loaded(layout: Layout, num_workers: int, world_size: int) -> None:
    for loader in loaders_of(data_module(layout.root), num_workers, world_size):
        trainer: Any = SimpleNamespace(num_training_batches=STOP + 1)  # after so many steps
        epochs, steps = SimpleNamespace(current=SimpleNamespace(started=EPOCH + 1)), SimpleNamespace(processed=STOP)
        trainer.fit_loop = SimpleNamespace(
            epoch_progress=epochs, epoch_loop=SimpleNamespace(batch_progress=SimpleNamespace(current=steps))
        )
        loader.trainer = trainer
        assert loader.state_dict() == {"epoch": EPOCH, "position": STOP * BATCH}


class WritesDown(OneWeight):
    """Writes down what a process was trained on in each step."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder, self.seen = folder, dict[int, Seen]()

    def training_step(self, batch: PairedViewBatch) -> torch.Tensor:
        self.seen[self.global_step] = items(batch)
        return super().training_step(batch)

    def on_train_end(self) -> None:
        (self.folder / f"rank-{self.global_rank}.json").write_text(json.dumps(self.seen))


class SaveAt(Callback):
    """Saves a checkpoint after a step, and goes on."""

    def __init__(self, path: Path, step: int) -> None:
        self.path, self.step = path, step

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def train(
    root: Path, folder: Path, processes: int, num_workers: int, save: SaveAt, ckpt_path: Path | None = None
) -> dict[int, Seen]:
    """What a run of Lightning trains on: by step, of all processes."""
    folder.mkdir()
    trainer = quiet_trainer(
        folder, devices=processes, strategy="ddp_fork" if processes > 1 else "auto", max_epochs=2, callbacks=[save]
    )
    module = data_module(root, num_workers * processes)
    trainer.fit(WritesDown(folder), datamodule=module, ckpt_path=ckpt_path)
    ranks = [json.loads(path.read_text()) for path in sorted(folder.glob("rank-*.json"))]
    assert len(ranks) == processes
    return {int(step): interleaved([[tuple(item) for item in rank[step]] for rank in ranks]) for step in ranks[0]}


@pytest.mark.filterwarnings("ignore::UserWarning")  # of torch.distributed, about how it was started
def test_a_run_carries_on_with_other_numbers_of_workers_and_processes(layout: Layout, tmp_path: Path) -> None:
    """One process, then two of two workers each, then one again, each change in the middle of an epoch."""
    first, second = tmp_path / "first.ckpt", tmp_path / "second.ckpt"
    expected = train(layout.root, tmp_path / "1", 1, 0, SaveAt(first, STOP))
    assert sorted(expected) == list(range(2 * STEPS))
    assert expected[EPOCH * STEPS] == without_loader(data_module(layout.root))[:BATCH]
    two = train(layout.root, tmp_path / "2", 2, 2, SaveAt(second, STEPS + STOP + 1), first)
    assert two == {step: seen for step, seen in expected.items() if step >= STOP}
    again = train(layout.root, tmp_path / "3", 1, 1, SaveAt(tmp_path / "third.ckpt", -1), second)
    assert again == {step: seen for step, seen in expected.items() if step >= STEPS + STOP + 1}

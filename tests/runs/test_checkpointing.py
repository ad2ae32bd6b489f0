"""Runs that end early, in every way and at every place, go on to the weights of the uninterrupted run."""

import contextlib
import signal
from collections.abc import Callable
from pathlib import Path
from signal import SIGINT, SIGTERM
from types import FrameType
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch.utils.data import Dataset

from peclr.data.loading.loaders import ResumableLoader, make_loader, shuffles
from peclr.data.loading.sampling import EpochSampler
from peclr.runs.checkpointing import DurableCheckpointIO, RunCheckpoints
from peclr.runs.durable import read_checkpoint, write_checkpoint
from peclr.untrusted.binary import damage_of_zip
from tests.trainer import quiet_trainer

EPOCHS, BATCHES = 3, 6

Event = Callable[[], None]
# "train" or "val", optimizer steps before it, epoch, batch in it, loss
Entry = tuple[str, int, int, int, float]


class Numbers(Dataset[torch.Tensor]):
    """A data set whose items are their epoch and index."""

    def __getitem__(self, key: tuple[int, int]) -> torch.Tensor:
        return torch.tensor([*key, 1.0])


class NumbersDataModule(pl.LightningDataModule):
    def __init__(self, num_workers: int = 0) -> None:
        super().__init__()
        self.num_workers = num_workers

    def train_dataloader(self) -> ResumableLoader:
        sampler = EpochSampler([2 * BATCHES], shuffle=shuffles(self.trainer))
        return make_loader(
            Numbers(), sampler, batch_size=2, num_workers=self.num_workers, drop_last=True, trainer=self.trainer
        )

    def val_dataloader(self) -> ResumableLoader:
        return make_loader(Numbers(), EpochSampler([6], shuffle=False), batch_size=2)


class Toy(pl.LightningModule):
    """Weights that depend on all batches and their order, with a momentum and statistics of the forward pass."""

    def __init__(self, events: dict[tuple[str, int], Event] | None = None) -> None:
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1))
        self.events = events or {}
        self.calls = {"train": 0, "val": 0}
        self.trace: list[Entry] = []

    def _happens(self, where: str, batch_idx: int, loss: float) -> None:
        self.calls[where] += 1
        self.trace.append((where, self.trainer.global_step, self.trainer.current_epoch, batch_idx, loss))
        self.events.get((where, self.calls[where]), lambda: None)()

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        loss: torch.Tensor = self.net(batch / 10).square().mean()
        self._happens("train", batch_idx, loss.item())
        return loss

    def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        self._happens("val", batch_idx, 0.0)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = torch.optim.Adam(self.parameters(), 0.05)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self.rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def rate(self, step: int) -> float:
        return float(0.98**step)


def train(run: Path, *, resume: bool = False, **options: Any) -> list[torch.Tensor]:
    """Train a new toy, or one from the run's last checkpoint, and return its weights; `trace` gets what it did."""
    torch.manual_seed(0)
    toy = Toy(options.pop("events", None))
    toy.trace = options.pop("trace", toy.trace)
    data = NumbersDataModule(options.pop("num_workers", 0))
    checkpoints = RunCheckpoints(options.pop("every_minutes", 0.0), options.pop("every_n_steps", 0))
    callbacks = [*options.pop("callbacks", ()), checkpoints]
    trainer = quiet_trainer(
        run,
        **{"max_epochs": EPOCHS, **options},
        num_sanity_val_steps=0,
        callbacks=callbacks,
        plugins=[DurableCheckpointIO()],
        enable_checkpointing=True,
    )
    trainer.fit(toy, datamodule=data, ckpt_path=run / "checkpoints" / "last.ckpt" if resume else None)
    return [value.clone() for value in toy.state_dict().values()]


def raises(number: signal.Signals) -> Event:
    return lambda: signal.raise_signal(number)


def dies() -> None:
    raise MemoryError


def step_of(path: Path) -> int:
    return int(read_checkpoint(path)["global_step"])


def assert_same(first: list[torch.Tensor], second: list[torch.Tensor]) -> None:
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[torch.Tensor]]:
    """Runs without interruption."""
    done: dict[int, list[torch.Tensor]] = {}

    def of(accumulate: int = 1) -> list[torch.Tensor]:
        if accumulate not in done:
            run = tmp_path_factory.mktemp("whole")
            done[accumulate] = train(run, accumulate_grad_batches=accumulate)
        return done[accumulate]

    return of


@pytest.mark.parametrize("batch", [1, 3, 4])
def test_a_run_stopped_in_validation_goes_on_as_if_it_had_not_been(
    batch: int, whole: Callable[..., list[torch.Tensor]], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as stop:
        train(tmp_path, events={("val", batch): raises(SIGTERM)})
    assert stop.value.code == 143
    assert step_of(tmp_path / "checkpoints" / "last.ckpt") == (BATCHES if batch <= 3 else 2 * BATCHES)
    assert_same(train(tmp_path, resume=True), whole())


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("batch", [5, BATCHES + 5, 2 * BATCHES + 6])
def test_a_run_that_dies_goes_on_from_the_last_checkpoint(
    batch: int, accumulate: int, whole: Callable[..., list[torch.Tensor]], tmp_path: Path
) -> None:
    with pytest.raises(MemoryError):
        train(tmp_path, events={("train", batch): dies}, every_n_steps=2, accumulate_grad_batches=accumulate)
    last = tmp_path / "checkpoints" / "last.ckpt"
    assert step_of(last) >= (batch - 1) // accumulate - 1, "no more is lost than the step that had begun and one before"
    assert_same(train(tmp_path, resume=True, accumulate_grad_batches=accumulate), whole(accumulate))


ENDS: dict[str, dict[str, Any]] = {
    "steps": {"max_epochs": None, "max_steps": 11},
    "steps before epochs": {"max_epochs": 4, "max_steps": 8},
    "epochs before steps": {"max_epochs": 4, "max_steps": 99},
}
# where it ends, and how: several times, one after the other; the batches are counted from where it was resumed
KILLS: dict[str, tuple[dict[tuple[str, int], Event], ...]] = {
    "before an epoch's first save": ({("train", 7): dies},),
    "on an epoch's last batch, then mid-epoch": ({("train", 5): raises(SIGINT)}, {("train", 2): raises(SIGINT)}),
    "mid-epoch, then in validation": ({("train", 2): raises(SIGTERM)}, {("val", 2): raises(SIGTERM)}),
}


@pytest.mark.parametrize("validates", [True, False])
@pytest.mark.parametrize("accumulate", [1, 2, 3])
@pytest.mark.parametrize("ends", ENDS)
def test_whatever_ends_a_run_it_takes_every_step_once(
    *, ends: str, accumulate: int, validates: bool, tmp_path: Path
) -> None:
    options = ENDS[ends] | {"accumulate_grad_batches": accumulate, "limit_train_batches": 5}
    options |= {"limit_val_batches": 2 if validates else 0}
    straight: list[Entry] = []
    weights = train(tmp_path / "straight", trace=straight, **options)
    assert {name for name, *_ in straight} == ({"train", "val"} if validates else {"train"})
    for name, kills in KILLS.items():
        run, done = tmp_path / name, 0
        for resumed, events in enumerate([*kills, {}]):
            trace: list[Entry] = []
            ended = not events or all(where == "val" and not validates for where, _ in events)
            with contextlib.nullcontext() if ended else pytest.raises((MemoryError, SystemExit)):
                last = train(run, resume=bool(resumed), trace=trace, events=events, **options)
            start = straight.index(trace[0])
            assert start <= done, f"{name}: left out {straight[done:start]}"
            assert trace == straight[start : start + len(trace)], name
            done = start + len(trace)
            if ended:
                break
        assert done == len(straight), name
        assert_same(last, weights)


def test_the_end_of_an_epochs_last_step_is_the_end_of_the_epoch(
    whole: Callable[..., list[torch.Tensor]], tmp_path: Path
) -> None:
    """Older versions saved there, and Lightning does when SLURM takes the node away."""

    class SavesThere(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
            if trainer.global_step == BATCHES:
                trainer.save_checkpoint(tmp_path / "checkpoints" / "last.ckpt")
                raise MemoryError

    with pytest.raises(MemoryError):
        train(tmp_path, callbacks=[SavesThere()])
    trace: list[Entry] = []
    with pytest.raises(SystemExit):
        train(tmp_path, resume=True, trace=trace, events={("train", 2): raises(SIGTERM)})
    assert [entry[:4] for entry in trace] == [("train", BATCHES, 1, 0), ("train", BATCHES + 1, 1, 1)]
    assert_same(train(tmp_path, resume=True), whole())


def test_the_clock_saves_within_an_epoch(tmp_path: Path) -> None:
    with pytest.raises(MemoryError):
        train(tmp_path, events={("train", 4): dies}, every_minutes=1e-9)
    assert step_of(tmp_path / "checkpoints" / "last.ckpt") == 3
    with pytest.raises(MemoryError):
        train(tmp_path / "off", events={("train", 4): dies})
    assert not (tmp_path / "off" / "checkpoints").exists()


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("batch", [3, BATCHES])
def test_the_number_of_workers_may_change(batch: int, whole: Callable[..., list[torch.Tensor]], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        train(tmp_path, events={("train", batch): raises(SIGINT)}, num_workers=1)
    assert_same(train(tmp_path, resume=True, num_workers=0), whole())


@pytest.mark.parametrize(
    "first", [{"max_epochs": 1}, {"max_steps": 4}, {"max_steps": BATCHES}, {"max_steps": BATCHES + 2}]
)
def test_a_run_that_was_to_end_earlier_goes_on(
    first: dict[str, Any], whole: Callable[..., list[torch.Tensor]], tmp_path: Path
) -> None:
    train(tmp_path, **first)
    assert_same(train(tmp_path, resume=True), whole())


def test_a_longer_run_says_that_its_learning_rate_rises_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def falls_to_the_end(toy: Toy, step: int) -> float:
        return 1 - step / (BATCHES * (toy.trainer.max_epochs or 0))

    rates = []
    monkeypatch.setattr(Toy, "rate", falls_to_the_end)
    train(tmp_path, max_epochs=1)
    monkeypatch.setattr(
        Toy, "on_train_batch_start", lambda toy, *_: rates.append(toy.optimizers().param_groups[0]["lr"])
    )
    train(tmp_path, resume=True, max_epochs=2)
    assert "the learning rate goes from 0 to 0.025 at step 6: the run is to end" in capsys.readouterr().err
    assert rates == pytest.approx([0.05 * (1 - step / (2 * BATCHES)) for step in range(BATCHES, 2 * BATCHES)])


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    def twice() -> None:
        signal.raise_signal(SIGINT)
        signal.raise_signal(SIGINT)

    with pytest.raises(SystemExit) as stop:
        train(tmp_path, events={("train", 3): twice})
    assert stop.value.code != 0
    assert not (tmp_path / "checkpoints").exists()
    signal.signal(SIGINT, signal.default_int_handler)  # Lightning leaves it switched off


def test_signals_of_others_wait_for_the_end_of_a_step(tmp_path: Path) -> None:
    seen: list[str] = []

    def requeue(number: int, frame: FrameType | None) -> None:
        seen.append("requeue")

    before = signal.signal(signal.SIGUSR1, requeue)

    def asked() -> None:
        signal.raise_signal(signal.SIGUSR1)
        seen.append("step")

    try:
        train(tmp_path, events={("train", 3): asked}, max_epochs=1)
        assert signal.getsignal(signal.SIGUSR1) is requeue
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == ["step", "requeue"]


def test_handlers_are_given_back(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (SIGINT, SIGTERM)]
    train(tmp_path, max_epochs=1)
    with pytest.raises(MemoryError):
        train(tmp_path / "died", events={("train", 2): dies})
    with pytest.raises(SystemExit):
        train(tmp_path / "stopped", events={("train", 2): raises(SIGTERM)})
    assert [signal.getsignal(number) for number in (SIGINT, SIGTERM)] == before


def test_a_damaged_checkpoint_does_not_displace_a_good_one(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    train(tmp_path, max_epochs=2)
    good = step_of(folder / "previous.ckpt")
    (folder / "last.ckpt").write_bytes(b"half")
    with pytest.raises(SystemExit):
        train(tmp_path, events={("train", 1): raises(SIGTERM)})
    assert step_of(folder / "last.ckpt") == 1
    assert step_of(folder / "previous.ckpt") == good
    assert (folder / "last.ckpt.damaged").read_bytes() == b"half"


def test_cadences_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="every_minutes ≥ 0 and every_n_steps ≥ 0, got -1 and 0"):
        RunCheckpoints(every_minutes=-1)


@pytest.mark.parametrize(
    "options", [{"overfit_batches": 2}, {"limit_train_batches": 4}, {"limit_train_batches": 0.5, "max_steps": 4}]
)
def test_part_of_the_batches_resumes_too(options: dict[str, Any], tmp_path: Path) -> None:
    straight = train(tmp_path / "straight", **options)
    with pytest.raises(SystemExit):
        train(tmp_path / "run", events={("train", 3): raises(SIGTERM)}, **options)
    assert_same(train(tmp_path / "run", resume=True, **options), straight)


def test_overfitting_sees_the_same_few_items_in_every_epoch(tmp_path: Path) -> None:
    seen: list[list[float]] = []

    class Notes(Toy):
        def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
            seen.append(batch.flatten().tolist())
            return super().training_step(batch, batch_idx)

    trainer = quiet_trainer(tmp_path, max_epochs=2, overfit_batches=2)
    trainer.fit(Notes(), datamodule=NumbersDataModule())
    assert len(seen) == 4
    assert seen[:2] == seen[2:]
    assert seen[0] != seen[1]


def test_a_trial_run_saves_nothing(tmp_path: Path) -> None:
    train(tmp_path, fast_dev_run=True)
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_pass_through_lightning_whole(tmp_path: Path) -> None:
    train(tmp_path, max_epochs=1)
    path = tmp_path / "checkpoints" / "last.ckpt"
    assert damage_of_zip(path) is None
    write_checkpoint(read_checkpoint(path), tmp_path / "copy.ckpt")
    with pytest.raises(TypeError, match="storage_options"):
        DurableCheckpointIO().save_checkpoint({}, path, storage_options={})


DAMAGED: dict[str, Any] = {
    "lr_schedulers": [[], [{}], [5], [{"last_epoch": "x", "base_lrs": [0.05]}], [{"last_epoch": 6, "base_lrs": []}]],
    "optimizer_states": [[], [{}], [5], [{"state": {}, "param_groups": []}]],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in DAMAGED.items() for value in values])
def test_a_checkpoint_without_the_state_to_go_on_from_is_named(key: str, value: Any, tmp_path: Path) -> None:
    train(tmp_path, max_epochs=1)
    last = tmp_path / "checkpoints" / "last.ckpt"
    write_checkpoint(read_checkpoint(last) | {key: value}, last)
    with pytest.raises(ValueError, match=r"last\.ckpt: damaged or no checkpoint to go on from: "):
        train(tmp_path, resume=True)

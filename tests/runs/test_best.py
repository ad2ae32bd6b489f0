"""A run keeps its best checkpoint by a metric that it logs, over interruptions, resumptions and kills."""

import contextlib
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from peclr.runs.best import KEY, Best, BestSoFar
from peclr.runs.checkpointing import DurableCheckpointIO, RunCheckpoints
from peclr.runs.durable import read_checkpoint, write_checkpoint
from peclr.runs.layout import find_checkpoint, newest_checkpoint
from tests.runs.test_checkpointing import BATCHES, NumbersDataModule, Toy, assert_same
from tests.trainer import quiet_trainer


class Scored(Toy):
    """Logs one of `scores` at each validation, and at each epoch's end one of `probes`."""

    def __init__(self, scores: dict[int, float], probes: dict[int, float], stop: int | None) -> None:
        super().__init__({("train", stop): lambda: signal.raise_signal(signal.SIGTERM)} if stop else None)
        self.scores, self.probes = scores, probes

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        super().validation_step(batch, batch_idx)
        if self.global_step in self.scores:
            self.log("val/loss", self.scores[self.global_step])

    def on_train_epoch_end(self) -> None:
        if self.global_step in self.probes:
            self.log("probe/pa_epe_mm", self.probes[self.global_step], rank_zero_only=True)


def train(
    run: Path,
    scores: dict[int, float] | None = None,
    probes: dict[int, float] | None = None,
    *,
    stop: int | None = None,
    resume: str | None = None,
    monitor: str | None = None,
    **options: Any,
) -> list[Tensor]:
    """Train, and return the weights."""
    torch.manual_seed(0)
    toy = Scored(scores or {}, probes or {}, stop)
    trainer = quiet_trainer(
        run,
        **{"max_epochs": 4, "num_sanity_val_steps": 0, **options},
        callbacks=[RunCheckpoints(every_minutes=0, monitor=monitor)],
        plugins=[DurableCheckpointIO()],
        enable_checkpointing=True,
    )
    checkpoint = None if resume is None else run / "checkpoints" / f"{resume}.ckpt"
    trainer.fit(toy, datamodule=NumbersDataModule(), ckpt_path=checkpoint)
    return [value.clone() for value in toy.state_dict().values()]


def best_of(run: Path) -> tuple[int, Best]:
    content = read_checkpoint(run / "checkpoints" / "best.ckpt")
    return content["global_step"], Best(**content[KEY])


def per_epoch(*values: float) -> dict[int, float]:
    return {BATCHES * epoch: value for epoch, value in enumerate(values, start=1)}


def test_the_best_epoch_is_kept_and_a_runs_name_means_the_last(tmp_path: Path) -> None:
    train(tmp_path, per_epoch(3.0, 1.0, float("nan"), 2.0))
    assert best_of(tmp_path) == (2 * BATCHES, Best("val/loss", 1.0, 2 * BATCHES))
    assert find_checkpoint(tmp_path) == newest_checkpoint(tmp_path) == tmp_path / "checkpoints" / "last.ckpt"
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["best.ckpt", "last.ckpt", "previous.ckpt"]


def test_the_best_is_trained_on_like_any_other(tmp_path: Path) -> None:
    straight = train(tmp_path, per_epoch(3.0, 1.0, 2.0, 2.0))
    assert_same(train(tmp_path, per_epoch(3.0, 1.0, 2.0, 2.0), resume="best"), straight)


@pytest.mark.parametrize("stop", [1, BATCHES + 3, 2 * BATCHES, 3 * BATCHES])
def test_a_resumed_run_knows_how_good_the_best_was(stop: int, tmp_path: Path) -> None:
    scores = per_epoch(1.0, 0.5, 0.7, 0.6)
    straight = train(tmp_path / "straight", scores)
    run = tmp_path / "run"
    with pytest.raises(SystemExit):
        train(run, scores, stop=stop)
    assert_same(train(run, scores, resume="last"), straight)
    assert best_of(run) == best_of(tmp_path / "straight") == (2 * BATCHES, Best("val/loss", 0.5, 2 * BATCHES))


def test_within_an_epoch_the_best_is_the_one_that_was_validated(tmp_path: Path) -> None:
    """Also where it lies between two optimizer steps, and the run that goes on would not be the same."""
    scores = {2: 3.0, 4: 1.0, 6: 2.0}
    straight = train(tmp_path / "a", scores, max_epochs=1, val_check_interval=2)
    assert best_of(tmp_path / "a")[0] == 4
    assert_same(train(tmp_path / "a", scores, max_epochs=1, val_check_interval=2, resume="best"), straight)
    train(tmp_path / "b", {1: 1.0, 2: 2.0}, max_epochs=1, val_check_interval=4, accumulate_grad_batches=3)
    assert best_of(tmp_path / "b")[0] == 1


def test_what_counts_more_takes_the_place_of_what_counts_less_and_not_the_other_way(tmp_path: Path) -> None:
    """A probe that looks at every second epoch, or a validation beside it."""
    losses, probes = per_epoch(0.25, 0.5, 0.75, 0.125), {2 * BATCHES: 30.0, 4 * BATCHES: 40.0}
    train(tmp_path, losses, probes, max_epochs=1)
    assert best_of(tmp_path)[1] == Best("val/loss", 0.25, BATCHES)
    train(tmp_path, losses, probes, max_epochs=2, resume="last")
    train(tmp_path, losses, probes, resume="last")
    assert best_of(tmp_path)[1] == Best("probe/pa_epe_mm", 30.0, 2 * BATCHES)


def test_max_steps_may_end_an_epoch_early(tmp_path: Path) -> None:
    steps = BATCHES + 2
    train(tmp_path, per_epoch(2.0), {steps: 20.0}, max_epochs=None, max_steps=steps)
    assert best_of(tmp_path) == (steps, Best("probe/pa_epe_mm", 20.0, steps))
    straight = train(tmp_path / "straight", per_epoch(2.0))
    assert_same(train(tmp_path, per_epoch(2.0), resume="last"), straight)


@pytest.mark.parametrize("monitor", [None, "val/nothing"])
def test_without_the_metric_there_is_no_best(monitor: str | None, tmp_path: Path) -> None:
    said = f"has not logged checkpoint.monitor {monitor}, but probe/pa_epe_mm$"
    with pytest.warns(UserWarning, match=said) if monitor else contextlib.nullcontext():
        train(tmp_path, {}, per_epoch(1.0) if monitor else {}, max_epochs=1, limit_val_batches=0, monitor=monitor)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["last.ckpt"]


def test_another_metrics_best_is_kept_beside(tmp_path: Path) -> None:
    train(tmp_path, per_epoch(1.0), {BATCHES: 50.0, 2 * BATCHES: 60.0}, max_epochs=1)
    train(tmp_path, per_epoch(1.0, 2.0), max_epochs=2, resume="last", monitor="val/loss")
    assert best_of(tmp_path)[1] == Best("val/loss", 2.0, 2 * BATCHES)
    before = read_checkpoint(tmp_path / "checkpoints" / "best.ckpt.before")
    assert before[KEY]["metric"] == "probe/pa_epe_mm"


def test_a_damaged_best_is_put_aside(tmp_path: Path) -> None:
    train(tmp_path, per_epoch(1.0), max_epochs=1)
    best = tmp_path / "checkpoints" / "best.ckpt"
    best.unlink()
    best.write_bytes(b"half")
    train(tmp_path, per_epoch(1.0, 2.0), max_epochs=2, resume="last")
    assert best_of(tmp_path)[1] == Best("val/loss", 2.0, 2 * BATCHES)
    assert best.with_name("best.ckpt.damaged").read_bytes() == b"half"


def test_what_a_file_says_of_its_best_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "best.ckpt"
    write_checkpoint({"state_dict": {}, KEY: {"metric": "val/loss", "value": "low", "step": 1}}, path)
    with pytest.raises(ValueError, match=r"best\.ckpt: 'peclr_best': Expected `float`, got `str`"):
        BestSoFar(None, None).take_over(path)


@pytest.mark.parametrize(
    ("monitor", "mode", "better"),
    [("val/auc", None, max), ("val/auc", "min", min), ("val/epe_mm", None, min), ("val/epe_mm", "max", max)],
)
def test_the_greatest_auc_is_the_best_and_the_least_error(
    monitor: str, mode: Any, better: Callable[[list[float]], float]
) -> None:
    best, values = BestSoFar(monitor, mode), [2.0, 1.0, 1.0, 4.0, 3.0, float("inf"), float("-inf")]
    found = [value for step, value in enumerate(values) if best.improves({monitor: torch.tensor(value)}, step)]
    assert found == ([2.0, 4.0] if better is max else [2.0, 1.0])


@pytest.mark.parametrize("hard_links", [True, False])
def test_the_best_outlives_what_is_written_after_it(
    *, hard_links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Path, target: Path) -> None:
        raise PermissionError

    if not hard_links:
        monkeypatch.setattr(Path, "hardlink_to", refused)
    for value in (1, 2, 3):
        write_checkpoint({"state_dict": {}, "epoch": value}, tmp_path / "last.ckpt", best=value < 3)
    found = {path.name: read_checkpoint(path)["epoch"] for path in tmp_path.iterdir()}
    assert found == {"best.ckpt": 2, "previous.ckpt": 2, "last.ckpt": 3}


def test_a_kill_between_best_and_last_leaves_both_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run that goes on takes the steps again, and finds the best as good as it is."""
    scores = per_epoch(2.0, 1.0, 3.0, 3.0)
    straight = train(tmp_path / "straight", scores)
    replace = Path.replace

    def killed(self: Path, target: Path) -> Path:
        if target.name == "last.ckpt" and read_checkpoint(self)["global_step"] == 2 * BATCHES:
            raise SystemExit
        return replace(self, target)

    run = tmp_path / "run"
    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(SystemExit):
        train(run, scores)
    monkeypatch.undo()
    assert best_of(run)[0] == 2 * BATCHES
    assert read_checkpoint(run / "checkpoints" / "last.ckpt")["global_step"] == BATCHES
    assert_same(train(run, scores, resume="last"), straight)
    assert best_of(run) == best_of(tmp_path / "straight")

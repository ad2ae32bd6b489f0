"""A run's metrics are in one file, each row once, however often the run is stopped, killed and gone on with."""

import signal
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from peclr.runs.checkpointing import DurableCheckpointIO, RunCheckpoints
from peclr.runs.metrics_file import MetricsFile
from peclr.untrusted.text import read_table
from tests.runs.test_checkpointing import BATCHES as STEPS
from tests.runs.test_checkpointing import EPOCHS, NumbersDataModule
from tests.trainer import quiet_trainer


class Logs(pl.LightningModule):
    """Logs its step after each, at each validation, and at each epoch's end; `stop` is where Ctrl-C comes."""

    def __init__(self, stop: tuple[str, int] | None = None) -> None:
        super().__init__()
        self.net = torch.nn.Linear(3, 1)
        self.stop = stop

    def _happens(self, where: str) -> None:
        self.log(f"{where}/step", float(self.global_step))
        if self.stop == (where, self.global_step):
            signal.raise_signal(signal.SIGINT)

    def training_step(self, batch: Tensor) -> Tensor:
        self._happens("train")
        return self.net(batch / 10).square().mean()  # type: ignore[no-any-return]

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self._happens("val")

    def on_train_epoch_end(self) -> None:
        self._happens("probe")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def train(run: Path, stop: tuple[str, int] | None = None, **options: Any) -> None:
    """Train, or go on."""
    last = run / "checkpoints" / "last.ckpt"
    trainer = quiet_trainer(
        run,
        **{"max_epochs": EPOCHS, "log_every_n_steps": 1, "num_sanity_val_steps": 0, **options},
        logger=[MetricsFile(run)],
        callbacks=[RunCheckpoints(every_minutes=0)],
        plugins=[DurableCheckpointIO()],
        enable_checkpointing=True,
    )
    trainer.fit(Logs(stop), datamodule=NumbersDataModule(), ckpt_path=last if last.exists() else None)


def rows(run: Path) -> list[dict[str, str]]:
    return read_table(run / "metrics.csv")


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """Rows of a run that nobody disturbs."""
    run = tmp_path_factory.mktemp("straight")
    train(run)
    found = rows(run)
    assert [row["train/step"] for row in found if row["train/step"]] == [f"{step}.0" for step in range(EPOCHS * STEPS)]
    for name in ("val/step", "probe/step"):
        assert [row[name] for row in found if row[name]] == [f"{STEPS * epoch}.0" for epoch in (1, 2, 3)]
    return found


@pytest.mark.parametrize(
    ("where", "step", "last"),
    [
        ("train", 1, 1),
        ("train", STEPS - 1, STEPS - 1),
        ("train", STEPS, STEPS),
        ("val", STEPS, STEPS - 1),
        ("probe", STEPS, STEPS - 1),
        ("probe", EPOCHS * STEPS, EPOCHS * STEPS - 1),
    ],
)
def test_the_last_row_before_ctrl_c_is_there_and_none_comes_twice(
    where: str, step: int, last: int, straight: list[dict[str, str]], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit):
        train(tmp_path, (where, step))
    stopped = rows(tmp_path)
    assert stopped == [{name: row[name] for name in stopped[0]} for row in straight[: len(stopped)]]
    assert stopped[-1]["step"] == str(last)
    assert where == "val" or stopped[-1][f"{where}/step"] == f"{step}.0", "the last before Ctrl-C"
    train(tmp_path)
    assert rows(tmp_path) == straight


class Killed(BaseException):
    pass


def test_steps_that_are_taken_again_are_there_once(
    straight: list[dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path, max_epochs=1)
    step = Logs.training_step

    def dies(self: Logs, batch: Tensor) -> Tensor:
        if self.global_step == STEPS + 2:
            raise Killed
        return step(self, batch)

    monkeypatch.setattr(Logs, "training_step", dies)
    with pytest.raises(Killed):
        train(tmp_path)
    assert rows(tmp_path)[-1]["train/step"] == f"{STEPS + 1}.0", "measured after the checkpoint"
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("0,half of a r")
    monkeypatch.undo()
    train(tmp_path)
    assert rows(tmp_path) == straight


def test_a_validation_that_is_repeated_leaves_the_step_before_it(tmp_path: Path) -> None:
    old = "epoch,probe/a,step,train/loss,val/b\n0,1,0,,\n0,,2,3,\n0,,2,,4\n0,5,2,,\n1,,3,6,\n"
    (tmp_path / "metrics.csv").write_text(old)
    MetricsFile(tmp_path).log_metrics({"epoch": 0, "val/b": 4.5}, step=2)
    assert (tmp_path / "metrics.csv").read_text() == "\n".join(old.split("\n")[:3]) + "\n0,,2,,4.5\n"


def test_an_old_run_goes_on_in_its_newest_file(tmp_path: Path) -> None:
    (tmp_path / "resumed-2").mkdir()
    for number, path in enumerate((tmp_path / "metrics.csv", tmp_path / "resumed-2" / "metrics.csv")):
        path.write_text(f"step,train/loss\n{number},1\n")
    MetricsFile(tmp_path).log_metrics({"train/loss": 0.5}, step=2)
    assert (tmp_path / "metrics.csv").read_text() == "step,train/loss\n0,1\n"
    assert (tmp_path / "resumed-2" / "metrics.csv").read_text() == "step,train/loss\n1,1\n2,0.5\n"


def test_a_column_more_is_no_column_lost(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path)
    file.log_metrics({"b": 1.5}, step=0)
    file.log_metrics({"a": 2.0}, step=1)
    file.log_metrics({"b": 3.0}, step=2)
    assert (tmp_path / "metrics.csv").read_text() == "a,b,step\n,1.5,0\n2.0,,1\n,3.0,2\n"


@pytest.mark.parametrize("text", ["loss\n1\n", "step,loss\nx,1\n", "step,step\n1,1\n"])
def test_a_file_that_is_none_of_metrics_is_named_before_anything_is_done(text: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(text)
    with pytest.raises(ValueError, match=r"metrics\.csv: "):
        MetricsFile(tmp_path)
    assert (tmp_path / "metrics.csv").read_text() == text


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "others.csv").write_text("step,a\n0,1\n")
    (tmp_path / "metrics.csv").symlink_to(tmp_path / "others.csv")
    MetricsFile(tmp_path).log_metrics({"a": 2.0}, step=1)
    assert (tmp_path / "others.csv").read_text() == "step,a\n0,1\n"
    assert not (tmp_path / "metrics.csv").is_symlink()

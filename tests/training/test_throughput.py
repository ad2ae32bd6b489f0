"""Losses are read seldom, compiled runs write the same checkpoints, batches are copied as bytes."""

import math
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import TQDMProgressBar
from pytorch_lightning.utilities import move_data_to_device
from torch import nn

from peclr.data.datamodules import PairedViewDataModule
from peclr.data.sources.freihand import FreiHAND
from peclr.losses.objectives import SimCLR
from peclr.models.encoders import ResNetEncoder
from peclr.training import PretrainModule
from peclr.training.callbacks import CompileEncoder, EpochLine, FiniteLoss, SparingProgressBar
from peclr.training.optim import LARS
from tests.distributed.worker import batch_of
from tests.trainer import quiet_trainer

SIZE = 32
CALLBACKS = "peclr.training.callbacks"


def tiny(**options: Any) -> ResNetEncoder:
    torch.manual_seed(0)
    return ResNetEncoder("resnet18", width=0.125, **options)


def fit(root: Path, folder: Path, **options: Any) -> tuple[PretrainModule, pl.Trainer]:
    data = PairedViewDataModule(sources=FreiHAND(root), view_size=SIZE, batch_size=6, val_fraction=0.0)
    module = PretrainModule(tiny(), SimCLR(), warmup_epochs=0)
    trainer = quiet_trainer(folder, **({"max_steps": 4} | options))
    trainer.fit(module, data)
    return module, trainer


def test_the_callback_looks_at_the_loss_only_when_it_is_logged(rendered_hands: Path, tmp_path: Path) -> None:
    with patch(f"{CALLBACKS}.math", wraps=math) as used:
        fit(rendered_hands, tmp_path, callbacks=[FiniteLoss()], log_every_n_steps=2)
    assert used.isfinite.call_count == 2 + 1  # and at the end of the epoch


@pytest.mark.parametrize(("every", "accumulated", "looks"), [(0, 1, 0), (1, 2, 4), (3, 1, 2)])
def test_the_loss_is_looked_at_every_so_many_optimizer_steps(every: int, accumulated: int, looks: int) -> None:
    trainer: Any = SimpleNamespace(
        log_every_n_steps=every, accumulate_grad_batches=accumulated, callback_metrics={"train/loss": torch.ones(())}
    )
    with patch.object(FiniteLoss, "_check") as looked:
        for batch in range(8):
            FiniteLoss().on_train_batch_end(trainer, pl.LightningModule(), None, None, batch)
    assert looked.call_count == looks


def test_the_progress_bar_does_not_read_the_loss_after_every_step(rendered_hands: Path, tmp_path: Path) -> None:
    with (
        patch.object(TQDMProgressBar, "get_metrics", return_value={}) as read,
        patch(f"{CALLBACKS}._SECONDS_BETWEEN_READINGS", 3600.0),
    ):
        fit(rendered_hands, tmp_path, callbacks=[SparingProgressBar()], enable_progress_bar=True)
    assert read.call_count == 1 + 1  # the first, and at the end of the epoch


def test_the_bar_says_how_long_the_run_will_take(
    rendered_hands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = count(0, 2)
    monkeypatch.setattr(f"{CALLBACKS}.time.monotonic", lambda: float(next(seconds)))
    left: list[str] = []

    class Noting(SparingProgressBar):
        def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
            shown = super().get_metrics(trainer, pl_module)
            left.extend([shown["left"]] if "left" in shown else [])
            return shown

    fit(rendered_hands, tmp_path, max_epochs=2, max_steps=-1, callbacks=[Noting()], enable_progress_bar=True)
    assert (left[0], left[-1]) == ("0:00:30", "0:00:00"), "15 of 16 steps after the first, 2 s each"


def test_lines_for_files_come_with_every_nth_epoch_and_the_last(
    rendered_hands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(rendered_hands, tmp_path, max_epochs=3, max_steps=-1, callbacks=[EpochLine("PeCLR", every_n_epochs=2)])
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if "steps/s" in line]
    assert [line[:4] for line in lines] == [["PeCLR", "epoch", f"{n}/3", "train/loss"] for n in (2, 3)]


def test_compiled_runs_learn_the_same_and_write_the_same_checkpoints(rendered_hands: Path, tmp_path: Path) -> None:
    plain, _ = fit(rendered_hands, tmp_path)
    compiled, trainer = fit(rendered_hands, tmp_path, callbacks=[CompileEncoder(backend="eager")])
    assert compiled.encoder._compiled_call_impl is not None, "was compiled at all"
    trainer.save_checkpoint(tmp_path / "compiled.ckpt", weights_only=True)
    saved = torch.load(tmp_path / "compiled.ckpt", weights_only=True)["state_dict"]
    assert list(saved) == list(plain.state_dict())
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(saved[key], value, rtol=1e-4, atol=1e-5)


def test_modules_without_an_encoder_are_named() -> None:
    with pytest.raises(ValueError, match="LightningModule has no encoder"):
        CompileEncoder().on_fit_start(pl.Trainer(logger=False, accelerator="cpu"), pl.LightningModule())


def test_batches_are_copied_as_bytes_and_without_waiting() -> None:
    batch = batch_of(4)
    calls: list[dict[str, Any]] = []

    def to(tensor: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
        calls.append({"dtype": tensor.dtype, **options})
        return tensor

    with patch.object(torch.Tensor, "to", to):
        move_data_to_device(batch, torch.device("cuda", 0))
    assert all(call["non_blocking"] for call in calls)
    assert torch.uint8 in {call["dtype"] for call in calls}


def test_optimizers_may_be_fused() -> None:
    def fused(groups: Any) -> torch.optim.Optimizer:
        return torch.optim.Adam(groups, lr=1e-3, fused=True)

    weights = []
    for optimizer in (fused, lambda groups: torch.optim.Adam(groups, lr=1e-3)):
        torch.manual_seed(0)
        layer = nn.Linear(4, 4)
        wrapped = LARS(optimizer(layer.parameters()))
        for _ in range(3):
            layer(torch.ones(2, 4)).square().sum().backward()
            wrapped.step()
            wrapped.zero_grad()
        weights.append(layer.weight.detach())
    torch.testing.assert_close(*weights)

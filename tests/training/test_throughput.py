"""Nothing waits for the device, compiled runs write the same checkpoints, batches are copied as bytes."""

import math
from collections.abc import Callable
from contextlib import nullcontext
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
from torch import Tensor, nn

from peclr.data.datamodules import PairedViewDataModule
from peclr.data.sources.freihand import FreiHAND
from peclr.losses.objectives import (
    AffinePeCLR,
    GeometryHead,
    Objective,
    PeCLR,
    SimCLR,
    SiMHand,
    SoftPeCLR,
    SplitObjective,
    VICReg,
)
from peclr.models.encoders import ResNetEncoder
from peclr.training import FinetuneModule, PretrainModule
from peclr.training.callbacks import CompileEncoder, EpochLine, FiniteLoss, SparingProgressBar
from peclr.training.optim import LARS, split_weight_decay
from tests.trainer import quiet_trainer

PAIRS, SIZE = 4, 32
CALLBACKS = "peclr.training.callbacks"


def paired_batch(device: str) -> dict[str, torch.Tensor]:
    """Views of uint8 noise, not moved."""
    views = torch.randint(256, (PAIRS, 2, 3, SIZE, SIZE), dtype=torch.uint8, device=device)
    matrices = torch.eye(3, device=device).expand(PAIRS, 2, 3, 3)
    joints = torch.rand(PAIRS, 2, 21, 2, device=device)
    hands = torch.arange(PAIRS, device=device)
    return {"views": views, "view_from_crop": matrices, "hand": hands, "joints_2d": joints}


def labeled_batch(device: str) -> dict[str, torch.Tensor]:
    joints = torch.rand(PAIRS, 21, 3, device=device) + 1
    image = torch.randint(256, (PAIRS, 3, SIZE, SIZE), dtype=torch.uint8, device=device)
    known = torch.ones(PAIRS, 21, dtype=torch.bool, device=device)
    labels = {"joints_3d": joints, "joints_25d": joints, "joint_valid": known, "has_3d": known[:, 0]}
    return {"image": image, "K": torch.eye(3, device=device).expand(PAIRS, 3, 3), **labels}


def step(module: pl.LightningModule, batch: dict[str, torch.Tensor]) -> None:
    """A step with LARS, all of whose arithmetic is on the batch's device."""
    inner = torch.optim.SGD(split_weight_decay(module.parameters(), 1e-6), lr=0.1, momentum=0.9)
    optimizer = LARS(inner)
    # there is no autocast for `meta`, and without mixed precision nothing to switch off
    no_autocast = patch("torch.autocast", lambda *arguments, **options: nullcontext())
    with patch.object(module, "log"), patch.object(module, "log_dict"), no_autocast:
        loss = module.training_step(batch)
        assert isinstance(loss, torch.Tensor)
        loss.backward()  # type: ignore[no-untyped-call]  # torch ships it without types
    optimizer.step()


def tiny(**options: Any) -> ResNetEncoder:
    torch.manual_seed(0)
    return ResNetEncoder("resnet18", width=0.125, **options)


@pytest.mark.parametrize("made", [SimCLR, PeCLR, AffinePeCLR, SiMHand, SoftPeCLR, SplitObjective, VICReg, GeometryHead])
@pytest.mark.parametrize("micro_batch", [None, 2])
def test_pretraining_steps_never_wait_for_the_device(made: Callable[[], Objective], micro_batch: int | None) -> None:
    """Tensors on `meta` have no values: asking for one, as .item() or a branch does, raises."""
    step(PretrainModule(tiny(), made(), micro_batch=micro_batch).to("meta"), paired_batch("meta"))


def test_asking_for_a_value_is_caught() -> None:
    class Waits(SimCLR):
        def forward(self, projections: Tensor, view_from_crop: Tensor, **known: Tensor) -> Tensor:
            loss = super().forward(projections, view_from_crop)
            assert loss > 0
            return loss

    with pytest.raises(RuntimeError, match="meta"):
        step(PretrainModule(tiny(), Waits()).to("meta"), paired_batch("meta"))


def test_finetuning_steps_never_wait_for_the_device() -> None:
    step(FinetuneModule(tiny(), view_size=SIZE).to("meta"), labeled_batch("meta"))


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
    batch = paired_batch("cpu")
    calls: list[dict[str, Any]] = []

    def to(tensor: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
        calls.append({"dtype": tensor.dtype, **options})
        return tensor

    with patch.object(torch.Tensor, "to", to):
        move_data_to_device(batch, torch.device("cuda", 0))
    assert all(call["non_blocking"] for call in calls)
    assert calls[0]["dtype"] == torch.uint8


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

"""The LightningModules wire what the parts promise: losses, learning rates, frozen encoders, scores."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from peclr.data.datamodules import LabeledHandDataModule, PairedViewDataModule
from peclr.data.sources.freihand import FreiHAND
from peclr.losses.objectives import Objective, PeCLR, SimCLR
from peclr.losses.simhand import SiMHand
from peclr.models.encoders import Encoder, ResNetEncoder
from peclr.models.timm_encoder import TimmEncoder
from peclr.training import FinetuneModule, PretrainModule
from peclr.training.recipe import wants_sync_batchnorm
from tests.trainer import quiet_trainer


def tiny_encoder(seed: int = 0) -> ResNetEncoder:
    torch.manual_seed(seed)
    return ResNetEncoder("resnet18", width=0.125)


def training_loss(module: Any, batch: Any) -> torch.Tensor:
    """The loss of a training step, without a trainer to log to."""
    with patch.object(module, "log"), patch.object(module, "log_dict"):
        loss: torch.Tensor = module.training_step(batch)
    return loss.detach()


@pytest.fixture
def pairs(rendered_hands: Path) -> PairedViewDataModule:
    return PairedViewDataModule(
        sources=FreiHAND(rendered_hands), pairing="across_versions", view_size=32, batch_size=6, val_fraction=0.25
    )


@pytest.fixture
def labeled(rendered_hands: Path) -> LabeledHandDataModule:
    return LabeledHandDataModule(
        rendered_hands, view_size=32, batch_size=8, num_labels=8, val_fraction=0.25, geometry=None, photometric=None
    )


@pytest.mark.parametrize("objective", [SimCLR(), PeCLR()])
def test_the_pretraining_loss_is_the_objective_of_the_projections(
    pairs: PairedViewDataModule, objective: Objective
) -> None:
    module = PretrainModule(tiny_encoder(), objective)
    batch = next(iter(pairs.train_dataloader()))
    projections = module(batch["views"])
    assert projections.shape == (6, 2, 128)
    expected = objective(projections, batch["view_from_crop"]).detach()
    torch.testing.assert_close(training_loss(module, batch), expected)


def test_an_objective_is_given_the_joints_of_the_batch(pairs: PairedViewDataModule) -> None:
    module = PretrainModule(tiny_encoder(), SiMHand())
    batch = next(iter(pairs.train_dataloader()))
    batch.pop("joints_2d", None)
    with pytest.raises(ValueError, match="with_joints: true"):
        training_loss(module, batch)
    batch["joints_2d"] = torch.rand(6, 2, 21, 2)
    expected = module.objective(module(batch["views"]), batch["view_from_crop"], batch["joints_2d"]).detach()
    torch.testing.assert_close(training_loss(module, batch), expected)


@pytest.mark.parametrize(("hands", "false_negatives"), [([0, 1, 2, 3, 4, 5], 0.0), ([7, 7, 7, 1, 2, 2], 8 / 3)])
def test_the_log_tells_negatives_from_the_optimizers_batch(
    pairs: PairedViewDataModule, tmp_path: Path, hands: list[int], false_negatives: float
) -> None:
    class WithHands(PretrainModule):
        def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
            batch["hand"] = torch.tensor(hands)
            super().on_train_batch_start(batch, batch_idx)

    run = quiet_trainer(tmp_path, max_epochs=1, accumulate_grad_batches=3, limit_val_batches=0)
    run.fit(WithHands(tiny_encoder(), SimCLR(), micro_batch=2), pairs)
    logged = {name: float(value) for name, value in run.callback_metrics.items()}
    assert logged["train/effective_negatives"] == 2 * 6 - 2
    assert logged["train/optimizer_batch"] == 3 * 6
    # of the anchors of three pairs two others are of the same hand, with two views each; of two pairs one other is
    assert logged["train/false_negatives"] == pytest.approx(false_negatives)


@pytest.mark.parametrize("kind", ["pretrain", "finetune"])
def test_batchnorm_is_synchronized_on_several_gpus_only(
    kind: str, pairs: PairedViewDataModule, labeled: LabeledHandDataModule, tmp_path: Path
) -> None:
    cases: dict[str, tuple[Any, pl.LightningDataModule]] = {
        "pretrain": (PretrainModule(tiny_encoder(), SimCLR()), pairs),
        "finetune": (FinetuneModule(tiny_encoder(), view_size=32), labeled),
    }
    module, data = cases[kind]
    run = quiet_trainer(tmp_path, max_steps=1, limit_val_batches=0)
    run.fit(module, data)
    assert not any(isinstance(layer, nn.SyncBatchNorm) for layer in module.modules())
    before = module.state_dict()
    for wanted in (False, True):
        module.sync_batchnorm = wanted
        with patch("peclr.training.recipe.wants_sync_batchnorm", return_value=True):
            module.configure_model()
        kinds = {type(layer) for layer in module.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)}
        assert kinds == ({nn.SyncBatchNorm} if wanted else {nn.BatchNorm1d, nn.BatchNorm2d})
    after = module.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_one_gpu_and_several_cpus_do_not_want_sync_batchnorm() -> None:
    def run_on(world_size: int, device: str) -> Any:
        return SimpleNamespace(world_size=world_size, strategy=SimpleNamespace(root_device=torch.device(device)))

    wanted = {(n, device): wants_sync_batchnorm(run_on(n, device)) for n in (1, 2) for device in ("cpu", "cuda")}
    assert [case for case, wants in wanted.items() if wants] == [(2, "cuda")]


def test_both_views_of_a_pair_stay_together(pairs: PairedViewDataModule) -> None:
    module = PretrainModule(tiny_encoder(), SimCLR()).eval()
    batch = next(iter(pairs.train_dataloader()))
    swapped = module(batch["views"].flip(1))
    torch.testing.assert_close(swapped, module(batch["views"]).flip(1))


def test_simclr_and_peclr_differ_by_geometry_alone(rendered_hands: Path) -> None:
    still = PairedViewDataModule(
        sources=FreiHAND(rendered_hands),
        pairing="across_versions",
        view_size=32,
        batch_size=6,
        geometry=None,
        val_fraction=0.25,
    )
    batch = next(iter(still.train_dataloader()))
    simclr, peclr = (PretrainModule(tiny_encoder(), objective) for objective in (SimCLR(), PeCLR()))
    peclr.load_state_dict(simclr.state_dict())
    torch.testing.assert_close(training_loss(simclr, batch), training_loss(peclr, batch))


def test_the_learning_rate_scales_with_the_root_of_the_optimizers_batch(
    pairs: PairedViewDataModule, tmp_path: Path
) -> None:
    module = PretrainModule(tiny_encoder(), SimCLR(), lars=False, warmup_epochs=0)
    run = quiet_trainer(tmp_path, max_epochs=1, accumulate_grad_batches=3, limit_val_batches=0)
    run.fit(module, pairs)
    # three batches of six are one step; the schedule starts at the peak without warm-up
    assert run.global_step == 1
    assert run.optimizers[0].param_groups[0]["initial_lr"] == pytest.approx(1e-3 * math.sqrt(18))


@pytest.mark.parametrize(("accumulate", "first", "last"), [(2, 12, 6), (16, 18, 18)])
def test_a_step_counts_the_images_that_it_has(
    accumulate: int, first: int, last: int, pairs: PairedViewDataModule, tmp_path: Path
) -> None:
    """An epoch has three batches of six: the last step of one takes what is left, and none takes from two."""
    counted: list[float] = []

    class Counts(PretrainModule):
        def on_train_batch_end(self, *_: Any) -> None:
            counted.append(float(self.trainer.callback_metrics["train/optimizer_batch"]))

    run = quiet_trainer(tmp_path, max_epochs=1, accumulate_grad_batches=accumulate, limit_val_batches=0)
    run.fit(Counts(tiny_encoder(), SimCLR(), lars=False, warmup_epochs=0), pairs)
    assert (counted[0], counted[-1]) == (first, last)
    assert run.optimizers[0].param_groups[0]["initial_lr"] == pytest.approx(1e-3 * math.sqrt(first))


def test_fewer_labels_than_a_batch_scale_the_rate_by_their_number(rendered_hands: Path, tmp_path: Path) -> None:
    data = LabeledHandDataModule(rendered_hands, view_size=32, batch_size=64, num_labels=5)
    run = quiet_trainer(tmp_path, max_epochs=1, limit_val_batches=0)
    run.fit(FinetuneModule(tiny_encoder(), view_size=32), data)
    assert run.optimizers[0].param_groups[0]["initial_lr"] == pytest.approx(1e-3 * math.sqrt(2 * 5))


def test_biases_and_normalization_are_not_decayed(pairs: PairedViewDataModule, tmp_path: Path) -> None:
    module = PretrainModule(tiny_encoder(), SimCLR(), weight_decay=0.5)
    run = quiet_trainer(tmp_path, max_steps=1, limit_val_batches=0)
    run.fit(module, pairs)
    decayed = {id(p) for group in run.optimizers[0].param_groups if group["weight_decay"] for p in group["params"]}
    for name, parameter in module.named_parameters():
        assert (id(parameter) in decayed) == (parameter.ndim > 1), name


@pytest.mark.filterwarnings("ignore:You defined a `validation_step`")  # loaders without a data module are the point
def test_square_root_scaling_needs_a_batch_size(tmp_path: Path, pairs: PairedViewDataModule) -> None:
    module = PretrainModule(tiny_encoder(), SimCLR())
    with pytest.raises(ValueError, match="lr_scaling"):
        quiet_trainer(tmp_path, max_steps=1, limit_val_batches=0).fit(module, pairs.train_dataloader())


def test_finetuning_learns_a_few_hands(labeled: LabeledHandDataModule, tmp_path: Path) -> None:
    torch.manual_seed(0)
    optimizer = lambda parameters: torch.optim.Adam(parameters, lr=5e-3)  # noqa: E731
    module = FinetuneModule(tiny_encoder(), view_size=32, optimizer=optimizer, lr_scaling="none")
    labeled.setup("fit")
    batch = next(iter(labeled.train_dataloader()))
    before = float(training_loss(module, batch))
    quiet_trainer(tmp_path, max_steps=60, limit_val_batches=0).fit(module, labeled)
    module.train()  # batch statistics, as during training
    assert float(training_loss(module, batch)) < 0.5 * before


def test_a_frozen_encoder_keeps_its_weights_and_statistics(labeled: LabeledHandDataModule, tmp_path: Path) -> None:
    module = FinetuneModule(tiny_encoder(), freeze_encoder=True, view_size=32)
    before = {key: value.clone() for key, value in module.pose_net.state_dict().items()}
    quiet_trainer(tmp_path, max_steps=3, limit_val_batches=0).fit(module, labeled)
    changed = {key for key, value in module.pose_net.state_dict().items() if not torch.equal(before[key], value)}
    assert {key for key in changed if "backend_model" in key} == {"backend_model.fc.weight", "backend_model.fc.bias"}
    assert any("zroot_ref" in key for key in changed)


def test_the_encoder_waits_until_the_head_has_learned(labeled: LabeledHandDataModule, tmp_path: Path) -> None:
    class Weights(pl.Callback):
        def __init__(self) -> None:
            self.after: list[dict[str, torch.Tensor]] = []

        def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
            self.after.append({name: value.detach().clone() for name, value in pl_module.named_parameters()})

    module, weights = FinetuneModule(tiny_encoder(), head_first=0.5, view_size=32), Weights()
    before = {name: value.detach().clone() for name, value in module.named_parameters()}
    quiet_trainer(tmp_path, max_steps=6, limit_val_batches=0, callbacks=[weights]).fit(module, labeled)
    moved = [
        {name for name in before if not torch.equal(earlier[name], later[name])}
        for earlier, later in zip([before, *weights.after], weights.after, strict=False)
    ]
    head = {name for name in before if ".fc." in name or "zroot_ref" in name}
    assert [names <= head for names in moved] == [True] * 3 + [False] * 3
    assert all(names & head for names in moved)
    assert set.union(*moved[3:]) == set(before)


def test_rates_fall_alike_once_all_are_moving(labeled: LabeledHandDataModule, tmp_path: Path) -> None:
    module = FinetuneModule(tiny_encoder(), head_first=0.5, view_size=32)
    rates: list[list[float]] = []

    class Rates(pl.Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
            rates.append([group["lr"] for group in trainer.optimizers[0].param_groups])

    quiet_trainer(tmp_path, max_steps=4, limit_val_batches=0, callbacks=[Rates()]).fit(module, labeled)
    assert len(rates) == 4
    peak = 1e-3 * math.sqrt(8)
    for step, (*_, decayed, others) in enumerate(rates):
        assert rates[step][0] == pytest.approx(peak * (1 + math.cos(math.pi * step / 4)) / 2)
        assert decayed == others == (0 if step < 2 else rates[step][0])


def test_early_layers_learn_more_slowly_if_asked_to(labeled: LabeledHandDataModule, tmp_path: Path) -> None:
    module = FinetuneModule(
        tiny_encoder(), view_size=32, layer_decay=0.5, optimizer=torch.optim.AdamW, lr_scaling="none"
    )
    trainer = quiet_trainer(tmp_path, max_steps=1, limit_val_batches=0)
    trainer.fit(module, labeled)
    peak = {  # AdamW's own rate is 1e-3; the schedule ends at 0
        id(parameter): group["initial_lr"] / 1e-3
        for group in trainer.optimizers[0].param_groups
        for parameter in group["params"]
    }
    rates = {name: peak[id(parameter)] for name, parameter in module.pose_net.named_parameters()}
    encoder = "backend_model."
    assert rates[f"{encoder}conv1.weight"] == rates[f"{encoder}bn1.bias"] == 0.5**8  # a ResNet-18 has 8 blocks
    assert rates[f"{encoder}layer1.0.conv1.weight"] == 0.5**7
    assert rates[f"{encoder}layer3.1.bn2.weight"] == 0.5**2
    assert rates[f"{encoder}layer4.1.conv2.weight"] == rates[f"{encoder}fc.weight"] == 1
    assert {rate for name, rate in rates.items() if name.startswith("zroot_ref.")} == {1}
    for wrong in (0.0, 1.5, -1.0):
        with pytest.raises(ValueError, match=f"layer_decay {wrong}: expected a factor from more than 0 to 1"):
            FinetuneModule(tiny_encoder(), layer_decay=wrong)


def test_what_an_encoder_spares_does_not_decay(labeled: LabeledHandDataModule, tmp_path: Path) -> None:
    encoder = tiny_encoder()
    encoder.undecayed = lambda: [encoder.conv1.weight]  # type: ignore[method-assign]
    trainer = quiet_trainer(tmp_path, max_steps=1, limit_val_batches=0)
    trainer.fit(FinetuneModule(encoder, view_size=32, weight_decay=0.1), labeled)
    decays = {id(p): group["weight_decay"] for group in trainer.optimizers[0].param_groups for p in group["params"]}
    assert decays[id(encoder.conv1.weight)] == 0
    assert decays[id(encoder.layer1[0].conv1.weight)] == 0.1


class GroupNormAct(nn.GroupNorm):
    """Named as timm names its layers."""


class ConvNormAct(nn.Sequential):
    """Named as timm names what holds a layer."""


@pytest.mark.parametrize(
    ("norm", "refused"),
    [
        (nn.BatchNorm2d(4), False),
        (ConvNormAct(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), False),
        (nn.GroupNorm(2, 4), True),
        (GroupNormAct(2, 4), True),
        (nn.RMSNorm(4), True),
        (None, False),
    ],
)
def test_lars_is_for_encoders_with_batchnorm(norm: nn.Module | None, *, refused: bool) -> None:
    class Normalized(Encoder):
        feature_dim = 4

        def __init__(self) -> None:
            super().__init__()
            self.norm = norm

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            pytest.fail("it is made, or refused, before an image is seen")

    if refused:
        with pytest.raises(ValueError, match=rf"lars: true is for .* has {type(norm).__name__}: set lars: false"):
            PretrainModule(Normalized(), PeCLR())
    else:
        PretrainModule(Normalized(), PeCLR())
    PretrainModule(Normalized(), PeCLR(), lars=False)


def test_lars_for_other_norms_beside_batchnorm_is_warned_of() -> None:
    encoder = tiny_encoder()
    encoder.more = nn.LayerNorm(4)
    with pytest.warns(UserWarning, match="and resnet18 of width 0.125 has LayerNorm, too; if it learns little, set la"):
        PretrainModule(encoder, PeCLR())


@pytest.mark.parametrize("micro_batch", [None, 3])
def test_batchnorm_counts_a_batch_once_although_checkpointing_shows_it_twice(
    micro_batch: int | None, pairs: PairedViewDataModule, tmp_path: Path
) -> None:
    pytest.importorskip("timm", reason="needs the extra: pip install 'peclr[timm]'")
    states = []
    for sparing in (False, True):
        torch.manual_seed(0)
        encoder = TimmEncoder("test_resnet", grad_checkpointing=sparing)
        module = PretrainModule(encoder, PeCLR(), lars=False, warmup_epochs=0, micro_batch=micro_batch)
        quiet_trainer(tmp_path, max_steps=2, limit_val_batches=0).fit(module, pairs)
        states.append(module.state_dict())
    torch.testing.assert_close(*states)


@pytest.mark.parametrize("part", [-0.1, 1.0])
def test_waiting_for_all_of_the_run_is_refused(part: float) -> None:
    with pytest.raises(ValueError, match=f"head_first {part}"):
        FinetuneModule(tiny_encoder(), head_first=part)


def test_scores_are_of_metres_and_view_pixels(labeled: LabeledHandDataModule, tmp_path: Path) -> None:
    module = FinetuneModule(tiny_encoder(), view_size=32)
    run = quiet_trainer(tmp_path)
    (shown,) = run.test(module, labeled, verbose=False)
    module.eval()
    distances, pixels = [], []
    with torch.no_grad():
        for batch in labeled.test_dataloader():
            output = module(batch["image"], batch["K"])
            metres = output["joints_3d"] * batch["scale_m"].view(-1, 1, 1)
            distances.append((metres - batch["joints_3d"]).norm(dim=-1))
            pixels.append((output["keypoints_2d"] - batch["joints_25d"][..., :2]).norm(dim=-1))
    assert shown["test/epe_mm"] == pytest.approx(1000 * float(torch.cat(distances).mean()), rel=1e-4)
    assert shown["test/error_2d_px"] == pytest.approx(float(torch.cat(pixels).mean()), rel=1e-4)

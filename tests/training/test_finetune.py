"""Fine-tuning's own choices: what its loss weighs when nothing is said."""

import math
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

from peclr.data.datamodules import LabeledHandDataModule
from peclr.data.samples import HandSample
from peclr.data.sources.freihand import FreiHAND
from peclr.losses.pose import PoseLoss
from peclr.models.encoders import ResNetEncoder
from peclr.models.pose_net import targets_from_joints
from peclr.training import FinetuneModule
from tests.trainer import quiet_trainer

SIZE = 32


@pytest.mark.parametrize(("view_size", "weight"), [(224, 1.0), (56, 4.0)])
def test_the_published_loss_is_for_views_of_224_px(view_size: int, weight: float) -> None:
    loss = FinetuneModule(ResNetEncoder("resnet18", 0.125), view_size=view_size).loss
    assert (loss.keypoints_2d_weight, loss.depth_weight, loss.root_weight) == (weight, 5.0, 1.0)


def test_a_given_loss_stays_as_it_is() -> None:
    given = PoseLoss(2.0, 3.0, 0.0)
    assert FinetuneModule(ResNetEncoder("resnet18", 0.125), view_size=56, loss=given).loss is given


def labeled_hands(folder: Path) -> LabeledHandDataModule:
    return LabeledHandDataModule(folder, SIZE, batch_size=4, num_labels=8, geometry=None, photometric=None)


def network(**options: Any) -> FinetuneModule:
    torch.manual_seed(0)
    encoder = ResNetEncoder("resnet18", 0.125)
    # the learning rate of the first step does not move the head
    return FinetuneModule(encoder, view_size=SIZE, optimizer=lambda p: torch.optim.SGD(p, lr=0.0), **options)


def test_a_solved_head_is_the_ridge_regression_on_the_training_views(rendered_hands: Path, tmp_path: Path) -> None:
    module, data = network(solve_head=True, freeze_encoder=True), labeled_hands(rendered_hands)
    quiet_trainer(tmp_path, max_steps=8, limit_val_batches=0).fit(module, data)

    # each of the 16 images is seen twice, and counts once
    batch = torch.utils.data.default_collate([data.train_set[index] for index in range(len(data.train_set))])
    module.eval()
    with torch.no_grad():
        features = module.features(batch["image"]).double()
        output = module(batch["image"], batch["K"])["raw"]
    target = targets_from_joints(batch["joints_3d"], batch["K"])
    y = torch.cat((target["keypoints_2d"], target["depth_rel"][..., None]), dim=-1).flatten(1).double()
    z = (features - features.mean(0)) / features.std(0, unbiased=False).clamp_min(1e-6)
    weights = torch.linalg.solve(z.mT @ z + 100 * torch.eye(z.shape[1]), z.mT @ (y - y.mean(0)))
    expected = (z @ weights + y.mean(0)).reshape(-1, 21, 3)
    torch.testing.assert_close(output["keypoints_2d"].double(), expected[..., :2], rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(output["depth_rel"].double(), expected[..., 2], rtol=1e-4, atol=1e-3)


def test_a_head_is_solved_for_once_and_not_by_a_run_that_resumes(rendered_hands: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "last.ckpt"
    with patch("peclr.training.finetune.solve_head") as solve:
        first = quiet_trainer(tmp_path, max_steps=1, limit_val_batches=0)
        first.fit(network(solve_head=True), labeled_hands(rendered_hands))
        first.save_checkpoint(checkpoint)
        assert solve.call_count == 1
        then = quiet_trainer(tmp_path, max_steps=2, limit_val_batches=0)
        then.fit(network(solve_head=True), labeled_hands(rendered_hands), ckpt_path=checkpoint, weights_only=True)
        quiet_trainer(tmp_path, max_steps=1, limit_val_batches=0).fit(network(), labeled_hands(rendered_hands))
    assert solve.call_count == 1


def test_solving_for_the_head_leaves_the_encoder_and_its_statistics_alone(rendered_hands: Path, tmp_path: Path) -> None:
    solved, plain = network(solve_head=True), network()
    for module in (solved, plain):
        quiet_trainer(tmp_path, max_steps=1, limit_val_batches=0).fit(module, labeled_hands(rendered_hands))
    left, right = solved.pose_net.state_dict(), plain.pose_net.state_dict()
    changed = {name for name in left if not torch.equal(left[name], right[name])}
    assert {"backend_model.fc.weight", "backend_model.fc.bias"} <= changed
    assert not [name for name in changed if name.startswith("backend_model.") and ".fc." not in name]


def test_a_head_is_not_solved_for_without_a_hand_in_3d(rendered_hands: Path, tmp_path: Path) -> None:
    class Flat(FreiHAND):
        def read(self, index: int, min_side: float = math.inf) -> HandSample:
            return super().read(index, min_side) | {"joints_3d": None}

    data = LabeledHandDataModule(sources=Flat(rendered_hands), view_size=SIZE, batch_size=4)
    with pytest.raises(ValueError, match="none has all joints in 3-D; set solve_head: false"):
        quiet_trainer(tmp_path, max_steps=1, limit_val_batches=0).fit(network(solve_head=True), data)

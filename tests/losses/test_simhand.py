"""SiMHand's weights and losses against the published numbers, re-derived as loops, and with joints missing."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from peclr.losses.objectives import PeCLR
from peclr.losses.simhand import SiMHand, negative_weights, positive_weights

REFERENCE = Path(__file__).parents[1] / "reference" / "simhand.npz"
IDENTITY = torch.eye(3).expand(12, 2, 3, 3)


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    with np.load(REFERENCE) as archive:
        return {name: torch.from_numpy(archive[name]) for name in archive.files}


@pytest.fixture(scope="module")
def projections(published: dict[str, Tensor]) -> Tensor:
    return torch.stack((published["z1"], published["z2"]), dim=1)


@pytest.fixture(scope="module")
def joints(published: dict[str, Tensor]) -> Tensor:
    return torch.stack((published["joints1_px"], published["joints2_px"]), dim=1)


def test_weights_are_the_published_ones(published: dict[str, Tensor], joints: Tensor) -> None:
    both = torch.cat(joints.unbind(dim=1))
    torch.testing.assert_close(positive_weights(both), published["pos_weights_linear"], rtol=0, atol=1e-5)
    weights = negative_weights(both, torch.arange(24))
    torch.testing.assert_close(weights, published["neg_weights_linear"], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "positive", "negative"),
    [("loss_pos_neg", True, True), ("loss_pos", True, False), ("loss_neg", False, True)],
)
def test_parity_with_the_published_code(
    published: dict[str, Tensor], projections: Tensor, joints: Tensor, name: str, *, positive: bool, negative: bool
) -> None:
    loss = SiMHand(positive=positive, negative=negative)(projections, IDENTITY, joints)
    assert loss.item() == pytest.approx(published[name].item(), rel=1e-5)


def test_weights_fall_linearly_with_the_mean_distance_of_joints() -> None:
    # pairs at distances 0, 3 and 10: every joint of the second view lies 3-4-5 triangles away
    step = torch.tensor([0.6, 0.8])
    first = torch.zeros(3, 21, 2)
    second = torch.tensor([0.0, 3.0, 10.0])[:, None, None] * step.expand(3, 21, 2)
    weights = positive_weights(torch.cat((first, second)))
    torch.testing.assert_close(weights, torch.tensor([1.0, 0.7, 0.0]))
    # all pairs of views: the farthest two are 10 apart, too
    torch.testing.assert_close(
        negative_weights(torch.cat((first, second)), torch.tensor([0, 5])),
        torch.tensor([[1, 1, 1, 1, 0.7, 0], [0, 0, 0, 0, 0.3, 1]]),
    )


def test_weights_multiply_cosines_as_in_the_formula_written_as_loops(projections: Tensor, joints: Tensor) -> None:
    z = torch.cat(projections.double().unbind(dim=1))
    both = torch.cat(joints.double().unbind(dim=1))
    pull, push = positive_weights(both), negative_weights(both, torch.arange(24))
    cosines, terms = z @ z.T, []
    for i in range(24):
        others = sum(math.exp(push[i, k] * cosines[i, k] / 0.2) for k in range(24) if k != i)
        terms.append(math.log(others) - float(pull[i % 12] * cosines[i, (i + 12) % 24]) / 0.2)
    loss = SiMHand(temperature=0.2)(projections.double(), IDENTITY.double(), joints)
    assert loss.item() == pytest.approx(sum(terms) / 24, rel=1e-6)


def test_gradients(projections: Tensor, joints: Tensor) -> None:
    few = projections[:3, :, :6].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda p: SiMHand(rotation=False)(p, IDENTITY[:3].double(), joints[:3]), few)


def test_without_weights_it_is_peclr(projections: Tensor, joints: Tensor) -> None:
    loss = SiMHand(positive=False, negative=False)(projections, IDENTITY, joints)
    torch.testing.assert_close(loss, PeCLR()(projections, IDENTITY))


def test_geometry_is_undone_before(projections: Tensor, joints: Tensor) -> None:
    turned = IDENTITY.clone()
    turned[:, 1, :2, :2] = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    assert not torch.isclose(SiMHand()(projections, turned, joints), SiMHand()(projections, IDENTITY, joints))


def test_views_without_joints_weigh_as_in_peclr(projections: Tensor, joints: Tensor) -> None:
    unknown = joints.clone()
    unknown[4, 1] = torch.nan
    both = torch.cat(unknown.unbind(dim=1))
    assert positive_weights(both)[4] == 1
    weights = negative_weights(both, torch.arange(24))
    assert (weights[16] == 1).all()
    assert (weights[:, 16] == 1).all()
    known = torch.arange(24) != 16
    assert (weights[known][:, known] < 1).sum() == 23 * 22
    nothing = torch.full_like(joints, torch.nan)
    torch.testing.assert_close(SiMHand()(projections, IDENTITY, nothing), PeCLR()(projections, IDENTITY))


def test_distances_are_over_the_joints_that_both_views_know() -> None:
    first, second = torch.zeros(2, 3, 21, 2)
    second[:, :, 0] = torch.tensor([0.0, 3.0, 10.0])[:, None]
    first[0, 4:], second[1, :20], second[2, 7] = torch.nan, torch.nan, torch.nan
    torch.testing.assert_close(positive_weights(torch.cat((first, second))), torch.tensor([1.0, 0.7, 0.0]))
    weights = negative_weights(torch.cat((first, second)), torch.tensor([0]))
    torch.testing.assert_close(weights, torch.tensor([[1.0, 1.0, 1.0, 1.0, 1.0, 0.0]]))


def test_hands_in_one_pose_weigh_as_in_peclr(projections: Tensor, joints: Tensor) -> None:
    one_pose = joints[:1, :1].expand(12, 2, 21, 2)
    torch.testing.assert_close(SiMHand()(projections, IDENTITY, one_pose), PeCLR()(projections, IDENTITY))


def test_a_batch_without_joints_is_refused(projections: Tensor) -> None:
    with pytest.raises(ValueError, match="weighs pairs by their joints_2d"):
        SiMHand()(projections, IDENTITY)


def test_joints_of_another_shape_are_refused(projections: Tensor, joints: Tensor) -> None:
    with pytest.raises(ValueError, match=r"expected joints_2d \(B, 2, 21, 2\) .* got \(12, 21, 2\)"):
        SiMHand()(projections, IDENTITY, joints[:, 0])

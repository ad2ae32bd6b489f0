"""Hands in like poses are no negatives: re-derived as loops, and whatever augmentation did to them."""

import math

import pytest
import torch
from torch import Tensor

from peclr.geometry.affine import apply_affine, compose, rotation, scaling, translation
from peclr.losses.objectives import PeCLR, SoftPeCLR
from peclr.losses.soft_peclr import negative_shares, poses_of

PAIRS = 6
SIZE = 64  # px, of views


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Projections of noise, geometry, and joints: hands 0 and 1 are in one pose, 2 is near it."""
    generator = torch.Generator().manual_seed(0)
    offset, angle, factor = (torch.rand(PAIRS, 2, *shape, generator=generator) for shape in ((2,), (), ()))
    views = compose(translation(offset - 0.5), rotation(2 * angle - 1), scaling(0.8 + factor / 2)).double()
    hands = torch.randn(PAIRS, 1, 21, 2, generator=generator).double()
    hands[1] = hands[0]
    hands[2] = hands[0] + 0.1 * hands[2]
    pixels = SIZE / 2 * apply_affine(views, 0.3 * hands) + (SIZE - 1) / 2
    return torch.randn(PAIRS, 2, 12, generator=generator).double(), views, pixels


def test_poses_are_the_same_whatever_the_view() -> None:
    _, views, joints = batch()
    poses = poses_of(joints, views)
    torch.testing.assert_close(poses[:, 0], poses[:, 1])
    torch.testing.assert_close(poses[0], poses[1])
    torch.testing.assert_close(poses.square().sum(dim=-1).mean(dim=-1), torch.ones(PAIRS, 2).double())
    assert (poses[0] - poses[3]).abs().max() > 0.5


def test_the_orientation_in_the_crop_is_part_of_the_pose() -> None:
    _, views, joints = batch()
    turned = poses_of(apply_affine(rotation(torch.tensor(0.8).double()), joints), views)
    assert (turned - poses_of(joints, views)).abs().max() > 0.5


def test_shares_fall_with_the_distance_of_poses() -> None:
    hand = torch.zeros(1, 21, 2)
    # two pairs of views 0, 1 and 2, 3 at 0, 0.1, 0.3 and 5 from the anchor
    poses = torch.cat([hand + torch.tensor([0.6, 0.8]) * distance for distance in (0.0, 0.1, 0.3, 5.0)])
    torch.testing.assert_close(negative_shares(poses, torch.tensor([0]), 0.4), torch.tensor([[0.0, 0.25, 1.0, 1.0]]))


def test_the_loss_as_loops() -> None:
    projections, views, joints = batch()
    z = torch.cat(PeCLR().undo(projections, views).unbind(1))
    z = z / z.norm(dim=-1, keepdim=True)
    poses = torch.cat(poses_of(joints, views).unbind(1))
    terms, left_out = [], 0
    for i in range(2 * PAIRS):
        partner = (i + PAIRS) % (2 * PAIRS)
        total = 0.0
        for k in set(range(2 * PAIRS)) - {i}:
            apart = float((poses[i] - poses[k]).square().sum(dim=-1).mean().sqrt())
            share = 1.0 if k == partner else min(apart / 0.5, 1.0)
            left_out += share < 1e-6
            total += share * math.exp(float(z[i] @ z[k]) / 0.2)
        terms.append(math.log(total) - float(z[i] @ z[partner]) / 0.2)
    assert left_out == 8  # the two views of hand 0, those of hand 1, both ways
    loss = SoftPeCLR(0.2, radius=0.5)(projections, views, joints)
    assert loss.item() == pytest.approx(sum(terms) / len(terms), rel=1e-6)


def test_gradients() -> None:
    projections, views, joints = batch()
    objective = SoftPeCLR(translation=False, rotation=False)  # whose range and mean are constants
    few = projections[:3, :, :6].requires_grad_()
    assert torch.autograd.gradcheck(lambda p: objective(p, views[:3], joints[:3]), few)


def test_hands_in_one_pose_are_not_pushed_apart() -> None:
    """Nothing is left but the pull of the other view, which has all of the denominator."""
    projections, views, joints = batch()
    loss = SoftPeCLR()(projections.requires_grad_(), views[:1].expand_as(views), joints[:1].expand_as(joints))
    (gradient,) = torch.autograd.grad(loss, projections)
    assert loss.abs() < 1e-6
    assert gradient.abs().max() < 1e-6


def test_unlike_and_unknown_hands_are_pushed_as_in_peclr() -> None:
    projections, views, joints = batch()
    expected = PeCLR()(projections, views)
    far = SoftPeCLR(radius=1e-3)(projections[2:], views[2:], joints[2:])
    torch.testing.assert_close(far, PeCLR()(projections[2:], views[2:]))
    some = joints.clone()
    some[:3, :, 7] = torch.nan
    nowhere = torch.zeros_like(joints)
    for unknown in (some, nowhere, torch.full_like(joints, torch.nan)):
        torch.testing.assert_close(SoftPeCLR()(projections, views, unknown), expected)
    assert SoftPeCLR()(projections, views, joints) < expected - 0.1


def test_a_batch_without_joints_and_a_radius_of_nothing_are_refused() -> None:
    projections, views, joints = batch()
    with pytest.raises(ValueError, match="weighs pairs by their joints_2d"):
        SoftPeCLR()(projections, views)
    with pytest.raises(ValueError, match=r"expected joints_2d \(B, 2, 21, 2\)"):
        SoftPeCLR()(projections, views, joints[:2])
    for radius in (0, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"radius must be above 0, got {radius}"):
            SoftPeCLR(radius=radius)

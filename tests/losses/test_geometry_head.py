"""The map between two views, re-derived, and learned from features that hold it."""

import math

import pytest
import torch
from torch import Tensor

from peclr.geometry.affine import compose, rotation, scaling, translation
from peclr.losses.geometry_head import relative_geometry
from peclr.losses.objectives import GeometryHead, PeCLR, SimCLR, SiMHand, SplitObjective

PAIRS = 64


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Projections of noise, geometry, and features that say it: angle, shift and logarithm of the scale."""
    generator = torch.Generator().manual_seed(0)
    known = torch.rand(PAIRS, 2, 4, generator=generator) - 0.5
    views = compose(translation(known[..., 1:3]), rotation(known[..., 0]), scaling(known[..., 3].exp()))
    return torch.randn(PAIRS, 2, 16, generator=generator), views, known


def test_relative_geometry_takes_first_to_second_views() -> None:
    first = compose(translation(torch.tensor([0.3, -0.1])), rotation(torch.tensor(0.4)), scaling(torch.tensor(0.8)))
    step = compose(translation(torch.tensor([0.2, 0.5])), rotation(torch.tensor(-1.1)), scaling(torch.tensor(1.5)))
    found = relative_geometry(torch.stack((first, compose(step, first)))[None])
    expected = torch.tensor([[math.cos(1.1), -math.sin(1.1), 0.2, 0.5, math.log(1.5)]])
    torch.testing.assert_close(found, expected)


def test_the_loss_is_the_contrast_and_the_error_of_both_directions() -> None:
    projections, views, features = batch()
    objective = GeometryHead(SimCLR(0.2), weight=0.3, hidden=8)
    objective.build(4)
    errors = []
    for pair, there in zip(features, views, strict=True):
        for one, other in ((0, 1), (1, 0)):
            predicted = objective.layers(torch.cat((pair[one], pair[other])))
            matrix = there[other].double() @ there[one].double().inverse()
            angle, scale = math.atan2(matrix[0, 1], matrix[0, 0]), math.sqrt(torch.linalg.det(matrix))
            true = [math.cos(angle), math.sin(angle), float(matrix[0, 2]), float(matrix[1, 2]), math.log(scale)]
            errors.append((predicted - torch.tensor(true)).square().sum())
    expected = SimCLR(0.2)(projections, views) + 0.3 * torch.stack(errors).mean()
    torch.testing.assert_close(objective(projections, views, features=features), expected)


def test_features_that_hold_the_geometry_teach_it() -> None:
    projections, views, features = batch()
    torch.manual_seed(0)
    objective = GeometryHead()
    objective.build(4)
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.01)
    contrast = PeCLR()(projections, views)
    errors = []
    for _ in range(100):
        loss = objective(projections, views, features=features)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(float(loss.detach() - contrast))
    assert errors[-1] < 0.02 * errors[0]


def test_features_get_a_gradient_in_half_precision() -> None:
    projections, views, features = batch()
    objective = GeometryHead()
    objective.build(4)
    features = features.half().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = objective(projections, views, features=features)
    (gradient,) = torch.autograd.grad(loss, features)
    assert loss.dtype == torch.float32
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0


def test_it_needs_and_gives_what_the_contrast_needs() -> None:
    projections, views, features = batch()
    joints = torch.rand(PAIRS, 2, 21, 2)
    objective = GeometryHead(SiMHand(), weight=0.0)
    objective.build(4)
    assert objective.needs == {"features", "joints_2d"}
    loss = objective(projections, views, features=features, joints_2d=joints)
    torch.testing.assert_close(loss, SiMHand()(projections, views, joints))
    torch.testing.assert_close(objective.undo(projections, views), PeCLR().undo(projections, views))


def test_a_head_inside_of_another_objective_is_built_too() -> None:
    split = SplitObjective(invariant=GeometryHead(SimCLR()))
    assert split.needs == {"features"}
    split.build(4)
    assert len(list(split.parameters())) == 4


@pytest.mark.parametrize(("shape", "reason"), [(None, "got None"), ((3, 2, 4), r"got \(3, 2, 4\)")])
def test_features_of_other_views_are_refused(shape: tuple[int, ...] | None, reason: str) -> None:
    projections, views, _ = batch()
    with pytest.raises(ValueError, match=rf"features \(B, 2, F\) of the same views as projections, {reason}"):
        GeometryHead()(projections, views, features=None if shape is None else torch.zeros(shape))


def test_a_head_that_was_not_built_is_refused() -> None:
    projections, views, features = batch()
    with pytest.raises(ValueError, match=r"has no layers yet: call build\(4\)"):
        GeometryHead()(projections, views, features=features)


def test_a_layer_of_no_width_is_refused() -> None:
    with pytest.raises(ValueError, match="hidden is the width of a layer, expected at least 1, got 0"):
        GeometryHead(hidden=0)


def test_pairs_without_a_map_teach_it_nothing() -> None:
    projections, views, features = batch()
    views[::2] = torch.eye(3)
    objective = GeometryHead(SimCLR())
    objective.build(4)
    features.requires_grad_()
    (gradient,) = torch.autograd.grad(objective(projections, views, features=features), features)
    assert (gradient[::2] == 0).all()
    assert (gradient[1::2] != 0).any(dim=(1, 2)).all()
    alone = objective(projections, torch.eye(3).expand(PAIRS, 2, 3, 3), features=features)
    torch.testing.assert_close(alone, SimCLR()(projections, views))

"""The two parts of a projection have each their own objective."""

import pytest
import torch

from peclr.geometry.affine import compose, rotation, translation
from peclr.losses.objectives import AffinePeCLR, PeCLR, SimCLR, SiMHand, SplitObjective

GENERATOR = torch.Generator().manual_seed(0)
PROJECTIONS = torch.randn(6, 2, 16, dtype=torch.float64, generator=GENERATOR)
VIEWS = compose(translation(torch.rand(6, 2, 2, generator=GENERATOR) - 0.5), rotation(torch.rand(6, 2)))


def test_it_is_the_sum_of_two_objectives_of_two_parts() -> None:
    loss = SplitObjective(SimCLR(0.2), AffinePeCLR(0.3), share=0.25, weight=0.7)(PROJECTIONS, VIEWS)
    expected = SimCLR(0.2)(PROJECTIONS[..., :4], VIEWS) + 0.7 * AffinePeCLR(0.3)(PROJECTIONS[..., 4:], VIEWS)
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize(("share", "first"), [(0.5, 8), (0.1, 2), (0.3, 4), (0.9, 14)])
def test_the_rest_is_points(share: float, first: int) -> None:
    loss = SplitObjective(share=share)(PROJECTIONS, VIEWS)
    torch.testing.assert_close(
        loss, SimCLR()(PROJECTIONS[..., :first], VIEWS) + PeCLR()(PROJECTIONS[..., first:], VIEWS)
    )


def test_only_the_rest_is_undone() -> None:
    undone = SplitObjective(share=0.25).undo(PROJECTIONS, VIEWS)
    torch.testing.assert_close(undone[..., :4], PROJECTIONS[..., :4])
    torch.testing.assert_close(undone[..., 4:], PeCLR().undo(PROJECTIONS[..., 4:], VIEWS))


def test_what_a_part_needs_is_given_to_it() -> None:
    joints = torch.rand(6, 2, 21, 2, generator=GENERATOR)
    split = SplitObjective(equivariant=SiMHand())
    assert split.needs == {"joints_2d"}
    assert SplitObjective().needs == set()
    expected = SimCLR()(PROJECTIONS[..., :8], VIEWS) + SiMHand()(PROJECTIONS[..., 8:], VIEWS, joints)
    torch.testing.assert_close(split(PROJECTIONS, VIEWS, joints_2d=joints), expected)
    with pytest.raises(ValueError, match="none were given"):
        split(PROJECTIONS, VIEWS)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5])
def test_a_part_without_features_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=f"between 0 and 1, got {share}"):
        SplitObjective(share=share)


def test_projections_too_short_to_split_are_refused() -> None:
    with pytest.raises(ValueError, match=r"cannot split 2 features of a projection with a share of 0\.1"):
        SplitObjective(share=0.1)(PROJECTIONS[..., :2], VIEWS)

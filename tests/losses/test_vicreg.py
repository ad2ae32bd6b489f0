"""VICReg against the published numbers; on projections whose geometry is undone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from peclr.geometry.affine import compose, rotation, translation
from peclr.losses.objectives import VICReg, undo_views
from peclr.losses.vicreg import vicreg_loss

IDENTITY = torch.eye(3).expand(64, 2, 3, 3)


@pytest.fixture(scope="module")
def published(reference: Path) -> dict[str, Tensor]:
    with np.load(reference / "vicreg.npz") as archive:
        return {name: torch.from_numpy(archive[name]) for name in archive.files}


def test_loss_and_gradients_are_the_published_ones(published: dict[str, Tensor]) -> None:
    z1, z2 = (published[name].clone().requires_grad_() for name in ("z1", "z2"))
    loss = vicreg_loss(z1, z2)
    torch.testing.assert_close(loss, published["loss"], rtol=1e-10, atol=0)
    for gradient, name in zip(torch.autograd.grad(loss, (z1, z2)), ("grad1", "grad2"), strict=True):
        torch.testing.assert_close(gradient, published[name], rtol=0, atol=1e-10 * float(published[name].abs().max()))


@pytest.mark.parametrize("term", ["invariance", "variance", "covariance"])
def test_each_term_is_the_published_one(published: dict[str, Tensor], term: str) -> None:
    weights = {name: float(name == term) for name in ("invariance", "variance", "covariance")}
    loss = vicreg_loss(published["z1"], published["z2"], **weights)
    torch.testing.assert_close(loss, published[term], rtol=1e-10, atol=0)


def test_views_that_did_not_move_are_compared_as_they_are(published: dict[str, Tensor]) -> None:
    """Not normalized: the variance is held up to 1."""
    projections = torch.stack((published["z1"], published["z2"]), dim=1)
    torch.testing.assert_close(VICReg()(projections, IDENTITY), published["loss"], rtol=1e-6, atol=0)


def test_geometry_is_undone(published: dict[str, Tensor]) -> None:
    generator = torch.Generator().manual_seed(0)
    offset, angle = (torch.rand(64, 2, *shape, generator=generator) for shape in ((2,), ()))
    moved = compose(translation(offset - 0.5), rotation(angle))
    crop = published["z1"][:, None].expand(64, 2, 96)
    turned = undo_views(crop, compose(rotation(-angle)))  # as an equivariant encoder does
    same = vicreg_loss(published["z1"], published["z1"])
    torch.testing.assert_close(VICReg()(turned, rotation(angle)), same, rtol=1e-6, atol=0)
    assert VICReg(rotation=False)(turned, rotation(angle)) > 1.01 * same
    projections = torch.stack((published["z1"], published["z2"]), dim=1)
    first, second = undo_views(projections, moved).unbind(1)
    expected = vicreg_loss(first, second)
    torch.testing.assert_close(VICReg()(projections, moved), expected)


def test_half_precision_is_computed_in_float32(published: dict[str, Tensor]) -> None:
    z1, z2 = (published[name].bfloat16() for name in ("z1", "z2"))
    with torch.autocast("cpu", torch.bfloat16):
        loss = vicreg_loss(z1, z2)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), vicreg_loss(z1.double(), z2.double()), rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [((4, 6), (4, 5), r"got \(4, 6\) and \(4, 5\)"), ((4,), (4,), r"got \(4,\)"), ((1, 6), (1, 6), "at least 2")],
)
def test_what_has_no_covariance_is_refused(first: tuple[int], second: tuple[int], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        vicreg_loss(torch.zeros(first), torch.zeros(second))

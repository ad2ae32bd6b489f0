"""The inversion of PeCLR against the published numbers, and what it leaves alone."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from peclr.geometry.affine import apply_affine, compose, rotation, translation
from peclr.losses.equivariance import undo_translation_rotation
from peclr.losses.nt_xent import nt_xent_loss

REFERENCE = Path(__file__).parents[1] / "reference" / "contrastive.npz"
CASES = {"translate": (1, 0), "rotate": (0, 1), "translate_rotate": (1, 1)}


def random_points(n: int = 6, p: int = 64) -> Tensor:
    return torch.randn(n, p, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    with np.load(REFERENCE) as archive:
        return {name: torch.from_numpy(archive[name]) for name in archive.files}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", CASES)
def test_parity_with_the_published_code(published: dict[str, Tensor], case: str, dtype: torch.dtype) -> None:
    translates, rotates = CASES[case]
    projections = normalize(published["projections"].to(dtype), dim=-1)
    views = []
    for view, flat in enumerate((projections[:16], projections[16:]), start=1):
        jitter = torch.stack([published[f"jitter_{axis}_{view}"] for axis in "xy"], dim=-1).to(dtype)
        angle = torch.deg2rad(published[f"angle_{view}"].to(dtype))
        undone = undo_translation_rotation(
            flat.reshape(16, 64, 2), translates * jitter / published["image_size"], rotates * angle
        )
        views.append(normalize(undone.reshape(16, 128), dim=-1))
        expected = published[f"view{view}_{case}"]
        assert (views[-1] - expected).abs().max() <= 1e-6 * expected.abs().max()
    loss = nt_xent_loss(views[0], views[1], temperature=0.5).item()
    assert loss == pytest.approx(published[f"ntxent_peclr_{case}"].item(), rel=1e-6)


def test_nothing_to_undo_changes_nothing() -> None:
    points = random_points()
    undone = undo_translation_rotation(points, torch.zeros(6, 2), torch.zeros(6))
    torch.testing.assert_close(undone, points)


def test_rotation_about_the_mean_is_undone_exactly() -> None:
    points, angle = random_points(), torch.linspace(-3, 3, 6, dtype=torch.float64)
    mean = points.mean(dim=1)
    turned = apply_affine(compose(translation(mean), rotation(angle), translation(-mean)), points)
    torch.testing.assert_close(undo_translation_rotation(turned, torch.zeros(6, 2), angle), points)


def test_translation_is_a_fraction_of_the_points_range_per_axis() -> None:
    points = random_points()
    low, high = points.amin(dim=1), points.amax(dim=1)
    offset = torch.tensor([0.25, -0.1], dtype=torch.float64).expand(6, 2)
    moved = points + (offset * (high - low))[:, None]
    torch.testing.assert_close(undo_translation_rotation(moved, offset, torch.zeros(6)), points)


def test_rotation_keeps_the_mean_and_all_distances() -> None:
    points = random_points()
    turned = undo_translation_rotation(points, torch.zeros(6, 2), torch.full((6,), 1.0))
    torch.testing.assert_close(turned.mean(dim=1), points.mean(dim=1))
    torch.testing.assert_close(torch.cdist(turned, turned), torch.cdist(points, points))


def test_it_commutes_with_scaling_the_points() -> None:
    points, offset, angle = random_points(), torch.full((6, 2), 0.1), torch.full((6,), 0.4)
    scaled = undo_translation_rotation(7 * points, offset, angle)
    torch.testing.assert_close(scaled, 7 * undo_translation_rotation(points, offset, angle))


def test_range_and_mean_are_constants_to_the_gradient() -> None:
    """So the Jacobian is that of the rotation alone, point by point."""
    points, offset, angle = random_points(1, 3), torch.full((1, 2), 0.2).double(), torch.full((1,), 0.4).double()
    points.requires_grad_()
    moved = undo_translation_rotation(points, offset, angle)
    rows = [torch.autograd.grad(value, points, retain_graph=True)[0] for value in moved.flatten()]
    jacobian = torch.stack(rows).reshape(3, 2, 3, 2)
    linear = rotation(-angle[0])[:2, :2]
    expected = torch.einsum("pq,ij->piqj", torch.eye(3, dtype=torch.float64), linear)
    torch.testing.assert_close(jacobian, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("magnitude", [0.0, 1e4])
def test_any_magnitude_gives_finite_numbers(dtype: torch.dtype, magnitude: float) -> None:
    points = (magnitude * random_points()).to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        undone = undo_translation_rotation(points, torch.full((6, 2), 0.1), torch.full((6,), math.pi))
    (gradient,) = torch.autograd.grad(undone.sum(), points)
    assert undone.dtype == torch.float32
    assert undone.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize(
    ("points", "offset", "angle"),
    [
        ((6, 64, 3), (6, 2), (6,)),
        ((6, 128), (6, 2), (6,)),
        ((6, 64, 2), (2,), (6,)),
        ((6, 64, 2), (6, 2), (1,)),
    ],
)
def test_mismatched_shapes_are_refused(points: list[int], offset: list[int], angle: list[int]) -> None:
    with pytest.raises(ValueError, match=r"expected points \(N, P, 2\), translation \(N, 2\), angle \(N,\)"):
        undo_translation_rotation(torch.zeros(*points), torch.zeros(*offset), torch.zeros(*angle))

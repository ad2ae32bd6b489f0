"""Similarity alignment: equal to the official one, optimal, proper where asked, finite."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.linalg import orthogonal_procrustes
from torch import Tensor

from peclr.geometry.procrustes import similarity_align


def point_sets(n: int, joints: int = 21, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = 0.05 * torch.randn(n, joints, 3, dtype=torch.float64, generator=generator) + torch.tensor([0, 0, 0.7])
    points = target + 0.02 * torch.randn(n, joints, 3, dtype=torch.float64, generator=generator)
    return points, target


def rotations(n: int) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    Q: Tensor = torch.linalg.qr(torch.randn(n, 3, 3, dtype=torch.float64, generator=generator)).Q
    sign: Tensor = torch.linalg.det(Q)
    return Q * sign[:, None, None]


def official(points: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """The alignment of the FreiHAND scores as described: unit Frobenius norm, then scipy."""
    source_centered, target_centered = points - points.mean(0), target - target.mean(0)
    source_norm, target_norm = (np.linalg.norm(x) + 1e-8 for x in (source_centered, target_centered))
    rotation, scale = orthogonal_procrustes(source_centered / source_norm, target_centered / target_norm)
    return np.asarray(source_centered / source_norm @ rotation * scale * target_norm + target.mean(0))


@pytest.mark.parametrize("joints", [21, 778])
def test_equals_the_official_alignment(joints: int) -> None:
    points, target = point_sets(12, joints)
    points[::3, :, 0] *= -1  # mirrored hands
    aligned = similarity_align(points, target, allow_reflection=True)
    for ours, p, t in zip(aligned.numpy(), points.numpy(), target.numpy(), strict=True):
        np.testing.assert_allclose(ours, official(p, t), rtol=0, atol=1e-9)


@pytest.mark.parametrize("allow_reflection", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-8)])
def test_a_similarity_is_undone(*, allow_reflection: bool, dtype: torch.dtype, tolerance: float) -> None:
    _, target = point_sets(8)
    moved = 1000 * target @ rotations(8).mT + 3
    aligned = similarity_align(moved.to(dtype), target.to(dtype), allow_reflection=allow_reflection)
    assert aligned.dtype == dtype
    # 1000 × the size in float32, so rounding of the input counts
    torch.testing.assert_close(aligned.double(), target, atol=10 * tolerance, rtol=0)


def test_only_a_reflection_turns_a_left_hand_into_a_right_one() -> None:
    _, target = point_sets(6)
    mirrored = target * torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(similarity_align(mirrored, target, allow_reflection=True), target, atol=1e-7, rtol=0)
    proper = similarity_align(mirrored, target)
    assert ((proper - target).norm(dim=-1).mean(dim=-1) > 0.005).all()
    # orientation is kept: signed volumes have the sign they had
    before, after = (torch.linalg.det(x[:, 1:4] - x[:, :1]) for x in (mirrored, proper))
    assert (before.sign() == after.sign()).all()


def test_the_proper_alignment_cannot_be_improved() -> None:
    points, target = point_sets(1)
    points[..., 0] *= -1
    best = similarity_align(points, target)
    error = (best - target).square().sum()
    center = best.mean(dim=-2, keepdim=True)
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        spin = 0.1 * torch.randn(3, 3, dtype=torch.float64, generator=generator)
        rotation = torch.linalg.matrix_exp(spin - spin.mT)
        scale = 1 + 0.1 * torch.randn((), dtype=torch.float64, generator=generator)
        assert ((best - center) @ rotation * scale + center - target).square().sum() > error


def test_leading_dimensions() -> None:
    points, target = point_sets(6)
    aligned = similarity_align(points.reshape(2, 3, 21, 3), target.reshape(2, 3, 21, 3))
    torch.testing.assert_close(aligned.reshape(6, 21, 3), similarity_align(points, target))
    torch.testing.assert_close(similarity_align(points[0], target[0]), aligned[0, 0])


@pytest.mark.parametrize("allow_reflection", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_degenerate_points_give_finite_numbers(*, allow_reflection: bool, dtype: torch.dtype) -> None:
    _, target = point_sets(4)
    points = torch.zeros(4, 21, 3, dtype=torch.float64)
    points[1] = 0.7  # all in one place
    points[2, :, 0] = torch.linspace(0, 1, 21)  # on a line
    points[3, :, :2] = target[3, :, :2]  # in a plane
    aligned = similarity_align(points.to(dtype), target.to(dtype), allow_reflection=allow_reflection)
    assert aligned.isfinite().all()
    center = target[:2].to(dtype).to(aligned.dtype).mean(dim=1, keepdim=True).expand(2, 21, 3)
    torch.testing.assert_close(aligned[:2], center, atol=1e-5, rtol=0)
    collapsed = torch.ones(4, 21, 3, dtype=dtype)
    torch.testing.assert_close(
        similarity_align(target.to(dtype), collapsed), collapsed.to(aligned.dtype), atol=1e-6, rtol=0
    )


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"cannot align points \(21, 3\) to target \(778, 3\)"):
        similarity_align(torch.zeros(21, 3), torch.zeros(778, 3))

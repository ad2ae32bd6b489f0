"""Matrices of the plane: sign and pixel conventions, inverses, precision."""

import math

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from peclr.geometry.affine import (
    apply_affine,
    at_least_float32,
    compose,
    exact_matmul,
    invert,
    is_singular,
    rotation,
    rotation_angle,
    scaling,
    translation,
)

FLOATS = [torch.float32, torch.float64]


def random_affine(*batch: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    """Matrices that rotate, scale, shear, translate and, half of the time, mirror."""
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.eye(3, dtype=torch.float64).repeat(*batch, 1, 1)
    matrix[..., :2, :] += torch.randn(*batch, 2, 3, dtype=torch.float64, generator=generator)
    matrix[..., 0, :] *= torch.randn(*batch, 1, generator=generator).sign()
    return matrix.to(dtype)


def test_a_positive_angle_turns_the_image_counter_clockwise() -> None:
    right, up = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, -1.0]])  # y points down
    torch.testing.assert_close(apply_affine(rotation(torch.tensor(math.pi / 2)), right), up)


@pytest.mark.parametrize("degrees", [-135.0, -45.0, 0.0, 10.0, 90.0])
def test_rotation_has_the_sign_of_opencv(degrees: float) -> None:
    ours = rotation(torch.tensor(math.radians(degrees), dtype=torch.float64))[:2]
    np.testing.assert_allclose(ours.numpy(), cv2.getRotationMatrix2D((0, 0), degrees, 1.0), atol=1e-12)


def test_rotation_angle_is_read_back_under_scale_and_translation() -> None:
    angle = torch.linspace(-3.1, 3.1, 41, dtype=torch.float64)
    moved = compose(
        translation(torch.tensor([5.0, -3.0])), rotation(angle), scaling(torch.linspace(0.2, 4, 41).double())
    )
    torch.testing.assert_close(rotation_angle(moved), angle)


def test_compose_applies_from_right_to_left() -> None:
    turn, shift = rotation(torch.tensor(math.pi / 2)), translation(torch.tensor([1.0, 0.0]))
    origin = torch.zeros(1, 2)
    torch.testing.assert_close(apply_affine(compose(shift, turn), origin), torch.tensor([[1.0, 0.0]]))
    torch.testing.assert_close(apply_affine(compose(turn, shift), origin), torch.tensor([[0.0, -1.0]]))


def test_composing_equals_applying_in_turn() -> None:
    a, b, c = random_affine(5, seed=1), random_affine(5, seed=2), random_affine(5, seed=3)
    points = torch.randn(5, 7, 2, dtype=torch.float64)
    in_turn = apply_affine(a, apply_affine(b, apply_affine(c, points)))
    torch.testing.assert_close(apply_affine(compose(a, b, c), points), in_turn)


def test_apply_affine_acts_on_homogeneous_columns() -> None:
    matrices, points = random_affine(2, 3), torch.randn(2, 3, 4, 2, dtype=torch.float64)
    mapped = apply_affine(matrices, points)
    for i, j, p in np.ndindex(2, 3, 4):
        column = np.append(points[i, j, p].numpy(), 1.0)
        np.testing.assert_allclose(mapped[i, j, p].numpy(), (matrices[i, j].numpy() @ column)[:2])


def test_one_matrix_serves_a_batch_of_points() -> None:
    matrix, points = random_affine()[None][0], torch.randn(6, 4, 2, dtype=torch.float64)
    torch.testing.assert_close(apply_affine(matrix, points)[3], apply_affine(matrix, points[3]))


@pytest.mark.parametrize("dtype", FLOATS)
def test_invert_undoes_any_affine_map(dtype: torch.dtype) -> None:
    matrices = random_affine(50, dtype=dtype)
    eye = torch.eye(3, dtype=dtype).expand_as(matrices)
    tolerance = 1e-3 if dtype == torch.float32 else 1e-9
    torch.testing.assert_close(compose(matrices, invert(matrices)), eye, atol=tolerance, rtol=0)
    torch.testing.assert_close(invert(matrices.double()), torch.linalg.inv(matrices.double()), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("linear", [[[0.0, 0.0], [0.0, 0.0]], [[1.0, 2.0], [2.0, 4.0]], [[1.0, math.nan], [0.0, 1.0]]])
def test_a_singular_matrix_is_noticed_and_has_no_finite_inverse(linear: list[list[float]]) -> None:
    matrices = torch.eye(3).repeat(4, 1, 1)
    matrices[2, :2, :2] = torch.tensor(linear)
    assert is_singular(matrices).tolist() == [False, False, True, False]
    assert invert(matrices).isfinite().all(dim=-1).all(dim=-1).tolist() == [True, True, False, True]


def test_small_is_not_singular() -> None:
    assert not is_singular(scaling(torch.tensor([1e-6, 1.0, 1e6]))).any()


def test_autocast_does_not_cost_precision() -> None:
    a, b, points = random_affine(3).float(), random_affine(3, seed=1).float(), 200 * torch.rand(3, 5, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = (compose(a, b), apply_affine(a, points), exact_matmul(a, b))
    for result, expected in zip(inside, (compose(a, b), apply_affine(a, points), a @ b), strict=True):
        torch.testing.assert_close(result, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.uint8])
def test_low_precision_is_promoted(dtype: torch.dtype) -> None:
    points = torch.ones(3, 2, dtype=dtype)
    assert at_least_float32(points).dtype == torch.float32
    assert apply_affine(translation(points[0]), points).dtype == torch.float32


@pytest.mark.parametrize("dtype", FLOATS)
def test_dtype_is_kept(dtype: torch.dtype) -> None:
    one = torch.ones((), dtype=dtype)
    results = (rotation(one), scaling(one), translation(one.repeat(2)))
    assert all(matrix.dtype == dtype and matrix.shape == (3, 3) for matrix in results)


def test_gradients() -> None:
    angle = torch.tensor([0.3, -2.0], dtype=torch.float64, requires_grad=True)
    points = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)

    def there_and_back(angle: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        matrix = compose(rotation(angle), scaling(angle.square() + 1), translation(points[:, 0]))
        return apply_affine(invert(matrix), points), rotation_angle(matrix)

    assert torch.autograd.gradcheck(there_and_back, (angle, points))

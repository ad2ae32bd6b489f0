"""Projection and back-projection, also through the camera of a rotated crop."""

import math

import pytest
import torch
from torch import Tensor, nn

from peclr.geometry.affine import apply_affine, compose, rotation, scaling, translation
from peclr.geometry.camera import back_project, check_intrinsics, project


def cameras(n: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    K = torch.eye(3, dtype=torch.float64).repeat(n, 1, 1)
    K[:, 0, 0] = 400 + 600 * torch.rand(n, generator=generator)
    K[:, 1, 1] = 400 + 600 * torch.rand(n, generator=generator)
    K[:, :2, 2] = 112 + 30 * torch.randn(n, 2, generator=generator)
    return K.to(dtype)


def views(n: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    offset, angle, factor = (torch.rand(n, k, generator=generator).to(dtype) for k in (2, 1, 1))
    return compose(
        translation(40 * offset), rotation(3 * angle[:, 0]), scaling(0.5 + factor[:, 0]), translation(-20 * offset)
    )


def points_3d(n: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    xyz = 0.1 * torch.randn(n, 21, 3, dtype=torch.float64, generator=generator)
    return (xyz + torch.tensor([0.0, 0.0, 0.8])).to(dtype)


def test_projection_divides_by_depth() -> None:
    K = torch.tensor([[500.0, 0.0, 100.0], [0.0, 400.0, 120.0], [0.0, 0.0, 1.0]])
    pixels = project(torch.tensor([[0.1, -0.2, 2.0], [0.0, 0.0, 0.5]]), K)
    torch.testing.assert_close(pixels, torch.tensor([[125.0, 80.0], [100.0, 120.0]]))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_back_projection_undoes_projection_in_any_crop(dtype: torch.dtype, tolerance: float) -> None:
    xyz = points_3d(30, dtype)
    rotated = compose(views(30, dtype), cameras(30, dtype))
    assert rotated[:, 1, 0].abs().min() > 0
    for K in (cameras(30, dtype), rotated):
        recovered = back_project(project(xyz, K), xyz[..., 2], K)
        assert recovered.dtype == dtype
        torch.testing.assert_close(recovered, xyz, atol=tolerance, rtol=0)


def test_the_camera_of_a_crop_sees_the_moved_pixels() -> None:
    xyz, K, view_from_image = points_3d(10), cameras(10), views(10)
    moved = apply_affine(view_from_image, project(xyz, K))
    torch.testing.assert_close(project(xyz, compose(view_from_image, K)), moved)


def test_leading_dimensions_broadcast() -> None:
    xyz, K = points_3d(6).reshape(2, 3, 21, 3), cameras(2)[:, None]
    pixels = project(xyz, K)
    torch.testing.assert_close(pixels[1, 2], project(xyz[1, 2], K[1, 0]))
    torch.testing.assert_close(back_project(pixels, xyz[..., 2], K), xyz)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_left_behind(dtype: torch.dtype) -> None:
    K, xyz = cameras(4, torch.float32), points_3d(4, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        recovered = back_project(project(xyz, K), xyz[..., 2], K)
    torch.testing.assert_close(recovered, xyz, atol=1e-5, rtol=0)
    rays = back_project(torch.zeros(4, 21, 2, dtype=dtype), torch.ones(4, 21, dtype=dtype), K.to(dtype))
    assert rays.dtype == torch.float32
    assert rays.isfinite().all()


def test_gradients() -> None:
    K = cameras(2)
    K[:, :2] /= 500  # so that all gradients are of one size
    inputs = [tensor.requires_grad_() for tensor in (points_3d(2)[:, :3].clone(), K)]

    def there_and_back(xyz: Tensor, K: Tensor) -> Tensor:
        return back_project(project(xyz, K), xyz[..., 2].square(), K)

    assert torch.autograd.gradcheck(there_and_back, inputs)


def test_back_projection_can_be_exported() -> None:
    class BackProject(nn.Module):
        def forward(self, points: Tensor, depth: Tensor, K: Tensor) -> Tensor:
            return back_project(points, depth, K)

    K, xyz = cameras(3, torch.float32), points_3d(3, torch.float32)
    inputs = (project(xyz, K), xyz[..., 2], K)
    exported = torch.export.export(BackProject(), inputs).module()
    torch.testing.assert_close(exported(*inputs), xyz, atol=1e-5, rtol=0)


def test_usable_intrinsics_pass() -> None:
    check_intrinsics(cameras(3))
    check_intrinsics(compose(views(1), cameras(1))[0])


@pytest.mark.parametrize(("row", "column", "value"), [(0, 0, 0.0), (1, 1, math.nan), (2, 2, 0.0), (1, 2, math.inf)])
def test_unusable_intrinsics_are_named(row: int, column: int, value: float) -> None:
    K = cameras(5)
    K[3, row, column] = value
    with pytest.raises(ValueError, match=r"training_K\.json: expected finite, invertible .* entry 3 is \[\["):
        check_intrinsics(K, source="training_K.json")
    with pytest.raises(ValueError, match=r"got \[\["):
        check_intrinsics(K[3])


def test_intrinsics_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected 3×3 camera matrices, got shape \(4, 4\)"):
        check_intrinsics(torch.eye(4))

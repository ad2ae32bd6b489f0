"""2.5-D pose: parity with the published recovery, an independent solution, finite numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from peclr.geometry.affine import apply_affine, compose, rotation, scaling, translation
from peclr.geometry.joints import MIDDLE_MCP, SCALE_BONE, WRIST, joint_index
from peclr.geometry.pose25d import from_25d, solve_root_depth, to_25d

REFERENCE = Path(__file__).parents[1] / "reference" / "geometry_25d.npz"
AIT_WRIST = joint_index("wrist", "ait")
AIT_BONE = (joint_index("index_mcp", "ait"), AIT_WRIST)
LENGTHS = 0.03  # m, between neighbors of a chain


def camera(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.tensor([[520.0, 0.0, 118.0], [0.0, 480.0, 104.0], [0.0, 0.0, 1.0]], dtype=dtype)


def hands(n: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Chains of joints, 0.5–0.9 m away, whose reference bone does not point at the camera."""
    generator = torch.Generator().manual_seed(3)
    steps = torch.randn(n, 21, 3, dtype=torch.float64, generator=generator)
    steps[..., 2] *= 0.5
    steps[:, SCALE_BONE[1], :2] += 2.0
    steps = LENGTHS * steps / steps.norm(dim=-1, keepdim=True)
    middle = torch.tensor([0.0, 0.0, 0.7]) + 0.05 * torch.randn(n, 1, 3, generator=generator)
    xyz: Tensor = steps.cumsum(dim=1) + middle
    return xyz.to(dtype)


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    with np.load(REFERENCE) as archive:
        return {name: torch.from_numpy(archive[name]) for name in archive.files}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_parity_with_the_published_code(published: dict[str, Tensor], dtype: torch.dtype) -> None:
    data = {name: values.to(dtype) for name, values in published.items()}
    joints_25d, scale = to_25d(data["joints_3d"], data["K"], AIT_WRIST, AIT_BONE)
    for axis in range(3):
        expected = data["joints_25d"][..., axis]
        assert (joints_25d[..., axis] - expected).abs().max() <= 1e-5 * expected.abs().max()
    torch.testing.assert_close(scale, data["scale"], rtol=1e-5, atol=0)

    recovered = from_25d(data["joints_25d"], data["scale"], data["K"], AIT_WRIST, AIT_BONE)
    expected = data["joints_3d_from_25d"]
    # the README asks for 1e-3 m
    assert (recovered - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
@pytest.mark.parametrize("root", [WRIST, MIDDLE_MCP])
def test_recovery_undoes_the_reduction(dtype: torch.dtype, tolerance: float, root: int) -> None:
    xyz = hands(50, dtype)
    joints_25d, scale = to_25d(xyz, camera(dtype), root, SCALE_BONE)
    assert (joints_25d[:, root, 2] == 0).all()
    torch.testing.assert_close(scale, torch.full_like(scale, LENGTHS))
    recovered = from_25d(joints_25d, scale, camera(dtype), root, SCALE_BONE)
    assert recovered.dtype == dtype
    torch.testing.assert_close(recovered, xyz, atol=tolerance, rtol=0)


def test_25d_does_not_depend_on_size_and_distance_together() -> None:
    xyz = hands(5)
    joints_25d, scale = to_25d(xyz, camera(), WRIST, SCALE_BONE)
    doubled, double_scale = to_25d(2 * xyz, camera(), WRIST, SCALE_BONE)
    torch.testing.assert_close(doubled, joints_25d)
    torch.testing.assert_close(double_scale, 2 * scale)


def test_a_rotated_crop_leaves_the_hand_in_the_original_camera_frame() -> None:
    xyz = hands(8)
    view_from_image = compose(
        translation(torch.tensor([30.0, 9.0]).double()),
        rotation(torch.tensor(0.7).double()),
        scaling(torch.tensor(1.8).double()),
    )
    joints_25d, scale = to_25d(xyz, camera(), WRIST, SCALE_BONE)
    in_view = joints_25d.clone()
    in_view[..., :2] = apply_affine(view_from_image, joints_25d[..., :2])
    K = compose(view_from_image, camera())
    torch.testing.assert_close(to_25d(xyz, K, WRIST, SCALE_BONE)[0], in_view)
    torch.testing.assert_close(from_25d(in_view, scale, K, WRIST, SCALE_BONE), xyz)


def test_root_depth_is_the_larger_solution_of_unit_bone_length() -> None:
    """An independent derivation: interpolate the squared length as a parabola of depth, find its roots."""
    noisy = to_25d(hands(20), camera(), WRIST, SCALE_BONE)[0]
    noisy[..., :2] += 2 * torch.randn(noisy[..., :2].shape, generator=torch.Generator().manual_seed(0))
    solved = solve_root_depth(noisy, camera(), SCALE_BONE)
    K_inv = np.linalg.inv(camera().numpy())

    def squared_length(joints_25d: np.ndarray, depth: float) -> float:
        ends = [K_inv @ [u, v, 1.0] * (z + depth) for u, v, z in joints_25d[list(SCALE_BONE)]]
        return float(np.sum((ends[0] - ends[1]) ** 2))

    for joints_25d, depth in zip(noisy.numpy(), solved.tolist(), strict=True):
        samples = [10.0, 25.0, 40.0]
        parabola = np.polyfit(samples, [squared_length(joints_25d, d) - 1 for d in samples], 2)
        np.testing.assert_allclose(depth, np.roots(parabola).real.max(), rtol=1e-6)


def test_a_given_root_depth_is_used() -> None:
    xyz = hands(4)
    joints_25d, scale = to_25d(xyz, camera(), WRIST, SCALE_BONE)
    recovered = from_25d(joints_25d, scale, camera(), WRIST, SCALE_BONE, root_depth=torch.full((4,), 30.0).double())
    torch.testing.assert_close(recovered[:, WRIST, 2], torch.full((4,), 30 * LENGTHS).double())
    exact = from_25d(joints_25d, scale, camera(), WRIST, SCALE_BONE, root_depth=xyz[:, WRIST, 2] / scale)
    torch.testing.assert_close(exact, xyz)


def test_depth_is_relative_to_the_root_whatever_was_predicted_for_it() -> None:
    xyz = hands(4)
    joints_25d, scale = to_25d(xyz, camera(), WRIST, SCALE_BONE)
    joints_25d[..., 2] += 0.7
    for depth in (None, xyz[:, WRIST, 2] / scale):
        recovered = from_25d(joints_25d, scale, camera(), WRIST, SCALE_BONE, root_depth=depth)
        torch.testing.assert_close(recovered, xyz)


def test_without_a_real_solution_the_discriminant_is_clamped(monkeypatch: pytest.MonkeyPatch) -> None:
    joints_25d, _ = to_25d(hands(3), camera(), WRIST, SCALE_BONE)
    joints_25d[:, SCALE_BONE[1], 2] += 5.0  # the bone is longer than one at any depth
    low = solve_root_depth(joints_25d, camera(), SCALE_BONE)
    monkeypatch.setattr("peclr.geometry.pose25d._DISCRIMINANT_FLOOR", 4e-6)
    high = solve_root_depth(joints_25d, camera(), SCALE_BONE)
    assert low.isfinite().all()
    assert (high > low).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("case", ["zeros", "coinciding bone", "far apart", "deep"])
def test_degenerate_predictions_give_finite_numbers_and_gradients(dtype: torch.dtype, case: str) -> None:
    joints_25d = torch.zeros(2, 21, 3)
    if case == "coinciding bone":
        joints_25d = 100 * torch.rand(2, 21, 3)
        joints_25d[:, SCALE_BONE[0]] = joints_25d[:, SCALE_BONE[1]]
    elif case == "far apart":
        joints_25d[..., :2] = 1e4 * torch.rand(2, 21, 2)
    elif case == "deep":
        joints_25d[..., 2] = 1e4 * torch.rand(2, 21)
    joints_25d = joints_25d.to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        xyz = from_25d(joints_25d, torch.full((2,), LENGTHS), camera(torch.float32), WRIST, SCALE_BONE)
    assert xyz.dtype == torch.promote_types(dtype, torch.float32)
    assert xyz.isfinite().all()
    if dtype in (torch.float32, torch.float64):  # float16 cannot hold the gradients
        xyz.sum().backward()  # type: ignore[no-untyped-call]
        assert joints_25d.grad is not None
        assert joints_25d.grad.isfinite().all()


def test_gradients() -> None:
    # gradcheck compares at one tolerance: bring pixels and depth to one size
    K = torch.tensor([[1.0, 0.0, 0.2], [0.0, 1.1, 0.1], [0.0, 0.0, 1.0]], dtype=torch.float64)
    joints_25d, scale = to_25d(hands(2), K, WRIST, SCALE_BONE)
    inputs = [tensor.requires_grad_() for tensor in (joints_25d, scale, K)]

    def recover(joints_25d: Tensor, scale: Tensor, K: Tensor) -> Tensor:
        return from_25d(joints_25d, scale, K, WRIST, SCALE_BONE)

    assert torch.autograd.gradcheck(recover, inputs, atol=1e-4)


def test_a_bone_without_length_is_refused() -> None:
    xyz = hands(2)
    xyz[1, SCALE_BONE[0]] = xyz[1, SCALE_BONE[1]]
    with pytest.raises(ValueError, match="between joints 9 and 10 is the scale"):
        to_25d(xyz, camera(), WRIST, SCALE_BONE)

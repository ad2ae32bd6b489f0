"""Pinhole camera: projection, back-projection, and the camera of a crop.

A camera matrix K takes metres in the camera frame (x right, y down, z forward) to homogeneous pixels. Its last row is
(0, 0, 1). The camera of a view is `view_from_image @ K`, whose left 2×2 part may be full: 3-D labels stay in the frame
of the original camera.
"""

from torch import Tensor
from torch.nn.functional import pad

from peclr.geometry.affine import apply_affine, at_least_float32, exact_matmul, invert, is_singular


def project(joints_3d: Tensor, K: Tensor) -> Tensor:
    """Project points (…, P, 3) of the camera frame, of any unit and not at depth 0: (…, P, 2), pixels."""
    homogeneous = exact_matmul(joints_3d, K.mT)
    return homogeneous[..., :2] / homogeneous[..., 2:]


def back_project(points_2d: Tensor, depth: Tensor, K: Tensor) -> Tensor:
    """Put image points (…, P, 2), pixels, at depths (…, P): (…, P, 3), camera frame; the inverse of `project`.

    A singular K is not noticed here, for which a training step would wait: who reads a K calls `check_intrinsics`.
    """
    rays = pad(apply_affine(invert(K), points_2d), (0, 1), value=1.0)
    return at_least_float32(depth)[..., None] * rays


def check_intrinsics(K: Tensor, source: str = "K") -> None:
    """Refuse camera matrices (…, 3, 3) from `source` that are not finite, invertible, and with last row (0, 0, 1)."""
    if K.shape[-2:] != (3, 3):
        raise ValueError(f"{source}: expected 3×3 camera matrices, got shape {tuple(K.shape)}")
    homogeneous = (K[..., 2, :] == K.new_tensor([0, 0, 1])).all(dim=-1)
    bad = is_singular(K) | ~homogeneous
    if bad.any():
        first = int(bad.flatten().nonzero()[0])
        where = f"entry {first} is" if K.ndim > 2 else "got"
        found = f"{where} {K.reshape(-1, 3, 3)[first].tolist()}"
        raise ValueError(f"{source}: expected finite, invertible camera matrices with last row (0, 0, 1); {found}")

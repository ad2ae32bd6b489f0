"""2.5-D hand pose: pixels and relative depth, free of scale, and the way back to 3-D.

Iqbal et al., "Hand Pose Estimation via Latent 2.5D Heatmap Regression", ECCV 2018 (arXiv 1804.09534). A hand
is divided by the length of one of its bones; its depth is taken relative to a root joint. Given the camera,
the unit length of that bone determines the root's depth (eq. 6–7); its length in metres does the rest.
"""

import torch
from torch import Tensor

from peclr.geometry.affine import at_least_float32
from peclr.geometry.camera import back_project, project

# The published PeCLR code clamps the quadratic's discriminant here: that of a noisy prediction may be negative.
_DISCRIMINANT_FLOOR = 1e-6
# Squared distance in the plane at depth one; 1e-5 is 0.005 px at a focal length of 500 px. A bone that points
# at the camera does not fix its depth, and must not make it infinite.
_MIN_SQUARED_EXTENT = 1e-10


def to_25d(joints_3d: Tensor, K: Tensor, root: int, bone: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Describe a hand (…, 21, 3), metres, camera frame, in any joint order, by pixels and relative depth.

    Returns:
        (…, 21, 3), u and v in pixels and (Z − Z_root) / scale; and the scale (…), the length of `bone`, metres.

    Raises:
        ValueError: A bone has no length; only on the CPU, as a training step would wait to look at values elsewhere.
    """
    joints_3d = at_least_float32(joints_3d)
    first, second = bone
    scale = torch.linalg.vector_norm(joints_3d[..., first, :] - joints_3d[..., second, :], dim=-1)
    if scale.device.type == "cpu" and not (scale > 0).all():
        raise ValueError(f"the bone between joints {first} and {second} is the scale and must have a length above 0")
    depth = joints_3d[..., 2]
    relative = (depth - depth[..., root, None]) / scale[..., None]
    return torch.cat((project(joints_3d, K), relative[..., None]), dim=-1), scale


def solve_root_depth(joints_25d: Tensor, K: Tensor, bone: tuple[int, int]) -> Tensor:
    """Depth (…) of the root at which `bone` has length one, in bone lengths: Iqbal et al. 2018, eq. 6–7.

    It is the positive-branch root of a·Z² + b·Z + c = 0: on the ray (x, y, 1), an end of the bone is at
    (Z + z)·(x, y, 1), and the ends differ by Z·(Δx, Δy, 0) + (Δ(xz), Δ(yz), Δz). Finite, with finite gradients.

    Args:
        joints_25d: (…, 21, 3), pixels, pixels, relative depth in bone lengths.
    """
    joints_25d = at_least_float32(joints_25d)
    first, second = bone
    rays = back_project(joints_25d[..., :2], torch.ones_like(joints_25d[..., 2]), K)
    slope = rays[..., first, :2] - rays[..., second, :2]
    ends = rays * joints_25d[..., 2:]
    offset = ends[..., first, :] - ends[..., second, :]
    a = slope.square().sum(dim=-1).clamp_min(_MIN_SQUARED_EXTENT)
    b = 2 * (slope * offset[..., :2]).sum(dim=-1)
    c = offset.square().sum(dim=-1) - 1
    discriminant = (b.square() - 4 * a * c).clamp_min(_DISCRIMINANT_FLOOR)
    return (discriminant.sqrt() - b) / (2 * a)


def from_25d(
    joints_25d: Tensor, scale: Tensor, K: Tensor, root: int, bone: tuple[int, int], root_depth: Tensor | None = None
) -> Tensor:
    """Recover a hand in 3-D: (…, 21, 3), metres, camera frame.

    Args:
        joints_25d: (…, 21, 3), pixels, pixels, relative depth in bone lengths, whatever that of the root.
        scale: (…), length of `bone`, metres.
        root_depth: (…), in bone lengths; by default it is solved for.
    """
    joints_25d = at_least_float32(joints_25d)
    points, depth = joints_25d[..., :2], joints_25d[..., 2:] - joints_25d[..., root, None, 2:]
    if root_depth is None:
        root_depth = solve_root_depth(torch.cat((points, depth), dim=-1), K, bone)
    return back_project(points, (depth[..., 0] + root_depth[..., None]) * scale[..., None], K)

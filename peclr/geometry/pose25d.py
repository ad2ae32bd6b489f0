"""2.5-D hand pose: pixels and relative depth, free of scale, and the way back to 3-D.

Iqbal et al., "Hand Pose Estimation via Latent 2.5D Heatmap Regression", ECCV 2018 (arXiv 1804.09534). A hand
is divided by the length of one of its bones; its depth is taken relative to a root joint. Given the camera,
the unit length of that bone determines the root's depth (eq. 6–7); its length in metres does the rest.
"""

import torch
from torch import Tensor

from peclr.geometry.affine import at_least_float32
from peclr.geometry.camera import back_project, project

# The published PeCLR code clamps the quadratic's discriminant here.
DISCRIMINANT_FLOOR = 1e-6
# Squared distance in the plane at depth one; 1e-5 is 0.005 px at a focal length of 500 px. A bone that points
# at the camera does not fix its depth, and must not make it infinite.
_MIN_SQUARED_EXTENT = 1e-10


def to_25d(joints_3d: Tensor, K: Tensor, root: int, bone: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Describe a hand by pixels and relative depth.

    Args:
        joints_3d: (…, 21, 3), metres, camera frame, in any joint order.
        root: The joint whose relative depth is zero.
        bone: The two joints whose distance is the scale.

    Returns:
        (…, 21, 3), u and v in pixels and (Z − Z_root) / scale; and the scale (…), metres.

    Raises:
        ValueError: If a bone has no length. Only on the CPU, where data are read: to look at values elsewhere, every
            training step would wait for the device.
    """
    joints_3d = at_least_float32(joints_3d)
    first, second = bone
    scale = torch.linalg.vector_norm(joints_3d[..., first, :] - joints_3d[..., second, :], dim=-1)
    if scale.device.type == "cpu" and not (scale > 0).all():
        raise ValueError(f"the bone between joints {first} and {second} is the scale and must have a length above 0")
    depth = joints_3d[..., 2]
    relative = (depth - depth[..., root, None]) / scale[..., None]
    return torch.cat((project(joints_3d, K), relative[..., None]), dim=-1), scale


def root_depth(
    joints_25d: Tensor,
    K: Tensor,
    bone: tuple[int, int],
    discriminant_floor: float = DISCRIMINANT_FLOOR,
) -> Tensor:
    """Depth of the root at which `bone` has length one: closed form, Iqbal et al. 2018, eq. 6–7.

    Args:
        joints_25d: (…, 21, 3), pixels, pixels, relative depth in bone lengths.
        bone: The two joints whose distance is one.
        discriminant_floor: The least discriminant: that of a noisy prediction may be negative.

    Returns:
        (…), in bone lengths; finite, with finite gradients.
    """
    joints_25d = at_least_float32(joints_25d)
    rays = back_project(joints_25d[..., :2], torch.ones_like(joints_25d[..., 2]), K)
    return _solve_root_depth(rays, joints_25d[..., 2], bone, discriminant_floor)


def from_25d(
    joints_25d: Tensor,
    scale: Tensor,
    K: Tensor,
    root: int,
    bone: tuple[int, int],
    root_depth: Tensor | None = None,
) -> Tensor:
    """Recover a hand in 3-D.

    Args:
        joints_25d: (…, 21, 3), pixels, pixels, relative depth in bone lengths.
        scale: (…), length of `bone`, metres.
        root: The joint relative to which depth is taken, whatever relative depth was predicted for it.
        bone: The two joints whose distance is `scale`.
        root_depth: (…), depth of the root in bone lengths; by default it is solved for.

    Returns:
        (…, 21, 3), metres, camera frame.
    """
    joints_25d = at_least_float32(joints_25d)
    relative = joints_25d[..., 2] - joints_25d[..., root, None, 2]
    rays = back_project(joints_25d[..., :2], torch.ones_like(relative), K)
    if root_depth is None:
        root_depth = _solve_root_depth(rays, relative, bone, DISCRIMINANT_FLOOR)
    depth = (relative + root_depth[..., None]) * scale[..., None]
    return rays * depth[..., None]


def _solve_root_depth(rays: Tensor, relative: Tensor, bone: tuple[int, int], floor: float) -> Tensor:
    """Positive-branch root of a·Z² + b·Z + c = 0, which says that `bone` has length one.

    On the ray (x, y, 1), an end of the bone is at (Z + z)·(x, y, 1): the ends differ by
    Z·(Δx, Δy, 0) + (Δ(xz), Δ(yz), Δz).
    """
    first, second = bone
    slope = rays[..., first, :2] - rays[..., second, :2]
    ends = rays * relative[..., None]
    offset = ends[..., first, :] - ends[..., second, :]
    a = slope.square().sum(dim=-1).clamp_min(_MIN_SQUARED_EXTENT)
    b = 2 * (slope * offset[..., :2]).sum(dim=-1)
    c = offset.square().sum(dim=-1) - 1
    discriminant = (b.square() - 4 * a * c).clamp_min(floor)
    return (discriminant.sqrt() - b) / (2 * a)

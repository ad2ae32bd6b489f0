"""Affine maps of the image plane as 3×3 matrices: build, compose, invert, apply.

A matrix is named `dst_from_src` and acts on column vectors (x, y, 1); its last row is (0, 0, 1). Pixel centers are
integers, x points right and y down. Normalized coordinates put -1 and +1 on a box's edges.

Functions broadcast leading batch dimensions. Half precision is computed in float32: beyond 256, float16 counts
pixels in quarters.
"""

import torch
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """Promote half precision and integers to float32; leave float32 and float64 alone."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def exact_matmul(a: Tensor, b: Tensor) -> Tensor:
    """Multiply small matrices (…, M, N) and (…, N, P) in full precision, at least float32.

    For `@`, autocast and TF32 keep 8 to 11 bits of the operands, which is whole pixels in a matrix of an image.
    """
    return (at_least_float32(a)[..., :, :, None] * at_least_float32(b)[..., None, :, :]).sum(dim=-2)


def translation(offset: Tensor) -> Tensor:
    """Matrices (…, 3, 3) that move points by `offset` (…, 2)."""
    x, y = at_least_float32(offset).unbind(-1)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    return _matrix(one, zero, x, zero, one, y)


def scaling(factor: Tensor) -> Tensor:
    """Matrices (…, 3, 3) that scale both axes by `factor` (…) about the origin."""
    factor = at_least_float32(factor)
    zero = torch.zeros_like(factor)
    return _matrix(factor, zero, zero, zero, factor, zero)


def rotation(angle: Tensor) -> Tensor:
    """Matrices (…, 3, 3) that rotate about the origin by `angle` (…), radians, OpenCV sign.

    As y points down, a positive angle turns the image counter-clockwise.
    """
    angle = at_least_float32(angle)
    cos, sin, zero = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    return _matrix(cos, sin, zero, -sin, cos, zero)


def rotation_angle(matrix: Tensor) -> Tensor:
    """Angles (…), radians, OpenCV sign, of the rotations closest to the linear parts of (…, 3, 3)."""
    matrix = at_least_float32(matrix)
    return torch.atan2(matrix[..., 0, 1] - matrix[..., 1, 0], matrix[..., 0, 0] + matrix[..., 1, 1])


def compose(matrix: Tensor, *others: Tensor) -> Tensor:
    """Product of (…, 3, 3) matrices, applied right to left: `compose(c_from_b, b_from_a)` is `c_from_a`."""
    product = at_least_float32(matrix)
    for matrix in others:
        product = exact_matmul(product, matrix)
    return product


def invert(matrix: Tensor) -> Tensor:
    """Inverses of affine matrices (…, 3, 3); numbers that are not finite for a singular one.

    In closed form, without looking at values: exportable, and no wait for the device.
    """
    (a, b, x), (c, d, y) = (row.unbind(-1) for row in at_least_float32(matrix)[..., :2, :].unbind(-2))
    determinant = a * d - b * c
    a, b, c, d = d / determinant, -b / determinant, -c / determinant, a / determinant
    return _matrix(a, b, -(a * x + b * y), c, d, -(c * x + d * y))


def is_singular(matrix: Tensor) -> Tensor:
    """Whether each affine `matrix` (…, 3, 3) is singular to working precision, or not finite: bool (…)."""
    matrix = at_least_float32(matrix)
    main = matrix[..., 0, 0] * matrix[..., 1, 1]
    cross = matrix[..., 0, 1] * matrix[..., 1, 0]
    rounding = 4 * torch.finfo(matrix.dtype).eps * (main.abs() + cross.abs())
    # written with "not greater", so that NaN counts as singular
    return ~((main - cross).abs() > rounding) | ~matrix.isfinite().all(dim=-1).all(dim=-1)


def apply_affine(matrix: Tensor, points: Tensor) -> Tensor:
    """Map `points` (…, P, 2) by `matrix` (…, 3, 3): (…, P, 2)."""
    linear, offset = matrix[..., :2, :2], matrix[..., :2, 2]
    return exact_matmul(points, linear.mT) + at_least_float32(offset)[..., None, :]


def _matrix(a: Tensor, b: Tensor, x: Tensor, c: Tensor, d: Tensor, y: Tensor) -> Tensor:
    """Stack scalars (…) into [[a, b, x], [c, d, y], [0, 0, 1]] (…, 3, 3)."""
    zero, one = torch.zeros_like(a), torch.ones_like(a)
    rows = [torch.stack(row, dim=-1) for row in ((a, b, x), (c, d, y), (zero, zero, one))]
    return torch.stack(rows, dim=-2)

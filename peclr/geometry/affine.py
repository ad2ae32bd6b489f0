"""Affine maps of the image plane as 3×3 matrices: build, compose, invert, apply; and the pixel convention.

A matrix is named `dst_from_src` and acts on column vectors (x, y, 1); its last row is (0, 0, 1). Pixel
centers are integers, x points right and y down. A box is (left, top, right, bottom): its *edges*, in those
coordinates, so that a whole W × H image is (-0.5, -0.5, W - 0.5, H - 0.5). Normalized coordinates put -1 and
+1 on a box's edges.

Every function takes any leading batch dimensions and broadcasts them. Half-precision inputs are computed in
float32: beyond 256, float16 counts pixels in quarters.
"""

import torch
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """Promote half precision and integers to float32; leave float32 and float64 alone."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def exact_matmul(a: Tensor, b: Tensor) -> Tensor:
    """Multiply small matrices in full precision, whatever autocast and the TF32 switch say about `@`.

    Both would keep 8 to 11 bits of the operands, which is whole pixels in a 3×3 matrix of an image.

    Args:
        a: (…, M, N).
        b: (…, N, P).

    Returns:
        (…, M, P), at least float32.
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
    """Matrices (…, 3, 3) that rotate about the origin by `angle` (…).

    The angle is in radians with OpenCV's sign: as y points down, a positive one turns the image
    counter-clockwise.
    """
    angle = at_least_float32(angle)
    cos, sin, zero = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    return _matrix(cos, sin, zero, -sin, cos, zero)


def rotation_angle(matrix: Tensor) -> Tensor:
    """Angles (…), radians, OpenCV sign, of the rotations closest to the linear parts of (…, 3, 3)."""
    matrix = at_least_float32(matrix)
    return torch.atan2(
        matrix[..., 0, 1] - matrix[..., 1, 0],
        matrix[..., 0, 0] + matrix[..., 1, 1],
    )


def compose(*matrices: Tensor) -> Tensor:
    """Product of (…, 3, 3) matrices, applied right to left: `compose(c_from_b, b_from_a)` is `c_from_a`."""
    if not matrices:
        raise ValueError("compose needs at least one matrix, got none")
    product = at_least_float32(matrices[0])
    for matrix in matrices[1:]:
        product = exact_matmul(product, matrix)
    return product


def invert(matrix: Tensor) -> Tensor:
    """Inverses (…, 3, 3) of affine `matrix` (…, 3, 3), whose linear part may rotate, scale, shear and mirror.

    Raises:
        ValueError: If a matrix is singular or not finite.
    """
    singular = is_singular(matrix)
    if singular.any():
        raise ValueError(f"cannot invert a singular affine matrix: {matrix[singular][0].tolist()}")
    return invert_unchecked(matrix)


def invert_unchecked(matrix: Tensor) -> Tensor:
    """Closed-form `invert` without looking at values: exportable, and no wait for the device.

    A singular matrix gives non-finite numbers.
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


def pixels_from_normalized(
    size: int, *, dtype: torch.dtype | None = None, device: torch.device | None = None
) -> Tensor:
    """Matrix (3, 3) from normalized coordinates of a `size` × `size` view to its pixels."""
    if size < 1:
        raise ValueError(f"a view has at least one pixel, got size {size}")
    half, center = size / 2, (size - 1) / 2
    rows = [[half, 0.0, center], [0.0, half, center], [0.0, 0.0, 1.0]]
    return torch.tensor(rows, dtype=dtype, device=device)


def normalized_from_box(box: Tensor) -> Tensor:
    """Matrices (…, 3, 3) that take the edges of `box` (…, 4), (left, top, right, bottom) px, to ∓1.

    Raises:
        ValueError: If a box is empty or not finite.
    """
    box = at_least_float32(box)
    size = box[..., 2:] - box[..., :2]
    usable = (size > 0).all(dim=-1) & box.isfinite().all(dim=-1)
    if not usable.all():
        bad = box[~usable][0].tolist()
        raise ValueError(f"expected a finite box (left, top, right, bottom) with left < right, top < bottom: {bad}")
    width, height = size.unbind(-1)
    center_x, center_y = ((box[..., 2:] + box[..., :2]) / 2).unbind(-1)
    zero = torch.zeros_like(width)
    return _matrix(2 / width, zero, -2 * center_x / width, zero, 2 / height, -2 * center_y / height)


def _matrix(a: Tensor, b: Tensor, x: Tensor, c: Tensor, d: Tensor, y: Tensor) -> Tensor:
    """Stack scalars (…) into [[a, b, x], [c, d, y], [0, 0, 1]] (…, 3, 3)."""
    zero, one = torch.zeros_like(a), torch.ones_like(a)
    rows = [torch.stack(row, dim=-1) for row in ((a, b, x), (c, d, y), (zero, zero, one))]
    return torch.stack(rows, dim=-2)

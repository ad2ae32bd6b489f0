"""The image plane in NumPy: 3×3 maps, as `peclr.geometry.affine` has them for tensors, and square boxes around hands.

A matrix is named `dst_from_src` and acts on column vectors (x, y, 1). A box is (left, top, right, bottom): its edges,
in pixel-center coordinates, so that a whole W × H image is (−0.5, −0.5, W − 0.5, H − 0.5).
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Matrix = NDArray[np.float64]

# What an image's longer side is to its focal length where nobody knows it: a lens of 28 mm on film of 36 mm,
# as phones and webcams have. 2-D hardly depends on it; the distance to the camera is proportional to it.
DEFAULT_FOCAL_RATIO = 28 / 36
PUBLISHED_CROP_MARGIN = 1.25  # of the published code, where it does not augment the crop


def similarity(scale: float = 1.0, angle: float = 0.0, shift: tuple[float, float] = (0.0, 0.0)) -> Matrix:
    """Make a matrix (3, 3) that turns by `angle` (radians, OpenCV sign) about the origin, scales, then shifts."""
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    return np.array([[cos, sin, shift[0]], [-sin, cos, shift[1]], [0.0, 0.0, 1.0]])


def mirror(width: int) -> Matrix:
    """Make the matrix (3, 3) from pixels of an image of that width to those of the mirrored one, or back."""
    return np.array([[-1.0, 0.0, width - 1], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def mirror_box(box: Matrix, width: int) -> Matrix:
    """Move a box (4,), left, top, right, bottom, px, with an image of that width that is mirrored."""
    return np.array([width - 1 - box[2], box[1], width - 1 - box[0], box[3]])


def mirror_camera(K: NDArray[np.floating], width: int) -> Matrix:
    """Make the camera (3, 3) of an image of that width that is mirrored, where x of points is negated, too."""
    mirrored: Matrix = mirror(width) @ K * [-1, 1, 1]
    return mirrored


def from_reduced(x: float, y: float) -> Matrix:
    """Make the matrix (3, 3) to pixels of an image from those of it reduced x and y times: edges stay edges."""
    return np.array([[x, 0.0, (x - 1) / 2], [0.0, y, (y - 1) / 2], [0.0, 0.0, 1.0]])


def view_from_image(view_from_crop: Matrix, crop_box: Matrix, size: int) -> Matrix:
    """Complete an augmentation (3, 3), normalized, of a box (4,) to a matrix (3, 3), view pixels ← image pixels."""
    (a, b, shift_x), (c, d, shift_y), _ = view_from_crop.tolist()
    left, top, right, bottom = crop_box.tolist()
    # pixels_from_view @ view_from_crop @ crop_from_image, multiplied out: three arrays cost ten times as much
    half = size / 2
    x, y = 2 / (right - left), 2 / (bottom - top)
    left, top = -x * (left + right) / 2, -y * (top + bottom) / 2  # of the image's origin, normalized
    return np.array(
        [
            [half * a * x, half * b * y, half * (a * left + b * top + shift_x + 1) - 0.5],
            [half * c * x, half * d * y, half * (c * left + d * top + shift_y + 1) - 0.5],
            [0.0, 0.0, 1.0],
        ]
    )


def view_from_box(box: ArrayLike, size: int) -> Matrix:
    """Make the matrix (3, 3) to pixels of a view of that side from those of an image whose box (4,) it shows."""
    return view_from_image(np.eye(3), np.asarray(box, np.float64), size)


def move(matrix: NDArray[np.floating], points: NDArray[np.floating]) -> Matrix:
    """Take points (…, P, 2) where affine matrices (…, 3, 3) take them."""
    moved: Matrix = points @ np.swapaxes(matrix[..., :2, :2], -1, -2) + matrix[..., None, :2, 2]
    return moved


def check_margin(crop_margin: float) -> None:
    """Refuse margins of crops that are not positive and finite."""
    if not 0 < crop_margin < math.inf:
        raise ValueError(f"crop_margin {crop_margin}: expected a positive number")


def square_around_keypoints(keypoints: ArrayLike, margin: float) -> NDArray[np.float64]:
    """The published crop (…, 4) around keypoints (…, P, 2), px.

    It is centered on their mean; half of its side is `margin` times the farthest one's distance from there.
    """
    points = np.asarray(keypoints, np.float64)
    center = points.mean(axis=-2)
    radius = np.linalg.norm(points - center[..., None, :], axis=-1).max(axis=-1, keepdims=True)
    return np.concatenate([center - margin * radius, center + margin * radius], axis=-1)


def enclosing_square(box: ArrayLike) -> NDArray[np.float64]:
    """The smallest square with the box's center that holds all of it: (…, 4), px, like the box."""
    corners = np.asarray(box, np.float64)
    center = (corners[..., :2] + corners[..., 2:]) / 2
    half_side = (corners[..., 2:] - corners[..., :2]).max(axis=-1, keepdims=True) / 2
    return np.concatenate([center - half_side, center + half_side], axis=-1)


def enlarged_square(box: ArrayLike, margin: float) -> NDArray[np.float64]:
    """The square (4,), px, about a box (4,), whose side is `margin` times the box's longer one."""
    low, high = enclosing_square(box).reshape(2, 2)
    center, half_side = (low + high) / 2, margin * (high - low) / 2
    return np.concatenate([center - half_side, center + half_side])


def whole_image(width: int, height: int) -> NDArray[np.float64]:
    """The square around a whole image: nothing is cut off; (4,) px."""
    return enclosing_square([-0.5, -0.5, width - 0.5, height - 0.5])


def centered_camera(focal: float, width: float, height: float) -> NDArray[np.float64]:
    """K (3, 3), pixels, of square pixels that looks through the middle of an image."""
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])

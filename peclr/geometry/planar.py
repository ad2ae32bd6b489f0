"""Where the hand is: square boxes around keypoints, around given boxes, around whole images.

A box is (left, top, right, bottom): its edges, in pixel-center coordinates, so that a whole W × H image is
(−0.5, −0.5, W − 0.5, H − 0.5).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

# What a picture's longer side is to its focal length where nobody knows it: a lens of 28 mm on film of 36 mm,
# as phones and webcams have. 2-D hardly depends on it; the distance to the camera is proportional to it.
DEFAULT_FOCAL_RATIO = 28 / 36
PUBLISHED_CROP_MARGIN = 1.25  # of the published code, where it does not augment the crop


def square_around_keypoints(keypoints: ArrayLike, margin: float) -> NDArray[np.float64]:
    """The published crop: centered on the mean keypoint, half side = margin × the farthest one's distance.

    Args:
        keypoints: (..., P, 2), px.
        margin: As `PUBLISHED_CROP_MARGIN`.

    Returns:
        (..., 4), px.
    """
    points = np.asarray(keypoints, np.float64)
    center = points.mean(axis=-2)
    radius = np.linalg.norm(points - center[..., None, :], axis=-1).max(axis=-1, keepdims=True)
    return np.concatenate([center - margin * radius, center + margin * radius], axis=-1)


def enclosing_square(box: ArrayLike) -> NDArray[np.float64]:
    """The smallest square with the box's center that holds all of it; (..., 4) px → (..., 4) px."""
    corners = np.asarray(box, np.float64)
    center = (corners[..., :2] + corners[..., 2:]) / 2
    half_side = (corners[..., 2:] - corners[..., :2]).max(axis=-1, keepdims=True) / 2
    return np.concatenate([center - half_side, center + half_side], axis=-1)


def whole_picture(width: int, height: int) -> NDArray[np.float64]:
    """The square around a whole picture: nothing is cut off; (4,) px."""
    return enclosing_square([-0.5, -0.5, width - 0.5, height - 0.5])


def centered_camera(focal: float, width: float, height: float) -> NDArray[np.float64]:
    """K (3, 3), pixels, of square pixels that looks through the middle of a picture."""
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])

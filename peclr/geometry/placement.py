"""Where a hand whose shape is known must be for a camera to see it at given pixels, in NumPy."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from peclr.geometry.planar import Matrix

_STEPS: Final = 5  # Gauss-Newton from the linear solution is at rest after three or four …
_AT_REST: Final = 1e-6  # m; … which is when it moves no farther


def place(points: NDArray[np.floating], pixels: NDArray[np.floating], K: NDArray[np.floating]) -> Matrix:
    """Find the translation (3,), metres, after which points project nearest to pixels: PnP of known orientation.

    Linear least squares first, as (X + t_x) / (Z + t_z) = x is linear in t once multiplied out; from there Gauss-Newton
    on distances in pixels.

    Args:
        points: (N, 3), metres, axes as the camera's, about any origin.
        pixels: (N, 2), where they are seen.
        K: (3, 3), px, last row (0, 0, 1).

    Raises:
        ValueError: No place in front of the camera fits.
    """
    points, to_pixels = points.astype(np.float64), K[:2, :2].astype(np.float64)
    rays = (pixels - K[:2, 2]) @ np.linalg.inv(to_pixels).T  # (N, 2), at depth 1
    toward = np.zeros((len(points), 2, 3))
    toward[:, 0, 0] = toward[:, 1, 1] = 1
    toward[..., 2] = -rays  # t_x − x·t_z = x·Z − X
    translation = _solve(toward, rays * points[:, 2:] - points[:, :2])
    for _ in range(_STEPS):
        placed = points + translation
        if not placed[:, 2].min() > 0:  # NaN, too
            break
        seen, depth = placed[:, :2] / placed[:, 2:], placed[:, 2:]
        toward[..., 2] = -seen
        step = _solve(to_pixels @ (toward / depth[..., None]), (rays - seen) @ to_pixels.T)
        translation += step
        if abs(step).max() < _AT_REST:
            break
    if not (points[:, 2] + translation[2] > 0).all():  # NaN, too
        raise ValueError(f"no place in front of the camera fits, the nearest is {translation.round(3).tolist()} m away")
    return translation


def _solve(equations: Matrix, wanted: Matrix) -> Matrix:
    """Least squares of (N, 2, 3) and (N, 2), by normal equations: of three unknowns, a fifth of the time of lstsq."""
    rows = equations.reshape(-1, 3)
    try:
        return np.asarray(np.linalg.solve(rows.T @ rows, rows.T @ wanted.ravel()), np.float64)
    except np.linalg.LinAlgError:  # all points are seen at one pixel
        return np.full(3, np.nan)

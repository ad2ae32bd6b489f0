"""The z-buffer against a loop over all pixels and triangles."""

import numpy as np

from peclr.synthetic.arrays import Floats, Floats32, Indices
from peclr.synthetic.raster import rasterize

SIZE = 24


def brute_force(points: Floats32, inverse_depth: Floats32, faces: Indices, size: int) -> Floats:
    """Nearest front-facing triangle and its inverse depth, pixel by pixel."""
    nearest = np.zeros((size, size))
    for face in faces.T:
        corners = points[:, face].astype(np.float64)
        matrix = np.vstack([corners, np.ones(3)])
        if np.linalg.det(matrix) >= 0:
            continue
        for y in range(size):
            for x in range(size):
                weights = np.linalg.solve(matrix, [x, y, 1])
                if weights.min() >= 0:
                    nearest[y, x] = max(nearest[y, x], weights @ inverse_depth[face])
    return nearest


def random_triangles(seed: int, count: int) -> tuple[Floats32, Floats32, Indices]:
    rng = np.random.default_rng(seed)
    points = rng.uniform(-6, SIZE + 6, (2, 3 * count)).astype(np.float32)
    faces = np.arange(3 * count).reshape(3, count)
    return points, rng.uniform(0.5, 2, 3 * count).astype(np.float32), faces


def test_equals_a_loop_over_pixels_and_triangles() -> None:
    points, inverse_depth, faces = random_triangles(0, 14)
    found = rasterize(points, inverse_depth, faces, SIZE)
    drawn = np.zeros(SIZE * SIZE)
    drawn[found.pixels] = found.inverse_depth
    expected = brute_force(points, inverse_depth, faces, SIZE).ravel()
    # Pixels on an edge may fall either way.
    assert np.mean(np.abs(drawn - expected) > 1e-3) < 0.005


def test_a_pixel_appears_once_and_within_the_picture() -> None:
    found = rasterize(*random_triangles(1, 60), SIZE)
    assert (np.diff(found.pixels) > 0).all()
    assert found.pixels.min() >= 0
    assert found.pixels.max() < SIZE**2


def test_attributes_are_interpolated_in_space_not_on_the_screen() -> None:
    # A quad that recedes: at half of its height on the screen it is not half as far.
    depth = np.array([1.0, 1.0, 3.0, 3.0], np.float32)
    along = np.array([[0.0, 0.0, 1.0, 1.0]], np.float32)
    points = np.array([[2, 20, 20, 2], [20, 20, 2, 2]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]]).T
    found = rasterize(points, np.reciprocal(depth), faces, SIZE)
    value = found.interpolate(along)[0]
    np.testing.assert_allclose(found.weights.sum(axis=0), 1, atol=1e-5)
    np.testing.assert_allclose(value, (1 / found.inverse_depth - 1) / 2, atol=1e-4)


def test_neighboring_triangles_leave_no_holes() -> None:
    rng = np.random.default_rng(2)
    grid = np.stack(np.meshgrid(np.arange(9.0), np.arange(9.0))) * 2.6 + 0.7
    grid[:, 1:-1, 1:-1] += rng.uniform(-0.8, 0.8, (2, 7, 7))
    points = grid.reshape(2, -1).astype(np.float32)
    corner = (np.arange(8)[:, None] * 9 + np.arange(8)).ravel()
    faces = np.concatenate([[corner, corner + 9, corner + 1], [corner + 1, corner + 9, corner + 10]], axis=1)
    found = rasterize(points, np.ones(81, np.float32), faces, SIZE)
    covered = np.zeros(SIZE * SIZE, bool)
    covered[found.pixels] = True
    assert covered.reshape(SIZE, SIZE)[1:21, 1:21].all()


def test_back_faces_and_what_is_behind_the_camera_are_left_out() -> None:
    points = np.array([[2, 20, 2], [2, 2, 20]], np.float32)
    forward, backward = np.array([[0], [2], [1]]), np.array([[0], [1], [2]])
    depth = np.ones(3, np.float32)
    assert rasterize(points, depth, forward, SIZE).pixels.size > 100
    assert rasterize(points, depth, backward, SIZE).pixels.size == 0
    assert rasterize(points, -depth, forward, SIZE).pixels.size == 0

"""Surface nets: closed, outward-facing triangles where the surface is."""

import numpy as np
import pytest

from peclr.synthetic.arrays import Floats, Indices
from peclr.synthetic.implicit import surface_nets

Mesh = tuple[Floats, Indices]

RADIUS = 0.7


def ball(points: Floats) -> Floats:
    distance: Floats = np.sqrt((points**2).sum(axis=0)) - RADIUS
    return distance


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    uneven = np.concatenate([np.linspace(-1, 0, 15)[:-1], np.linspace(0, 1, 25)])
    return surface_nets(ball, (np.linspace(-1, 1, 30), uneven, np.linspace(-1, 1, 30)))


def test_vertices_lie_close_to_the_surface(mesh: Mesh) -> None:
    assert np.abs(ball(mesh[0])).max() < 0.02


def test_triangles_close_the_surface(mesh: Mesh) -> None:
    vertices, faces = mesh
    edges = np.concatenate([faces[[0, 1]], faces[[1, 2]], faces[[2, 0]]], axis=1)
    there, counts = np.unique(edges, axis=1, return_counts=True)
    assert (counts == 1).all(), "an edge is used twice in one direction"
    back = np.unique(edges[::-1], axis=1)
    np.testing.assert_array_equal(there, back)  # and once in the other
    assert vertices.shape[1] - faces.shape[1] // 2 == 2  # Euler: a sphere
    assert set(faces.ravel()) == set(range(vertices.shape[1]))


def test_triangles_face_outwards(mesh: Mesh) -> None:
    a, b, c = (mesh[0][:, corner] for corner in mesh[1])
    volume = np.sum(np.cross(a, b, axis=0) * c) / 6
    assert volume == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.01)

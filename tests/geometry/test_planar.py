import numpy as np
import pytest
import torch

from peclr.geometry import affine
from peclr.geometry.planar import (
    enclosing_square,
    from_reduced,
    mirror,
    move,
    similarity,
    square_around_keypoints,
    view_from_box,
    whole_image,
)


def test_box_around_keypoints_follows_its_definition() -> None:
    rng = np.random.default_rng(0)
    hands = rng.uniform(0, 224, (5, 21, 2))
    boxes = square_around_keypoints(hands, 1.25)
    for points, (left, top, right, bottom) in zip(hands, boxes, strict=True):
        mean = points.sum(0) / 21
        farthest = max(np.hypot(*(point - mean)) for point in points)
        np.testing.assert_allclose([(left + right) / 2, (top + bottom) / 2], mean)
        np.testing.assert_allclose([right - left, bottom - top], 2 * 1.25 * farthest)


def test_margin_one_holds_every_keypoint() -> None:
    points = np.random.default_rng(1).normal(0, 30, (100, 21, 2))
    boxes = square_around_keypoints(points, 1.0)[:, None]
    assert (points >= boxes[..., :2] - 1e-9).all()
    assert (points <= boxes[..., 2:] + 1e-9).all()


def test_enclosing_square_keeps_center_and_longer_side() -> None:
    np.testing.assert_allclose(enclosing_square([10, 0, 30, 50]), [-5, 0, 45, 50])


def test_whole_image_spans_the_outer_pixels_edges() -> None:
    np.testing.assert_allclose(whole_image(10, 10), [-0.5, -0.5, 9.5, 9.5])
    np.testing.assert_allclose(whole_image(10, 4), [-0.5, -3.5, 9.5, 6.5])


def test_a_similarity_turns_and_scales_before_it_shifts() -> None:
    angle, scale, shift = torch.tensor(0.4, dtype=torch.float64), torch.tensor(1.7, dtype=torch.float64), (3.0, -2.0)
    expected = affine.compose(
        affine.translation(torch.tensor(shift, dtype=torch.float64)), affine.rotation(angle), affine.scaling(scale)
    )
    np.testing.assert_allclose(similarity(1.7, 0.4, shift), expected, atol=1e-12)


def test_points_move_as_those_of_the_torch_package() -> None:
    rng = np.random.default_rng(2)
    matrices = np.stack([similarity(*rng.uniform(0.5, 2, 2)) for _ in range(3)])
    points = rng.normal(size=(3, 21, 2))
    expected = affine.apply_affine(torch.from_numpy(matrices), torch.from_numpy(points))
    np.testing.assert_allclose(move(matrices, points), expected)
    np.testing.assert_allclose(move(matrices[0], points[0]), expected[0])


def test_edges_become_edges() -> None:
    np.testing.assert_allclose(
        move(view_from_box([10, 20, 30, 40], 8), np.array([[10.0, 20.0], [30.0, 40.0]])), [[-0.5, -0.5], [7.5, 7.5]]
    )
    corners = np.array([[-0.5, -0.5], [9.5, 4.5]])  # of an image of 10 × 5 px
    np.testing.assert_allclose(move(from_reduced(4, 2), corners), [[-0.5, -0.5], [39.5, 9.5]])
    np.testing.assert_allclose(move(mirror(10), corners), [[9.5, -0.5], [-0.5, 4.5]])
    np.testing.assert_allclose(from_reduced(4, 2) @ from_reduced(1 / 4, 1 / 2), np.eye(3))


@pytest.mark.parametrize("factor", [2, 3])
def test_reduced_pixels_lie_in_the_middle_of_their_blocks(factor: int) -> None:
    blocks = np.arange(factor * 4).reshape(4, factor).mean(axis=1)
    np.testing.assert_allclose(move(from_reduced(factor, 1), np.stack([np.arange(4), np.zeros(4)], 1))[:, 0], blocks)

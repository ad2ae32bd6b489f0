import numpy as np

from peclr.geometry.planar import enclosing_square, square_around_keypoints, whole_picture


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


def test_whole_picture_spans_the_outer_pixels_edges() -> None:
    np.testing.assert_allclose(whole_picture(10, 10), [-0.5, -0.5, 9.5, 9.5])
    np.testing.assert_allclose(whole_picture(10, 4), [-0.5, -3.5, 9.5, 6.5])

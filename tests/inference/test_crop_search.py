"""Where the network looks for a hand, and what averaging turned views keeps."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from peclr.geometry.affine import apply_affine
from peclr.inference.crop_search import (
    SEARCH_FRACTIONS,
    Box,
    CropSearch,
    View,
    agreement,
    average,
    box_of_keypoints,
    central_box,
    turned,
    view_from_box,
)
from peclr.inference.network import TrainedNetwork
from peclr.predict import HandPredictor

MakeImage = Callable[..., NDArray[np.uint8]]
HAND = np.random.default_rng(0).uniform(-1, 1, (21, 2))


def look(box: Box, view_size: int) -> View:
    """What the search knows of a view; pixels do not matter to it."""
    return View(box, view_from_box(box, view_size), np.eye(3), np.zeros((view_size, view_size, 3), np.uint8))


def test_a_search_looks_at_squares_in_the_middle_and_the_published_pass_at_one_box() -> None:
    boxes = np.array(CropSearch().first_boxes(80, 60))
    np.testing.assert_allclose(boxes[:, :2] + boxes[:, 2:], np.tile([80, 60], (4, 1)))
    np.testing.assert_allclose(boxes[:, 2:] - boxes[:, :2], 80 * np.array([SEARCH_FRACTIONS, SEARCH_FRACTIONS]).T)
    (published,) = CropSearch("published").first_boxes(80, 60)
    np.testing.assert_array_equal(published, central_box(80, 60))


@pytest.mark.parametrize("best", range(4))
def test_the_search_takes_the_crop_that_the_hand_fills_most_and_moves_it_onto_the_hand(best: int) -> None:
    first = [look(box, 64) for box in CropSearch().first_boxes(80, 80)]
    fill = np.full(4, 0.3)
    fill[best] = 0.5  # of the view; the box takes up 0.7
    keypoints = 40 + 64 * fill[:, None, None] * HAND / np.ptp(HAND, axis=0).max()
    box = CropSearch().second_box(first, keypoints)
    assert box[2] - box[0] == pytest.approx(80 * SEARCH_FRACTIONS[best])
    hand = box_of_keypoints(keypoints[best], first[best].view_from_image)
    np.testing.assert_allclose(box[:2] + box[2:], hand[:2] + hand[2:])


def test_the_published_pass_takes_the_box_of_the_joints() -> None:
    first = [look(box, 64) for box in CropSearch("published").first_boxes(80, 80)]
    keypoints = 30 + 10 * HAND[None]
    box = CropSearch("published").second_box(first, keypoints)
    np.testing.assert_array_equal(box, box_of_keypoints(keypoints[0], first[0].view_from_image))


def test_turning_keeps_the_middle_of_the_box_and_goes_counter_clockwise() -> None:
    straight = view_from_box([10, 20, 50, 60], 64)
    matrix = turned(straight, 64, 90)
    middle, right_of_it = (apply_affine(torch.from_numpy(matrix), torch.tensor([[x, 40.0]])) for x in (30.0, 40.0))
    torch.testing.assert_close(middle, torch.tensor([[32.0, 32.0]]).double())
    assert right_of_it[0, 1] < middle[0, 1] - 5  # y points down
    np.testing.assert_allclose(right_of_it[0, 0], 32)
    assert turned(straight, 64, 0) is straight


def test_averaging_takes_exact_views_back_to_the_hand() -> None:
    rng = np.random.default_rng(1)
    K = np.array([[90.0, 0, 40], [0, 92, 30], [0, 0, 1]])
    joints_3d = np.concatenate([rng.normal(0, 1, (21, 2)), rng.uniform(8, 10, (21, 1))], axis=1)
    projected = joints_3d @ K.T
    keypoints_2d = projected[:, :2] / projected[:, 2:]
    matrices = [turned(view_from_box([10, 10, 60, 50], 64), 64, degrees) for degrees in (0, 30, -30)]
    seen = [points @ m[:2, :2].T + m[:2, 2] for points, m in zip([keypoints_2d] * 3, matrices, strict=True)]
    back_2d, back_3d = average(np.stack(seen), np.stack([joints_3d] * 3), matrices)
    np.testing.assert_allclose(back_2d, keypoints_2d)
    np.testing.assert_allclose(back_3d, joints_3d)


def test_averaging_turned_views_asks_the_network_thrice_and_changes_what_it_says(
    trained: TrainedNetwork, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = (20.0, 10.0, 60.0, 40.0)
    (one,) = HandPredictor(trained)(make_image(), box=box)
    (three,) = HandPredictor(trained, CropSearch(turn=30))(make_image(), box=box)
    assert np.abs(one.joints_3d - three.joints_3d).max() > 1e-3
    np.testing.assert_array_equal(one.box, three.box)
    # each of the three views by itself
    singles = []
    for angle in CropSearch(turn=30).angles:
        monkeypatch.setattr(CropSearch, "angles", (angle,))
        singles.append(HandPredictor(trained)(make_image(), box=box)[0].joints_3d)
    np.testing.assert_allclose(np.mean(singles, axis=0), three.joints_3d, rtol=1e-5)


def test_scores_are_those_of_a_loop_over_joints_and_fall_with_what_views_disagree_on() -> None:
    rng = np.random.default_rng(2)
    straight = view_from_box([10, 20, 50, 60], 64)
    matrices = CropSearch(scored=True).last_views(straight, 64)
    assert len(matrices) == 3
    np.testing.assert_array_equal(matrices[0], straight)
    hand = 30 + 15 * HAND
    seen = np.stack([apply_affine(torch.from_numpy(matrix), torch.from_numpy(hand)).numpy() for matrix in matrices])
    np.testing.assert_allclose(agreement(seen, matrices), 1)
    noise = rng.normal(0, np.linspace(0, 3, 21)[:, None], (3, 21, 2))
    scores = agreement(seen + noise, matrices)
    in_image = [
        apply_affine(torch.from_numpy(np.linalg.inv(matrix)), torch.from_numpy(points)).numpy()
        for matrix, points in zip(matrices, seen + noise, strict=True)
    ]
    mean = np.mean(in_image, axis=0)
    size = max(mean[:, 0].max() - mean[:, 0].min(), mean[:, 1].max() - mean[:, 1].min())
    for joint in range(21):
        variance = sum(((points[joint] - mean[joint]) ** 2).sum() for points in in_image) / 2
        assert scores[joint] == pytest.approx(np.exp(-variance / (2 * (0.05 * size) ** 2)))
    assert scores[0] == 1
    assert scores[:7].mean() > scores[-7:].mean()


@pytest.mark.parametrize("turn", [0, 30])
def test_predictions_do_not_depend_on_scores(trained: TrainedNetwork, make_image: MakeImage, turn: float) -> None:
    box = (20.0, 10.0, 60.0, 40.0)
    (plain,) = HandPredictor(trained, CropSearch(turn=turn))(make_image(), box=box)
    (scored,) = HandPredictor(trained, CropSearch(turn=turn, scored=True))(make_image(), box=box)
    np.testing.assert_allclose(scored.joints_3d, plain.joints_3d, rtol=1e-5, atol=1e-5)
    assert (plain.score, plain.joint_scores) == (None, None)
    assert scored.joint_scores is not None
    assert scored.joint_scores.shape == (21,)
    assert scored.score == pytest.approx(scored.joint_scores.mean())


def test_a_search_does_not_shrink_onto_a_prediction_that_is_unsure() -> None:
    """A network that predicts one small hand, whatever it sees, is asked about a crop of the size that it saw."""
    first = [look(box, 32) for box in CropSearch().first_boxes(90, 90)]
    unsure = np.tile(16 + 2 * HAND, (4, 1, 1))
    box = CropSearch().second_box(first, unsure)
    assert any(box[2] - box[0] == pytest.approx(fraction * 90) for fraction in SEARCH_FRACTIONS)


@pytest.mark.parametrize(("find", "turn"), [("elsewhere", 0), ("search", -1), ("search", 200), ("search", np.nan)])
def test_what_is_not_possible_is_refused(find: str, turn: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        CropSearch(find, turn)  # type: ignore[arg-type]

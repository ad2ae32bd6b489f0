"""Which finds are one hand."""

import numpy as np

from peclr.detection.detector import DetectedHand, is_part, overlap, without_duplicates


def hand(x: float = 0, y: float = 0, scale: float = 10, seed: int = 0) -> DetectedHand:
    joints = np.random.default_rng(seed).uniform(0, scale, (21, 2)) + np.array([x, y])
    box = np.concatenate([joints.min(axis=0), joints.max(axis=0)])
    return DetectedHand("right", 0.9, box, joints, np.zeros((21, 3)))


def test_hands_apart_are_kept_and_the_second_look_at_one_is_not() -> None:
    first, again, other = hand(), hand(0.5), hand(30)
    assert without_duplicates([first, other, again]) == [first, other]
    assert without_duplicates([again, first]) == [again]


def test_half_of_the_joints_at_the_same_places_are_one_hand_even_in_boxes_that_differ() -> None:
    first = hand()
    joints = first.joints_2d.copy()
    joints[11:] += 200
    far = DetectedHand("right", 0.9, np.array([0.0, 0, 210, 210]), joints, first.joints_3d)
    assert without_duplicates([first, far]) == [first]
    joints[5:11] += 200
    assert without_duplicates([first, far]) == [first, far]


def test_a_find_mostly_in_the_box_of_a_far_larger_hand_is_a_part_of_it() -> None:
    whole = hand(scale=100)
    assert is_part(hand(40, 40), whole)
    assert is_part(hand(40, whole.box[1] - 4), whole), "a fingertip is beyond its joints"
    assert not is_part(hand(40, whole.box[1] - 7), whole)
    assert not is_part(hand(40, 40, scale=25), whole), "another hand, farther away"
    assert not is_part(whole, hand(40, 40))


def test_overlap_is_that_of_areas() -> None:
    boxes = np.array([[0, 0, 4, 4], [2, 2, 6, 6], [4, 0, 5, 5], [1, 1, 3, 3]], float)
    assert [overlap(boxes[0], box) for box in boxes] == [1.0, 4 / 28, 0.0, 4 / 16]

"""Images agree with labels: joints project onto the hand that was drawn."""

import cv2
import numpy as np
import pytest

from peclr.geometry.joints import JOINT_NAMES, TIPS
from peclr.synthetic.anatomy import MEAN_SUBJECT, about, articulate
from peclr.synthetic.arrays import Floats, Floats32
from peclr.synthetic.poses import NAMED_POSES
from peclr.synthetic.renderer import VERSION_KINDS, Layer, compose, draw_hand
from peclr.synthetic.scene import Hand, make_scene, paint_backdrop, sample_hand

Drawn = list[tuple[Hand, Layer]]

SIZE = 96
SCENE = make_scene(0, 2, 0)


def project(hand: Hand) -> Floats:
    projected = hand.joints @ hand.K.T
    pixels: Floats = projected[:, :2] / projected[:, 2:]
    return pixels


def near(image: Floats32, pixels: Floats) -> Floats:
    """The largest value within a pixel of each (P, 2); NaN outside of the image."""
    wide = cv2.dilate(image, np.ones((3, 3)))
    x, y = np.round(pixels).astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < image.shape[1]) & (y < image.shape[0])
    values = np.full(len(pixels), np.nan)
    values[inside] = wide[y[inside], x[inside]]
    return values


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    hands = [sample_hand(np.random.default_rng([9, i]), SIZE) for i in range(60)]
    return [(hand, draw_hand(hand, SCENE, SIZE)) for hand in hands]


def test_joints_land_on_the_hand_or_on_what_covers_it(drawn: Drawn) -> None:
    for hand, layer in drawn:
        covered = near(layer.alpha, project(hand))
        assert np.nanmin(covered) > 0.5


def test_finger_tips_land_on_skin_where_nothing_is_in_front(drawn: Drawn) -> None:
    for hand, layer in drawn:
        if not hand.props:
            assert np.nanmin(near(layer.mask, project(hand)[list(TIPS)])) > 0.5


def test_there_is_background_just_beyond_a_straight_finger() -> None:
    hand = posed("spread", np.diag([1.0, -1.0, -1.0]))
    mask = draw_hand(hand, SCENE, SIZE).mask
    tip, before = (project(hand)[JOINT_NAMES.index(f"middle_{part}")] for part in ("tip", "dip"))
    beyond = tip + 2.5 * (tip - before) / np.linalg.norm(tip - before)
    assert near(mask, tip[None]) > 0.5
    x, y = np.round(beyond).astype(int)
    assert mask[y, x] < 0.5


def test_nearly_all_joints_are_in_the_image_and_before_the_camera(drawn: Drawn) -> None:
    pixels = np.concatenate([project(hand) for hand, _ in drawn])
    assert np.mean(((pixels > -0.5) & (pixels < SIZE - 0.5)).all(axis=1)) >= 0.95
    assert min(hand.joints[:, 2].min() for hand, _ in drawn) > 0.1


def test_hands_fill_about_half_of_the_image(drawn: Drawn) -> None:
    extents = np.array([np.ptp(project(hand), axis=0).max() / SIZE for hand, _ in drawn])
    assert 0.4 < extents.min() < extents.max() < 0.8


def test_focal_lengths_are_as_agreed_and_scale_with_the_image() -> None:
    for size in (96, 224):
        focal = np.array([sample_hand(np.random.default_rng(i), size).K[0, 0] for i in range(100)]) * 224 / size
        assert 399 < focal.min() < 450
        assert 900 < focal.max() < 1001


def test_a_hand_is_the_same_at_any_size() -> None:
    small, large = (sample_hand(np.random.default_rng(4), size) for size in (64, 128))
    np.testing.assert_allclose(small.joints, large.joints, atol=0.01)
    np.testing.assert_allclose((project(small) + 0.5) * 2, project(large) + 0.5, atol=1e-2)


def posed(name: str, rotation: Floats, size: int = SIZE) -> Hand:
    skeleton = articulate(MEAN_SUBJECT, NAMED_POSES[name])
    translation = np.array([0, 0.08, 0.6])
    K = np.array([[240.0, 0, (size - 1) / 2], [0, 240, (size - 1) / 2], [0, 0, 1]])
    joints = skeleton.joints @ rotation.T + translation
    return Hand(MEAN_SUBJECT, skeleton, rotation, translation, K, joints, -1.0, 0.0, ())


@pytest.mark.parametrize(("side", "turn", "thumb_is_right"), [("palm", 0, True), ("back", np.pi, False)])
def test_a_right_hand_with_its_fingers_up_has_its_thumb_where_it_belongs(
    side: str, turn: float, *, thumb_is_right: bool
) -> None:
    hand = posed("spread", np.diag([1.0, -1.0, -1.0]) @ about("y", turn))
    mask = draw_hand(hand, SCENE, SIZE).mask
    x = project(hand)[:, 0]
    thumb = JOINT_NAMES.index("thumb_tip")
    assert (x[thumb] > x[0]) == thumb_is_right
    # The image agrees: left and right of the palm, at the thumb's height, there is skin on one side only.
    row = mask[round(project(hand)[thumb, 1])]
    knuckles = sorted(x[JOINT_NAMES.index(f"{finger}_mcp")] for finger in ("index", "little"))
    left, right = row[: round(knuckles[0]) - 8], row[round(knuckles[1]) + 8 :]
    assert (right.sum() > 2 + left.sum()) == thumb_is_right


def test_views_follow_the_agreed_distribution() -> None:
    rotations = np.array([sample_hand(np.random.default_rng(i), 64).rotation for i in range(400)])
    np.testing.assert_allclose(np.linalg.det(rotations), 1)
    palmar, distal = -rotations[:, 2, 2], rotations[:, 1, 1]
    assert 0.4 < np.mean(palmar > 0) < 0.6
    assert np.mean(np.abs(palmar) > np.cos(np.radians(60))) > 0.75  # palm or back, rarely an edge
    assert np.mean(distal < 0) > 0.85  # fingers mostly upwards


def test_versions_share_the_hand_and_differ_in_the_background(drawn: Drawn) -> None:
    _, layer = drawn[0]
    images = {}
    for i, kind in enumerate(VERSION_KINDS):
        backdrop = paint_backdrop(0, 2, i, SIZE, green=kind == "gs")
        images[kind] = compose(layer, backdrop, kind, np.random.default_rng(i)).astype(float)
    hand, background = layer.mask > 0.99, layer.alpha < 0.01
    for kind in VERSION_KINDS[1:]:
        other = images[kind]
        shades = np.corrcoef(other[hand].mean(axis=1), images["gs"][hand].mean(axis=1))[0, 1]
        assert shades > 0.9
        assert np.abs(other - images["gs"])[background].mean() > 15
    green = images["gs"][background].mean(axis=0)
    assert green[1] > 1.3 * max(green[0], green[2])
    detail = {kind: np.abs(np.diff(p, axis=0))[background[1:] & background[:-1]].mean() for kind, p in images.items()}
    assert detail["hom"] < detail["sample"]


def test_edges_are_antialiased(drawn: Drawn) -> None:
    for _, layer in drawn[:5]:
        assert np.mean((layer.alpha > 0.1) & (layer.alpha < 0.9)) > 0.01


def test_skin_tones_and_backdrops_vary_between_scenes() -> None:
    tones = np.array([make_scene(0, 2, i).tone.back for i in range(40)])
    assert tones[:, 0].max() > 2.5 * tones[:, 0].min()
    assert (tones[:, 0] > tones[:, 2]).all()  # skin is redder than it is blue
    means = np.array([paint_backdrop(0, 2, i, 32, green=False).mean(axis=(0, 1)) for i in range(20)])
    assert (means.std(axis=0) > 15).all()
    assert not np.array_equal(paint_backdrop(0, 2, 0, 32, green=False), paint_backdrop(0, 3, 0, 32, green=False))

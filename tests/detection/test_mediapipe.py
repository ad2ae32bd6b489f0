"""The joints of Google's networks are those of the official program, wherever the hand is in the image."""

import json
import math
import resource
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from peclr.data.sources.images import read_image
from peclr.detection import DetectedHand, MediaPipeHands
from peclr.detection.mediapipe import Region, _merge
from peclr.detection.networks import JOINT_FILE, PALM_FILE


def extent(joints: Any) -> float:
    return float(np.ptp(joints, axis=0).max())


def distance(hand: DetectedHand, joints: Any) -> float:
    """Mean distance of joints over the size of the hand."""
    return float(np.linalg.norm(hand.joints_2d - joints, axis=-1).mean() / extent(joints))


def test_every_hand_is_where_the_official_program_finds_it(task_file: Path, photographs: Path, reference: Path) -> None:
    detector = MediaPipeHands(task_file, margin=False)
    missed = extra = other_side = 0
    distances, errors_3d = [], []
    for entry in json.loads((reference / "hand_landmarks.json").read_text()):
        hands = detector(read_image(photographs / entry["file"]))
        for official in entry["hands"]:
            joints = np.array(official["joints_2d"]) - 0.5  # MediaPipe's pixel centers are half integers
            nearest = min(hands, key=lambda hand: distance(hand, joints), default=None)
            if nearest is None or distance(nearest, joints) > 0.2:
                missed += 1
                continue
            hands = [hand for hand in hands if hand is not nearest]
            other_side += nearest.side != official["hand"]
            distances.append(distance(nearest, joints))
            errors_3d.append(np.linalg.norm(nearest.joints_3d - official["world_m"], axis=-1).mean())
        extra += len(hands)
    assert (missed, extra, other_side) == (0, 0, 0)
    assert len(distances) == 21
    assert np.median(distances) < 0.002
    assert np.median(errors_3d) < 5e-4  # m


def test_hands_that_fill_the_image_are_found_with_a_margin(detector: MediaPipeHands, photographs: Path) -> None:
    rows = json.loads((photographs / "digits" / "labels.json").read_text())
    labeled = [row for row in rows if "joints_2d" in row][::20]
    found = 0
    for row in labeled:
        hands = detector(read_image(photographs / "digits" / "photos" / row["file"]))
        found += any(distance(hand, np.array(row["joints_2d"]) - 0.5) < 0.2 for hand in hands)
    assert found >= 0.97 * len(labeled)


@pytest.fixture(scope="session")
def hand_image(photographs: Path) -> np.ndarray[Any, Any]:
    return read_image(photographs / "wild" / "a_test5.jpg")


def test_a_shifted_image_shifts_its_hands(detector: MediaPipeHands, hand_image: np.ndarray[Any, Any]) -> None:
    plain = detector(hand_image)
    padded = detector(cv2.copyMakeBorder(hand_image, 40, 0, 100, 0, cv2.BORDER_CONSTANT).astype(np.uint8))
    assert [hand.side for hand in plain] == [hand.side for hand in padded]
    for before, after in zip(plain, padded, strict=True):
        assert distance(after, before.joints_2d + np.array([100, 40])) < 0.03
        np.testing.assert_allclose(after.box, [*after.joints_2d.min(axis=0), *after.joints_2d.max(axis=0)])


def test_a_mirrored_image_shows_hands_of_the_other_side(
    detector: MediaPipeHands, hand_image: np.ndarray[Any, Any]
) -> None:
    sides = {hand.side for hand in detector(hand_image)}
    assert sides == {"left", "right"}
    for hand in detector(hand_image):
        joints = hand.joints_2d * [-1, 1] + np.array([hand_image.shape[1] - 1, 0])
        mirrored = min(detector(np.ascontiguousarray(hand_image[:, ::-1])), key=lambda other: distance(other, joints))
        assert distance(mirrored, joints) < 0.1
        assert mirrored.side != hand.side


def test_a_hand_turned_with_its_image_turns_in_space(
    detector: MediaPipeHands, hand_image: np.ndarray[Any, Any]
) -> None:
    hand = detector(hand_image)[0]
    turned = np.ascontiguousarray(np.rot90(hand_image))  # by 90° against the clock: (x, y) becomes (y, W − 1 − x)
    joints = np.stack([hand.joints_2d[:, 1], hand_image.shape[1] - 1 - hand.joints_2d[:, 0]], axis=-1)
    other = min(detector(turned), key=lambda other: distance(other, joints))
    assert distance(other, joints) < 0.05
    expected = np.stack([hand.joints_3d[:, 1], -hand.joints_3d[:, 0], hand.joints_3d[:, 2]], axis=-1)
    assert np.linalg.norm(other.joints_3d - expected, axis=-1).mean() < 0.01


def test_small_hands_are_found_in_tiles(task_file: Path, hand_image: np.ndarray[Any, Any]) -> None:
    small = cv2.resize(hand_image, None, fx=0.2, fy=0.2, interpolation=cv2.INTER_AREA)
    image = np.full((1000, 1400, 3), 128, np.uint8)
    image[100 : 100 + small.shape[0], 900 : 900 + small.shape[1]] = small
    expected = [hand.joints_2d * 0.2 + np.array([900, 100]) for hand in MediaPipeHands(task_file)(hand_image)]
    plain = MediaPipeHands(task_file, min_score=0.4)(image)
    tiled = MediaPipeHands(task_file, min_score=0.4, tiles=True)(image)
    near = [
        sum(any(distance(hand, joints) < 0.15 for hand in hands) for joints in expected) for hands in (plain, tiled)
    ]
    assert near[1] >= max(near[0], 1)


def test_fingers_of_an_enlarged_hand_are_no_hands(task_file: Path, photographs: Path) -> None:
    detector, paths = MediaPipeHands(task_file, tiles=True), sorted((photographs / "digits" / "photos" / "5").iterdir())
    images = (cv2.resize(read_image(path), (400, 400), interpolation=cv2.INTER_CUBIC) for path in paths[:20])
    found = [len(detector(np.asarray(image, np.uint8))) for image in images]
    assert min(found) == 1
    assert sum(found) <= 21  # 33 if fingers count


def test_an_image_without_hands_has_none(detector: MediaPipeHands) -> None:
    assert detector(np.zeros((50, 80, 3), np.uint8)) == []
    for wrong in (np.zeros((50, 80), np.uint8), np.zeros((50, 80, 3)), np.zeros((0, 80, 3), np.uint8)):
        with pytest.raises(ValueError, match=r"expected \(H, W, 3\) uint8"):
            detector(wrong)  # type: ignore[arg-type]  # that is the test


def test_large_images_cost_no_memory_of_a_margin(task_file: Path) -> None:
    detector = MediaPipeHands(task_file)
    detector(np.zeros((50, 80, 3), np.uint8))
    for height, width in ((20, 20_000), (6_000, 8_000)):  # with a margin, 2.4 and 0.7 GB
        image = np.zeros((height, width, 3), np.uint8)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert detector(image) == []
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB; the image itself is touched
    with pytest.raises(ValueError, match=r"40,000 px long; expected at most 32,766"):
        detector(np.zeros((4, 40_000, 3), np.uint8))


def test_a_region_is_cropped_where_it_is() -> None:
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 256, (120, 160, 3), np.uint8), (0, 0), 4).astype(np.uint8)
    region = Region(70, 60, 64, math.radians(90))
    crop = region.crop(image, 64) / 255
    # turned by 90°: what is up in the region is to the right in the image
    np.testing.assert_allclose(crop, np.rot90(image[28:92, 38:102] / 255, 1), atol=0.03)
    corner = region.image_from_unit() @ [0, 0, 1]
    np.testing.assert_allclose(corner, [70 + 32, 60 - 32], atol=1e-9)


def test_palms_are_merged_as_in_a_loop() -> None:
    rng = np.random.default_rng(1)
    centers = rng.uniform(0, 4, (40, 2)).round()
    palms = np.concatenate([centers[:, None], np.full((40, 1, 2), 1.5), rng.uniform(0, 4, (40, 7, 2))], axis=1)
    scores = rng.uniform(0.5, 1, 40)

    def shared(a: Any, b: Any) -> float:
        side = np.maximum(0, 1.5 - np.abs(a[0] - b[0]))
        area = float(side[0] * side[1])
        return area / (2 * 1.5**2 - area)

    expected, left = [], sorted(range(40), key=lambda one: -scores[one])
    while left:
        same = [one for one in left if shared(palms[left[0]], palms[one]) > 0.3]
        weights = [scores[one] for one in same]
        expected.append(sum(w * palms[one] for w, one in zip(weights, same, strict=True)) / sum(weights))
        left = [one for one in left if one not in same]
    np.testing.assert_allclose(_merge(palms, scores), expected)


def test_files_that_are_not_the_two_networks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"a\.task: no such file; hand-landmarker is not in"):
        MediaPipeHands(tmp_path / "a.task")
    (tmp_path / "a.task").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(ValueError, match=r"a\.task: damaged or no zip"):
        MediaPipeHands(tmp_path / "a.task")
    with zipfile.ZipFile(tmp_path / "b.task", "w") as archive:
        for name in (PALM_FILE, JOINT_FILE):
            archive.writestr(name, b"other")
    with pytest.raises(ValueError, match=r"b\.task: hand_detector\.tflite has SHA-256 .*, expected 1b14e942"):
        MediaPipeHands(tmp_path / "b.task")
    with pytest.raises(ValueError, match="expected 0 < min_score < 1"):
        MediaPipeHands(tmp_path / "b.task", min_score=1.5)

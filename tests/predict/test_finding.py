"""Which hands are predicted where nobody says it: those of the detector, or one in each image."""

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from peclr.__main__ import main
from peclr.data.sources.freihand import FreiHAND
from peclr.data.sources.images import read_image
from peclr.data.sources.inputs import Frame, Input
from peclr.data.sources.videos import read_frames
from peclr.detection import DetectedHand, MediaPipeHands
from peclr.inference.hands import predict_source
from peclr.inference.network import TrainedNetwork
from peclr.predict import HandPredictor
from peclr.predict.annotations import annotate
from peclr.predict.finding import HandFinder, choose_finder
from tests.hand_video import render_hands, scene, write_video

MakeImage = Callable[..., NDArray[np.uint8]]
JOINTS = 21


class Fake:
    """Finds a right hand at the left edge, and a left one at the right edge, of images that are not black."""

    def __call__(self, image: NDArray[np.uint8]) -> list[DetectedHand]:
        if not image.any():
            return []
        width = image.shape[1]
        return [self.hand("right", 5), self.hand("left", width - 26)]

    def hand(self, side: Any, left: float) -> DetectedHand:
        joints = np.stack([np.linspace(left, left + 20, JOINTS), np.linspace(10, 40, JOINTS)], axis=-1)
        box = np.array([left, 10, left + 20, 40])
        return DetectedHand(side, 0.75, box, joints, np.zeros((JOINTS, 3)))


def predictor_of(trained: TrainedNetwork) -> HandPredictor:
    return HandPredictor(trained, finder=HandFinder(cast("MediaPipeHands", Fake())))


def test_every_hand_that_is_found_is_predicted_with_its_side(trained: TrainedNetwork, make_image: MakeImage) -> None:
    image = make_image()
    hands = predictor_of(trained)(image)
    assert [(hand.hand, hand.hand_origin, hand.box_origin, hand.score) for hand in hands] == [
        ("right", "detector", "detector", 0.75),
        ("left", "detector", "detector", 0.75),
    ]
    for hand in hands:
        (alone,) = HandPredictor(trained)(image, hand=hand.hand, box=hand.box)
        np.testing.assert_allclose(hand.keypoints_2d, alone.keypoints_2d, atol=1e-3)
        np.testing.assert_allclose(hand.joints_3d, alone.joints_3d, atol=1e-4)
        assert (alone.hand_origin, alone.box_origin) == ("given", "given")
    document = hands.to_dict()
    assert (document["found_by"], document["score_kind"]) == ("detector", {"hand": "detector", "joints": "spread"})
    assert predictor_of(trained)(np.zeros_like(image)).to_dict()["hands"] == []


def test_all_hands_of_an_image_are_in_one_cameras_frame(trained: TrainedNetwork, make_image: MakeImage) -> None:
    for known in ({}, {"scale_m": 0.03}, {"K": [[90.0, 0, 30], [0, 95, 25], [0, 0, 1]]}):
        hands = predictor_of(trained)(make_image(), **known)
        camera = np.array(hands.to_dict()["camera"]["K"])
        for hand in hands:
            in_image = hand.joints_3d @ camera.T
            np.testing.assert_allclose(in_image[:, :2] / in_image[:, 2:], hand.keypoints_2d, atol=1e-2)


def test_a_side_or_a_box_that_is_given_stays(trained: TrainedNetwork, make_image: MakeImage) -> None:
    predictor = predictor_of(trained)
    assert [(hand.hand, hand.hand_origin) for hand in predictor(make_image(), hand="left")] == [("left", "given")] * 2
    (hand,) = hands = predictor(make_image(), box=(20, 10, 60, 40))
    assert (hand.box_origin, hand.hand, hand.hand_origin) == ("given", "right", "assumed")
    assert hands.to_dict()["found_by"] == "given"
    assert hands.to_dict()["score_kind"] == {"hand": "spread", "joints": "spread"}


def test_an_image_that_hands_cannot_be_found_in_is_named(trained: TrainedNetwork, make_image: MakeImage) -> None:
    class Refusing(Fake):
        def __call__(self, image: NDArray[np.uint8]) -> list[DetectedHand]:
            raise ValueError("the image is 40,000 px long")

    finder = HandFinder(cast("MediaPipeHands", Refusing()))
    frames = [
        Frame(Input("in/a.png", "a.png", "image"), make_image),
        Frame(Input("b.mp4", "b.mp4", "video"), make_image),
    ]
    reasons = [str(scene) for _, scene, _ in HandPredictor(trained, finder=finder).stream(frames, annotate())]
    assert reasons == ["in/a.png: the image is 40,000 px long", "b.mp4: the image is 40,000 px long"]


def test_a_video_that_ends_early_keeps_its_frames(trained: TrainedNetwork, make_image: MakeImage) -> None:
    def broken() -> NDArray[np.uint8]:
        raise ValueError("the video is cut short")

    class Steady(Fake):
        def hand_in(self, image: NDArray[np.uint8], region: Any) -> DetectedHand:
            hands = self(image)
            return min(hands, key=lambda hand: abs(hand.joints_2d[0, 0] - region.x))

    video, image = Input("a.mp4", "a.mp4", "video"), Input("b.png", "b.png", "image")
    frames = [Frame(video, make_image, number, number / 10) for number in range(3)]
    frames += [Frame(video, broken), Frame(image, make_image), Frame(Input("c.mp4", "c.mp4", "video"), make_image, 0)]
    finder = HandFinder(cast("MediaPipeHands", Steady()))
    results = list(HandPredictor(trained, finder=finder).stream(frames, annotate(), batch_size=2))
    assert [frame.input.file for frame, *_ in results] == [frame.input.file for frame in frames]
    tracks = [[hand.track for hand in hands] for _, _, hands in results]
    assert tracks == [[0, 1], [0, 1], [0, 1], [], [None, None], [0, 1]]
    assert str(results[3][1]) == "the video is cut short"


def test_what_is_taken_and_why(task_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finder, finding, said = choose_finder("auto")
    assert (finder, finding) == (None, "search")
    assert said.endswith(
        "`peclr weights get hand-landmarker --accept` let a detector find all of them, with their sides"
    )
    assert choose_finder("published")[:2] == (None, "published")
    with pytest.raises(FileNotFoundError, match="hand landmarker's task file"):
        choose_finder("detector")
    with pytest.raises(FileNotFoundError, match=r"no\.task"):
        choose_finder("auto", "no.task")
    with pytest.raises(ValueError, match="'search' needs no task file"):
        choose_finder("search", task_file)
    with pytest.raises(ValueError, match="expected one of auto, detector, search, published"):
        choose_finder("magic")  # type: ignore[arg-type]  # that is the test
    monkeypatch.setenv("PECLR_HAND_LANDMARKER", str(task_file))
    assert choose_finder("search")[0] is None
    for find in ("auto", "detector"):
        finder, _, said = choose_finder(find)
        assert finder is not None
        assert "all that the detector finds" in said


def test_scores_and_mining_do_not_depend_on_what_is_installed(
    trained: TrainedNetwork, rendered_hands: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = FreiHAND(rendered_hands, split="evaluation")
    before = [hand.joints_3d for hand in predict_source(trained, source, 8, crop_boxes=False, progress=False)]
    monkeypatch.setenv("PECLR_HAND_LANDMARKER", "/nowhere")
    after = list(predict_source(trained, source, 8, crop_boxes=False, progress=False))
    np.testing.assert_array_equal(before, [hand.joints_3d for hand in after])
    assert all(hand.joint_scores is None for hand in after)


def read(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_both_hands_of_photographs(
    run: Path, photographs: Path, task_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = read_image(photographs / "wild" / "a_test5.jpg")
    names = {"plain": image, "mirrored": image[:, ::-1], "empty": np.full((90, 120, 3), 128, np.uint8)}
    images = tmp_path / "images"
    images.mkdir()
    for name, pixels in names.items():
        cv2.imwrite(str(images / f"{name}.png"), pixels[..., ::-1])
    out = tmp_path / "out"
    assert main(["predict", str(run), str(images), f"--out={out}", f"--hand-landmarker={task_file}"]) == 0
    assert "hands: all that the detector finds" in (shown := capsys.readouterr().out)
    assert "hands, none in 1 of them, in " in shown
    assert "right one" not in shown
    documents = {name: read(out / f"{name}.json")[0] for name in names}
    assert documents["empty"]["hands"] == []
    assert {document["found_by"] for document in documents.values()} == {"detector"}
    plain, mirrored = documents["plain"]["hands"], documents["mirrored"]["hands"]
    assert {hand["hand"] for hand in plain} == {"left", "right"}
    width = image.shape[1]
    for hand in plain:
        other = min(mirrored, key=lambda other: abs(width - 1 - other["box"][0] - hand["box"][2]))
        size = np.ptp(np.array(hand["keypoints_2d"]), axis=0).max()
        assert (hand["hand"] == "left") == (other["hand"] == "right")
        flipped = np.array(other["keypoints_2d"]) * [-1, 1] + np.array([width - 1, 0])
        assert np.abs(flipped - hand["keypoints_2d"]).mean() < 0.1 * size
        assert 0.5 <= hand["score"] <= 1
        assert np.all((np.array(hand["joint_scores"]) >= 0) & (np.array(hand["joint_scores"]) <= 1))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A right and a left rendered hand that move, at 30000/1001 frames a second."""
    root = tmp_path_factory.mktemp("video")
    frames = [frame for frame, _ in scene(render_hands(root / "h"), 0)]
    write_video(root / "hands.mp4", frames[:12], Fraction(30000, 1001))
    return root / "hands.mp4"


def test_hands_keep_their_tracks_in_a_video_and_its_overlay(
    run: Path, video: Path, task_file: Path, tmp_path: Path
) -> None:
    import av

    out = tmp_path / "out"
    assert main(["predict", str(run), str(video), f"--out={out}", f"--hand_landmarker={task_file}"]) == 0
    documents = read(out / "hands.jsonl")
    assert [document["frame"] for document in documents] == list(range(12))
    first = {hand["hand"]: hand["track"] for hand in documents[0]["hands"]}
    assert sorted(first.values()) == [0, 1]
    for document in documents:
        hands = sorted(document["hands"], key=lambda hand: float(hand["box"][0]))
        assert [hand["hand"] for hand in hands] == ["right", "left"]
        assert {hand["hand"]: hand["track"] for hand in hands} == first
    with av.open(str(out / "hands.overlay.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == Fraction(30000, 1001)
        drawn = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert [frame.shape for frame in drawn] == [(300, 520, 3)] * 12
    for frame, (_, _, before) in zip(drawn, read_frames(video), strict=True):
        changed = np.abs(frame.astype(int) - before).max(axis=-1) > 60
        assert changed[:, :260].sum() > 100
        assert changed[:, 260:].sum() > 100

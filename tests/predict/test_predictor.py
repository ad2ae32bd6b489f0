"""Predictions in the image's own pixels and camera, of right and left hands, with and without boxes."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow

from peclr.data.sources.inputs import Frame, Input
from peclr.data.views.geometric import warp
from peclr.inference.crop_search import CropSearch, box_of_keypoints, central_box, view_from_box
from peclr.inference.hands import Scene
from peclr.inference.network import TrainedNetwork
from peclr.predict import HandPredictor
from peclr.predict.annotations import annotate
from peclr.predict.outputs import draw_hands
from peclr.predict.video_file import VideoFile
from tests.fake_net import FakeNet

MakeImage = Callable[..., NDArray[np.uint8]]
K = np.array([[70.0, 0, 41.25], [0, 72, 28.5], [0, 0, 1]])


def fake(points: NDArray[np.float64]) -> tuple[FakeNet, HandPredictor]:
    network = FakeNet(torch.tensor(points, dtype=torch.float32)).eval()
    return network, HandPredictor(TrainedNetwork(network, 32, Path("fake")))


def frame(image: NDArray[np.uint8], name: str = "a.png") -> Frame:
    return Frame(Input(name, name, "image"), lambda: image)


@pytest.mark.parametrize("box", [(20.0, 10.0, 60.0, 40.0), (-15.0, -9.5, 12.0, 30.0), (50.0, 40.0, 110.0, 70.0)])
@pytest.mark.parametrize("hand", ["right", "left"])
def test_what_is_seen_in_the_view_comes_back_to_the_picture(
    make_image: MakeImage, box: tuple[float, ...], hand: str
) -> None:
    # two diagonal corners of the box, where the rule puts them: the longer side takes up 0.7 of 32 px
    left, top, right, bottom = box
    scale = 0.7 * 32 / max(right - left, bottom - top)
    center = np.array([left + right, top + bottom]) / 2
    corners = np.array([[left, top], [right, bottom]])
    in_view = (corners - center) * scale + 16
    if hand == "left":  # the network sees the mirrored image
        in_view[:, 0] = 32 - in_view[:, 0]
    points = np.concatenate([in_view, np.full((19, 2), 16.0)])
    network, predictor = fake(points)
    (result,) = predictor(make_image(), hand=hand, box=box, K=K, scale_m=0.03)  # type: ignore[call-overload]
    np.testing.assert_allclose(result.keypoints_2d[:2], corners, atol=1e-4)
    np.testing.assert_allclose(result.keypoints_2d[2:], np.tile(center, (19, 1)), atol=1e-4)
    np.testing.assert_array_equal(result.box, box)
    assert (result.hand, result.box_origin, result.unit_3d, len(network.seen)) == (hand, "given", "m", 1)
    sign = -1 if hand == "left" else 1
    np.testing.assert_allclose(result.joints_3d, 0.03 * np.c_[points * [sign, 1], np.ones(21)], rtol=1e-6)
    np.testing.assert_allclose(result.joints_3d_relative, result.joints_3d - result.joints_3d[0])


def test_the_network_gets_the_camera_of_its_crop(make_image: MakeImage) -> None:
    """A point in 3-D, projected by the view's K, is where the image's K and the crop put it."""
    network, predictor = fake(np.full((21, 2), 16.0))
    box = np.array([20.0, 10, 60, 40])
    predictor(make_image(), box=box, K=K)
    predictor(make_image(), box=box, K=K, hand="left")
    point = np.array([0.04, -0.03, 0.5])
    pixel = (K @ point)[:2] / point[2]
    expected = (pixel - [40, 25]) * 0.7 * 32 / 40 + 16
    for (_, cameras), sign in zip(network.seen, (1, -1), strict=True):
        homogeneous = cameras[0].double().numpy() @ (point * [sign, 1, 1])
        in_view = homogeneous[:2] / homogeneous[2]
        if sign == -1:
            in_view[0] = 32 - in_view[0]
        np.testing.assert_allclose(in_view, expected, rtol=1e-5)


def test_beyond_the_image_is_black_before_normalization() -> None:
    network, predictor = fake(np.full((21, 2), 16.0))
    predictor(np.full((60, 80, 3), 255, np.uint8), box=(-30, 0, 10, 40))
    view = network.seen[0][0][0]
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(view[:, 16, 4], -mean / std)
    torch.testing.assert_close(view[:, 16, 31], (1 - mean) / std)


def test_as_published_it_is_the_two_pass_crop(trained: TrainedNetwork, make_image: MakeImage) -> None:
    """The published protocol, step by step: what it computes is held against its reference vectors elsewhere."""
    images = [make_image(60 + 4 * i, 80, seed=i) for i in range(5)]
    predictor = HandPredictor(trained, CropSearch("published"))
    results = list(predictor.stream(map(frame, images), annotate(K=K, scale_m=0.03), batch_size=2))
    for (_, scene, hands), image in zip(results, images, strict=True):
        first = view_from_box(central_box(*image.shape[1::-1]), 32)
        found = trained.see([warp(image, first, 32)], [first @ K]).regressed_2d[0]
        box = box_of_keypoints(found, first)
        second = view_from_box(box, 32)
        expected = trained.see([warp(image, second, 32)], [second @ K]).joints_3d[0]
        (hand,) = hands
        np.testing.assert_allclose(hand.joints_3d, 0.03 * expected, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(hand.box, box, rtol=1e-5)
        assert hand.box_origin == "two_pass"
        assert isinstance(scene, Scene)
        assert scene.image is image


@pytest.mark.parametrize("search", [CropSearch(), CropSearch("published"), CropSearch(turn=30)])
def test_the_box_that_was_found_gives_the_same_hand(
    search: CropSearch, trained: TrainedNetwork, make_image: MakeImage
) -> None:
    predictor = HandPredictor(trained, search)
    (found,) = predictor(make_image(), K=K)
    (given,) = predictor(make_image(), K=K, box=found.box)
    np.testing.assert_allclose(given.keypoints_2d, found.keypoints_2d, rtol=1e-5)
    np.testing.assert_allclose(given.joints_3d, found.joints_3d, rtol=1e-5)


@pytest.mark.parametrize("box", [None, (20.0, 10.0, 60.0, 40.0)], ids=["two-pass", "box"])
@pytest.mark.parametrize("camera", ["K", "focal", "default"])
def test_a_left_hand_is_a_mirrored_right_one(
    trained: TrainedNetwork, make_image: MakeImage, box: tuple[float, ...] | None, camera: str
) -> None:
    image, width = make_image(), 80
    mirrored_K = np.array([[70.0, 0, width - 1 - 41.25], [0, 72, 28.5], [0, 0, 1]])
    mirrored_box = None if box is None else (width - 1 - box[2], box[1], width - 1 - box[0], box[3])
    predictor = HandPredictor(trained)
    focal = 90.0 if camera == "focal" else None
    (right,) = predictor(image, box=box, K=K if camera == "K" else None, focal=focal)
    (left,) = predictor(
        np.ascontiguousarray(image[:, ::-1]),
        hand="left",
        box=mirrored_box,
        K=mirrored_K if camera == "K" else None,
        focal=focal,
    )
    (other,) = predictor(np.ascontiguousarray(image[:, ::-1]), box=mirrored_box)
    assert np.abs(other.joints_3d - right.joints_3d).max() > 0.1  # the network can tell the images apart
    np.testing.assert_array_equal(left.joints_3d * [-1, 1, 1], right.joints_3d)
    np.testing.assert_allclose(width - 1 - left.keypoints_2d[:, 0], right.keypoints_2d[:, 0], rtol=1e-12)
    np.testing.assert_array_equal(left.keypoints_2d[:, 1], right.keypoints_2d[:, 1])
    np.testing.assert_allclose(width - 1 - left.box[[2, 0]], right.box[[0, 2]], rtol=1e-12)


@pytest.mark.parametrize("turn", [0, 30])
@pytest.mark.parametrize("hand", ["right", "left"])
def test_3d_projects_onto_2d_in_the_picture(
    trained: TrainedNetwork, make_image: MakeImage, hand: str, turn: float
) -> None:
    predictor = HandPredictor(trained, CropSearch(turn=turn))
    (result,) = predictor(make_image(), hand=hand, K=K, scale_m=0.03)  # type: ignore[call-overload]
    homogeneous = result.joints_3d @ K.T
    np.testing.assert_allclose(homogeneous[:, :2] / homogeneous[:, 2:], result.keypoints_2d, atol=1e-3)


def test_default_camera_looks_through_the_middle(make_image: MakeImage, trained: TrainedNetwork) -> None:
    ((_, scene, hands),) = HandPredictor(trained).stream([frame(make_image(60, 90))])
    assert isinstance(scene, Scene)
    assert scene.camera_origin == "default"
    np.testing.assert_allclose(scene.camera, np.array([[70, 0, 44.5], [0, 70, 29.5], [0, 0, 1]]))
    assert hands[0].unit_3d == "bone"


def test_scale_makes_metres_and_nothing_else(trained: TrainedNetwork, make_image: MakeImage) -> None:
    predictor = HandPredictor(trained)
    (bones,), (metres,) = predictor(make_image()), predictor(make_image(), scale_m=0.025)
    np.testing.assert_allclose(metres.joints_3d, 0.025 * bones.joints_3d)
    np.testing.assert_array_equal(metres.keypoints_2d, bones.keypoints_2d)


def test_order_is_kept_and_unreadable_images_are_said(trained: TrainedNetwork, make_image: MakeImage) -> None:
    def refuse() -> NDArray[np.uint8]:
        raise ValueError("3.png: 0 bytes that are not a readable image")

    frames = [frame(make_image(seed=i), f"{i}.png") for i in range(7)]
    frames[3] = Frame(Input("3.png", "3.png", "image"), refuse)
    for batch_size in (1, 2, 7, 20):
        results = list(HandPredictor(trained).stream(frames, batch_size=batch_size))
        assert [frame.input.source for frame, _, _ in results] == [f"{i}.png" for i in range(7)]
        assert [isinstance(scene, ValueError) for _, scene, _ in results] == [i == 3 for i in range(7)]


def test_the_stream_can_be_left_early_and_errors_of_its_input_arrive(
    trained: TrainedNetwork, make_image: MakeImage
) -> None:
    read: list[int] = []

    def endless() -> Iterator[Frame]:
        while True:
            read.append(len(read))
            yield frame(make_image())

    stream = HandPredictor(trained).stream(endless(), batch_size=2)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert len(read) < 20

    def broken() -> Iterator[Frame]:
        yield frame(make_image())
        raise RuntimeError("the cable is out")

    with pytest.raises(RuntimeError, match="cable"):
        list(HandPredictor(trained).stream(broken()))


def test_three_lines_from_a_run(run: Path, make_image: MakeImage, tmp_path: Path) -> None:
    path = tmp_path / "φωτό.png"
    path.write_bytes(cv2.imencode(".png", make_image()[..., ::-1])[1].tobytes())
    predictor = HandPredictor.load(run)
    hands = predictor(path)
    np.testing.assert_array_equal(hands[0].keypoints_2d, predictor(make_image())[0].keypoints_2d)
    assert hands[0].keypoints_2d.shape == (21, 2)
    with pytest.raises(ValueError, match="cannot be read"):
        predictor(tmp_path / "nothing.png")
    with pytest.raises(ValueError, match="RGB image"):
        predictor(np.zeros((4, 4), np.uint8))


def test_lists_folders_and_pil_images_give_what_files_give(
    trained: TrainedNetwork, make_image: MakeImage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = [make_image(seed=seed) for seed in range(3)]
    (tmp_path / "below").mkdir()
    paths = [tmp_path / name for name in ("0.png", "1.png", "below/2.png")]
    for path, image in zip(paths, images, strict=True):
        cv2.imwrite(str(path), image[..., ::-1])
    predictor = HandPredictor(trained)
    expected = [predictor(path)[0].joints_3d for path in paths]
    for many in (paths, [str(path) for path in paths], images, tuple(map(Pillow.fromarray, images)), tmp_path):
        found = predictor(many)
        np.testing.assert_allclose([hands[0].joints_3d for hands in found], expected, rtol=1e-5)
    assert [hands.to_dict()["source"] for hands in predictor(str(tmp_path))] == [str(path) for path in paths]
    paths[1].write_bytes(b"")
    found = predictor(tmp_path)
    assert [len(hands) for hands in found] == [1, 0, 1]
    assert "1.png: 0 bytes" in str(found[1].error)
    assert "skipped: " in caplog.text
    assert str(found[1].error) in repr(found[1])
    assert predictor([]) == []


def test_a_pil_image_is_turned_upright_and_made_rgb(trained: TrainedNetwork, make_image: MakeImage) -> None:
    predictor, image = HandPredictor(trained), make_image()
    lying = Pillow.fromarray(np.ascontiguousarray(np.rot90(image)))
    lying.getexif()[0x0112] = 6  # stored turned by 90° against the clock
    np.testing.assert_array_equal(predictor(lying)[0].joints_3d, predictor(image)[0].joints_3d)
    gray = Pillow.fromarray(image).convert("L")
    same = predictor(np.repeat(np.asarray(gray)[..., None], 3, axis=-1))
    np.testing.assert_array_equal(predictor(gray)[0].joints_3d, same[0].joints_3d)


def test_hands_draw_themselves_and_say_what_they_are(trained: TrainedNetwork, make_image: MakeImage) -> None:
    image = make_image()
    hands = HandPredictor(trained)(image, hand="left", scale_m=0.03)
    assert (len(hands), hands[0].hand, [hand.hand for hand in hands[:1]]) == (1, "left", ["left"])
    np.testing.assert_array_equal(np.asarray(hands.draw()), draw_hands(image, hands))
    (one,) = hands.to_dict()["hands"]
    np.testing.assert_allclose(one["keypoints_2d"], hands[0].keypoints_2d, atol=1e-3)
    assert (one["hand"], one["unit_3d"], one["score"]) == ("left", "m", round(hands[0].score or 0, 4))
    assert repr(hands) == "<array: left>"
    json.dumps(hands.to_dict(), allow_nan=False)


def test_a_video_comes_frame_by_frame(trained: TrainedNetwork, make_image: MakeImage, tmp_path: Path) -> None:
    video = VideoFile(tmp_path / "clip.mp4", 10)
    for seed in range(3):
        video.write(make_image(seed=seed))
    video.close()
    predictor = HandPredictor(trained)
    with pytest.raises(ValueError, match=r"clip\.mp4 is a video: .*`video`"):
        predictor(tmp_path / "clip.mp4")
    found = list(predictor.video(tmp_path / "clip.mp4", hand="left"))
    assert [hands.to_dict()["frame"] for hands in found] == [0, 1, 2]
    assert [hands[0].hand for hands in found] == ["left"] * 3
    assert found[2].draw().size == (480, 360)


def test_what_is_not_known_of_is_refused(trained: TrainedNetwork, make_image: MakeImage) -> None:
    with pytest.raises(TypeError, match="hands"):
        HandPredictor(trained)(make_image(), hands="left")  # type: ignore[call-overload]  # that is the test


def test_what_is_no_image_is_refused(trained: TrainedNetwork) -> None:
    predictor = HandPredictor(trained)
    with pytest.raises(ValueError, match="expected a file, a PIL image or an array, got int 3"):
        predictor(3)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match=r"expected an RGB image .*; got uint8 \(0, 5, 3\)"):
        predictor(np.zeros((0, 5, 3), np.uint8))


def test_a_network_that_diverged_is_refused(make_image: MakeImage) -> None:
    _, predictor = fake(np.full((21, 2), np.nan))
    with pytest.raises(ValueError, match="not finite"):
        predictor(make_image())


def test_an_empty_batch_is_refused(trained: TrainedNetwork) -> None:
    with pytest.raises(ValueError, match="batch size must be at least 1, got 0"):
        HandPredictor(trained).stream([], batch_size=0)

import pickle
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from peclr.data.datasets import PairedViewDataset
from peclr.data.loading.loaders import make_loader
from peclr.data.loading.sampling import EpochSampler
from peclr.data.sources.inputs import find_inputs, frames_of
from peclr.data.sources.videos import Videos

if TYPE_CHECKING:
    import av  # type: ignore[import-not-found, unused-ignore]  # an extra
else:
    av = pytest.importorskip("av")

FRAMES, KEY_EVERY, STEP = 23, 10, 9


def write_video(path: Path, color: int, codec: str = "mpeg4", trim: int = 0, **options: str) -> None:
    """Each frame is a gray of its own, so that decoding the wrong one shows; the top left corner is black.

    Args:
        path: Of the video.
        color: Of the first frame.
        codec: Of the video.
        trim: How many frames an edit list cuts away at the beginning.
        options: Of the container.
    """
    if trim:
        options |= {"use_editlist": "1", "avoid_negative_ts": "disabled"}
    with av.open(str(path), "w", options=options) as container:
        stream: Any = container.add_stream(codec, rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.gop_size = KEY_EVERY
        stream.codec_context.qmin = stream.codec_context.qmax = 1  # the best, so that grays stay apart
        stream.codec_context.max_b_frames = 2
        for number in range(FRAMES):
            image = np.full((48, 64, 3), color + STEP * number, np.uint8)
            image[:16, :16] = 0
            packets = stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24"))
            for packet in packets if number < FRAMES - 1 else [*packets, *stream.encode()]:
                shift = round(Fraction(trim, 25) / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                container.mux(packet)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    (folder / "b").mkdir(parents=True)
    write_video(folder / "b" / "second.mkv", 45)
    write_video(folder / "first.mp4", 10)
    return folder


def gray(videos: Videos, index: int) -> float:
    return float(videos[index]["image"][20:, 20:].mean())


def test_frames_come_in_order(folder: Path) -> None:
    videos = Videos(folder)
    assert len(videos) == videos.num_hands == 2 * FRAMES
    assert videos.video_of_hands().tolist() == [0] * FRAMES + [1] * FRAMES
    assert videos[0]["id"] == "b/second.mkv#0"
    assert videos[FRAMES + 3]["id"] == "first.mp4#3"
    np.testing.assert_allclose(videos[0]["crop_box"], [-0.5, -8.5, 63.5, 55.5])
    for index in range(FRAMES):
        assert gray(videos, index) == pytest.approx(45 + STEP * index, abs=4)


def test_any_order_gives_the_same_frames(folder: Path) -> None:
    in_order = Videos(folder)
    expected = [in_order[index]["image"] for index in range(len(in_order))]
    anyhow = Videos(folder)
    for index in np.random.default_rng(0).integers(len(anyhow), size=120).tolist():
        np.testing.assert_array_equal(anyhow[index]["image"], expected[index])


def test_every_nth_frame(folder: Path) -> None:
    videos = Videos(folder / "*.mp4", every=7)
    assert [videos[index]["id"] for index in range(len(videos))] == [f"first.mp4#{n}" for n in range(0, FRAMES, 7)]
    assert gray(videos, 3) == pytest.approx(10 + STEP * 21, abs=4)
    with pytest.raises(ValueError, match="every 0"):
        Videos(folder, every=0)


def test_boxes_choose_frames(folder: Path, tmp_path: Path) -> None:
    boxes = tmp_path / "boxes.csv"
    boxes.write_text(
        "file,left,top,right,bottom\nfirst.mp4#4,1,1,9,9\nfirst.mp4#4,20,20,30,30\nb/second.mkv#9,0,0,5,5\n"
    )
    videos = Videos(folder, boxes=boxes)
    assert [videos[index]["id"] for index in range(3)] == ["b/second.mkv#9", "first.mp4#4", "first.mp4#4"]
    assert gray(videos, 1) == pytest.approx(10 + 4 * STEP, abs=4)
    assert [videos[index]["hand"] for index in range(3)] == ["unknown"] * 3
    few = Videos(folder, every=3, boxes=boxes)
    assert [few[index]["id"] for index in range(len(few))] == ["b/second.mkv#9"]
    boxes.write_text("file,left,top,right,bottom,hand,frame\nfirst.mp4,20,20,30,30,left,4\n")
    left, [right] = Videos(folder, boxes=boxes)[0], [videos[2]]
    assert left["hand"] == "left"
    np.testing.assert_array_equal(left["image"], right["image"][:, ::-1])
    np.testing.assert_allclose(left["crop_box"], [33, 20, 43, 30])
    boxes.write_text("file,left,top,right,bottom\nfirst.mp4#23,1,1,9,9\n")
    with pytest.raises(ValueError, match=r"first\.mp4#23 is not one of the frames"):
        Videos(folder, boxes=boxes)


def test_workers_and_copies_decode_for_themselves(folder: Path) -> None:
    videos = Videos(folder)
    gray(videos, 5)
    assert gray(pickle.loads(pickle.dumps(videos)), 6) == pytest.approx(45 + 6 * STEP, abs=4)  # noqa: S301 (our own)
    dataset = PairedViewDataset([videos], view_size=16)
    loader = make_loader(dataset, EpochSampler([2 * FRAMES]), batch_size=20, num_workers=2)
    for batch in loader:
        for index, views in zip(batch["index"].tolist(), batch["views"], strict=True):
            assert (views == dataset[index]["views"]).all()


def grays(path: Path) -> list[tuple[int, float]]:
    """As predicting reads them."""
    frames = [(frame, frame.load()) for frame in frames_of(find_inputs([str(path)]))]
    return [(frame.number or 0, float(image[20:, 20:].mean())) for frame, image in frames]


@pytest.mark.parametrize("trim", [0, 7, 10])
def test_training_and_predicting_number_the_frames_that_are_shown(tmp_path: Path, trim: int) -> None:
    write_video(tmp_path / "video.mp4", 10, trim=trim)
    videos = Videos(tmp_path)
    expected = [10 + STEP * (trim + number) for number in range(FRAMES - trim)]
    np.testing.assert_allclose([gray(videos, index) for index in range(len(videos))], expected, atol=4)
    assert [number for number, _ in grays(tmp_path)] == list(range(FRAMES - trim))
    np.testing.assert_allclose([mean for _, mean in grays(tmp_path)], expected, atol=4)


MATRICES: dict[
    str, tuple[tuple[int, int, int, int], Callable[[NDArray[Any]], NDArray[Any]]]
] = {  # where the x axis and the y axis of what is stored point, and what that does to an image
    "mirrored": ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
    "upside down": ((1, 0, 0, -1), lambda image: image[::-1]),
    "turned by 180°": ((-1, 0, 0, -1), lambda image: image[::-1, ::-1]),
    "turned clockwise": ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
    "turned counter-clockwise": ((0, -1, 1, 0), lambda image: np.rot90(image)),
    "transposed": ((0, 1, 1, 0), lambda image: image.swapaxes(0, 1)),
}


@pytest.mark.parametrize("kind", MATRICES)
def test_display_matrices_are_followed(tmp_path: Path, kind: str) -> None:
    (a, b, c, d), change = MATRICES[kind]
    write_video(tmp_path / "video.mp4", 10)
    expected = change(Videos(tmp_path)[3]["image"])
    content = bytearray((tmp_path / "video.mp4").read_bytes())
    place = content.index(b"tkhd") + 44
    content[place : place + 20] = struct.pack(">5i", a << 16, b << 16, 0, c << 16, d << 16)
    (tmp_path / "video.mp4").write_bytes(content)
    np.testing.assert_array_equal(Videos(tmp_path)[3]["image"], expected)
    np.testing.assert_array_equal(list(frames_of(find_inputs([str(tmp_path)])))[3].load(), expected)


@pytest.mark.parametrize("damage", ["cut short", "overwritten"])
def test_videos_that_are_not_whole_say_how_much_is_there(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "video.mp4"
    write_video(path, 10, movflags="faststart")
    content = bytearray(path.read_bytes())
    middle = (content.index(b"mdat") + len(content)) // 2
    path.write_bytes(
        content[:middle] if damage == "cut short" else content[:middle] + bytes(900) + content[middle + 900 :]
    )
    *frames, last = frames_of(find_inputs([str(path)]))
    assert 5 < len(frames) < FRAMES
    for frame in frames[:5]:
        assert frame.load()[20:, 20:].mean() == pytest.approx(10 + STEP * (frame.number or 0), abs=4)
    with pytest.raises(ValueError, match=rf"cut short or damaged, {len(frames)} of {FRAMES} frames could be decoded"):
        last.load()
    if damage == "cut short":
        Videos(tmp_path)
        assert f"of {FRAMES} frames are there" in caplog.text


def test_what_is_no_video_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"broken\.mp4 cannot be read as a video"):
        Videos(tmp_path)


def test_the_identity_is_that_of_the_frames(folder: Path) -> None:
    assert Videos(folder).identity() == Videos(folder).identity() != Videos(folder, every=2).identity()

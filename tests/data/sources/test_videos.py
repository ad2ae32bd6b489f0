import pickle
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from peclr.data.datasets import PairedViewDataset
from peclr.data.loading.loaders import make_loader
from peclr.data.loading.sampling import EpochSampler
from peclr.data.sources.videos import Videos

if TYPE_CHECKING:
    import av  # type: ignore[import-not-found, unused-ignore]  # an extra
else:
    av = pytest.importorskip("av")

FRAMES, KEY_EVERY, STEP = 23, 10, 9


def write_film(path: Path, colour: int, codec: str = "mpeg4") -> None:
    """Each frame is a grey of its own, so that decoding the wrong one shows."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.gop_size = KEY_EVERY
        stream.codec_context.qmin = stream.codec_context.qmax = 1  # the best, so that greys stay apart
        stream.codec_context.max_b_frames = 2
        for number in range(FRAMES):
            picture = np.full((48, 64, 3), colour + STEP * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture
def films(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    (folder / "b").mkdir(parents=True)
    write_film(folder / "b" / "second.mkv", 45)
    write_film(folder / "first.mp4", 10)
    return folder


def grey(videos: Videos, index: int) -> float:
    return float(videos[index]["image"].mean())


def test_frames_come_in_order(films: Path) -> None:
    videos = Videos(films)
    assert len(videos) == videos.num_hands == 2 * FRAMES
    assert videos[0]["id"] == "b/second.mkv#0"
    assert videos[FRAMES + 3]["id"] == "first.mp4#3"
    np.testing.assert_allclose(videos[0]["crop_box"], [-0.5, -8.5, 63.5, 55.5])
    for index in range(FRAMES):
        assert grey(videos, index) == pytest.approx(45 + STEP * index, abs=4)


def test_any_order_gives_the_same_frames(films: Path) -> None:
    in_order = Videos(films)
    expected = [in_order[index]["image"] for index in range(len(in_order))]
    anyhow = Videos(films)
    for index in np.random.default_rng(0).integers(len(anyhow), size=120).tolist():
        np.testing.assert_array_equal(anyhow[index]["image"], expected[index])


def test_every_nth_frame(films: Path) -> None:
    videos = Videos(films / "*.mp4", every=7)
    assert [videos[index]["id"] for index in range(len(videos))] == [f"first.mp4#{n}" for n in range(0, FRAMES, 7)]
    assert grey(videos, 3) == pytest.approx(10 + STEP * 21, abs=4)
    with pytest.raises(ValueError, match="every 0"):
        Videos(films, every=0)


def test_boxes_choose_frames(films: Path, tmp_path: Path) -> None:
    boxes = tmp_path / "boxes.csv"
    boxes.write_text(
        "file,left,top,right,bottom\nfirst.mp4#4,1,1,9,9\nfirst.mp4#4,20,20,30,30\nb/second.mkv#9,0,0,5,5\n"
    )
    videos = Videos(films, boxes=boxes)
    assert [videos[index]["id"] for index in range(3)] == ["b/second.mkv#9", "first.mp4#4", "first.mp4#4"]
    assert grey(videos, 1) == pytest.approx(10 + 4 * STEP, abs=4)
    boxes.write_text("file,left,top,right,bottom\nfirst.mp4#23,1,1,9,9\n")
    with pytest.raises(ValueError, match=r"first\.mp4#23 is not one of the frames"):
        Videos(films, boxes=boxes)


def test_workers_and_copies_decode_for_themselves(films: Path) -> None:
    videos = Videos(films)
    grey(videos, 5)
    assert grey(pickle.loads(pickle.dumps(videos)), 6) == pytest.approx(45 + 6 * STEP, abs=4)  # noqa: S301 (our own)
    dataset = PairedViewDataset([videos], view_size=16)
    loader = make_loader(dataset, EpochSampler([2 * FRAMES]), 20, 2, drop_last=False)
    for batch in loader:
        for index, views in zip(batch["index"].tolist(), batch["views"], strict=True):
            assert (views == dataset[index]["views"]).all()


def test_what_is_no_film_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    with pytest.raises(ValueError, match=r"broken\.mp4 cannot be read as a film"):
        Videos(tmp_path)


def test_the_identity_is_that_of_the_frames(films: Path) -> None:
    assert Videos(films).identity() == Videos(films).identity() != Videos(films, every=2).identity()

"""Videos that tests write, and one: a right and a left rendered hand cross over clutter, and after a cut two others."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from peclr.data.samples import HandSample
from peclr.data.sources.freihand import FreiHAND
from peclr.synthetic.writer import write_freihand_layout

WIDTH, HEIGHT, FRAMES = 520, 300, 60  # of each of the two scenes
RATE = 30
Image = np.ndarray[Any, Any]
Hands = list[tuple[HandSample, Image]]


def render_hands(root: Path) -> Hands:
    """Two right hands with their masks."""
    write_freihand_layout(root, train=5, evaluation=1, seed=0, size=224, versions=1, workers=1, progress=False)
    source = FreiHAND(root)
    return [(source[index], source.read_mask(index)) for index in (0, 4)]


def scene(hands: Hands, seed: int) -> Iterator[tuple[Image, list[Any]]]:
    """Frames with the true joints (21, 2) px of the right and the left hand; None where it is hidden."""
    rng = np.random.default_rng(seed)
    clutter = cv2.resize(rng.integers(90, 170, (4, 6, 3), np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    for number in range(FRAMES):
        frame, joints = clutter.copy(), []
        way = number / (FRAMES - 1)
        for mirrored, (sample, mask) in enumerate(hands):
            x = round(296 * (1 - way if mirrored else way))
            y = 10 + 50 * mirrored
            image, shown = sample["image"], (mask > 0)[..., None]
            points = np.asarray(sample["joints_2d"], np.float64)
            if mirrored:
                image, shown = image[:, ::-1], shown[:, ::-1]
                points = points * [-1, 1] + np.array([223, 0])
            part = frame[y : y + 224, x : x + 224]
            part[:] = np.where(shown, image, part)
            joints.append(points + np.array([x, y]))
        overlaps = abs(joints[0].mean(axis=0)[0] - joints[1].mean(axis=0)[0]) < 110
        yield frame, [None if overlaps else joints[0], joints[1]]  # the left hand is in front


def both_scenes(hands: Hands) -> list[tuple[Image, list[Any]]]:
    """All frames of the video, with the true joints as `scene` gives them; the cut is in the middle."""
    return [*scene(hands, 0), *scene(hands[::-1], 1)]


def write_video(path: Path, frames: Sequence[Image], rate: Fraction = Fraction(RATE)) -> None:
    """Write frames (H, W, 3) RGB, so many a second, with little loss."""
    import av

    height, width = frames[0].shape[:2]
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:  # headers first
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = width, height, "yuv420p", 8_000_000
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame))))
        container.mux(stream.encode())


def write_clip(path: Path, images: Sequence[Image], rate: float = 4) -> None:
    """Write images (H, W, 3), channels in OpenCV's order, as Motion JPEG, which needs no PyAV."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate, images[0].shape[1::-1])
    if not writer.isOpened():
        pytest.skip("this OpenCV cannot write MJPG")
    for image in images:
        writer.write(image)
    writer.release()

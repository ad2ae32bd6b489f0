"""A video of photographed hands: two cross before a moving camera, then a cut and two others."""

import json
import math
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from peclr.__main__ import main
from peclr.data.sources.images import read_image
from peclr.detection.detector import overlap
from peclr.geometry.joints import BONES
from tests.hand_video import write_video

Array = NDArray[Any]
WIDTH, HEIGHT, FRAMES = 640, 400, 36  # of each of the two scenes
SIDE: Final = 240  # px, of a hand's photograph in the video


def cut_out(photographs: Path, number: int) -> tuple[Array, Array, Array]:
    """A right hand of a sign for a digit: its image (S, S, 3), its mask (S, S), 0 to 1, and its joints (21, 2), px."""
    rows = json.loads((photographs / "digits" / "labels.json").read_text())
    row = [row for row in rows if "joints_2d" in row][number]
    image = read_image(photographs / "digits" / "photos" / row["file"])
    joints = np.array(row["joints_2d"]) * SIDE / len(image) - 0.5
    image = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    mask = np.full((SIDE, SIDE), cv2.GC_PR_BGD, np.uint8)
    for width, kind in ((SIDE // 8, cv2.GC_PR_FGD), (SIDE // 36, cv2.GC_FGD)):
        for bone in BONES:
            first, last = joints[list(bone)].round().astype(int).tolist()
            cv2.line(mask, first, last, kind, width)
    cv2.setRNGSeed(0)
    cv2.grabCut(image, mask, (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    return image, cv2.GaussianBlur((mask % 2).astype(np.float32), (0, 0), 1), joints


def scene(hands: list[tuple[Array, Array, Array]], background: Array) -> Iterator[tuple[Array, list[Array | None]]]:
    """Frames, and the joints (21, 2), px, of the right hand, None where it is hidden, and of the left one before it."""
    height, width = background.shape[:2]
    for way in np.linspace(0, 1, FRAMES).tolist():
        zoom = max(WIDTH / width, HEIGHT / height) * (1.15 - 0.15 * way)  # Ken Burns
        camera = np.array([[zoom, 0, -way * (zoom * width - WIDTH)], [0, zoom, -(zoom * height - HEIGHT) / 2]])
        frame, joints = cv2.warpAffine(background, camera, (WIDTH, HEIGHT)).astype(np.float64), []
        for mirrored, (image, mask, points) in enumerate(hands):
            x, y = 130 + 380 * (1 - way if mirrored else way), 185 + 45 * mirrored + 8 * math.sin(9 * way)
            turn, scale = 0.25 * math.sin(5 * way + 2 * mirrored), 0.9 + 0.15 * math.sin(3 * way + mirrored)
            cos, sin, flip = scale * math.cos(turn), scale * math.sin(turn), -1 if mirrored else 1
            matrix = np.array([[flip * cos, -sin, x], [flip * sin, cos, y]])
            matrix[:, 2] -= matrix[:, :2] @ [SIDE / 2, SIDE / 2]
            shown = cv2.warpAffine(mask, matrix, (WIDTH, HEIGHT))[..., None]
            frame += shown * (cv2.warpAffine(image, matrix, (WIDTH, HEIGHT)) - frame)
            joints.append(points @ matrix[:, :2].T + matrix[:, 2])
        hidden = abs(joints[0].mean(axis=0)[0] - joints[1].mean(axis=0)[0]) < 150
        yield frame.astype(np.uint8), [None if hidden else joints[0], joints[1]]


def test_photographed_hands_keep_their_tracks_through_a_crossing_and_end_at_a_cut(
    run: Path, photographs: Path, task_file: Path, tmp_path: Path
) -> None:
    import av

    first, second = cut_out(photographs, 325), cut_out(photographs, 1125)
    backgrounds = [read_image(photographs / "wild" / f"c_000000{name}.jpg") for name in ("000785", "040083")]
    frames = [*scene([first, second], backgrounds[0]), *scene([second, first], backgrounds[1])]
    write_video(tmp_path / "hands.mp4", [image for image, _ in frames], Fraction(25))
    words = ["predict", str(run), str(tmp_path / "hands.mp4"), f"--hand-landmarker={task_file}", "--no-scores"]
    assert main([*words, f"--out={tmp_path / 'out'}"]) == 0
    documents = [json.loads(line) for line in (tmp_path / "out" / "hands.jsonl").read_text().splitlines()]
    assert len(documents) == len(frames)
    assert {document["found_by"] for document in documents} == {"detector"}

    mains = list[tuple[int, str]]()
    for begin in (0, FRAMES):
        for which, side in enumerate(("right", "left")):
            tracks = Counter[int | None]()
            for document, (_, truth) in list(zip(documents, frames, strict=True))[begin : begin + FRAMES]:
                joints = truth[which]
                if joints is None:
                    continue
                box = np.concatenate([joints.min(axis=0), joints.max(axis=0)])
                hands = [
                    hand for hand in document["hands"] if hand["hand"] == side and hand["box_origin"] == "detector"
                ]
                near = [hand["track"] for hand in hands if overlap(np.array(hand["box"]), box) > 0.4]
                tracks[near[0] if near else None] += 1
            ((track, count),) = tracks.most_common(1)
            assert track is not None, (begin, side)
            assert count >= 0.95 * tracks.total(), (begin, side, tracks)
            mains.append((track, side))
    assert len({track for track, _ in mains}) == 4, "none goes on after the cut"
    with av.open(str(tmp_path / "out" / "hands.overlay.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == len(frames)

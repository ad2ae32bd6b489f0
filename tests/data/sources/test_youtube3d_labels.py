from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from peclr.data.sources.youtube3d_labels import FRAME_SUFFIXES, MISSING, find_frames, frame_path, read_labels

if TYPE_CHECKING:
    from tests.data.conftest import YouTube


def test_arrays_are_what_was_written(youtube: YouTube) -> None:
    arrays = read_labels("youtube3d", youtube.root, "train")
    np.testing.assert_allclose(arrays["vertices"], youtube.vertices, rtol=1e-6)
    assert arrays["is_left"].tolist() == [False, True, False, True, True]
    assert arrays["image"].tolist() == [0, 0, 1, 2, 1]
    assert arrays["annotation_id"].tolist() == [100, 101, 102, 103, 104]
    assert arrays["image_size"].tolist()[1] == [240, 160]


def test_images_may_come_after_annotations_and_keys_that_nobody_knows(youtube: YouTube) -> None:
    expected = read_labels("youtube3d", youtube.root, "train")

    def reorder(labels: dict[str, Any]) -> None:
        labels["info"] = {"nested": [1, {"}": "]"}]}
        labels["images"] = labels.pop("images")
        labels["annotations"][0]["score"] = [None]

    youtube.edit(reorder)
    for name, array in read_labels("youtube3d", youtube.root, "train").items():
        np.testing.assert_array_equal(array, expected[name])


def test_an_image_that_is_listed_twice_is_one(youtube: YouTube) -> None:
    youtube.edit(lambda labels: labels["images"].append(labels["images"][0]))
    assert read_labels("youtube3d", youtube.root, "train")["image"].tolist() == [0, 0, 1, 2, 1]


def set_vertex(hand: int, vertex: int, value: object) -> Callable[[Any], object]:
    return lambda labels: labels["annotations"][hand]["vertices"].__setitem__(vertex, value)


DAMAGE: dict[str, tuple[Callable[[Any], object], str]] = {
    "a number is missing": (set_vertex(2, 5, [1.0, 2.0]), r"annotation 2: .*length 3.*vertices"),
    "a number is null": (set_vertex(0, 777, [1.0, None, 2.0]), r"annotation 0: .*float.*null"),
    "a number is not one": (set_vertex(1, 5, [1.0, "2", 3.0]), r"annotation 1: .*float.*str"),
    "a number is huge": (set_vertex(1, 5, [1.0, 1e39, 3.0]), r"annotation 1: vertex 5 .*expected finite"),
    "a number is NaN": (set_vertex(1, 5, [1.0, float("nan"), 3.0]), r"malformed.*byte \d+"),
    "a vertex is missing": (lambda labels: labels["annotations"][3]["vertices"].pop(), "annotation 3.*778"),
    "a key is missing": (lambda labels: labels["annotations"][4].pop("is_left"), "annotation 4.*is_left"),
    "a side is neither": (lambda labels: labels["annotations"][0].update(is_left=2), "is_left is 2.*0 or 1"),
    "an image is unknown": (lambda labels: labels["annotations"][1].update(image_id=99), "annotation 1 is of image 99"),
    "an id is two images": (lambda labels: labels["images"][1].update(id=10), r"id 10 is both .*1\.png and"),
    "an image has no size": (lambda labels: labels["images"][1].update(width=0), r"images\[1\]\.width|width"),
    "an image is elsewhere": (lambda labels: labels["images"][1].update(name="../a.png"), r"'\.\./a\.png'"),
    "an image is of no video": (lambda labels: labels["images"][1].update(name="a.png"), r"'a\.png'; expected .*VIDEO"),
    "an image has a zero byte": (lambda labels: labels["images"][1].update(name="y/\0/a.png"), r"'y/\\x00/a\.png'"),
    "there are no hands": (lambda labels: labels["annotations"].clear(), "no annotations"),
    "a list is missing": (lambda labels: labels.pop("images"), "images"),
    "a hand is a line": (
        lambda labels: labels["annotations"][0].update(vertices=[[1.0, float(y), 0.0] for y in range(778)]),
        "annotation 0: .*in one line",
    ),
    "an id is no number": (lambda labels: labels["annotations"][0].update(id="a"), "annotation 0: .*int.*str"),
    "an id is too large": (lambda labels: labels["annotations"][0].update(id=2**70), "annotation 0: "),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_wrong_labels_are_refused_and_named(youtube: YouTube, damage: str) -> None:
    change, message = DAMAGE[damage]
    youtube.edit(change)
    with pytest.raises(ValueError, match=message) as error:
        read_labels("youtube3d", youtube.root, "train")
    assert str(youtube.labels) in str(error.value)


DEEP = b'{"images": ' + b"[" * 5000 + b"]" * 5000 + b', "annotations": []}'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        DEEP,
        DEEP.replace(b"images", b"other"),
        b'{"images": [], "annotations": [\xff]}',
        b"\xff\xd8\xff",
    ],
)
def test_files_that_are_no_labels_are_refused_and_named(youtube: YouTube, content: bytes) -> None:
    youtube.labels.write_bytes(content)
    with pytest.raises(ValueError, match=r"youtube_train\.json"):
        read_labels("youtube3d", youtube.root, "train")


def test_labels_cut_anywhere_are_refused(youtube: YouTube) -> None:
    content = youtube.labels.read_bytes()
    for length in np.random.default_rng(3).integers(1, len(content) - 1, 40).tolist():
        youtube.labels.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"youtube_train\.json"):
            read_labels("youtube3d", youtube.root, "train")


def test_labels_with_a_changed_byte_are_refused_or_still_labels(youtube: YouTube) -> None:
    content, rng = youtube.labels.read_bytes(), np.random.default_rng(4)
    for position, byte in zip(rng.integers(0, len(content), 60), rng.integers(0, 256, 60), strict=True):
        youtube.labels.write_bytes(content[:position] + bytes([byte]) + content[position + 1 :])
        try:
            vertices = read_labels("youtube3d", youtube.root, "train")["vertices"]
        except ValueError:
            with pytest.raises(ValueError, match=r"youtube_train\.json"):
                read_labels("youtube3d", youtube.root, "train")
        else:
            assert np.isfinite(vertices).all()
            assert vertices.shape[1:] == (778, 3)


def test_frames_are_found_whatever_their_suffix(youtube: YouTube) -> None:
    names = read_labels("youtube3d", youtube.root, "train")["image_name"]
    suffix = find_frames(youtube.root, names)
    assert [FRAME_SUFFIXES[s] if s != MISSING else None for s in suffix] == [".png", ".jpg", None, ".png"]
    assert frame_path(names[1], suffix[1]) == "youtube/filmA/video/frames/2.jpg"


def test_preparing_needs_no_torch(youtube: YouTube) -> None:
    run = f"prepare_main(['youtube3d', {str(youtube.root)!r}])"
    run += "; import peclr.data.sources.freihand"  # as each process that cuts its crops does
    code = f"import sys; from peclr.data.prepare.command import prepare_main; {run}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0

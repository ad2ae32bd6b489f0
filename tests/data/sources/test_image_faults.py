from __future__ import annotations

import io
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from peclr.data.sources.image_faults import find_problems, image_problem
from peclr.data.sources.images import image_sizes, in_threads, read_header


@pytest.fixture(params=[".jpg", ".png", ".webp"])
def image(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"bild ü{request.param}"
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    path.write_bytes(cv2.imencode(request.param, noise)[1].tobytes())
    return path


def test_whole_images_are_fine(image: Path) -> None:
    assert image_problem(image, "present") is None
    assert image_problem(image, "headers") is None
    assert image_problem(image, "decode") is None


def test_padding_behind_the_end_is_fine(image: Path) -> None:
    image.write_bytes(image.read_bytes() + bytes(100))
    assert image_problem(image, "decode") is None


def test_a_video_behind_an_image_is_no_damage(tmp_path: Path) -> None:
    """Motion Photos of phones; the image may have a thumbnail, which ends as images do."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8))
    thumbnail, phone = io.BytesIO(), io.BytesIO()
    noise.resize((8, 8)).save(thumbnail, "JPEG")
    noise.save(phone, "JPEG", exif=b"Exif\0\0" + thumbnail.getvalue())
    video = bytes(range(255)) * 40
    path = tmp_path / "motion.jpg"
    path.write_bytes(phone.getvalue() + video)
    assert image_problem(path) is None
    path.write_bytes(phone.getvalue()[:-2] + video)
    assert (image_problem(path) is None) == (image_problem(path, "decode") is None)  # the decoder has the last word
    path.write_bytes(phone.getvalue()[:-100])
    assert str(image_problem(path)).startswith("is cut short")


@pytest.mark.parametrize("size", [(12240, 16320), (9248, 11648)])
def test_large_images_are_fine(tmp_path: Path, size: tuple[int, int]) -> None:
    """200 and 108 megapixels: more than Pillow opens or opens without a warning by default."""
    path = tmp_path / "large.jpg"
    encoded = cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1].tobytes()
    frame = encoded.index(b"\xff\xc0") + 5
    path.write_bytes(encoded[:frame] + struct.pack(">HH", *size) + encoded[frame + 4 :])
    assert image_problem(path) is None
    assert image_sizes([path]).tolist() == [[*size[::-1]]]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_headers_say_nothing_against_what_can_be_decoded(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    encoded = cv2.imencode(suffix, noise)[1].tobytes()
    path = tmp_path / "a.jpg"
    for missing in range(24):
        path.write_bytes(encoded[: len(encoded) - missing])
        assert image_problem(path, "headers") is None or image_problem(path, "decode") is not None


def test_images_of_another_kind_than_their_name_are_fine(image: Path) -> None:
    assert image_problem(image.rename(image.with_suffix(".jpeg")), "decode") is None


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("kept", [0.5, 0.9, 0.999])
def test_images_cut_short_are_found_without_decoding(tmp_path: Path, suffix: str, kept: float) -> None:
    path = tmp_path / f"a{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    encoded = cv2.imencode(suffix, noise)[1].tobytes()
    path.write_bytes(encoded[: int(kept * len(encoded)) - 8])
    problem = image_problem(path)
    assert problem is not None
    assert problem.startswith("is cut short after")


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    empty, page, folder = tmp_path / "empty.jpg", tmp_path / "page.jpg", tmp_path / "folder.jpg"
    empty.write_bytes(b"")
    page.write_text("<html>404</html>")
    folder.mkdir()
    assert image_problem(empty) == "is empty"
    assert image_problem(page) == "is not an image (16 bytes)"
    assert image_problem(tmp_path / "absent.jpg") == "is missing"
    assert "cannot be opened" in str(image_problem(folder))
    assert image_problem(tmp_path / "absent.jpg", "present") == "is missing"
    assert image_problem(empty, "present") is None


def test_pixels_are_looked_at_only_when_decoding(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(cv2.imencode(".png", np.zeros((40, 60, 3), np.uint8))[1].tobytes())
    content = bytearray(path.read_bytes())
    content[41:-16] = bytes(len(content) - 57)  # the pixels
    path.write_bytes(content)
    assert image_problem(path, "headers") is None
    assert "not a readable image" in str(image_problem(path, "decode"))


@pytest.mark.parametrize("workers", [1, 3])
def test_many_files_are_looked_at_in_their_order(tmp_path: Path, workers: int) -> None:
    paths = [tmp_path / f"{number}.jpg" for number in range(200)]
    good = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    for number, path in enumerate(paths):
        path.write_bytes(b"" if number % 67 == 5 else good)
    problems = find_problems(paths, "headers", workers)
    assert problems == {paths[number]: "is empty" for number in (5, 72, 139)}
    assert list(problems) == [paths[number] for number in (5, 72, 139)]


def test_results_of_threads_come_in_order_and_not_all_at_once() -> None:
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        return -item

    results = in_threads(work, range(1000), 2, "items", progress=False)
    assert next(results) == (0, 0)
    assert len(begun) <= 128
    assert list(results) == [(item, -item) for item in range(1, 1000)]


def test_a_format_that_is_not_decoded_is_named(tmp_path: Path) -> None:
    path = tmp_path / "icon.jpg"
    Image.new("RGB", (32, 32)).save(path, "ICO")
    assert image_problem(path) == "is of format ICO, which is not read"


def exif(orientation: int) -> bytes:
    entries = struct.pack("<H", 1) + struct.pack("<HHII", 0x112, 3, 1, orientation) + struct.pack("<I", 0)
    body = b"Exif\0\0" + b"II*\0" + struct.pack("<I", 8) + entries
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


@pytest.mark.parametrize("segments", [(3,), (1, 3), (3, 1), (6, 3), (8, 6), ()])
@pytest.mark.parametrize("place", ["first", "behind the frame's header", "before the pixels"])
def test_header_and_decoder_agree_on_the_orientation(segments: tuple[int, ...], place: str) -> None:
    bright = np.zeros((40, 60, 3), np.uint8)
    bright[:20, :30] = 255
    content = cv2.imencode(".jpg", bright)[1].tobytes()
    ends = {"first": 2}
    position = 2
    while content[position + 1] != 0xDA:
        name, length = content[position + 1], int.from_bytes(content[position + 2 : position + 4], "big")
        position += 2 + length
        if name == 0xC0:
            ends["behind the frame's header"] = position
    ends["before the pixels"] = position
    content = content[: ends[place]] + b"".join(map(exif, segments)) + content[ends[place] :]
    header = read_header(io.BytesIO(content))
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert header is not None
    assert decoded is not None
    assert decoded.shape[:2] == (header.height, header.width)
    upright = {1: bright, 3: bright[::-1, ::-1], 6: np.rot90(bright, -1), 8: np.rot90(bright)}[header.orientation]
    np.testing.assert_allclose(decoded, upright, atol=30)

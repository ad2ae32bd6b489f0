"""The cache holds whole files that are what they should be, or nothing."""

import hashlib
import io
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from peclr.weights.catalog import Published
from peclr.weights.fetching import Patience
from peclr.weights.store import get, read_record
from tests.weights.server import Page, described, serving

ROOT = Path(__file__).parents[2]
ONCE = Patience(timeout=5, tries=1, pause=0)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def content(encoder_file: Path) -> bytes:
    return encoder_file.read_bytes()


def packed(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, inside in members:
            info = tarfile.TarInfo(name)
            info.size = len(inside)
            archive.addfile(info, io.BytesIO(inside))
    return buffer.getvalue()


def left(published: Published) -> set[str]:
    return {path.name for path in published.folder.iterdir()} - {".lock"}


def test_a_file_is_fetched_once_and_its_sums_are_kept(content: bytes) -> None:
    page = Page(content)
    with serving(page) as address:
        published = described(url=f"{address}net.pth", sha256=sha256(content)[:8])
        assert get(published, patience=ONCE) == get(published, patience=ONCE) == published.path
    assert page.seen == [""]
    assert published.path.read_bytes() == content
    assert left(published) == {"net.pth", "record.json"}
    record = read_record(published)
    assert record is not None
    assert (record.sha256, record.file_sha256, record.size) == (sha256(content), sha256(content), len(content))
    assert record.is_checked
    assert (record.source, record.license, record.terms) == (published.url, "MIT", "None.")


def test_a_packed_file_is_unpacked(content: bytes) -> None:
    archive = packed(("README", b"x"), ("made/elsewhere/net.pth", content))
    with serving(Page(archive)) as address:
        published = described(url=f"{address}net.tar.gz")
        assert get(published, patience=ONCE).read_bytes() == content
    record = read_record(published)
    assert record is not None
    assert (record.sha256, record.file_sha256, record.is_checked) == (sha256(archive), sha256(content), False)
    assert left(published) == {"net.pth", "record.json"}


def test_a_cut_download_goes_on_the_next_time(content: bytes) -> None:
    page = Page(content, cut=[1000])
    with serving(page) as address:
        published = described(url=f"{address}net.pth")
        with pytest.raises(ConnectionError, match="broke off"):
            get(published, patience=ONCE)
        assert not published.path.exists()
        get(published, patience=ONCE)
    assert page.seen == ["", "bytes=1000-"]
    assert published.path.read_bytes() == content


@pytest.mark.parametrize(
    ("served", "url", "other", "reason"),
    [
        (b"\n<!DOCTYPE html><p>Please sign in", "net.pth", {}, "it is a web page"),
        (b"<html>moved", "net.tar.gz", {}, "it is a web page"),
        (b"whole", "net.pth", {"sha256": "0123abcd"}, "its SHA-256 is .*, expected one that begins 0123abcd"),
        (b"PK cut", "net.pth", {}, "not a whole file of torch.save"),
        (b"\x7fELF", "net.pth", {}, r"it begins with b'\\x7fELF', as no file of torch\.save does"),
        (b"", "net.pth", {}, "it begins with b''"),
        (b"not packed", "net.tar.gz", {}, "damaged or no archive"),
        (packed(("../../net.pth", b"x")), "net.tar.gz", {}, "which leads outside"),
        (packed(("net.txt", b"x")), "net.tar.gz", {}, r"expected net\.pth in it"),
        (b"PK cut", "net.task", {"sha256_inside": {"a": "0"}}, "damaged or no zip"),
    ],
    # of their own: the content of an archive, which has the time in it, would differ between pytest's processes
    ids=["page", "moved", "sum", "cut", "elf", "empty", "unpacked", "outside", "other", "no zip"],
)
def test_what_is_not_the_file_leaves_nothing(served: bytes, url: str, other: dict[str, object], reason: str) -> None:
    page = Page(served)
    with serving(page) as address:
        published = described(url=address + url, **other)
        for _ in range(2):  # also the second time it is fetched from its beginning
            with pytest.raises(ValueError, match=rf"(?s){re.escape(published.url)}: not net: .*{reason}"):
                get(published, patience=ONCE)
    assert page.seen == ["", ""]
    assert left(published) == set()


def test_networks_inside_are_checked(tmp_path: Path) -> None:
    with zipfile.ZipFile(task := tmp_path / "net.task", "w") as archive:
        archive.writestr("a.tflite", b"network")
    known = {"file": "net.task", "use": "detector", "sha256_inside": {"a.tflite": sha256(b"network")}}
    published = described(**known)
    get(published, task)
    record = read_record(published)
    assert record is not None
    assert record.is_checked
    with pytest.raises(ValueError, match=r"a\.tflite in it has SHA-256 .*, expected 0"):
        get(described(**known | {"name": "other", "sha256_inside": {"a.tflite": "0"}}), task)


@pytest.mark.parametrize("name", ["net.pth", "net.tar.gz", "renamed.tgz"])
def test_a_file_that_was_fetched_by_hand_is_taken_packed_or_not(name: str, content: bytes, tmp_path: Path) -> None:
    given = tmp_path / name
    given.write_bytes(content if name == "net.pth" else packed(("net.pth", content)))
    before = given.read_bytes()
    published = described(url="https://127.0.0.1:9/net.tar.gz")
    assert get(published, given).read_bytes() == content
    assert given.read_bytes() == before
    record = read_record(published)
    assert record is not None
    assert record.source == str(given)


def test_a_wrong_file_by_hand_keeps_the_one_that_is_there(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(content)
    (tmp_path / "bad").write_bytes(b"<html>")
    published = described()
    get(published, tmp_path / "good")
    with pytest.raises(ValueError, match=r"/bad: not net: it is a web page"):
        get(published, tmp_path / "bad")
    with pytest.raises(FileNotFoundError):
        get(published, tmp_path / "none")
    assert published.path.read_bytes() == content
    assert left(published) == {"net.pth", "record.json"}


def test_two_processes_fetch_it_once(content: bytes) -> None:
    program = (
        "import sys\nfrom peclr.weights.store import get\nfrom tests.weights.server import described\n"
        "print(get(described(url=sys.argv[1])).stat().st_size)"
    )
    page = Page(content, pause=0.5)
    with serving(page) as address:
        both = [
            subprocess.Popen(
                [sys.executable, "-c", program, f"{address}net.pth"], cwd=ROOT, stdout=subprocess.PIPE, text=True
            )
            for _ in range(2)
        ]
        sizes = [process.communicate(timeout=60)[0] for process in both]
    assert sizes == [f"{len(content)}\n"] * 2
    assert page.seen == [""]

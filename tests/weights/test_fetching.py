"""A download ends with the whole file or says why not, whatever the server does."""

import errno
import random
import shutil
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from peclr.weights.fetching import Patience, _Redirects, download, forget
from tests.full_disk import full_disk
from tests.weights.server import Page, serving

CONTENT = random.Random(0).randbytes(600_000)
OTHER = random.Random(1).randbytes(700_000)
PATIENCE = Patience(timeout=5, tries=3, pause=0)
ONCE = Patience(timeout=5, tries=1, pause=0)


def fetch(page: Page, target: Path, patience: Patience = PATIENCE, most_mb: float = 10) -> bytes:
    with serving(page) as address:
        download(address + "file", target, most_mb, patience)
    return target.read_bytes()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "file"


def cut_off(page: Page, target: Path, at: int, address: str) -> None:
    page.cut = [at]
    with pytest.raises(ConnectionError, match=r"broke off: .*0\.2 MB are kept, from which the same command goes on"):
        download(address + "file", target, 10, ONCE)
    assert target.stat().st_size == at


def test_a_file_is_fetched(target: Path) -> None:
    assert fetch(Page(CONTENT), target) == CONTENT


def test_a_cut_connection_goes_on_by_itself(target: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = Page(CONTENT, cut=[200_000, 100_000, 1])
    assert fetch(page, target) == CONTENT
    assert page.seen == ["", "bytes=200000-", "bytes=300000-", "bytes=300001-"]
    assert "trying again" in capsys.readouterr().err


def test_a_cut_download_goes_on_when_asked_again(target: Path) -> None:
    page = Page(CONTENT)
    with serving(page) as address:
        cut_off(page, target, 200_000, address)
        download(address + "file", target, 10, ONCE)
    assert target.read_bytes() == CONTENT
    assert page.seen == ["", "bytes=200000-"]


def test_a_whole_one_is_not_fetched_again(target: Path) -> None:
    page = Page(CONTENT)
    with serving(page) as address:
        for _ in range(2):
            download(address + "file", target, 10, ONCE)
    assert page.seen == [""]


@pytest.mark.parametrize("how", ["no parts", "no tag", "another file", "parts of another file"])
def test_what_cannot_go_on_begins_again(how: str, target: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = Page(CONTENT, ranges=how != "no parts", tag=None if how == "no tag" else '"1"', heeds="parts of" not in how)
    with serving(page) as address:
        cut_off(page, target, 200_000, address)
        if "another file" in how:
            page.content, page.tag = OTHER, '"2"'
        download(address + "file", target, 10, ONCE)
    assert target.read_bytes() == page.content
    assert "from the beginning" in capsys.readouterr().err


def test_more_than_the_file_begins_again(target: Path) -> None:
    page = Page(CONTENT)
    with serving(page) as address:
        cut_off(page, target, 200_000, address)
        target.write_bytes(CONTENT + b"more")
        download(address + "file", target, 10, ONCE)
    assert target.read_bytes() == CONTENT


def test_what_another_address_gave_is_no_beginning(target: Path) -> None:
    page = Page(CONTENT)
    with serving(page) as address:
        cut_off(page, target, 200_000, address)
        page.content, page.seen = OTHER, []
        download(address + "other", target, 10, ONCE)
    assert (target.read_bytes(), page.seen) == (OTHER, [""])


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_file_that_is_not_there_is_said_at_once(status: int, target: Path) -> None:
    page = Page(CONTENT, statuses=[status] * 9)
    with pytest.raises(ValueError, match=rf"http://127\.0\.0\.1:\d+/file: its host answers {status}"):
        fetch(page, target)
    assert len(page.seen) == 1
    assert not target.exists()


def test_a_server_in_trouble_is_asked_again_and_then_given_up(target: Path) -> None:
    assert fetch(Page(CONTENT, statuses=[503, 500]), target) == CONTENT
    forget(target)
    page = Page(CONTENT, statuses=[500] * 9)
    with pytest.raises(ConnectionError, match="its host answers 500"):
        fetch(page, target)
    assert len(page.seen) == PATIENCE.tries


def test_progress_is_counted_not_tries(target: Path) -> None:
    page = Page(CONTENT, cut=[50_000] * 11)
    assert fetch(page, target) == CONTENT
    page = Page(CONTENT, cut=[0] * 11)
    forget(target)
    with pytest.raises(ConnectionError, match="broke off: 0 of 600,000 bytes came"):
        fetch(page, target)


def test_a_web_page_is_no_file(target: Path) -> None:
    with pytest.raises(ValueError, match="answers with a web page"):
        fetch(Page(b"<html>sign in", kind="text/html; charset=utf-8"), target)
    assert not target.exists()


def test_an_unknown_length_is_no_obstacle_and_has_a_limit(target: Path) -> None:
    assert fetch(Page(CONTENT, has_length=False), target) == CONTENT
    forget(target)
    with pytest.raises(ValueError, match="are more than 0 MB"):
        fetch(Page(CONTENT, has_length=False), target, most_mb=0.3)
    forget(target)
    with pytest.raises(ValueError, match=r"0\.6 MB are more than 0 MB"):
        fetch(Page(CONTENT), target, most_mb=0.3)
    assert not target.exists()


def test_nobody_at_the_address_is_said_at_once(target: Path) -> None:
    with serving(Page(CONTENT)) as address:
        pass
    with pytest.raises(ConnectionError, match=r"its host cannot be reached: .*refused"):
        download(address, target, 10, PATIENCE)


def test_a_silent_server_is_given_up(target: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(ConnectionError, match=r"broke off: .*timed out"):
            download(address, target, 10, Patience(timeout=0.1, tries=2, pause=0))


def test_redirects_are_followed_but_not_from_protected_to_open(target: Path) -> None:
    page = Page(CONTENT, redirect="/moved")
    assert fetch(page, target) == CONTENT
    request = SimpleNamespace(full_url="https://host/file")
    with pytest.raises(OSError, match="without protection"):
        _Redirects().redirect_request(request, None, 302, "", None, "http://host/file")  # type: ignore[arg-type]  # as urllib


def test_a_full_disk_is_named_before_and_while(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with full_disk(100_000), pytest.raises(OSError, match="File too large") as raised:
        fetch(Page(CONTENT), target)
    assert raised.value.filename == str(target)
    assert fetch(Page(CONTENT), target) == CONTENT  # what was written is a beginning like any other
    forget(target)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=500_000))
    with pytest.raises(OSError, match="1 MB are needed, 0 MB are free") as raised:
        fetch(Page(CONTENT), target)
    assert raised.value.errno == errno.ENOSPC

"""What commands do with options before they work."""

import argparse
import errno
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from peclr.options import (
    check_new_folder,
    check_writable,
    expand_values,
    expand_words,
    locked,
    naming,
    open_lock,
    write_whole,
)


def test_words_are_expanded_as_a_shell_would_and_after_equals_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    words = ["~/run", "--out=~/a=b", "--out", "~", "a~b", "-1", "--title=a ~/b", "~nobody-here/x", "--data={root: ~/x}"]
    expanded = ["/home/me/run", "--out=/home/me/a=b", "--out", "/home/me", *words[4:]]
    assert expand_words(words) == expanded


def test_values_of_configs_are_expanded_at_any_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    config = argparse.Namespace(a="~/x", b=argparse.Namespace(c=[{"d": Path("~/y")}, "~"], e=None), f=1)
    expected = argparse.Namespace(
        a="/home/me/x", b=argparse.Namespace(c=[{"d": Path("/home/me/y")}, "/home/me"], e=None), f=1
    )
    assert expand_values(config) == expected


def test_an_output_that_cannot_be_written_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    check_new_folder(tmp_path / "new" / "folder")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="cannot be written") as refused:
        check_writable(tmp_path / "file" / "folder")
    assert refused.value.filename == str(tmp_path / "file" / "folder")
    with pytest.raises(FileExistsError, match="not an empty folder"):
        check_new_folder(tmp_path)


def test_errors_of_writing_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="a full one") as raised, naming(tmp_path / "x"):
        raise OSError(errno.ENOSPC, "a full one")
    assert raised.value.filename == str(tmp_path / "x")
    with pytest.raises(FileNotFoundError) as raised, naming(tmp_path / "x"):
        os.stat(tmp_path / "y")  # noqa: PTH116 (as libraries do)
    assert raised.value.filename == str(tmp_path / "y")


def test_files_are_written_in_place_of_links_never_through_them(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("somebody's")
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("results.json", ".results.json.partial"):
        (folder / name).symlink_to(other)
    write_whole(folder / "results.json", "ours")
    assert (folder / "results.json").read_text() == "ours"
    assert not (folder / "results.json").is_symlink()
    (folder / ".lock").symlink_to(other)
    with pytest.raises(ValueError, match=r"\.lock is a link; expected a file of its own"):
        open_lock(folder / ".lock")
    assert other.read_text() == "somebody's"
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "results.json"]


def test_a_shared_file_is_whole_however_many_write_it(tmp_path: Path) -> None:
    path, contents = tmp_path / "plan.json", [bytes([number]) * 200_000 for number in range(8)]

    def write(content: bytes) -> None:
        for _ in range(20):
            write_whole(path, content, shared=True)
            assert path.read_bytes() in contents

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, contents))
    assert list(tmp_path.iterdir()) == [path]


def test_who_has_to_wait_for_a_lock_says_so_and_goes_on_after_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lock, order = tmp_path / ".lock", []

    def wait() -> None:
        with locked(lock, "waiting"):
            order.append("second")

    with ThreadPoolExecutor(1) as pool:
        with locked(lock, "not this one"):
            second, said, end = pool.submit(wait), "", time.monotonic() + 10
            while not said and time.monotonic() < end:
                time.sleep(0.01)
                said = capfd.readouterr().err
            order.append("first")
        second.result()
    assert said == "waiting\n"
    assert order == ["first", "second"]

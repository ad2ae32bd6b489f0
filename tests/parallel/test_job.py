"""Jobs: what is done is not done again, parts make up the whole, and a crash costs its own task."""

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from peclr.parallel import Part, claim, part_of, run
from tests.parallel.work import job_of


def done(folder: Path) -> set[int]:
    return {int(path.name) for path in folder.iterdir() if path.name.isdigit()}


@pytest.mark.parametrize("workers", [0, 2])
def test_all_tasks_are_done_once(tmp_path: Path, workers: int) -> None:
    (tmp_path / "1").write_text("from before")
    assert run(job_of(tmp_path, 5), workers=workers, progress=False) == {}
    assert done(tmp_path) == set(range(5))
    assert (tmp_path / "1").read_text() == "from before"


def test_a_crash_names_its_task_and_costs_no_other(tmp_path: Path) -> None:
    accidents = {1: "crash", 2: "once", 3: "error", 5: "disk"}
    problems = run(job_of(tmp_path, 7, accidents), workers=2, progress=False)
    assert problems == {1: "its process ended by SIGSEGV", 3: "file 3 is damaged"}
    assert done(tmp_path) == {0, 2, 4, 5, 6}


def test_parts_make_up_the_whole(tmp_path: Path) -> None:
    for number in (3, 1, 2):
        before = done(tmp_path)
        assert run(job_of(tmp_path, 8), workers=0, part=Part(number, 3), progress=False) == {}
        assert done(tmp_path) - before == set(range(number - 1, 8, 3))
    assert done(tmp_path) == set(range(8))


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3", "1/3/4", "1 /3"])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected 1/N to N/N"):
        part_of(text)
    assert part_of("3/16") == (3, 16)


def test_a_bar_shows_the_rate_and_what_was_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "0").touch()
    run(job_of(tmp_path, 4, {1: "error"}), workers=0)
    shown = capsys.readouterr().err
    assert "3/4" in shown
    assert "4 hands" in shown


def test_a_folder_belongs_to_one_plan(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    claim(folder, {"size": 256, "files": ["a"]})
    claim(folder, {"size": 256, "files": ["a"]})
    with pytest.raises(ValueError, match=r"out was begun with size 256, now it is 128"):
        claim(folder, {"size": 128, "files": ["a"]})
    claim(tmp_path / "hashed", {"inputs": "0" * 64})
    with pytest.raises(ValueError, match=r"hashed was begun with other inputs; give the same again"):
        claim(tmp_path / "hashed", {"inputs": "1" * 64})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(FileExistsError, match="other is neither empty"):
        claim(tmp_path / "other", {})
    with pytest.raises(OSError, match=r"thesis"):
        claim(tmp_path / "other" / "thesis.tex", {})


def test_parts_may_begin_at_once(tmp_path: Path) -> None:
    folder, plan = tmp_path / "out", {"files": list(range(10_000))}
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: claim(folder, plan), range(32))) == [None] * 32
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "plan.json"]


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    """A process that does six tasks, of which one takes its time."""
    code = (
        "import sys; from pathlib import Path; from peclr.parallel import run; from tests.parallel.work import job_of\n"
        "if __name__ == '__main__': run(job_of(Path(sys.argv[1]), 6, {2: 'slow'}), workers=2)"
    )
    command = [sys.executable, "-c", code, str(folder)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_job_that_is_stopped_ends_its_processes_and_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    process = start(tmp_path)
    end = time.monotonic() + 60
    while not (found := list(tmp_path.glob("pid-*"))) or len(done(tmp_path)) < 5:
        assert time.monotonic() < end
        time.sleep(0.02)
    os.kill(process.pid, number)  # Ctrl-C goes to workers, too, which leave it to the first process
    stderr = process.communicate(timeout=30)[1]
    if number == signal.SIGINT:
        # a file may be there before the first process knows of it
        assert re.search(r"[345] of 6 tasks are done; the same command goes on", stderr)
    worker = int(found[0].name.removeprefix("pid-"))
    while Path(f"/proc/{worker}/status").exists() and "zombie" not in Path(f"/proc/{worker}/status").read_text():
        assert time.monotonic() < end, "it works for nobody"
        time.sleep(0.02)
    assert done(tmp_path) == {0, 1, 3, 4, 5}
    assert run(job_of(tmp_path, 6), workers=0, progress=False) == {}
    assert done(tmp_path) == set(range(6))

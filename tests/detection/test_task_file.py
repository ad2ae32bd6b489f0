"""One function finds the hand landmarker's task file: given, named by the environment, or in the cache."""

from pathlib import Path

import pytest

from peclr.__main__ import main
from peclr.detection import MediaPipeHands, find_task_file, known_task_file
from peclr.weights.catalog import catalog


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("PECLR_HAND_LANDMARKER", raising=False)
    monkeypatch.setenv("PECLR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def touched(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_without_one_the_message_says_how_to_get_it(empty_cache: Path) -> None:
    assert known_task_file() is None
    with pytest.raises(FileNotFoundError) as raised:
        find_task_file()
    message = str(raised.value)
    for part in ("peclr weights get hand-landmarker --accept", catalog()["hand-landmarker"].url, str(empty_cache)):
        assert part in message
    assert "peclr weights get hand-landmarker --file FILE" in message
    assert "PECLR_HAND_LANDMARKER" in message
    assert not empty_cache.exists()


def test_the_given_one_comes_before_the_named_one_and_that_before_the_cached(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = touched(empty_cache / "hand-landmarker" / "hand_landmarker.task")
    assert find_task_file() == known_task_file() == cached
    monkeypatch.setenv("PECLR_HAND_LANDMARKER", str(named := touched(tmp_path / "named.task")))
    assert find_task_file() == known_task_file() == named
    assert find_task_file(given := touched(tmp_path / "given.task")) == given


def test_what_is_named_and_not_there_is_not_replaced_by_another(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched(empty_cache / "hand-landmarker" / "hand_landmarker.task")
    with pytest.raises(FileNotFoundError, match=r"given\.task: no such file"):
        find_task_file(tmp_path / "given.task")
    monkeypatch.setenv("PECLR_HAND_LANDMARKER", str(tmp_path / "named.task"))
    for find in (find_task_file, known_task_file):
        with pytest.raises(FileNotFoundError, match=r"named\.task: no such file; PECLR_HAND_LANDMARKER names it"):
            find()


def test_one_that_was_fetched_by_hand_is_put_where_it_is_found(
    task_file: Path, empty_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", "get", "hand-landmarker", "--file", str(task_file)]) == 0
    assert "the files in it are as published" in capsys.readouterr().out
    assert find_task_file() == empty_cache / "hand-landmarker" / "hand_landmarker.task"
    MediaPipeHands(find_task_file())

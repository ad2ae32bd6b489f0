"""Checkpoints are whole or not there, and what is damaged is named together with what is not."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from peclr.runs.durable import CheckpointWriteError, check_checkpoint, read_checkpoint, write_checkpoint
from peclr.untrusted.binary import damage_of_zip
from tests.full_disk import full_disk


def content(value: float) -> dict[str, Any]:
    return {"state_dict": {"weight": torch.full((1000,), value)}, "global_step": int(value)}


def value_of(path: Path) -> float:
    return float(read_checkpoint(path)["state_dict"]["weight"][0])


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "epoch.ckpt"
    write_checkpoint(content(3), path)
    assert value_of(path) == 3
    assert names(path.parent) == {"epoch.ckpt"}


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_run_that_dies_while_it_writes_leaves_the_old_one(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.ckpt"
    write_checkpoint(content(1), path)

    def killed(*_: Any) -> None:
        raise SystemExit

    monkeypatch.setattr(os if moment == "fsync" else Path, moment, killed)
    with pytest.raises(SystemExit):
        write_checkpoint(content(2), path)
    monkeypatch.undo()
    assert value_of(path) == 1
    write_checkpoint(content(3), path)
    assert value_of(path) == 3
    assert names(tmp_path) == {"last.ckpt", "previous.ckpt"}, "what the killed one left is cleared away"


def test_a_full_disk_is_told_and_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    write_checkpoint(content(1), path)
    message = r"last\.ckpt: could not be written: .*MB are free"
    with full_disk(2000), pytest.raises(CheckpointWriteError, match=message):
        write_checkpoint(content(2), path)
    assert value_of(path) == 1
    assert names(tmp_path) == {"last.ckpt"}


def damaged(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "flipped":
        data[len(data) // 2] ^= 1
    left = {"flipped": bytes(data), "truncated": bytes(data[: len(data) // 2]), "empty": b"", "text": b"weights"}
    path.write_bytes(left[how])


@pytest.mark.parametrize("place", ["first header", "name in the directory", "compression", "disk number"])
def test_a_bit_that_flips_in_the_archives_own_records_is_named(place: str, tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    write_checkpoint(content(1), tmp_path / "previous.ckpt")
    write_checkpoint(content(2), path)
    data = bytearray(path.read_bytes())
    directory = data.index(b"PK\x01\x02")  # its fields: PKWARE's APPNOTE.TXT, 4.3.12
    spot, bit = {
        "first header": (0, 3),
        "name in the directory": (directory + 46, 7),
        "compression": (directory + 10, 3),
        "disk number": (directory + 35, 0),
    }[place]
    data[spot] ^= 1 << bit
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"last\.ckpt: damaged.*previous\.ckpt"):
        read_checkpoint(path)


@pytest.mark.parametrize("how", ["flipped", "truncated", "empty", "text"])
def test_damage_is_told_with_the_newest_good_one(how: str, tmp_path: Path) -> None:
    for value, name in enumerate(("a.ckpt", "b.ckpt", "last.ckpt")):
        write_checkpoint(content(value), tmp_path / name)
        os.utime(tmp_path / name, (value, value))
    damaged(tmp_path / "last.ckpt", how)
    assert damage_of_zip(tmp_path / "last.ckpt") is not None
    assert damage_of_zip(tmp_path / "b.ckpt") is None
    with pytest.raises(ValueError, match=r"last\.ckpt: damaged: .*the newest good one there is .*b\.ckpt"):
        check_checkpoint(tmp_path / "last.ckpt")
    damaged(tmp_path / "b.ckpt", "truncated")
    with pytest.raises(ValueError, match=r"the newest good one there is .*a\.ckpt"):
        read_checkpoint(tmp_path / "last.ckpt")
    damaged(tmp_path / "a.ckpt", "truncated")
    with pytest.raises(ValueError, match="holds no other good one"):
        check_checkpoint(tmp_path / "last.ckpt")


def test_a_missing_one_is_told_with_the_newest_good_one(tmp_path: Path) -> None:
    write_checkpoint(content(1), tmp_path / "previous.ckpt")
    with pytest.raises(FileNotFoundError, match=r"last\.ckpt: no such checkpoint; .*previous\.ckpt"):
        read_checkpoint(tmp_path / "last.ckpt")


def test_code_is_never_run(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "callback": print}, tmp_path / "last.ckpt")
    with pytest.raises(Exception, match=r"weights_only|Weights only"):
        read_checkpoint(tmp_path / "last.ckpt")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (5, "found 5"),
        ([1], r"found \[1\]"),
        ({"epoch": 1}, "found epoch"),
        ({"state_dict": {"weight": 5}}, "found state_dict"),
        ({"state_dict": {"weight": torch.tensor([torch.nan])}}, "'weight' is not finite"),
        ({"state_dict": {}, "loops": 5}, "loops is 5, expected dict"),
        ({"state_dict": {}, "optimizer_states": 5}, "optimizer_states is 5, expected list"),
        ({"state_dict": {}, "callbacks": 5}, "callbacks is 5, expected dict"),
        ({"state_dict": {}, "global_step": "x"}, "global_step is 'x', expected int"),
    ],
)
def test_a_whole_file_that_is_no_checkpoint_is_refused(content: Any, reason: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match=rf"last\.ckpt: .*{reason}"):
        read_checkpoint(tmp_path / "last.ckpt")

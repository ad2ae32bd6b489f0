"""A run's checkpoints on disk: each is written whole or not at all, and checked before it is resumed from."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from peclr.runs.layout import BEST, LAST, PREVIOUS, listed
from peclr.untrusted.binary import check_tensors, damage_of_zip, read_torch
from peclr.untrusted.text import shown


class CheckpointWriteError(OSError):
    """A checkpoint could not be written; those that were there before still are."""


def write_checkpoint(content: Mapping[str, Any], path: Path, *, best: bool = False) -> None:
    """Save with torch.save so that `path` is at any time the old file or the new one, also after a power cut.

    What `last.ckpt` was before is kept beside it as `previous.ckpt`. The `best` is called `best.ckpt`, too, and that
    first: a run that is killed in between takes its steps again. Raises CheckpointWriteError, on a full disk say.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # in the same folder, as only renaming within a file system is atomic; the next one overwrites what a kill left
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.unlink(missing_ok=True)  # it may be a link: a run's folder can be a stranger's
        with partial.open("xb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        if best:
            _name_too(partial, path.with_name(BEST))
        if path.name == LAST and path.exists():
            _keep_previous(path)
        partial.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # makes the renaming last
        finally:
            os.close(folder)
    except (OSError, RuntimeError) as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, OSError):  # PyTorch's own, on top of it, is about positions
            cause = cause.__context__
        if cause is None:
            raise
        partial.unlink(missing_ok=True)
        free = f"{shutil.disk_usage(path.parent).free / 1e6:,.0f} MB are free there"
        reason = f"could not be written: {cause.strerror or cause}; {free}; earlier checkpoints are as they were"
        raise CheckpointWriteError(f"{path}: {reason}") from error


def read_checkpoint(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """A whole checkpoint, read with weights_only; errors as `check_checkpoint`."""
    check_checkpoint(path)
    try:
        content: dict[str, Any] = read_torch(path, map_location=map_location)
    except ValueError as error:  # its reader is stricter than Python's about the archive's directory
        raise ValueError(f"{error}; {_alternative(path)}") from error
    said: Any = content if isinstance(content, dict) else {}
    state = said.get("state_dict")
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(f"{path}: expected a checkpoint of a run, found {listed(said) if said else shown(content)}")
    sections: dict[str, type] = {"loops": dict, "callbacks": dict, "optimizer_states": list, "lr_schedulers": list}
    for key, expected in (sections | {"global_step": int, "epoch": int}).items():
        if not isinstance(said.get(key, expected()), expected):
            raise ValueError(f"{path}: {key} is {shown(said[key])}, expected {expected.__name__}")
    check_tensors(state, path)
    return content


def check_checkpoint(path: Path) -> None:
    """Refuse a checkpoint that is missing (FileNotFoundError) or damaged; names the newest good one in its folder."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint; {_alternative(path)}")
    if reason := damage_of_zip(path):
        raise ValueError(f"{path}: damaged: {reason}; {_alternative(path)}")


def _alternative(path: Path) -> str:
    """Names the newest good checkpoint beside `path`."""
    others = [other for other in path.parent.glob("*.ckpt") if other.name != path.name]
    for other in sorted(others, key=lambda other: other.stat().st_mtime, reverse=True):
        if damage_of_zip(other) is None:
            return f"the newest good one there is {other}"
    return f"{path.parent} holds no other good one"


def _name_too(path: Path, name: Path) -> None:
    """Give a file a second name, in place of the file that has it, or where names are single a second copy."""
    partial = name.with_name(f".{name.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        partial.hardlink_to(path)
    except OSError:
        with path.open("rb") as source, partial.open("xb") as target:
            shutil.copyfileobj(source, target)
            target.flush()
            os.fsync(target.fileno())
    partial.replace(name)


def _keep_previous(last: Path) -> None:
    """Give `last.ckpt` its second name, under which it outlives being replaced."""
    previous = last.with_name(PREVIOUS)
    link = last.with_name(f".{PREVIOUS}.partial")
    link.unlink(missing_ok=True)
    try:
        link.hardlink_to(last)
    except OSError:  # a file system without hard links
        last.replace(previous)
        return
    link.replace(previous)
    link.unlink(missing_ok=True)  # renaming one name of a file to another of its names does nothing

"""Every command on own images and videos that experiments/README.md gives makes the data that it says."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from peclr.__main__ import main
from peclr.data.datamodules import PairedViewDataModule
from peclr.drawing.views import read_data_module
from peclr.shipped import find_config
from tests.hand_video import write_clip

if TYPE_CHECKING:
    from tests.experiments.conftest import Parse

README = (Path(__file__).parents[2] / "experiments" / "README.md").read_text(encoding="utf-8")
BLOCK = re.search(r"## Your own images and videos\n.*?```sh\n(.*?)```", README, re.DOTALL)
assert BLOCK is not None
COMMANDS = [shlex.split(line, comments=True)[1:] for line in BLOCK[1].replace("\\\n", " ").splitlines()]
FITS = [words[1:] for words in COMMANDS if words[0] == "fit"]


@pytest.fixture
def folder(
    tmp_path: Path, rendered_hands: Path, make_image: Callable[..., NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """What the commands name, and the working folder."""
    for name in ("my_images", "my_videos", "data", "hands"):
        (tmp_path / name).mkdir()
    for number in range(9):
        cv2.imwrite(str(tmp_path / "my_images" / f"{number}.jpg"), make_image(seed=number))
        hand = {"box": [5, 5, 30, 40], "hand": ("left", "right")[number % 2]}
        said = {"schema": "peclr.prediction/1", "source": f"my_images/{number}.jpg", "file": f"{number}.jpg"}
        (tmp_path / "hands" / f"{number}.json").write_text(json.dumps(said | {"hands": [hand]}))
    write_clip(tmp_path / "my_videos" / "a.avi", [make_image(seed=number) for number in range(41)])
    (tmp_path / "data" / "freihand").symlink_to(rendered_hands)
    (tmp_path / "my_data").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("words", FITS, ids=lambda words: words[-1])
def test_the_data_are_there_and_the_config_parses(words: list[str], folder: Path, parse: Parse) -> None:
    option, config, *rest = words
    assert option == "--config"
    path = find_config(config)
    module = read_data_module(path, [word for word in rest if word.startswith("--data.")])
    assert isinstance(module, PairedViewDataModule)
    assert module.train_set[0]["views"].shape == (2, 3, 128, 128)
    parsed: Any = parse([f"--config={path}", *rest])
    callbacks = sum("callbacks" in word for word in rest) + (config == "pretrain_photos")  # which draws views
    assert len(parsed.trainer.callbacks or []) == callbacks


def test_they_are_as_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = {words[-1]: len(_module(words).train_set) for words in FITS}
    videos, boxes, mixed = (next(s for o, s in sizes.items() if text in o) for text in ("every", "hands/", "FreiHAND"))
    assert (videos, boxes, mixed) == (5, 9, 48 + 9)
    sides = [sample["hand"] for sample in map(_module(FITS[3]).train_set.sources[0].__getitem__, range(9))]
    assert sorted(sides) == ["left"] * 5 + ["right"] * 4
    assert main(COMMANDS[0]) == 0
    shown = capsys.readouterr().out
    assert all(f"my_data/{name}\n" in shown for name in ("data/freihand", "my_images", "my_videos"))


def _module(words: list[str]) -> PairedViewDataModule:
    module = read_data_module(find_config(words[1]), [word for word in words if word.startswith("--data.")])
    assert isinstance(module, PairedViewDataModule)
    return module

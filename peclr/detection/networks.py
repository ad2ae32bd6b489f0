"""Google's two hand networks: their file, that it is theirs, and how LiteRT runs them."""

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from peclr.detection.detector import Image
from peclr.untrusted.binary import read_zip_member
from peclr.weights.catalog import catalog

PALM_FILE: Final = "hand_detector.tflite"
JOINT_FILE: Final = "hand_landmarks_detector.tflite"
TASK_FILE: Final = "hand-landmarker"  # its published name
TASK_FILE_VARIABLE: Final = "PECLR_HAND_LANDMARKER"


class Network:
    """A .tflite network on one thread."""

    def __init__(self, content: bytes) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter  # type: ignore[import-untyped]  # ships no types
        except ImportError as error:
            raise ValueError("ai-edge-litert is not installed; pip install 'peclr[hands]' brings it") from error
        self._content = content  # LiteRT does not copy it
        with _quiet():
            self._interpreter: Any = Interpreter(model_content=content, num_threads=1)
            self._interpreter.allocate_tensors()
        tensor = self._interpreter.tensor
        self._input = tensor(self._interpreter.get_input_details()[0]["index"])
        self._outputs = [tensor(one["index"]) for one in self._interpreter.get_output_details()]

    def __call__(self, image: Image) -> list[NDArray[np.float32]]:
        """Outputs for an image (S, S, 3), which nobody may hold any longer when the network is called again."""
        np.divide(image, 255, out=self._input()[0], dtype=np.float32)
        self._interpreter.invoke()
        return [output() for output in self._outputs]


@contextmanager
def _quiet() -> Iterator[None]:
    """Pass over what LiteRT writes to the standard error of each process, by itself: that it uses the CPU."""
    sys.stderr.flush()
    with Path(os.devnull).open("wb") as nothing:
        before = os.dup(2)
        try:
            os.dup2(nothing.fileno(), 2)
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)


def find_task_file(path: Path | str | None = None) -> Path:
    """The task file to use: the given one, or else as `known_task_file`; FileNotFoundError says how to get it."""
    found = known_task_file() if path is None else Path(path)
    if found is None:
        advice = f"or name it by {TASK_FILE_VARIABLE}"
        raise FileNotFoundError(f"the hand landmarker's task file: {catalog()[TASK_FILE].missing()}, {advice}")
    if not found.exists():
        raise FileNotFoundError(f"{found}: no such file; {catalog()[TASK_FILE].missing()}")
    return found


def known_task_file() -> Path | None:
    """The task file that PECLR_HAND_LANDMARKER names (FileNotFoundError if it is not there), or the one in the cache.

    None where there is neither.
    """
    if named := os.environ.get(TASK_FILE_VARIABLE):
        if not Path(named).exists():
            raise FileNotFoundError(f"{named}: no such file; {TASK_FILE_VARIABLE} names it")
        return Path(named)
    cached = catalog()[TASK_FILE].path
    return cached if cached.is_file() else None


def read_networks(path: Path) -> list[bytes]:
    """The palm and the joint network, checked by their hashes."""
    published = catalog()[TASK_FILE]
    contents = []
    for name in (PALM_FILE, JOINT_FILE):
        content = (path / name).read_bytes() if path.is_dir() else read_zip_member(path, name, name)
        if (found := hashlib.sha256(content).hexdigest()) != (expected := published.sha256_inside[name]):
            raise ValueError(f"{path}: {name} has SHA-256 {found}, expected {expected}, that of {published.url}")
        contents.append(content)
    return contents

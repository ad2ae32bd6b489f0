"""Give damaged files to readers, each input under a limit of time and memory, and say what became of it."""

import hashlib
import multiprocessing
import resource
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.fuzz.mutators import damage

SECONDS = 20.0
MEGABYTES = 2_000.0
# what has to become of a damaged file; anything else is a fault
GOOD = ("read", "refused")


@dataclass(frozen=True)
class Reader:
    """A reader of files that are not ours.

    Attributes:
        make: writes honest files below a folder, and returns those to damage.
        read: reads them; plain data, arrays or tensors, or None.
        protected: whether the files carry sums, so that what is read despite damage must be what was written.
    """

    make: Callable[[Path], list[Path]]
    read: Callable[[Path], Any]
    protected: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of one input: `outcome` is one of GOOD, or unnamed, traceback, hang, memory, crash, accepted."""

    number: int
    reader: str
    file: str
    outcome: str
    message: str
    seconds: float
    megabytes: float


def digest(value: Any) -> str:
    """Hash what a reader returned, whatever plain data, arrays or tensors it is made of."""
    hashed = hashlib.sha256()

    def add(one: Any) -> None:
        if isinstance(one, torch.Tensor):
            one = one.detach().numpy()
        if isinstance(one, np.ndarray):
            hashed.update(f"{one.dtype} {one.shape}".encode() + np.ascontiguousarray(one).tobytes())
        elif isinstance(one, dict):
            for key in sorted(one, key=str):
                hashed.update(str(key).encode())
                add(one[key])
        elif isinstance(one, list | tuple):
            for inside in one:
                add(inside)
        else:
            hashed.update(repr(one).encode())

    add(value)
    return hashed.hexdigest()


def try_one(readers: dict[str, Reader], seed: int, number: int, honest: dict[str, tuple[Path, str]]) -> Outcome:
    """Damage one file for one reader and let it read; the same seed and number give the same damage.

    Args:
        readers: by name; the number chooses one.
        seed: of all inputs.
        number: of this input.
        honest: folder of whole files and digest of what is read there, by reader; filled in when first needed.
    """
    rng = np.random.default_rng([seed, number])
    name = list(readers)[number % len(readers)]
    reader = readers[name]
    if name not in honest:
        folder = Path(tempfile.mkdtemp(prefix="peclr-fuzz-"))
        reader.make(folder)
        honest[name] = (folder, digest(reader.read(folder)))
    whole, expected = honest[name]
    with tempfile.TemporaryDirectory(prefix="peclr-fuzz-") as copied:
        folder = Path(copied) / "files"
        shutil.copytree(whole, folder)
        targets = [folder / path.relative_to(whole) for path in sorted(whole.rglob("*")) if path.is_file()]
        target = targets[int(rng.integers(len(targets)))]
        before = target.read_bytes()
        damage(target, rng)
        changed = target.read_bytes() != before
        started, memory = time.monotonic(), _peak_mb()
        outcome, message = _read(reader, folder, target, expected if reader.protected and changed else None)
    used = _peak_mb() - memory
    if used > MEGABYTES:
        outcome = "memory"
    seconds = time.monotonic() - started
    return Outcome(number, name, target.name, outcome, message[:300], round(seconds, 3), round(used, 1))


def _read(reader: Reader, folder: Path, target: Path, expected: str | None) -> tuple[str, str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read = reader.read(folder)
    except (ValueError, OSError) as error:
        named = str(folder) in str(error) or target.name in str(error)
        return ("refused" if named else "unnamed"), f"{type(error).__name__}: {error}"
    except MemoryError as error:
        return "memory", str(error)
    except Exception as error:  # noqa: BLE001  # that is what is looked for
        return "traceback", f"{type(error).__name__}: {error}"
    if expected is not None and digest(read) != expected:
        return "accepted", "what was read is not what was written"
    return "read", ""


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _work(connection: Connection, readers: dict[str, Reader], seed: int, numbers: range) -> None:
    torch.set_num_threads(1)
    honest: dict[str, tuple[Path, str]] = {}
    try:
        for number in numbers:
            connection.send(number)
            connection.send(asdict(try_one(readers, seed, number, honest)))
        connection.send(None)
    finally:
        for folder, _ in honest.values():
            shutil.rmtree(folder, ignore_errors=True)


def run_all(readers: dict[str, Reader], seed: int, count: int, processes: int = 2) -> Iterator[Outcome]:
    """Yield the outcome of `count` inputs, in any order; an input that hangs or crashes costs its process alone."""
    context = multiprocessing.get_context("fork")
    names = list(readers)
    waiting = [range(first, count, processes) for first in range(processes)]
    running: dict[Connection, tuple[Any, range, list[float]]] = {}
    while waiting or running:
        while waiting:
            numbers = waiting.pop()
            here, there = context.Pipe()
            process = context.Process(target=_work, args=(there, readers, seed, numbers), daemon=True)
            process.start()
            there.close()
            running[here] = (process, numbers, [float(numbers.start), time.monotonic()])
        for connection in wait(list(running), timeout=1):
            assert isinstance(connection, Connection)
            process, numbers, state = running[connection]
            try:
                said = connection.recv()
            except EOFError:
                said = "crash"
            if isinstance(said, int):
                state[:] = [said, time.monotonic()]
            elif isinstance(said, dict):
                yield Outcome(**said)
            else:
                del running[connection]
                process.join()
                if said == "crash":
                    yield _lost(int(state[0]), names, "crash", f"exit status {process.exitcode}", state[1])
                    waiting.append(range(int(state[0]) + numbers.step, count, numbers.step))
        for connection, (process, numbers, state) in list(running.items()):
            if time.monotonic() - state[1] > SECONDS:
                process.kill()
                del running[connection]
                yield _lost(int(state[0]), names, "hang", f"more than {SECONDS:.0f} s", state[1])
                waiting.append(range(int(state[0]) + numbers.step, count, numbers.step))


def _lost(number: int, names: list[str], outcome: str, message: str, since: float) -> Outcome:
    return Outcome(number, names[number % len(names)], "", outcome, message, round(time.monotonic() - since, 3), 0.0)

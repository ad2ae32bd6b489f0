"""Makes one set of what tasks have written: checks it, and joins their indexes; shards stay where and as they are."""

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
import numpy as np

from peclr.data.prepare.shard_writer import INDEXES, IndexFacts, index_file
from peclr.data.sources.images import in_threads
from peclr.data.sources.layouts import MANIFEST
from peclr.data.sources.listing import some
from peclr.data.sources.packed_labels import Array, write_packed
from peclr.data.sources.packed_text import PackedText, pack_texts
from peclr.data.sources.shard_files import problem_of_shard
from peclr.data.sources.shard_format import COLUMNS, FOLDER, KIND, NUMBERED, TEXTS, Column, Facts, Labels, Shard
from peclr.data.sources.shards import Shards
from peclr.options import locked, naming
from peclr.parallel.job import LOCK
from peclr.untrusted.binary import read_arrays
from peclr.untrusted.text import as_type, parse_json

_THREADS: Final = 4


def is_merged(folder: Path) -> bool:
    """Whether a folder is a finished set; what a merge that was killed has left over is removed."""
    if not (folder / MANIFEST).is_file():
        return False
    shutil.rmtree(folder / INDEXES, ignore_errors=True)
    return True


def is_done(folder: Path, task: int) -> bool:
    """Whether the crops of a task are there."""
    return index_file(folder, task).is_file()


def merge(
    folder: Path, tasks: int, *, name: str, labels: Labels, settings: Mapping[str, Any], progress: bool = False
) -> Facts:
    """Join the indexes of all tasks into memory-mapped labels and a manifest, which `Shards` reads.

    Args:
        folder: That all tasks wrote into; parts from other machines are copied together, files as they are.
        tasks: Number of tasks.
        name: Of the set, short.
        labels: Whether the joints are true or a teacher's; where there are none, it says so.
        settings: How the crops were made, for the manifest.
        progress: Whether to show a bar.

    Every shard is read once. ValueError says which tasks are missing, which shard is not as it was written, or which
    file belongs to no task; then nothing has changed, and what is missing can be made. Of several that merge at once,
    one does.
    """
    with locked(folder / LOCK):
        if is_merged(folder):
            return Shards(folder).facts
        return _merged(folder, tasks, Facts(name, labels, [], {}, [], dict(settings)), progress=progress)


def _merged(folder: Path, tasks: int, facts: Facts, *, progress: bool) -> Facts:
    missing = [task for task in range(tasks) if not is_done(folder, task)]
    if missing:
        raise ValueError(f"{folder}: {len(missing):,} of {tasks:,} tasks are not done: {some(list(map(str, missing)))}")
    survey = _Survey()
    counts = Counter[str]()
    for task in range(tasks):
        arrays, index = _read_index(folder, task)
        survey.add(arrays)
        facts.shards += index.shards
        facts.problems += index.problems
        counts.update(index.counts)
    if not survey.crops:
        seen = ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items()))
        raise ValueError(f"{folder}: no crop was made; {some([*([seen] if seen else []), *facts.problems])}")
    if not {"joints_2d", "joints_3d"} & survey.known:
        facts.labels = "none"
    _verify(folder, facts.shards, progress=progress)
    if twice := survey.twice():
        counts["twice"] = twice
    facts.counts = dict(sorted(counts.items()))
    names = _write(folder, tasks, survey)
    # the sums of the files are taken; arrays are not needed for that
    written = dict.fromkeys(names, np.empty(0))
    write_packed(folder, KIND, written, {}, msgspec.to_builtins(facts))
    shutil.rmtree(folder / INDEXES)
    for left in (folder / FOLDER).glob(".*"):
        left.unlink(missing_ok=True)
    return facts


class _Survey:
    """What has to be known of all indexes before the arrays can be written."""

    def __init__(self) -> None:
        self.crops, self.id_bytes, self.known = 0, 0, set[str]()
        self.codes: dict[str, dict[str, int]] = {name: {} for name in NUMBERED}
        self._hands: list[Array] = []
        self._seen: list[Array] = []

    def add(self, arrays: Mapping[str, Array]) -> None:
        self.crops += len(arrays["offset"])
        self.id_bytes += len(arrays["id_text"])
        for name, column in COLUMNS.items():
            if name not in self.known and not _is_unknown(column, arrays[name]).all():
                self.known.add(name)
        for name in NUMBERED:
            for text in PackedText(arrays[f"{name}_text"], arrays[f"{name}_ends"]):
                self.codes[name].setdefault(text, len(self.codes[name]))
        self._hands.append(arrays["hand"])
        ids = PackedText(arrays["id_text"], arrays["id_ends"])
        self._seen.append(np.fromiter((hash(one) for one in zip(ids, arrays["crc"].tolist(), strict=True)), np.int64))

    def hands(self) -> Array | None:
        """(crops,), each crop's hand, without gaps; None where every crop is a hand, in order."""
        hands = np.concatenate(self._hands)
        unknown = np.flatnonzero(hands < 0)
        unknown += hands.max() + 1
        hands[hands < 0] = unknown
        if (hands[1:] > hands[:-1]).all():  # sorting them takes several times their memory
            return None
        return np.unique(hands, return_inverse=True)[1].astype(np.int64)

    def twice(self) -> int:
        """Number of crops that are there already, of the same id and content."""
        seen = np.concatenate(self._seen)
        seen.sort()
        return int((seen[1:] == seen[:-1]).sum())


def _read_index(folder: Path, task: int) -> tuple[dict[str, Array], IndexFacts]:
    path = index_file(folder, task)
    arrays = read_arrays(path)
    if "facts" not in arrays:
        raise ValueError(f"{path}: facts are missing; expected what a task wrote; remove it, and do the task again")
    facts = as_type(parse_json(arrays["facts"].tobytes(), path), IndexFacts, path)
    own = [f"{task:06d}-{number:02d}.tar" for number in range(len(facts.shards))]
    if facts.task != task or [shard.name for shard in facts.shards] != own:
        raise ValueError(f"{path} is of task {facts.task}; expected {task}, with shards {own}")
    count = sum(shard.crops for shard in facts.shards)
    for name, column in COLUMNS.items():
        if name not in arrays and column.unknown is not None:  # it is newer than what wrote the task
            arrays[name] = np.full((count, *column.shape), column.unknown, column.kind)
        array = arrays.get(name)
        if array is None or array.dtype != column.kind or array.shape != (count, *column.shape):
            found = "nothing" if array is None else f"{array.dtype} {array.shape}"
            raise ValueError(f"{path}: {name} is {found}; expected {(count, *column.shape)}, as in the task's shards")
    for name in TEXTS:
        if len(PackedText(arrays[f"{name}_text"], arrays[f"{name}_ends"])) != count:
            raise ValueError(f"{path}: {name} is not one text for each of {count} crops")
    return arrays, facts


def _verify(folder: Path, shards: list[Shard], *, progress: bool) -> None:
    """Compare shards with what was written."""
    expected = {shard.name: shard for shard in shards}
    there = {path.name for path in (folder / FOLDER).glob("[!.]*")}
    if strange := sorted(there - expected.keys()):
        raise ValueError(f"{folder / FOLDER}: {some(strange)} belong to no task; expected nothing else")

    def problem(name: str) -> str | None:
        return problem_of_shard(folder / FOLDER / name, expected[name], "decode")

    for name, reason in in_threads(problem, list(expected), _THREADS, "shards", progress=progress):
        if reason:
            index = index_file(folder, int(name.partition("-")[0]))
            raise ValueError(
                f"{folder / FOLDER / name} {reason}; copy it again, or remove {index} and do the task again"
            )


def _write(folder: Path, tasks: int, survey: _Survey) -> list[str]:
    """Write the arrays, one index after the other; returns their names."""
    columns = {name: column for name, column in COLUMNS.items() if name in survey.known and name != "hand"}
    columns |= {name: Column(np.int32) for name in NUMBERED}
    with ExitStack() as stack:
        files: dict[str, BinaryIO] = {}

        def open_array(name: str, kind: type[np.generic], shape: tuple[int, ...]) -> None:
            files[name] = stack.enter_context(_new(folder, name).open("wb"))
            header = {"descr": np.dtype(kind).str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(files[name], header)

        for name, column in columns.items():
            open_array(name, column.kind, (survey.crops, *column.shape))
        open_array("id_text", np.uint8, (survey.id_bytes,))
        open_array("id_ends", np.int64, (survey.crops,))
        for name, array in _columns(folder, tasks, survey):
            if name in files:
                with naming(folder / f"{name}.npy"):
                    files[name].write(array.tobytes())
    whole: dict[str, Array] = {}
    for name, codes in survey.codes.items():
        packed = pack_texts(codes)
        whole |= {f"{name}_text": packed.text, f"{name}_ends": packed.ends}
    if (hands := survey.hands()) is not None:
        whole |= {"hand": hands, "versions": np.argsort(hands, kind="stable")}
    for name, array in whole.items():
        with naming(path := _new(folder, name)):
            np.save(path, array, allow_pickle=False)
    return sorted([*files, *whole])


def _new(folder: Path, name: str) -> Path:
    """The file of an array, which is not there: one of a merge that was killed is removed, as is a link."""
    path = folder / f"{name}.npy"
    path.unlink(missing_ok=True)
    return path


def _columns(folder: Path, tasks: int, survey: _Survey) -> Iterator[tuple[str, Array]]:
    """The arrays of each index, in order, numbered over all tasks."""
    id_bytes, tracks = 0, 0
    for task in range(tasks):
        arrays, index = _read_index(folder, task)
        for name in COLUMNS:
            if name == "track" and not index.tracks_through:
                track = arrays[name]
                yield name, np.where(track < 0, -1, track + tracks)
                tracks += int(track.max(initial=-1)) + 1
            else:
                yield name, arrays[name]
        for name in NUMBERED:
            texts, codes = PackedText(arrays[f"{name}_text"], arrays[f"{name}_ends"]), survey.codes[name]
            yield name, np.array([codes[text] for text in texts], np.int32)
        yield "id_text", arrays["id_text"]
        yield "id_ends", arrays["id_ends"] + id_bytes
        id_bytes += len(arrays["id_text"])


def _is_unknown(column: Column, array: Array) -> Array:
    if column.unknown is None:
        return np.zeros(1, bool)
    return np.isnan(array) if np.isnan(column.unknown) else array == column.unknown

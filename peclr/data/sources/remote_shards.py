"""Shards at an address: their labels are copied at once and whole, each shard to the cache when its first crop is read.

    CACHE/shards/SHA256.tar          a shard, of any set; see `ShardCache`
    CACHE/shards/labels/KEY/         manifest and arrays of a set, as they were when it was opened; stay until removed

A set that changes at its address has another manifest, hence another folder; a shard that has changed since is refused,
as its sum is not that of the manifest which belongs to the labels.
"""

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Final, NamedTuple
from weakref import finalize

from peclr.data.sources.images import BadImageError, in_threads
from peclr.data.sources.layouts import MANIFEST, Depth
from peclr.data.sources.packed_labels import PARTIAL, Manifest, crc_of, replacing
from peclr.data.sources.remote import MissingError, fetch, size_of
from peclr.data.sources.shard_cache import CACHE_GB_VARIABLE, LOCKS, ShardCache
from peclr.data.sources.shard_files import ShardFiles, problem_of_shard
from peclr.data.sources.shard_format import FOLDER, Opened, Shard
from peclr.options import locked
from peclr.untrusted.text import as_type, parse_json
from peclr.weights.catalog import CACHE_VARIABLE
from peclr.weights.fetching import Patience

LABELS: Final = "labels"
_MOST_MANIFEST: Final = 1_000_000_000  # bytes; a shard takes 150
_MOST_ARRAY: Final = 10**13  # bytes; 21 joints of a billion crops take a fortieth of it
_REQUESTS: Final = 8  # at once
_THREADS: Final = 4  # that fetch ahead; a connection to a store is slower than the network
_PATIENCE: Final = Patience(tries=10)  # pauses of four minutes altogether

_FIRST_TRIES: Final = 3  # of an address that may be mistyped

_log = logging.getLogger(__name__)


class Remote(NamedTuple):
    """A set of shards at an address, whose labels are here.

    Attributes:
        address: of its folder.
        labels: folder of its manifest and its arrays.
        cache: for its shards.
    """

    address: str
    labels: Path
    cache: ShardCache

    def here(self) -> "Remote":
        """The same on this machine, which may be another one; ValueError if the set has changed meanwhile."""
        if self.labels.is_dir():
            return self
        (self.cache.folder / LOCKS).mkdir(parents=True, exist_ok=True)
        found = fetch_labels(self.address, self.cache)
        if found != self:
            raise ValueError(f"{self.address}: the set there has changed since it was opened; begin again")
        return found


def fetch_labels(address: str, cache: ShardCache, *, again: bool = False) -> Remote:
    """Copy manifest and arrays, unless they are here, or `again`; processes wait for one another.

    ValueError names the address if that is not a whole folder of shards; OSError if it cannot be reached.
    """
    manifest = _read_manifest(address, cache)
    key = hashlib.sha256(address.encode() + b"\n" + manifest).hexdigest()
    labels = cache.folder / LABELS / key
    labels.parent.mkdir(exist_ok=True)
    with locked(cache.lock(key), f"another process copies the labels of {address}; waiting for it"):
        if again:
            shutil.rmtree(labels, ignore_errors=True)
        if not labels.is_dir():
            _copy_labels(address, manifest, labels)
    return Remote(address, labels, cache)


def _read_manifest(address: str, cache: ShardCache) -> bytes:
    with tempfile.TemporaryDirectory(dir=cache.folder, prefix=".manifest-") as folder:
        copy = Path(folder) / MANIFEST
        try:
            fetch(f"{address}/{MANIFEST}", copy, _MOST_MANIFEST, replace(_PATIENCE, tries=_FIRST_TRIES))
        except MissingError as error:
            expected = "expected there what `peclr prepare DATASET … --shards FOLDER` writes"
            raise MissingError(f"{error}; {expected}") from error
        return copy.read_bytes()


def _copy_labels(address: str, manifest: bytes, labels: Path) -> None:
    for left in labels.parent.glob(f".{labels.name}{PARTIAL}*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    where = f"{address}/{MANIFEST}"
    sums = as_type(parse_json(manifest, where), Manifest, where).arrays

    def problem(name: str, path: Path) -> str | None:
        expected = sums[name]
        return "is not what its manifest was written for" if expected is not None and crc_of(path) != expected else None

    def copy(name: str) -> None:
        url, target = f"{address}/{name}.npy", partly / f"{name}.npy"
        fetch(url, target, _MOST_ARRAY, _PATIENCE, partial(problem, name))
        with target.open("rb") as file:
            os.fsync(file.fileno())  # large ones are not compared again

    with replacing(labels) as partly:
        (partly / MANIFEST).write_bytes(manifest)
        for _ in in_threads(copy, list(sums), 4, "arrays", progress=False):
            pass
        size = sum(path.stat().st_size for path in partly.iterdir())
    _log.warning("%s: copied %.1f MB of labels to %s", address, size / 1e6, labels)


class RemoteShardFiles(ShardFiles):
    """The tar files of a remote folder; each is fetched when its first crop is read."""

    def __init__(self, remote: Remote, opened: Opened) -> None:
        """Take checked labels."""
        self._remote, self._fetched = remote, _Fetched(remote, opened.facts.shards)
        self._ahead: _Ahead | None = None
        super().__init__(remote.labels, opened, self._fetched, touch=os.utime)

    def check_room(self) -> None:
        """Say how much may be fetched, and where to; ValueError if there is less room than it may take."""
        cache, shards = self._remote.cache, self._shards
        whole, largest = sum(shard.bytes for shard in shards), max(shard.bytes for shard in shards)
        options = f"cache_gb, or {CACHE_GB_VARIABLE}, and cache_dir, or {CACHE_VARIABLE}"
        if cache.most_bytes < largest:
            held = f"a shard of {largest / 1e9:g} GB does not fit into cache_gb {cache.most_bytes / 1e9:g}"
            raise ValueError(f"{self._remote.address}: {held}; {options} say how much may be where")
        here = sum(shard.bytes for shard in shards if cache.holds(shard))
        needed = min(whole, cache.most_bytes) - cache.stored_bytes()
        free = shutil.disk_usage(cache.folder).free
        if here < whole and needed > free:
            held = f"shards may take {cache.most_bytes / 1e9:g} GB, of which {free / 1e9:.1f} GB are free"
            raise ValueError(f"{cache.folder}: {held}; {options} say how much may be where")
        amounts = f"{whole / 1e6:,.1f} MB of shards, of which {here / 1e6:,.1f} MB are in {cache.folder}"
        kept = f"others are fetched when they are needed, and at most {cache.most_bytes / 1e9:g} GB kept"
        _log.warning("%s: %s; %s", self._remote.address, amounts, kept)

    def check_cache(self, at_once: int | None, why: str) -> None:
        """See `HasShards`; one more is fetched while so many are read, and one is still open."""
        sizes = sorted((shard.bytes for shard in self._shards), reverse=True)
        needed, most = sum(sizes if at_once is None else sizes[: at_once + 2]), self._remote.cache.most_bytes
        if needed > most:
            held = f"{needed / 1e9:.3g} GB have to be in the cache, where there may be {most / 1e9:.3g} GB"
            advice = f"give more cache_gb, or {CACHE_GB_VARIABLE}, or copy the set here"
            raise ValueError(f"{self._remote.address}: {why}: {held}; {advice}")

    def fetch_ahead(self, shards: Sequence[int]) -> None:
        """See `HasShards`; of what fails, whoever needs it says so."""
        if self._ahead is None:
            self._ahead = _Ahead(self._fetched)
        self._ahead.ask_for(shards)

    def path_of(self, shard: int) -> str:
        """The address of a shard."""
        return _url_of(self._remote, self._shards[shard])

    def read(self, index: int) -> bytes:
        """See `ShardFiles`; a shard that has changed in the cache is fetched again."""
        try:
            return super().read(index)
        except BadImageError:
            # what is in the cache may have changed there
            number = int(self.shard_of(index))
            if not self._fetched.forget_if_changed(number):
                raise
            self._open.close(number)
        return super().read(index)

    def find_problems(self, depth: Depth = "headers", workers: int = 1, *, progress: bool = False) -> dict[str, str]:
        """Shards that their host does not have, or of another length; at depth "decode", all are fetched."""

        def problem(number: int) -> str | None:
            try:
                if depth == "decode":
                    os.close(self._fetched(number))
                elif not self._remote.cache.holds(shard := self._shards[number]):
                    found = size_of(self.path_of(number), _PATIENCE)
                    if found not in (None, shard.bytes):
                        return f"has {found:,} bytes, expected {shard.bytes:,}"
            except ValueError as error:
                return str(error).removeprefix(self.path_of(number)).lstrip(": ")
            return None

        numbers = range(len(self._shards))
        looked_at = in_threads(problem, numbers, max(workers, _REQUESTS), "shards", progress=progress)
        return {self.path_of(number): reason for number, reason in looked_at if reason}


class _Fetched:
    """Opens shards, and remembers those that cannot be had: each is asked for once in a process, not for each crop."""

    def __init__(self, remote: Remote, shards: list[Shard]) -> None:
        self._remote, self._shards, self._broken = remote, shards, dict[int, str]()

    def __call__(self, number: int) -> int:
        """The descriptor of a shard; ValueError if it cannot be had, OSError as `fetch`."""
        if number in self._broken:
            raise ValueError(self._broken[number])
        try:
            return self.try_to_open(number, _PATIENCE)
        except ValueError as error:
            self._broken[number] = str(error)
            raise

    def try_to_open(self, number: int, patience: Patience) -> int:
        """The same, of which nothing is remembered."""
        shard, url = self._shards[number], _url_of(self._remote, self._shards[number])

        def check(path: Path) -> str | None:
            return problem_of_shard(path, shard, "decode")

        return self._remote.cache.open(shard, lambda target: fetch(url, target, shard.bytes, patience, check))

    def forget_if_changed(self, number: int) -> bool:
        """Remove a shard whose content in the cache is not what it was; whether it is."""
        shard, cache = self._shards[number], self._remote.cache
        with locked(cache.lock(shard.sha256)):
            if not cache.holds(shard) or problem_of_shard(cache.path(shard), shard, "decode") is None:
                return False
            _log.warning("%s has changed since it was fetched; it is fetched again", cache.path(shard))
            cache.drop(shard)
        return True


class _Ahead:
    """Threads of this process that fetch shards before they are needed, and end with it."""

    def __init__(self, fetched: _Fetched) -> None:
        self._queue, self._asked = SimpleQueue[int | None](), set[int]()
        for _ in range(_THREADS):
            Thread(target=_fetch_all, args=(fetched, self._queue), daemon=True).start()
        finalize(self, self._queue.put, None).atexit = False

    def ask_for(self, shards: Sequence[int]) -> None:
        """Fetch those that have not been asked for last time."""
        for number in shards:
            if number not in self._asked:
                self._queue.put(number)
        self._asked = set(shards)


def _fetch_all(fetched: _Fetched, queue: "SimpleQueue[int | None]") -> None:
    while (number := queue.get()) is not None:
        with suppress(ValueError, OSError):
            os.close(fetched.try_to_open(number, replace(_PATIENCE, tries=1)))
    queue.put(None)  # for the other threads


def _url_of(remote: Remote, shard: Shard) -> str:
    return f"{remote.address}/{FOLDER}/{shard.name}"

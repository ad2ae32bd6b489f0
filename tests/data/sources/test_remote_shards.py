"""Shards at an address: those of the folder that a server has, or one error that names what it failed at."""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import pickle
import shutil
import signal
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from peclr.data.datamodules import LabeledHandDataModule, PairedViewDataModule
from peclr.data.datasets import PairedViewDataset
from peclr.data.prepare.command import prepare_main
from peclr.data.prepare.cutting import Cutting
from peclr.data.prepare.doctor import doctor_main
from peclr.data.prepare.sharding import shard_source
from peclr.data.sources import open_source, remote, remote_shards, shard_files
from peclr.data.sources.freihand import FreiHAND
from peclr.data.sources.images import BadImageError
from peclr.data.sources.shards import Shards
from peclr.weights.catalog import CACHE_VARIABLE
from peclr.weights.fetching import Patience
from tests.data.sources.folder_server import Served, serving_folder
from tests.full_disk import full_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.data.conftest import Layout

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where fetched shards are; hosts are not waited for."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(remote_shards, "_PATIENCE", Patience(timeout=2.0, tries=3, pause=0.001))
    return tmp_path / "cache" / "shards"


@pytest.fixture
def served(layout: Layout, tmp_path: Path, cache: Path) -> Iterator[Served]:
    """Six shards of three crops."""
    shard_source(FreiHAND(layout.root), tmp_path / "shards", Cutting(48), per_task=3)
    with serving_folder(tmp_path / "shards") as served:
        yield served


def shard(number: int) -> str:
    return f"{number:06d}-00.tar"


def stored(cache: Path) -> list[Path]:
    return sorted(path for path in cache.iterdir() if path.is_file())


def wait_for(found: Callable[[], list[Path]]) -> list[Path]:
    end = time.monotonic() + 60
    while not (paths := found()):
        assert time.monotonic() < end
        time.sleep(0.005)
    return paths


def test_an_address_has_what_its_folder_has(served: Served, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    local, remote = Shards(served.root), open_source(f"{served.address}/")
    assert isinstance(remote, Shards)
    assert f"0.1 MB of shards, of which 0.0 MB are in {cache}" in caplog.text
    assert (len(remote), remote.num_hands, remote.name) == (len(local), local.num_hands, local.name)
    assert remote.identity() == local.identity()
    assert not stored(cache), "nothing is fetched before it is read"
    for index in (4, 5, 0):
        assert remote.encoded(index) == local.encoded(index)
        assert remote[index]["id"] == local[index]["id"]
        assert remote.about(index) == local.about(index)
    assert len(stored(cache)) == 2
    assert served.asked[shard(0)] == served.asked[shard(1)] == 1
    for _ in range(2):
        again = Shards(served.address)
        assert again.encoded(3) == local.encoded(3)
    assert served.asked[shard(1)] == 1, "it stays"
    assert served.asked["side.npy"] == 1
    assert len(pickle.dumps(remote)) < 1000


def test_a_split_is_a_folder_at_an_address(served: Served, tmp_path: Path) -> None:
    (tmp_path / "both").mkdir()
    shutil.copytree(served.root, tmp_path / "both" / "training")
    served.root = tmp_path / "both"
    assert len(open_source(served.address)) == len(open_source(served.address, "training")) == 18
    with pytest.raises(ValueError, match=r"/evaluation/manifest\.json: its host does not give it .* --shards FOLDER"):
        open_source(served.address, "evaluation")


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (
            "ftp://host/folder",
            "ftp://host/folder: nothing is read from ftp://, only from https://, http://, s3://, gs://",
        ),
        ("https://", "expected the address of a folder"),
        ("https://host/folder?key=1", "expected the address of a folder"),
        ("https://me:secret@host/folder", r"https://…@…: an address is kept in configs"),
        ("s3://bucket/folder", "pip install s3fs"),
    ],
)
def test_addresses_that_cannot_be_read_are_refused(address: str, reason: str, cache: Path) -> None:
    with pytest.raises(ValueError, match=reason):
        Shards(address)


class Store:
    """A store whose library has errors of its own."""

    def __init__(self, error: Exception, cause: Exception | None = None) -> None:
        self.error, self.cause, self.asked = error, cause, 0

    def get_file(self, *_: object, **__: object) -> None:
        self.asked += 1
        raise self.error from self.cause


class OfStoreError(Exception):
    code = 403


@pytest.mark.parametrize(
    ("store", "kind", "asked"),
    [
        (Store(FileNotFoundError("no such key"), OfStoreError("NoSuchKey")), ValueError, 1),
        (Store(PermissionError("denied")), ValueError, 1),
        (Store(OfStoreError("Forbidden")), ValueError, 1),
        (Store(RuntimeError("endpoint")), ConnectionError, 3),
        (Store(OSError(5, "Input/output error")), ConnectionError, 3),
    ],
)
def test_stores_say_in_many_ways_what_will_not_pass(
    store: Store, kind: type[Exception], asked: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_open", lambda *_: (store, "bucket/file"))
    with pytest.raises(kind, match="s3://bucket/file: its host"):
        remote.fetch("s3://bucket/file", tmp_path / "file", 9, Patience(tries=3, pause=0.0))
    assert store.asked == asked


def test_what_is_no_set_is_refused(tmp_path: Path, cache: Path) -> None:
    for content, reason in (
        (None, r"/manifest\.json: its host does not give it"),
        ("<html>", r"/manifest\.json: not valid JSON"),
        ('{"kind": "x", "sources": {}, "arrays": {}, "facts": {}, "format": 2}', "kind is 'x', expected 'shards'"),
        ('{"kind": "x", "sources": {}, "arrays": {"../x": 1}, "facts": {}, "format": 2}', "regex"),
    ):
        if content is not None:
            (tmp_path / "manifest.json").write_text(content)
        with serving_folder(tmp_path) as served, pytest.raises(ValueError, match=reason):
            Shards(served.address)


def test_a_host_that_fails_now_and_then_is_asked_again(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    local = Shards(served.root)
    served.statuses["manifest.json"] = [503]
    served.statuses[shard(0)] = [500, 429]
    served.cut[shard(1)] = [2000, 2000]
    served.cut["side.npy"] = [10]
    remote = Shards(served.address)
    assert [remote.encoded(index) for index in range(6)] == [local.encoded(index) for index in range(6)]
    assert served.asked[shard(0)] == served.asked[shard(1)] == 3
    assert f"{served.address}/shards/{shard(0)}: ClientResponseError 500" in caplog.text
    served.says_length = False  # what is cut looks whole
    served.cut[shard(2)] = [2000]
    assert remote.encoded(6) == local.encoded(6)


def test_what_comes_last_is_compared_too(served: Served, cache: Path) -> None:
    remote_set = Shards(served.address)
    served.statuses[shard(0)] = [500, 500]
    served.says_length = False
    served.cut[shard(0)] = [2000]
    with pytest.raises(BadImageError, match=r"000000-00\.tar has 2,000 bytes, expected"):
        remote_set.encoded(0)
    assert not stored(cache)


@pytest.mark.parametrize("damage", ["gone", "changed", "short", "long", "cut"])
def test_a_broken_shard_costs_its_own_crops(served: Served, damage: str, cache: Path) -> None:
    remote = Shards(served.address)
    path = served.root / "shards" / shard(1)
    raw = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        served.says_length = False
        served.cut[shard(1)] = [2000] * 9
    else:
        raw[600] ^= 1
        path.write_bytes({"changed": raw, "short": raw[:-512], "long": raw + bytes(10**6)}[damage])
    views = PairedViewDataset([remote], view_size=16, on_bad_image="skip")
    assert [views[index]["index"] for index in (2, 3, 4, 6)] == [2, 6, 6, 6]
    assert served.asked[shard(1)] == (1 if damage in ("gone", "long") else 2), "not for each of its crops"
    url = rf"{served.address}/shards/{shard(1)}"
    expected = {"gone": "its host does not give it", "long": "its host has more", "changed": "has SHA-256"}
    with pytest.raises(BadImageError, match=rf"{url}, .*{expected.get(damage, 'has .* bytes, expected')}"):
        PairedViewDataset([remote], view_size=16)[3]
    assert len(stored(cache)) == 2
    if damage not in ("changed", "cut"):  # only as much as fetching all would find those
        with pytest.raises(ValueError, match=rf"{url} .*on_bad_image: skip"):
            remote.check_images()


def test_a_host_that_stays_away_stops_the_run(served: Served, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether images are skipped or not: there is nothing wrong with them."""
    remote = Shards(served.address)
    served.statuses[shard(1)] = [500] * 100
    views = PairedViewDataset([remote], view_size=16, on_bad_image="skip")
    with pytest.raises(ConnectionError, match=rf"{shard(1)}: its host failed 3 times .*500.*; begin again when"):
        views[3]
    served.pause = 0.5
    monkeypatch.setattr(remote_shards, "_PATIENCE", Patience(timeout=0.1, tries=2, pause=0.001))
    with pytest.raises(ConnectionError, match=r"Timeout"):
        remote.encoded(0)
    assert not stored(cache)


def test_a_host_that_trickles_is_given_up(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    remote_set = Shards(served.address)
    monkeypatch.setattr(remote, "_SLOW_AFTER", 0.1)
    monkeypatch.setattr(remote, "_SLOWEST", 1e6)
    served.piece_pause = 0.06
    with pytest.raises(ConnectionError, match=r"_SlowError [\d,]+ bytes came in 0 s"):
        remote_set.encoded(0)


def test_a_set_that_changes_is_another_set(served: Served, layout: Layout, tmp_path: Path) -> None:
    before = Shards(served.address)
    expected = before.encoded(0)
    served.root = tmp_path / "other"
    shard_source(FreiHAND(layout.root), served.root, Cutting(32), per_task=3)
    assert Shards(served.address).encoded(0) == Shards(served.root).encoded(0) != expected
    assert before.encoded(0) == expected, "is here"
    with pytest.raises(BadImageError, match=r"has \d+,\d+ bytes|has more|has SHA-256"):
        before.encoded(17)


def test_the_cache_keeps_what_was_used_last(served: Served, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_files, "_TOUCH", 0.0)
    local = Shards(served.root)
    sizes = [one.bytes for one in local.facts.shards]
    remote = Shards(served.address, cache_gb=(3 * max(sizes) + 1) / 1e9)
    for index in (0, 3, 6, 0, 9, 12, 0, 15):
        assert remote.encoded(index) == local.encoded(index)
        assert sum(path.stat().st_size for path in stored(cache)) <= 3 * max(sizes)
        time.sleep(0.01)
    assert [served.asked[shard(number)] for number in range(6)] == [1] * 6
    Shards(served.address, cache_gb=3 * max(sizes) / 1e9).encoded(3)
    assert served.asked[shard(1)] == 2


def read_all(address: str, cache_gb: float, start: int) -> list[bytes]:
    remote = Shards(address, cache_gb=cache_gb)
    return [remote.encoded((start + index) % len(remote)) for index in range(len(remote))]


@pytest.mark.parametrize("room", [2, 100])
def test_processes_share_the_cache(served: Served, cache: Path, room: int) -> None:
    served.pause = 0.02
    local = Shards(served.root)
    largest = max(one.bytes for one in local.facts.shards)
    with multiprocessing.get_context("fork").Pool(3) as pool:
        done = [pool.apply_async(read_all, (served.address, room * largest / 1e9, start)) for start in (0, 3, 9)]
        for start, read in zip((0, 3, 9), done, strict=True):
            assert read.get(60) == [local.encoded((start + index) % 18) for index in range(18)]
    assert len(stored(cache)) == min(room, 6)
    if room == 100:
        assert [served.asked[shard(number)] for number in range(6)] == [1] * 6


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read_what_the_process_has_opened(served: Served, method: str) -> None:
    remote, local = Shards(served.address), Shards(served.root)
    remote.encoded(0)  # fsspec's threads are there when the process forks
    (served.root / "manifest.json").unlink()
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(remote.encoded, range(18), chunksize=1) == [local.encoded(index) for index in range(18)]


def test_another_machine_copies_the_labels_again(served: Served, cache: Path) -> None:
    """As a worker of a cluster does, which has no such folder."""
    remote = Shards(served.address)
    pickled, expected = pickle.dumps(remote), remote.encoded(0)
    shutil.rmtree(cache)
    assert pickle.loads(pickled).encoded(0) == expected  # noqa: S301  # of this test
    shutil.rmtree(cache)
    (served.root / "manifest.json").write_text((served.root / "manifest.json").read_text() + "\n")
    with pytest.raises(ValueError, match="the set there has changed since it was opened"):
        pickle.loads(pickled)  # noqa: S301  # of this test


def test_a_path_of_an_address_is_refused() -> None:
    with pytest.raises(ValueError, match="https:/host/hands: expected an address as text"):
        open_source(Path("https://host/hands"))


def test_commands_take_addresses(served: Served, cache: Path, tmp_path: Path) -> None:
    assert prepare_main(["any", served.address, "--shards", str(tmp_path / "copy"), "--workers=1"]) == 0
    assert Shards(tmp_path / "copy").encoded(7) == Shards(served.root).encoded(7)
    with pytest.raises(ValueError, match="at an address there are shards; expected any, not freihand"):
        prepare_main(["freihand", served.address])


def test_what_a_killed_process_has_begun_is_never_used(served: Served, cache: Path) -> None:
    local = Shards(served.root)
    remote = Shards(served.address)
    served.piece_pause = 0.2
    process = multiprocessing.get_context("fork").Process(target=remote.encoded, args=(0,))
    process.start()
    partial = wait_for(lambda: [path for path in stored(cache) if path.stat().st_size])
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    served.piece_pause = 0.0
    assert remote.encoded(0) == local.encoded(0)
    assert not partial[0].exists()
    assert len(stored(cache)) == 1


def test_labels_that_a_killed_process_has_begun_are_never_used(served: Served, cache: Path) -> None:
    served.piece_pause = 0.1
    process = multiprocessing.get_context("fork").Process(target=Shards, args=(served.address,))
    process.start()
    wait_for(lambda: list(cache.glob("labels/.*/*.npy")))
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    served.piece_pause = 0.0
    assert Shards(served.address)[0]["id"] == Shards(served.root)[0]["id"]
    assert [path.name[0] == "." for path in (cache / "labels").iterdir()] == [False]


def test_labels_of_the_cache_that_change_are_copied_again(served: Served, cache: Path) -> None:
    Shards(served.address)
    for damaged in (None, (served.root / "offset.npy").read_bytes()[:-1] + b"?"):
        path = next(cache.glob("labels/*/offset.npy"))
        path.unlink()
        if damaged is not None:
            path.write_bytes(damaged)
        assert Shards(served.address).encoded(0) == Shards(served.root).encoded(0)
    assert served.asked["offset.npy"] == 3


def test_what_nobody_can_lock_is_left_after_a_while(
    served: Served, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On file systems without locks, where it would otherwise take up room for ever."""
    largest = max(one.bytes for one in Shards(served.root).facts.shards)
    remote_set = Shards(served.address, cache_gb=largest / 1e9)

    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    partial = cache / f".{'0' * 64}.{largest}.01234567"
    partial.touch()
    os.utime(partial, (0, 0))
    assert remote_set.encoded(0) == Shards(served.root).encoded(0)
    assert not partial.exists()


def test_a_removed_shard_is_not_kept_open(served: Served, cache: Path) -> None:
    """It would go on taking its room on the disk."""
    largest = max(one.bytes for one in Shards(served.root).facts.shards)
    remote_set = Shards(served.address, cache_gb=2 * largest / 1e9)
    for number in range(6):
        remote_set.encoded(3 * number)
    links = list[str]()
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # of listing itself
            links.append(os.readlink(descriptor))  # noqa: PTH115  # a Path's is no text
    assert sum(str(cache) in link and link.endswith("(deleted)") for link in links) <= 1


def test_a_file_of_the_cache_that_changes_is_fetched_again(served: Served, cache: Path) -> None:
    remote, local = Shards(served.address), Shards(served.root)
    remote.encoded(0)
    whole = (served.root / "shards" / shard(0)).read_bytes()
    for number, damaged in enumerate((whole[:700], whole[:600] + b"?" + whole[601:])):
        stored(cache)[0].write_bytes(damaged)
        assert remote.encoded(0) == local.encoded(0)
        assert served.asked[shard(0)] == 2 + number
    served.asked.clear()
    crc = remote.files._crc = remote.files._crc.copy()  # type: ignore[union-attr]  # of another file
    crc[0] ^= 1
    with pytest.raises(BadImageError, match="are others than were written"):
        remote.encoded(0)
    assert not served.asked, "it was right"


def test_a_full_disk_stops_the_run(served: Served, cache: Path) -> None:
    remote = Shards(served.address)
    views = PairedViewDataset([remote], view_size=16, on_bad_image="skip")
    message = r"File too large, where http://.*000000-00\.tar was copied to; make"
    with full_disk(2000), pytest.raises(OSError, match=message):
        views[0]
    assert not stored(cache)
    assert views[0]["index"] == 0


def test_a_cache_that_has_no_room_is_refused_at_once(
    served: Served, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"a shard of .* GB does not fit into cache_gb 1e-06; cache_gb, or PECLR_CAC"):
        Shards(served.address, cache_gb=1e-6)
    with pytest.raises(ValueError, match="cache_gb -1: expected a size above 0"):
        Shards(served.address, cache_gb=-1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, 0))
    with pytest.raises(ValueError, match=r"50 GB, of which 0\.0 GB are free; cache_gb"):
        Shards(served.address)


def test_a_cache_that_cannot_be_written_is_refused_with_what_helps(
    served: Served, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that another user has filled, or that is mounted to be read alone."""
    open_source(served.address)

    def refuse(**_: Any) -> Any:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(
        OSError, match=r"a cache of shards .*Read-only file system.*cache_dir, or PECLR_CACHE"
    ) as raised:
        Shards(served.address)
    assert raised.value.filename == str(cache)


def seen(root: object, **options: Any) -> list[tuple[int, str]]:
    """What two epochs of training see."""
    module = PairedViewDataModule(root, view_size=16, batch_size=4, val_fraction=0.0, **options)  # type: ignore[arg-type]
    loader, found = module.train_dataloader(), list[tuple[int, str]]()
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            hashes = [hashlib.sha256(views.numpy().tobytes()).hexdigest() for views in batch["views"]]
            found += zip(batch["index"].tolist(), hashes, strict=True)
    return found


@pytest.mark.parametrize("num_workers", [0, 2])
def test_training_sees_the_same_from_an_address(served: Served, cache: Path, num_workers: int) -> None:
    expected = seen(served.root, shards_at_once=16)
    assert seen(served.address, num_workers=num_workers) == expected
    assert [served.asked[shard(number)] for number in range(6)] == [1] * 6


def test_an_epoch_needs_few_shards_at_a_time(served: Served, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    largest = max(one.bytes for one in Shards(served.root).facts.shards)
    monkeypatch.setenv("PECLR_CACHE_GB", f"{4 * largest / 1e9:.12f}")
    monkeypatch.setattr(remote_shards, "_THREADS", 0)  # one that is late fetches what has been read, in place of others
    assert seen(served.address, shards_at_once=2) == seen(served.root, shards_at_once=2)
    assert len(stored(cache)) <= 4
    # in each of two epochs once, and the one that closes the circle twice
    assert 10 <= sum(served.asked[shard(number)] for number in range(6)) <= 14


def test_shards_are_fetched_before_they_are_needed(
    served: Served, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    remote = Shards(served.address)
    remote.fetch_ahead([3, 1])
    wait_for(lambda: sorted(cache.glob("*.tar"))[1:])
    remote.fetch_ahead([1, 3, 5])
    wait_for(lambda: sorted(cache.glob("*.tar"))[2:])
    remote.encoded(3)
    served.statuses[shard(0)] = [500]
    remote.fetch_ahead([0])  # once, and without a word
    wait_for(lambda: [served.root] * served.asked[shard(0)])
    assert remote.encoded(0) == Shards(served.root).encoded(0)
    assert "500" not in caplog.text
    assert [served.asked[shard(number)] for number in range(6)] == [2, 1, 0, 1, 0, 1]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            {"shards_at_once": 0, "val_fraction": 0.0},
            r"data\.shards_at_once is 0: 0\.000123 GB have to be in the cache",
        ),
        ({"shards_at_once": 2, "val_fraction": 0.5}, r"data\.val_fraction 0\.5 holds out hands of all shards"),
        (
            {"shards_at_once": 2, "val_fraction": 0.0, "pairing": "across_versions"},
            "the two images of a pair are of any two",
        ),
        (
            {"shards_at_once": 3, "val_fraction": 0.0},
            r"data\.shards_at_once is 3: 0\.000102 GB have to be in the cache",
        ),
    ],
)
def test_what_needs_more_than_the_cache_is_refused(
    served: Served, cache: Path, options: dict[str, Any], reason: str
) -> None:
    largest = max(one.bytes for one in Shards(served.root).facts.shards)
    few, all_of_them = (Shards(served.address, cache_gb=(number * largest + 1) / 1e9) for number in (4, 6))
    with pytest.raises(ValueError, match=rf"{served.address}: {reason}.*give more cache_gb, or PECLR_CACHE_GB"):
        PairedViewDataModule(sources=few, view_size=16, batch_size=2, **options)
    PairedViewDataModule(sources=all_of_them, view_size=16, batch_size=2, **options)


def test_fine_tuning_reads_from_an_address(served: Served, cache: Path) -> None:
    module = LabeledHandDataModule(served.address, view_size=16, batch_size=4, num_labels=3)
    module.setup("fit")
    assert len(next(iter(module.train_dataloader()))["image"]) == 4
    largest = max(one.bytes for one in Shards(served.root).facts.shards)
    few = LabeledHandDataModule(sources=Shards(served.address, cache_gb=4 * largest / 1e9), view_size=16)
    with pytest.raises(ValueError, match="fine-tuning, validation and test read from all shards"):
        few.setup("fit")


def test_doctor_looks_at_an_address(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor_main([served.address]) == 0
    assert "18 crops of freihand, 6 shards" in capsys.readouterr().out
    (served.root / "shards" / shard(2)).unlink()
    assert doctor_main([served.address]) == 1
    assert f"{served.address}/shards/{shard(2)} its host does not give it" in capsys.readouterr().out
    assert doctor_main([f"{served.address}/nothing"]) == 1
    assert "expected there what `peclr prepare" in capsys.readouterr().out

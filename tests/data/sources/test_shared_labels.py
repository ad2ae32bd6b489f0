"""Packed labels in workers and after kills: one copy of the pages for all, and nothing that only looks whole."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from peclr.data.datasets import PairedViewDataset
from peclr.data.prepare.command import pack_labels
from peclr.data.prepare.cutting import Cutting
from peclr.data.prepare.sharding import shard_source
from peclr.data.samples import HandSource
from peclr.data.sources.freihand import FreiHAND
from peclr.data.sources.packed_labels import PARTIAL, PackedArrays
from peclr.data.sources.shards import Shards
from peclr.data.sources.youtube3d import YouTube3DHands
from tests.contents import contents

if TYPE_CHECKING:
    from tests.data.conftest import Layout, YouTube


@pytest.fixture(params=["freihand", "youtube3d"])
def packed(request: pytest.FixtureRequest, layout: Layout, youtube: YouTube) -> HandSource:
    if request.param == "freihand":
        pack_labels("freihand", layout.root, "training")
        return FreiHAND(layout.root)
    pack_labels("youtube3d", youtube.root, "train")
    return YouTube3DHands(youtube.root)


def arrays_of(source: Any) -> PackedArrays:
    found = [value for value in vars(source).values() if isinstance(value, PackedArrays)]
    assert len(found) == 1
    return found[0]


def is_mapped(array: np.ndarray[Any, Any]) -> bool:
    base: Any = array
    while base is not None and not isinstance(base, np.memmap):
        base = base.base
    return isinstance(base, np.memmap) and base.mode == "r"


def test_a_data_set_that_has_been_sent_to_a_worker_maps_its_labels(packed: HandSource) -> None:
    """As workers that are spawned get it."""
    dataset = PairedViewDataset([packed], view_size=16)
    sent = pickle.dumps(dataset)
    assert len(sent) < 6000
    arrived = pickle.loads(sent)  # noqa: S301 (our own)
    arrays = arrays_of(arrived.sources[0])
    assert all(is_mapped(array) for array in arrays.values())
    assert arrays.folder == arrays_of(packed).folder
    np.testing.assert_array_equal(arrived[3]["views"], dataset[3]["views"])


class MapsOf(Dataset[list[str]]):
    """What a process that has read samples has mapped, and whether it has written to any page of it."""

    def __init__(self, dataset: PairedViewDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, index: int) -> list[str]:
        for number in range(len(self.dataset)):
            self.dataset[number]
        return Path("/proc/self/maps").read_text().splitlines()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_the_pages_of_a_worker_are_those_of_the_file(packed: HandSource) -> None:
    dataset: Any = MapsOf(PairedViewDataset([packed], view_size=16))
    loader = DataLoader(dataset, sampler=[0], batch_size=None, num_workers=1, multiprocessing_context="fork")
    (lines,) = loader
    arrays = arrays_of(packed)
    for name in arrays:
        (line,) = [line for line in lines if line.endswith(str(arrays.folder / f"{name}.npy"))]
        assert line.split()[1] == "r--s"  # read-only and shared: all processes see the same memory


def killed_at(count: int, work: Any) -> bool:
    """Does work in a process that dies of SIGKILL at its count-th step of writing; whether it died."""

    def child() -> None:
        left = [count]

        def dies_before(function: Any) -> Any:
            def called(*arguments: Any, **options: Any) -> Any:
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*arguments, **options)

            return called

        Path.rename = dies_before(Path.rename)  # type: ignore[method-assign]
        Path.replace = dies_before(Path.replace)  # type: ignore[method-assign]
        Path.write_text = dies_before(Path.write_text)  # type: ignore[method-assign]
        Path.mkdir = dies_before(Path.mkdir)  # type: ignore[method-assign]
        np.save = dies_before(np.save)
        work()

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def test_labels_packed_by_runs_that_are_killed_are_old_or_new(youtube: YouTube) -> None:
    """Whenever it happens, the reader gets right samples, of the labels as they are now."""
    pack_labels("youtube3d", youtube.root, "train")
    youtube.edit(lambda labels: labels["annotations"].reverse())
    expected = [sample["id"] for sample in map(YouTube3DHands(youtube.root, use_prepared=False).__getitem__, range(4))]
    count = 1
    while killed_at(count, lambda: pack_labels("youtube3d", youtube.root, "train")):
        folder = youtube.root / "prepared" / "youtube3d_train"
        if folder.exists():
            assert "vertices" in PackedArrays(folder)
        # where the old ones still are, a warning says that they are stale
        with pytest.warns(UserWarning, match="are not used") if folder.exists() else nullcontext():
            hands = YouTube3DHands(youtube.root)
        assert [hands[index]["id"] for index in range(4)] == expected
        assert all(PARTIAL in path.name for path in folder.parent.iterdir() if path != folder)
        count += 1
    assert count > 5
    assert isinstance(arrays_of(YouTube3DHands(youtube.root)), PackedArrays)


def test_crops_of_runs_that_are_killed_are_made_by_the_next(youtube: YouTube, tmp_path: Path) -> None:
    """It goes on where the first died, wherever that was; the bytes are those of one that was left alone."""
    source, cutting = YouTube3DHands(youtube.root), Cutting(32)
    shard_source(source, tmp_path / "whole", cutting, per_task=2)
    expected, count = contents(tmp_path / "whole"), 1
    while killed_at(count, partial(shard_source, source, folder := tmp_path / str(count), cutting, per_task=2)):
        assert not (folder / "manifest.json").exists() or len(Shards(folder)) == 4
        shard_source(source, folder, cutting, per_task=2)
        assert contents(folder) == expected
        count += 1
    assert count > 12

"""An order from shard to shard: each item once and anywhere, few shards at a time, a function of its place alone."""

from __future__ import annotations

import pickle
import tracemalloc
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from peclr.data.datamodules import PairedViewDataModule
from peclr.data.loading.sampling import EpochSampler
from peclr.data.loading.shard_order import ByShard, InShards, ShardDraws, ShardOrder
from peclr.data.prepare.cutting import Cutting
from peclr.data.prepare.sharding import shard_source
from peclr.data.sources.freihand import FreiHAND
from peclr.data.sources.shards import Shards

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.data.conftest import Layout

LIKELY = 1e-6  # what a fixed seed must not be less likely than


def shards_of(sizes: list[int], seed: int = 0) -> NDArray[np.int64]:
    """The shards of items that stand in any order, as those of a split do."""
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))


@given(st.lists(st.integers(0, 40), min_size=1, max_size=12).filter(any), st.integers(1, 14), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_each_item_comes_once(sizes: list[int], at_once: int, through: int) -> None:
    shards = shards_of(sizes)
    order = ShardOrder(ByShard(shards), at_once, 0, 0, through)
    positions = np.arange(len(shards))
    items = order[positions]
    np.testing.assert_array_equal(np.sort(items), positions)
    rounds = order.rounds(positions)
    for number in np.unique(rounds):
        assert len(np.unique(shards[items[rounds == number]])) <= at_once
    for position in positions.tolist():
        assert shards[items[position]] in order.needed(position)
        assert len(order.needed(position)) <= at_once + 1


def test_items_that_stand_shard_by_shard_take_little_memory() -> None:
    """For each of a whole set; experiments/scale.md counts on it."""
    count = 200_000
    shards = np.repeat(np.arange(count // 8000, dtype=np.int32), 8000)
    tracemalloc.start()
    by_shard = ByShard(shards)
    kept, peak = (number / count for number in tracemalloc.get_traced_memory())
    tracemalloc.stop()
    np.testing.assert_array_equal(by_shard.items, np.arange(count))
    assert kept < 6.5
    assert peak < 11


def test_an_item_depends_on_its_position_alone() -> None:
    by_shard, rng = ByShard(shards_of([901, 1, 77, 500, 1000, 333])), np.random.default_rng(1)
    order = ShardOrder(by_shard, 3, 5, 0, 2)
    whole = order[np.arange(len(order))]
    for count in (1, 10, 1000):
        some = rng.integers(len(order), size=count)
        np.testing.assert_array_equal(ShardOrder(by_shard, 3, 5, 0, 2)[some], whole[some])
    for other in (
        ShardOrder(by_shard, 3, 5, 0, 3),
        ShardOrder(by_shard, 3, 6, 0, 2),
        ShardOrder(by_shard, 3, 5, 1, 2),
        ShardOrder(by_shard, 2, 5, 0, 2),
    ):
        assert (other[np.arange(len(order))] == whole).mean() < 0.1


def test_every_round_needs_one_more_shard_and_all_of_them_a_pass() -> None:
    sizes = [100] * 20
    shards = shards_of(sizes)
    order = ShardOrder(ByShard(shards), 4, 0)
    sets = [set(shards[order[np.arange(start, start + 100)]].tolist()) for start in range(0, 2000, 100)]
    assert all(len(one) == 4 for one in sets)
    assert all(len(second - first) == 1 for first, second in pairwise(sets))
    assert set.union(*sets) == set(range(20))


@pytest.mark.parametrize("at_once", [1, 2, 9])
def test_every_place_of_an_item_is_as_likely(at_once: int) -> None:
    """Over passes; and where all shards are read at once, whatever comes after an item."""
    by_shard, places = ByShard(shards_of([3, 3, 3])), np.array([0, 1, 4, 8])
    drawn = np.array([ShardOrder(by_shard, at_once, 0, 0, through)[places] for through in range(400)])
    for place in range(4):
        assert stats.chisquare(np.bincount(drawn[:, place], minlength=9)).pvalue > LIKELY
    if at_once == 9:
        pairs = np.bincount(drawn[:, 0] * 9 + drawn[:, 1], minlength=81).reshape(9, 9)[~np.eye(9, dtype=bool)]
        assert stats.chisquare(pairs).pvalue > LIKELY


def test_draws_take_all_items_of_all_sources_as_often_as_their_weights_say() -> None:
    sources: list[ByShard | int] = [ByShard(shards_of([50, 30, 70, 10])), 40]
    counts = np.zeros(200)
    for epoch in range(100):
        items = ShardDraws(sources, 500, [3, 1], 0, epoch, 2)[np.arange(500)]
        counts += np.bincount(items, minlength=200)
    assert abs(counts[:160].sum() / counts.sum() - 0.75) < 0.01
    for part in (counts[:160], counts[160:]):
        assert part.std() / part.mean() < 0.15  # 0.07 is to be expected


def test_draws_go_through_a_source_at_its_own_pace() -> None:
    """A pass takes as many draws as there are items, whatever an epoch is, and few shards at a time."""
    shards = shards_of([100] * 12)
    draws = [ShardDraws([ByShard(shards)], 300, None, 0, epoch, 3) for epoch in range(4)]
    drawn = [shards[one[np.arange(300)]] for one in draws]
    assert all(len(set(one[start : start + 100].tolist())) == 3 for one in drawn for start in (0, 100, 200))
    assert len({shard for one in drawn for shard in one.tolist()}) == 12
    for one, found in zip(draws, drawn, strict=True):
        for position in range(0, 300, 7):
            assert found[position] in one.needed(position, 0)
            np.testing.assert_array_equal(shards[one[np.array([position])]], found[position])


def sampler(shards: NDArray[np.int64], **options: Any) -> EpochSampler:
    asked: list[tuple[int, list[int]]] = []
    in_shards = InShards([ByShard(shards)], 3, lambda number, needed: asked.append((number, needed)))
    made = EpochSampler([len(shards)], 4, in_shards=in_shards, **options)
    made.asked = asked  # type: ignore[attr-defined]  # for the tests
    return made


def test_processes_share_an_epoch_and_go_on_in_the_middle() -> None:
    shards = shards_of([70, 41, 90, 33, 60, 55])
    alone = sampler(shards)
    alone.set_epoch(3)
    whole = list(alone)
    assert {epoch for epoch, _ in whole} == {3}
    assert sorted(index for _, index in whole) == list(range(len(shards)))
    for processes in (2, 3):
        shares = [sampler(shards, process=(rank, processes)) for rank in range(processes)]
        for share in shares:
            share.seek(3, 6 * 11)
        taken = [list(share) for share in shares]
        assert [taken[place % processes][place // processes] for place in range(len(whole) - 66)] == whole[66:]


@pytest.mark.parametrize("processes", [1, 3])
def test_shards_are_asked_for_before_items_are_given(processes: int) -> None:
    shards = shards_of([300] * 20)
    one = sampler(shards, process=(processes - 1, processes))
    for _, index in one:
        _, needed = one.asked[-1]  # type: ignore[attr-defined]  # for the tests
        assert shards[index] in needed
        assert len(needed) == 4
    assert len(one.asked) == 40  # type: ignore[attr-defined]


def test_hands_are_kept_apart_and_shards_few() -> None:
    shards = shards_of([200] * 10)
    hands = np.random.default_rng(0).integers(60, size=2000)
    apart = sampler(shards, unique=(hands, 16))
    items = np.array([index for _, index in apart])
    assert sorted(items.tolist()) == list(range(2000))
    for start in range(0, 1984, 16):
        assert len(set(hands[items[start : start + 16]].tolist())) == 16
        assert len(set(shards[items[start : start + 16]].tolist())) <= 5


def module(folder: Path, **options: Any) -> PairedViewDataModule:
    return PairedViewDataModule(folder, view_size=16, batch_size=4, val_fraction=0.0, **options)


def test_a_data_module_reads_from_few_shards_at_once(layout: Layout, tmp_path: Path) -> None:
    shard_source(FreiHAND(layout.root), tmp_path / "s", Cutting(32), per_task=3)
    assert module(tmp_path / "s").train_set.in_shards is None
    few = module(tmp_path / "s", shards_at_once=1)
    shard = Shards(tmp_path / "s").shard_of_images()
    images = few.train_set.sources[0].images  # type: ignore[attr-defined]  # of `SelectedHands`
    loader = few.train_dataloader()
    order = [int(index) for batch in loader for index in batch["index"]]
    assert [len(set(shard[images[order[start : start + 3]]])) for start in range(0, 15, 3)] == [1] * 5
    state = loader.state_dict()
    assert state["shards_at_once"] == 1
    loader.load_state_dict(state)
    for other in (module(tmp_path / "s"), module(tmp_path / "s", shards_at_once=2)):
        with pytest.raises(ValueError, match=r"began with data\.shards_at_once 1, .* expected the same to go on, not"):
            other.train_dataloader().load_state_dict(state)
    with pytest.raises(ValueError, match=r"began with data\.shards_at_once 0"):
        loader.load_state_dict({"epoch": 1, "position": 4})
    assert len(pickle.dumps(few.train_set)) < 20_000
    with pytest.raises(ValueError, match=r"shards_at_once 2: freihand is not in shards; `peclr prepare"):
        module(layout.root, shards_at_once=2)
    with pytest.raises(ValueError, match="shards_at_once -1: expected a number"):
        module(tmp_path / "s", shards_at_once=-1)


def test_a_broken_shard_is_replaced_by_another_one(layout: Layout, tmp_path: Path) -> None:
    """And not by items of all others, each of which would be fetched for a few."""
    shard_source(FreiHAND(layout.root), tmp_path / "s", Cutting(32), per_task=3)
    (tmp_path / "s" / "shards" / "000002-00.tar").unlink()
    few = module(tmp_path / "s", shards_at_once=1, on_bad_image="skip").train_set
    shard = Shards(tmp_path / "s").shard_of_images()
    images = few.sources[0].images  # type: ignore[attr-defined]  # of `SelectedHands`
    broken = np.flatnonzero(shard[images] == 2)
    assert {int(shard[images[few[0, int(index)]["index"]]]) for index in broken} == {3}

from typing import Any

import numpy as np
import pytest
from torch.utils.data import DistributedSampler

from peclr.data.loading.sampling import EpochSampler, epoch_order
from peclr.data.rng import KeyedRng


def test_numbers_depend_on_their_coordinates_alone() -> None:
    rng = KeyedRng("view", 7)
    # 32-bit draws take half a number and leave the other half behind, doubles leave a part of the buffer
    first = rng.at(2, 5).integers(1 << 30, size=5, dtype=np.int32)
    rng.at(9, 1).random(3)
    for others in (rng, KeyedRng("view", 7)):
        again = others.at(2, 5).integers(1 << 30, size=5, dtype=np.int32)
        np.testing.assert_array_equal(again, first)


def test_numbers_of_other_coordinates_are_others() -> None:
    drawn = [
        KeyedRng(purpose, seed).at(epoch, index).random(8)
        for purpose in ("view", "order", "split")
        for seed in range(3)
        for epoch in range(3)
        for index in range(20)
    ]
    assert len(np.unique(drawn)) == 8 * len(drawn)
    assert abs(np.mean(drawn) - 0.5) < 0.02


def test_negative_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match="seed -1"):
        KeyedRng("view", -1)


def test_one_source_is_permuted_anew_each_epoch() -> None:
    orders = [epoch_order([50], seed=0, epoch=epoch) for epoch in range(3)]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(50))
    assert len({order.tobytes() for order in orders}) == 3
    np.testing.assert_array_equal(orders[1], epoch_order([50], seed=0, epoch=1))
    assert not np.array_equal(orders[1], epoch_order([50], seed=1, epoch=1))


def test_several_sources_have_equal_mass() -> None:
    sizes = [10, 1000, 90]
    order = epoch_order(sizes, seed=0, epoch=0, length=30_000)
    assert len(order) == 30_000
    counts = np.histogram(order, bins=[0, 10, 1010, 1100])[0]
    np.testing.assert_allclose(counts, 10_000, atol=400)
    within = np.bincount(order, minlength=1100)
    np.testing.assert_allclose(within[:10], 1000, atol=150)
    assert (within[1010:] > 60).all()


def test_sources_may_have_given_weights() -> None:
    order = epoch_order([10, 1000, 90], seed=0, epoch=0, length=30_000, weights=[1, 2.5, 0.5])
    counts = np.histogram(order, bins=[0, 10, 1010, 1100])[0]
    np.testing.assert_allclose(counts / 30_000, [0.25, 0.625, 0.125], atol=0.01)
    for source, size in ((slice(0, 10), 10), (slice(1010, 1100), 90)):
        within = np.bincount(order, minlength=1100)[source]
        np.testing.assert_allclose(within, within.sum() / size, rtol=0.6)


@pytest.mark.parametrize("weights", [[1], [1, 2, 3], [1, 0], [1, -1], [1, float("nan")], [float("inf"), 1]])
def test_weights_that_are_none_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weights"):
        EpochSampler([5, 5], weights=weights)


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_mixing_is_the_same_for_any_number_of_processes(world_size: int) -> None:
    options: dict[str, Any] = {"seed": 4, "length": 400, "weights": [3, 1]}
    whole = list(EpochSampler([20, 30], **options))
    ranks = [EpochSampler([20, 30], process=(rank, world_size), **options) for rank in range(world_size)]
    assert [key for step in zip(*ranks, strict=True) for key in step] == whole
    assert abs(sum(index < 20 for _, index in whole) - 300) < 45


def test_a_sampler_can_begin_anywhere() -> None:
    sampler = EpochSampler([31], 0)
    sampler.set_epoch(3)
    whole = list(sampler)
    sampler.seek(3, 12)
    assert list(sampler) == list(sampler) == whole[12:]
    assert len(sampler) == 31
    sampler.set_epoch(3)
    assert list(sampler) == whole[12:]
    sampler.set_epoch(4)
    assert len(list(sampler)) == 31
    sampler.seek(3, 31)
    assert (sampler.epoch, sampler.position) == (4, 0)


def test_epoch_length_can_be_chosen() -> None:
    assert len(epoch_order([5, 7], 0, 0)) == 12
    assert len(epoch_order([5], 0, 0, length=40)) == 40


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_processes_divide_an_epoch_without_overlap(world_size: int, *, shuffle: bool) -> None:
    ranks = [EpochSampler([31], 0, shuffle=shuffle, process=(rank, world_size)) for rank in range(world_size)]
    alone = EpochSampler([31], 0, shuffle=shuffle)
    for sampler in (alone, *ranks):
        sampler.set_epoch(4)
    whole, shares = list(alone), [list(sampler) for sampler in ranks]
    assert [len(sampler) for sampler in ranks] == [len(share) for share in shares]
    assert {epoch for epoch, _ in whole} == {4 if shuffle else 0}
    assert sorted(index for _, index in whole) == list(range(31))
    assert shares == [whole[rank::world_size] for rank in range(world_size)]


def test_drop_last_gives_every_process_as_many() -> None:
    shares = [list(EpochSampler([31], 0, process=(rank, 4), drop_last=True)) for rank in range(4)]
    assert [len(share) for share in shares] == [7] * 4
    assert len({index for share in shares for _, index in share}) == 28


def test_lightning_takes_it_for_distributed() -> None:
    assert isinstance(EpochSampler([3]), DistributedSampler)

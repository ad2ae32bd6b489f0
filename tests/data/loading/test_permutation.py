"""Computed orders: each item once, every place as likely as any other, and nothing that follows from the one before."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from torch.utils.data import TensorDataset

from peclr.data.loading import sampling
from peclr.data.loading.loaders import make_loader
from peclr.data.loading.permutation import Draws, Permutation
from peclr.data.loading.sampling import EpochSampler

LIKELY = 1e-6  # what a fixed seed must not be less likely than


@given(st.integers(1, 3000), st.integers(0, 9), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_each_item_comes_once(n: int, seed: int, epoch: int) -> None:
    items = Permutation(n, seed, epoch)[np.arange(n)]
    np.testing.assert_array_equal(np.sort(items), np.arange(n))


@pytest.mark.parametrize("n", [2**20 - 1, 2**20, 2**20 + 1])
def test_each_of_many_items_comes_once(n: int) -> None:
    assert np.bincount(Permutation(n, 0, 0)[np.arange(n)], minlength=n).tolist() == [1] * n


def test_an_item_depends_on_its_position_alone() -> None:
    n = 10**12 + 7  # an array of it has no place anywhere
    positions = np.random.default_rng(0).integers(n, size=1000)
    permutation = Permutation(n, 3, 5)
    items = permutation[positions]
    assert len(np.unique(items)) == len(np.unique(positions))
    assert items.min() >= 0
    assert items.max() < n
    for index in (0, 17, 999):
        assert Permutation(n, 3, 5)[positions[index]] == items[index]
    for others in (Permutation(n, 3, 6), Permutation(n, 4, 5)):
        assert not (others[positions] == items).any()
    with pytest.raises(IndexError, match="of 1000000000007 items"):
        permutation[[n]]
    with pytest.raises(ValueError, match="got 0"):
        Permutation(0, 0, 0)


def orders(n: int, count: int) -> NDArray[np.int64]:
    return np.array([Permutation(n, 0, epoch)[np.arange(n)] for epoch in range(count)])


@pytest.mark.parametrize("n", [5, 16, 100])
def test_every_place_of_an_item_is_as_likely(n: int) -> None:
    """Over epochs: of each item at each place, and of each pair of items at the first two places."""
    drawn = orders(n, 100 * n if n < 100 else 1500)
    for place in (0, n // 2, n - 1):
        counts = np.bincount(drawn[:, place], minlength=n)
        assert stats.chisquare(counts).pvalue > LIKELY
    pairs = np.bincount(drawn[:, 0] * n + drawn[:, 1], minlength=n * n).reshape(n, n)[~np.eye(n, dtype=bool)]
    if len(drawn) > 3 * len(pairs):
        assert stats.chisquare(pairs).pvalue > LIKELY


def test_all_permutations_of_four_are_as_likely() -> None:
    drawn = orders(4, 2400)
    numbers = {permutation: number for number, permutation in enumerate(itertools.permutations(range(4)))}
    counts = np.bincount([numbers[tuple(order)] for order in drawn.tolist()], minlength=24)
    assert stats.chisquare(counts).pvalue > LIKELY


@pytest.mark.parametrize("n", [1001, 65_537, 1_000_003])
def test_nothing_follows_from_the_item_before(n: int) -> None:
    count = min(n, 200_000)
    items = Permutation(n, 1, 2)[np.arange(count)]
    shares = items / n
    assert stats.kstest(shares, "uniform").pvalue > LIKELY
    for lag in (1, 2, 16, 128, 256):
        correlation = np.corrcoef(shares[:-lag], shares[lag:])[0, 1]
        assert abs(correlation) < 5 / np.sqrt(count - lag)
    steps = np.bincount(((items[1:] - items[:-1]) % n * 64 // n), minlength=64)
    # n − 1 differences are possible, zero is not
    assert stats.chisquare(steps).pvalue > LIKELY
    # the next epoch's is another: as many at their old place as chance leaves there
    assert (Permutation(n, 1, 3)[np.arange(count)] == items).sum() < 12


def test_draws_have_their_weights_and_no_memory() -> None:
    sizes, count = [10, 1000, 90], 60_000
    draws = Draws(sizes, count, [1, 2.5, 0.5], 0, 0)
    items = draws[np.arange(count)]
    np.testing.assert_array_equal(draws[np.array([7, 59_999])], items[[7, 59_999]])
    shares = np.histogram(items, bins=[0, 10, 1010, 1100])[0] / count
    np.testing.assert_allclose(shares, [0.25, 0.625, 0.125], atol=0.01)
    for first, size in ((0, 10), (10, 1000), (1010, 90)):
        counts = np.bincount(items[(items >= first) & (items < first + size)] - first, minlength=size)
        assert stats.chisquare(counts).pvalue > LIKELY
    assert abs(np.corrcoef(items[:-1], items[1:])[0, 1]) < 0.02
    equal = np.histogram(Draws(sizes, count, None, 0, 1)[np.arange(count)], bins=[0, 10, 1010, 1100])[0]
    np.testing.assert_allclose(equal / count, 1 / 3, atol=0.01)


@pytest.fixture
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders of more than ten items are computed, in small blocks and windows."""
    for name, value in (("LARGE", 10), ("_BLOCK", 5), ("_WINDOW", 16)):
        monkeypatch.setattr(sampling, name, value)


@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize("sizes", [[31], [20, 30]])
@pytest.mark.parametrize("unique", [False, True])
def test_computed_orders_are_the_same_for_any_processes_and_from_anywhere(sizes: list[int], *, unique: bool) -> None:
    hands = np.arange(sum(sizes)) % 13
    options = {"unique": (hands, 4)} if unique else {}
    whole_sampler = EpochSampler(sizes, 7, **options)  # type: ignore[arg-type]
    whole_sampler.set_epoch(3)
    whole = list(whole_sampler)
    assert len(whole) == sum(sizes)
    if len(sizes) == 1:
        assert sorted(index for _, index in whole) == list(range(31))
    if unique:
        for start in range(0, len(whole), 4):
            shown = hands[[index for _, index in whole[start : start + 4]]]
            assert len(np.unique(shown)) == len(shown)
    for world_size in (2, 3):
        ranks = [EpochSampler(sizes, 7, process=(rank, world_size), **options) for rank in range(world_size)]  # type: ignore[arg-type]
        for sampler in ranks:
            sampler.seek(3, 6)
        shares = [list(sampler) for sampler in ranks]
        together = [key for step in itertools.zip_longest(*shares) for key in step if key is not None]
        assert together == whole[6:]
    whole_sampler.set_epoch(4)
    assert [index for _, index in whole_sampler] != [index for _, index in whole]


@pytest.mark.usefixtures("small_is_large")
def test_a_run_begun_with_its_order_in_memory_goes_on_with_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sampling, "LARGE", 100)
    before = EpochSampler([40], 5)
    before.set_epoch(2)
    expected = list(before)
    monkeypatch.setattr(sampling, "LARGE", 10)
    new = make_loader(TensorDataset(torch.arange(40)), EpochSampler([40], 5), batch_size=4)
    assert new.state_dict() == {"epoch": 0, "position": 0, "order": 2}
    old = make_loader(TensorDataset(torch.arange(40)), EpochSampler([40], 5), batch_size=4)
    old.load_state_dict({"epoch": 2, "position": 8})
    assert "began with its order in memory" in caplog.text
    assert list(old.sampler) == expected[8:]
    assert old.state_dict() == {"epoch": 2, "position": 8}  # and so the next time
    new.load_state_dict({"epoch": 2, "position": 8, "order": 2})
    assert list(new.sampler) != expected[8:]
    assert len(list(new.sampler)) == 32

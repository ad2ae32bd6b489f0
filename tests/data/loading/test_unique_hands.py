"""No batch shows a hand twice, whichever process and restart asks."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from peclr.data.datamodules import PairedViewDataModule
from peclr.data.loading.sampling import EpochSampler, without_repeats
from peclr.data.sources.freihand import FreiHAND

if TYPE_CHECKING:
    from tests.data.conftest import Layout


def repeats(items: NDArray[np.int64], hands: NDArray[np.int64], batch: int) -> int:
    """How many items of full batches show a hand that their batch shows already; counted apart from the code."""
    full = hands[items][: len(items) // batch * batch].reshape(-1, batch)
    return sum(batch - len(set(row)) for row in full.tolist())


@given(st.integers(2, 40), st.integers(1, 5), st.data())
def test_batches_show_each_hand_once_and_every_item_comes_once(hands: int, versions: int, data: st.DataObject) -> None:
    batch = data.draw(st.integers(1, hands))
    of_item = np.tile(np.arange(hands), versions)
    order = np.random.default_rng(data.draw(st.integers(0, 99))).permutation(len(of_item))
    changed = without_repeats(order, of_item, batch, np.random.default_rng(0))
    assert sorted(changed) == sorted(order)
    # as many batches as versions, each of all hands, is the tightest case; the greedy order finds it
    assert repeats(changed, of_item, batch) == 0


def test_an_order_without_repeats_stays() -> None:
    order = np.random.default_rng(0).permutation(12)
    np.testing.assert_array_equal(without_repeats(order, np.arange(12), 5, np.random.default_rng(0)), order)


def test_what_cannot_be_kept_apart_is_kept_all_the_same() -> None:
    hands = np.array([0] * 6 + [1, 2])
    order = np.arange(8)
    changed = without_repeats(order, hands, 4, np.random.default_rng(0))
    assert sorted(changed) == list(range(8))


def sampler(rank: int = 0, processes: int = 1, batch: int = 8) -> EpochSampler:
    hands = np.tile(np.arange(10), 4)
    return EpochSampler([40], 3, process=(rank, processes), drop_last=True, unique=(hands, batch))


def test_processes_share_one_order_and_a_restart_carries_on_with_it() -> None:
    alone = list(sampler())
    shares = [list(sampler(rank, 2)) for rank in (0, 1)]
    assert [key for pair in zip(*shares, strict=True) for key in pair] == alone
    resumed = sampler()
    resumed.seek(0, 16)
    assert list(resumed) == alone[16:]
    other = sampler()
    other.set_epoch(1)
    assert [index for _, index in other] != [index for _, index in alone]


@pytest.mark.parametrize("unique", [False, True])
def test_the_option_keeps_false_negatives_out_of_batches(layout: "Layout", *, unique: bool) -> None:
    module = PairedViewDataModule(layout.root, view_size=16, batch_size=4, val_fraction=0, unique_hands_in_batch=unique)
    loader = module.train_dataloader()
    false_negatives = 0
    for epoch in range(3):
        loader.sampler.set_epoch(epoch)
        batches: list[list[int]] = [batch["hand"].tolist() for batch in loader]
        assert len(batches) == 4
        false_negatives += sum(4 - len(set(hands)) for hands in batches)
    assert (false_negatives == 0) == unique


def test_validation_batches_show_each_hand_once_too(layout: "Layout") -> None:
    options: dict[str, Any] = {"view_size": 16, "batch_size": 2, "val_fraction": 0.34, "unique_hands_in_batch": True}
    module = PairedViewDataModule(sources=FreiHAND(layout.root), **options)
    batches = [batch["hand"] for batch in module.val_dataloader()]
    assert [sorted(hands.tolist()) for hands in batches] == [[0, 1]] * 3


def test_batches_larger_than_the_number_of_hands_are_refused(layout: "Layout") -> None:
    options: dict[str, Any] = {"view_size": 16, "val_fraction": 0, "unique_hands_in_batch": True}
    with pytest.raises(ValueError, match=r"batch of 8 pairs 8 are from freihand, which has 6 hands"):
        PairedViewDataModule(sources=FreiHAND(layout.root), batch_size=8, **options)
    sources: list[Any] = [FreiHAND(layout.root), FreiHAND(layout.root, "evaluation")]
    with pytest.raises(ValueError, match=r"3 are from freihand, which has 2 hands"):
        PairedViewDataModule(sources=sources, batch_size=6, **options)
    PairedViewDataModule(sources=sources, batch_size=6, weights=[2, 1], **options)


def test_sources_are_kept_apart_by_their_hands(layout: "Layout") -> None:
    sources: list[Any] = [FreiHAND(layout.root), FreiHAND(layout.root, "evaluation")]
    module = PairedViewDataModule(
        sources=sources, view_size=16, val_fraction=0, batch_size=4, unique_hands_in_batch=True
    )
    hands = module.train_set.hands()
    assert hands.tolist() == [module.train_set[index]["hand"] for index in range(len(module.train_set))]

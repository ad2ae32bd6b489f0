"""Splits that are computed: as those in memory are, for any number of hands, and without a list of them."""

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from peclr.data.datamodules import PairedViewDataModule
from peclr.data.loading import pairing, sampling, source_pairs
from peclr.data.loading.loaders import ResumableLoader
from peclr.data.loading.pairing import NearbyFrames, Pairing, Similar
from peclr.data.loading.pairs_file import MinedPairs, write_pairs
from peclr.data.loading.source_pairs import FramePairs, LookedUpFramePairs
from peclr.data.samples import HandSample, HandSource, hand_sample
from peclr.data.sources import selection, some_hands
from peclr.data.sources.composed import JoinedHands, SelectedHands
from peclr.data.sources.selection import count_hands, same_hand, split_hands, split_source
from peclr.data.sources.some_hands import Marked, Shuffled, SomeHands, listed, split_groups_of_many, split_many
from peclr.untrusted.binary import read_array


class Followed(HandSource):
    """Hands of tracks of five, every seventh of none, in groups of a hundred."""

    name = "followed"

    def __init__(self, num_hands: int) -> None:
        self.num_hands = num_hands

    def __getitem__(self, index: int) -> HandSample:
        image = np.full((16, 16, 3), index % 256, np.uint8)
        return hand_sample(image, np.array([2.0, 2.0, 14.0, 14.0]), str(index))

    def video_of_hands(self) -> NDArray[np.int64]:
        return np.arange(self.num_hands) // 100

    def track_of_hands(self) -> NDArray[np.int64]:
        hands = np.arange(self.num_hands)
        return np.where(hands % 7 == 0, -1, hands // 5)

    def time_of_hands(self) -> NDArray[np.float64]:
        return np.arange(self.num_hands) / 30


class Grouped(Followed):
    def group_of_hands(self) -> NDArray[np.int64] | None:
        return self.video_of_hands()


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than fifty hands are very many."""
    for module in (some_hands, selection, pairing, source_pairs):
        monkeypatch.setattr(module, "MANY", 50)
    monkeypatch.setattr(sampling, "LARGE", 50)


@given(st.lists(st.booleans(), min_size=1, max_size=1400), st.booleans(), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_marked_numbers_are_counted_where_they_are_needed(marks: list[bool], ones: bool, seed: int) -> None:  # noqa: FBT001
    bits = np.zeros(-(-len(marks) // 512) * 64, np.uint8)
    packed = np.packbits(marks, bitorder="little")
    bits[: len(packed)] = packed
    expected = np.flatnonzero(np.array(marks) == ones)
    marked = Marked(bits, len(marks), ones=ones)
    assert len(marked) == len(expected)
    np.testing.assert_array_equal(marked[np.arange(len(marked))], expected)
    third = np.arange(0, len(marked), 3)  # fewer than half are looked for one by one
    np.testing.assert_array_equal(marked[third], expected[third])
    assert [marked.item(position) for position in range(0, len(marked), 37)] == expected[::37].tolist()
    positions = np.full(len(marks), -1)
    positions[expected] = np.arange(len(expected))
    np.testing.assert_array_equal(marked.positions_of(np.arange(len(marks))), positions)
    assert [marked.position_of(number) for number in range(0, len(marks), 23)] == positions[::23].tolist()
    if len(marked):
        shuffled = Shuffled(marked, seed)
        hands = shuffled[np.arange(len(marked))]
        assert sorted(hands.tolist()) == expected.tolist()
        assert [shuffled.item(position) for position in range(len(marked))] == hands.tolist()
        np.testing.assert_array_equal(hands[shuffled.positions_of(expected)], expected)
        every = range(len(marks))
        assert [shuffled.position_of(number) for number in every] == shuffled.positions_of(np.array(every)).tolist()


def test_many_hands_are_divided_as_few_are() -> None:
    training, held_out = split_many(1000, 100, seed=3)
    assert (len(training), len(held_out)) == (900, 100)
    assert sorted([*training, *held_out]) == list(range(1000))
    assert list(training) == [training[place] for place in range(900)] == listed(training).tolist()
    assert list(training[:90]) == list(training)[:90] == list(training[:450])[:90]  # nested
    places = training.places_of(np.arange(1000))
    np.testing.assert_array_equal(places[listed(training)], np.arange(900))
    assert (places[listed(held_out)] == -1).all()
    assert [training.place_of(hand) for hand in range(1000)] == places.tolist()
    assert list(split_many(1000, 100, seed=4)[1]) != list(held_out)
    for wrong in (900, -1):
        with pytest.raises(IndexError, match=f"hand {wrong} of 900"):
            training[wrong]


def test_splits_of_no_more_than_a_million_stay_as_they_were() -> None:
    held_out = split_hands(2**20, 3, seed=5)[1]
    assert isinstance(held_out, np.ndarray)
    assert held_out.tolist() == [841737, 322677, 821830]
    assert isinstance(split_hands(2**20 + 1, 3, seed=5)[1], SomeHands)


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("kind", [Followed, Grouped])
def test_groups_of_many_hands_are_never_divided(kind: type[Followed], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(some_hands, "_BLOCK", 512)
    source = kind(2345)
    training, held_out = split_source(source, 0.2, 0)
    assert isinstance(training, SomeHands)
    assert sorted([*training, *held_out]) == list(range(2345))
    assert 0.9 * 469 < len(held_out) <= 469
    groups = source.group_of_hands() if isinstance(source, Grouped) else source.track_of_hands()
    assert groups is not None
    shared = {*groups[listed(training)].tolist()} & {*groups[listed(held_out)].tolist()} - {-1}
    assert not shared
    alone = (source.track_of_hands()[listed(held_out)] == -1).mean()
    assert 0.1 < alone < 0.2  # a seventh, as in the source
    other = split_source(source, 0.2, 1)[1]
    assert {*other} != {*held_out}


def test_groups_that_are_too_large_are_divided(caplog: pytest.LogCaptureFixture, many: None) -> None:
    assert split_groups_of_many(np.zeros(600, np.int64), 100, seed=0) is None

    class OneVideo(Followed):
        def group_of_hands(self) -> NDArray[np.int64] | None:
            return np.zeros(self.num_hands, np.int64)

    _, held_out = split_source(OneVideo(600), 0.2, 0)
    assert len(held_out) > 0.9 * 120
    assert "each group has more than the 120 hands to hold out" in caplog.text
    with pytest.raises(ValueError, match="group 90000 of 600 hands"):
        split_groups_of_many(np.full(600, 90_000), 100, seed=0)


@pytest.mark.usefixtures("many")
def test_what_is_computed_of_many_hands_is_what_is_listed_of_few() -> None:
    hands = split_many(300, 60, seed=1)[0]
    few = SelectedHands(Followed(300), listed(hands)[:40])
    computed, array = (SelectedHands(Followed(300), some) for some in (hands, listed(hands)))
    assert [computed[item]["id"] for item in range(240)] == [array[item]["id"] for item in range(240)]
    every = np.arange(300)
    np.testing.assert_array_equal(computed.places_of(every), array.places_of(every))
    assert isinstance(same_hand(few), np.ndarray)
    same = same_hand(computed)
    assert same is not None
    numbers, tracks = same[np.arange(240)], Followed(300).track_of_hands()[listed(hands)]
    together = (tracks[:, None] == tracks[None]) & (tracks >= 0) | np.eye(240, dtype=np.bool_)
    np.testing.assert_array_equal(numbers[:, None] == numbers[None], together)
    assert numbers.max() < same.count  # type: ignore[union-attr]
    assert count_hands(computed, 9) >= 9
    assert count_hands(computed, 1000) == len(np.unique(numbers))
    assert JoinedHands([Followed(60), Followed(60)]).is_one_image_each()


@pytest.mark.usefixtures("many")
def test_many_hands_train_without_two_of_a_track_in_a_batch() -> None:
    def batches() -> Sequence[tuple[list[int], list[int]]]:
        data = PairedViewDataModule(
            sources=[Grouped(700), Grouped(500)],
            view_size=8,
            batch_size=40,
            val_fraction=0.2,
            geometry=None,
            photometric=None,
            unique_hands_in_batch=True,
        )
        loader = data.train_dataloader()
        validation = data.val_dataloader()
        assert isinstance(validation, ResumableLoader)
        assert len(list(validation)) == 5
        return [(batch["index"].tolist(), batch["hand"].tolist()) for batch in loader]

    found = batches()
    assert found == batches()
    assert all(len(set(hands)) == len(hands) for _, hands in found)


@pytest.mark.usefixtures("many")
def test_a_run_that_held_out_other_hands_does_not_go_on() -> None:
    data = PairedViewDataModule(sources=Followed(300), view_size=8, batch_size=4, geometry=None, photometric=None)
    loader = data.train_dataloader()
    state = loader.state_dict()
    loader.load_state_dict(state)
    with pytest.raises(ValueError, match="go on with the version of peclr that it began with"):
        loader.load_state_dict({"epoch": 0, "position": 8, "order": 2})


@pytest.mark.parametrize("kind", ["similar", "frames"])
def test_partners_that_are_looked_up_are_those_that_are_listed(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Followed(300)
    if kind == "similar":
        neighbors = np.random.default_rng(0).integers(1, 300, (300, 4)).astype(np.int32)
        neighbors = (np.arange(300)[:, None] + neighbors).astype(np.int32) % 300
        mined = MinedPairs(source.name, source.identity(), neighbors, np.ones((300, 4), np.float32))
        write_pairs(tmp_path / "pairs.npz", [mined], {})
        choice: Pairing = Similar(tmp_path / "pairs.npz", nearest=2)
    else:
        choice = NearbyFrames(0.1)
    listed_pairs = choice.within(SelectedHands(source, listed(split_many(300, 90, seed=1)[0])))
    for module in (some_hands, selection, pairing, source_pairs):
        monkeypatch.setattr(module, "MANY", 50)
    monkeypatch.setattr(source_pairs, "_NEAR", 1)
    looked_up = choice.within(SelectedHands(source, split_many(300, 90, seed=1)[0]))
    assert (type(looked_up) is type(listed_pairs)) == (kind == "similar")
    drawn = [
        [pairs.draw(item, np.random.default_rng(item)) for item in range(210)] for pairs in (listed_pairs, looked_up)
    ]
    if kind == "similar":
        assert drawn[0] == drawn[1]
    else:  # another order of the same frames
        times, tracks = source.time_of_hands(), source.track_of_hands()
        hands = listed(split_many(300, 90, seed=1)[0])
        for (first, second), (_, expected) in zip(drawn[1], drawn[0], strict=True):
            assert (first == second) == (first == expected)
            one, other = hands[[first, second]]
            assert abs(times[one] - times[other]) <= 0.1 + 1e-6
            assert one == other or tracks[one] == tracks[other] >= 0
    assert np.mean([first != second for first, second in drawn[1]]) > 0.5


@pytest.mark.usefixtures("many")
def test_processes_that_are_spawned_map_files_again(tmp_path: Path) -> None:
    count = 4000
    for name in ("track", "time"):
        np.save(tmp_path / f"{name}.npy", getattr(Followed(count), f"{name}_of_hands")())

    class Mapped(Followed):
        def track_of_hands(self) -> NDArray[np.int64]:
            return read_array(tmp_path / "track.npy", mapped=True)

        def time_of_hands(self) -> NDArray[np.float64]:
            return read_array(tmp_path / "time.npy", mapped=True)

    source = Mapped(count)
    neighbors = ((np.arange(count)[:, None] + [9, 17, 30]) % count).astype(np.int32)
    mined = MinedPairs(source.name, source.identity(), neighbors, np.ones(neighbors.shape, np.float32))
    write_pairs(tmp_path / "pairs.npz", [mined], {})
    for choice in (Similar(tmp_path / "pairs.npz"), NearbyFrames(0.1)):
        pairs = choice.within(source)
        pairs._source = Followed(count)  # a class that can be pickled
        content = pickle.dumps(pairs)
        assert len(content) < 2000
        again = pickle.loads(content)  # noqa: S301 (our own)
        for item in range(0, count, 97):
            assert again.draw(item, np.random.default_rng(item)) == pairs.draw(item, np.random.default_rng(item))
            assert again.hand_shown(item) == pairs.hand_shown(item)


@pytest.mark.usefixtures("many")
def test_frames_out_of_order_are_listed() -> None:
    class Back(Followed):
        def time_of_hands(self) -> NDArray[np.float64]:
            return super().time_of_hands()[::-1].copy()

    assert isinstance(NearbyFrames().within(Followed(300)), LookedUpFramePairs)
    assert isinstance(NearbyFrames().within(Back(300)), FramePairs)

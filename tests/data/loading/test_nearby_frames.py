"""Pairs of frames of one track: near in time, never of another hand, never contrasted with each other."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from peclr.data.datamodules import PairedViewDataModule
from peclr.data.datasets import PairedViewDataset
from peclr.data.loading.pairing import NearbyFrames, Similar
from peclr.data.loading.pairs_file import MinedPairs, write_pairs
from peclr.data.samples import HandSample, HandSource, hand_sample
from peclr.data.sources.composed import SelectedHands
from peclr.data.sources.selection import groups_of, split_source, tracks_of
from peclr.data.sources.some_hands import listed
from peclr.training.pretrain import false_negatives


class Followed(HandSource):
    """Hands of two videos: tracks of 12 frames that take turns in memory, and hands of no track at the end."""

    name = "followed"

    def __init__(self, tracks: int = 6, frames: int = 12, untracked: int = 5, per_second: float = 10) -> None:
        frame = np.repeat(np.arange(frames), tracks)
        self.track = np.concatenate([np.tile(np.arange(tracks), frames), np.full(untracked, -1)])
        self.time = np.concatenate([frame / per_second, np.full(untracked, math.nan)])
        self.num_hands = len(self.track)

    def __getitem__(self, index: int) -> HandSample:
        image = np.full((16, 16, 3), index % 251, np.uint8)
        return hand_sample(image, np.array([0.0, 0.0, 16.0, 16.0]), str(index), "right")

    def video_of_hands(self) -> NDArray[np.int64]:
        return self.track % 2

    def group_of_hands(self) -> NDArray[np.int64]:
        return self.video_of_hands()

    def track_of_hands(self) -> NDArray[np.int64]:
        return self.track

    def time_of_hands(self) -> NDArray[np.float64]:
        return self.time


def partners(dataset: PairedViewDataset, item: int, epochs: int = 200) -> set[int]:
    return {dataset.images_of((epoch, item))[1][1] for epoch in range(epochs)}


@pytest.mark.parametrize("seconds", [0.1, 0.25, 5.0])
def test_the_second_view_is_any_other_frame_of_the_track_near_in_time(seconds: float) -> None:
    source = Followed()
    dataset = PairedViewDataset([source], NearbyFrames(seconds), view_size=16)
    assert len(dataset) == len(source)
    for item in (0, 3, 40, 71):
        same = source.track == source.track[item]
        near = np.abs(source.time - source.time[item]) < seconds + 1e-4
        expected = set(np.flatnonzero(same & near).tolist()) - {item}
        assert partners(dataset, item) == expected
        assert {dataset.images_of((epoch, item))[1][0] for epoch in range(9)} == {item}


def test_hands_alone_are_paired_with_themselves_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    source = Followed()
    with caplog.at_level("INFO"):
        dataset = PairedViewDataset([source], NearbyFrames(0.09), view_size=16)
    assert f"{len(source)} of {len(source)} hands have no other frame of their track within 0.09 s" in caplog.text
    assert partners(dataset, 7) == {7}
    assert partners(PairedViewDataset([source], NearbyFrames(1.0), view_size=16), len(source) - 1) == {len(source) - 1}


def test_some_hands_of_a_source_are_paired_among_themselves() -> None:
    source = Followed()
    selected = SelectedHands(source, [30, 0, 1, 6, 13, 76])  # tracks 0, 0, 1, 0, 1, none
    dataset = PairedViewDataset([selected], NearbyFrames(0.4), view_size=16)
    assert [partners(dataset, item) for item in range(6)] == [{3}, {3}, {4}, {0, 1}, {2}, {5}]


def test_hands_of_a_track_count_as_one_hand() -> None:
    module = PairedViewDataModule(
        sources=Followed(),
        pairing=NearbyFrames(0.3),
        view_size=16,
        batch_size=5,
        val_fraction=0.0,
        unique_hands_in_batch=True,
    )
    batches = list(module.train_dataloader())
    hands = torch.stack([batch["hand"] for batch in batches])
    assert len(set(hands.flatten().tolist())) == 6 + 5  # tracks, and hands of none
    assert [float(false_negatives(row)) for row in hands].count(0.0) >= len(hands) - 1  # the last may have to repeat
    mixed = PairedViewDataset([Followed(), Followed(tracks=3)], NearbyFrames(0.3), view_size=16)
    np.testing.assert_array_equal(mixed.hands()[77:], [77 + hand for hand in [*range(3)] * 12 + [*range(36, 41)]])
    assert all(mixed[item]["hand"] == hand for item, hand in enumerate(mixed.hands()))


def test_similar_hands_are_never_of_the_same_track(tmp_path: Path) -> None:
    path, source = tmp_path / "pairs.npz", Followed(untracked=0)
    neighbors = np.stack([(np.arange(72) + 6) % 72, (np.arange(72) + 7) % 72], axis=1).astype(
        np.int32
    )  # the next frame; another track
    write_pairs(path, [MinedPairs("followed", source.identity(), neighbors, np.ones((72, 2), np.float32))], {})
    dataset = PairedViewDataset([source], Similar(path, nearest=2), view_size=16)
    assert all(partners(dataset, item, 40) == {(item + 7) % 72} for item in range(0, 72, 7))


def test_splits_keep_groups_together_or_else_tracks(caplog: pytest.LogCaptureFixture) -> None:
    source = Followed(untracked=0)
    groups, tracks = groups_of(source), tracks_of(source)
    assert groups is not None
    assert tracks is not None
    training, held = map(listed, split_source(source, 0.5, 3))
    assert sorted([*training, *held]) == list(range(72))
    assert len(held) == 36
    assert not set(groups[training].tolist()) & set(groups[held].tolist())
    assert "divided" not in caplog.text
    training, held = map(listed, split_source(source, 0.2, 3))  # 14 hands: one track of 12 fits, no video does
    assert len(held) == 12
    assert len(set(tracks.track[held].tolist())) == 1
    assert "each group has more than the 14 hands to hold out; it is divided" in caplog.text
    training, held = map(listed, split_source(source, 0.1, 3))  # 7: not even a track
    assert len(held) == 7
    assert sorted([*training, *held]) == list(range(72))


def test_pairs_are_a_function_of_seed_epoch_and_item() -> None:
    def views(seed: int) -> torch.Tensor:
        dataset = PairedViewDataset([Followed()], NearbyFrames(0.5), view_size=16, seed=seed)
        return torch.stack([dataset[2, item]["views"] for item in range(20)])

    assert torch.equal(views(0), views(0))
    assert not torch.equal(views(0), views(1))


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.inf, math.nan])
def test_frames_are_a_positive_time_apart(seconds: float) -> None:
    with pytest.raises(ValueError, match=f"seconds {seconds}: expected a time"):
        NearbyFrames(seconds)


def test_a_source_without_tracks_is_refused() -> None:
    class Alone(HandSource):
        name, num_hands = "alone", 4

        def __getitem__(self, index: int) -> HandSample:
            pytest.fail(f"hand {index} was read: a source without tracks is refused before")

    with pytest.raises(ValueError, match="alone does not know which hands are of one track"):
        PairedViewDataset([Alone()], NearbyFrames())

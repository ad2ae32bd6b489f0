"""Pairs of two cameras' images of one moment: which, with which geometry, and never contrasted with each other."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from peclr.data.datamodules import PairedViewDataModule
from peclr.data.datasets import Augmentation, PairedViewDataset
from peclr.data.loading.pairing import AcrossCameras, NearbyFrames, Similar
from peclr.data.loading.pairs_file import MinedPairs, write_pairs
from peclr.data.samples import HandSample, HandSource, PairedViewItem, hand_sample
from peclr.data.sources.composed import JoinedHands, SelectedHands
from peclr.data.sources.selection import cameras_of, same_hand, split_source
from peclr.data.sources.some_hands import listed
from peclr.data.views.geometric import GeometryRange
from peclr.losses.objectives import PeCLR, SimCLR
from peclr.training.pretrain import false_negatives

NEIGHBORS = {0: [1, 3], 1: [0, 2], 2: [1], 3: [0]}


class Seen(HandSource):
    """Recordings of 3 frames by 4 cameras, two versions each; the last hands are of no moment."""

    name = "seen"

    def __init__(self, recordings: int = 6, alone: int = 2, *, tracked: bool = True) -> None:
        self.recording, self.frame, self.camera = np.indices((recordings, 3, 4)).reshape(3, -1)
        self.alone, self.tracked = alone, tracked
        self.num_hands = len(self.camera) + alone

    def __len__(self) -> int:
        return 2 * self.num_hands

    def hand_of(self, index: int) -> int:
        return index % self.num_hands

    def versions_of(self, hand: int) -> range:
        return range(hand, len(self), self.num_hands)

    def __getitem__(self, index: int) -> HandSample:
        image = np.random.default_rng(index).integers(0, 256, (16, 16, 3), np.uint8)
        return hand_sample(image, np.array([0.0, 0.0, 16.0, 16.0]), str(index), "right")

    def frame_of_hands(self) -> NDArray[np.int64]:
        return np.concatenate([self.recording * 3 + self.frame, np.full(self.alone, -1)])

    def camera_of_hands(self) -> NDArray[np.int64]:
        return np.concatenate([self.camera, np.zeros(self.alone, np.int64)])

    def video_of_hands(self) -> NDArray[np.int64]:
        return np.concatenate([self.recording * 4 + self.camera, 24 + np.arange(self.alone)])

    def track_of_hands(self) -> NDArray[np.int64]:
        return np.where(self.frame_of_hands() < 0, -1, self.video_of_hands() if self.tracked else -1)

    def time_of_hands(self) -> NDArray[np.float64]:
        return np.concatenate([self.frame / 5, np.full(self.alone, np.nan)])


def partners(dataset: PairedViewDataset, item: int, epochs: int = 80) -> set[int]:
    """The hands of the second view; the first is of the item itself."""
    source = dataset.sources[0]
    drawn = [dataset.images_of((epoch, item))[1] for epoch in range(epochs)]
    assert {source.hand_of(first) for first, _ in drawn} == {item}
    return {source.hand_of(second) for _, second in drawn}


@pytest.mark.parametrize("neighbors", [None, NEIGHBORS])
def test_the_second_view_is_of_another_camera_at_the_same_moment(neighbors: dict[int, list[int]] | None) -> None:
    source = Seen()
    dataset = PairedViewDataset([source], AcrossCameras(neighbors), view_size=16)
    assert len(dataset) == source.num_hands
    for item in (0, 5, 30, 71):
        moment, camera = divmod(item, 4)
        allowed = neighbors[camera] if neighbors else [other for other in range(4) if other != camera]
        assert partners(dataset, item) == {4 * moment + other for other in allowed}
    images = {dataset.images_of((epoch, 2))[1] for epoch in range(200)}
    assert {first for first, _ in images} == {2, 2 + source.num_hands}, "both versions"
    assert partners(dataset, source.num_hands - 1) == {source.num_hands - 1}, "seen by one camera alone"


def test_some_hands_of_a_source_are_paired_among_themselves(caplog: pytest.LogCaptureFixture) -> None:
    selected = SelectedHands(Seen(), [9, 1, 4, 6, 3, 73])  # cameras 1 of moment 2, 1 and 3 of 0, 0 and 2 of 1, none
    with caplog.at_level(logging.INFO):
        dataset = PairedViewDataset([selected], "across_cameras", view_size=16)
    assert [partners(dataset, item) for item in range(6)] == [{0}, {4}, {3}, {2}, {1}, {5}]
    assert "4 of 6 hands are paired with another camera's, where there is nothing to undo" in caplog.text
    dataset = PairedViewDataset([selected], AcrossCameras(NEIGHBORS), view_size=16)
    assert [partners(dataset, item) for item in range(6)] == [{n} for n in range(6)]  # 1 and 3, 0 and 2 are none


def test_objectives_get_the_identity_across_cameras_alone() -> None:
    turned = Augmentation(GeometryRange(rotation=(60.0, 90.0)))
    dataset = PairedViewDataset([Seen()], AcrossCameras(share=0.5), view_size=16, augmentation=turned, seed=1)
    across, within = list[PairedViewItem](), list[PairedViewItem]()
    for item in range(len(dataset)):
        source, (first, second) = dataset.images_of(item)
        apart = source.hand_of(first) != source.hand_of(second)
        (across if apart else within).append(dataset[item])
    assert 20 < len(across) < 52, "about half"
    identity = torch.eye(3).expand(2, 3, 3)
    assert all(torch.equal(item["view_from_crop"], identity) for item in across)
    angles = torch.stack([item["view_from_crop"][:, 0, 1] for item in within]).abs()
    assert (angles > 0.5).all(), "views of one camera are undone"
    drawn = torch.stack([item["view_from_image"][:, 0, 1] for item in across]).abs()
    assert (drawn > 0.5).all(), "what was drawn is still said"
    projections = torch.randn(len(across), 2, 8, generator=torch.Generator().manual_seed(0))
    matrices = torch.stack([item["view_from_crop"] for item in across])
    torch.testing.assert_close(PeCLR()(projections, matrices), SimCLR()(projections, matrices))


def test_other_cameras_and_other_frames_are_no_negatives() -> None:
    """They are one hand: a recording, by way of tracks and moments; the moment alone where there are no tracks."""
    source = Seen()
    np.testing.assert_array_equal(same_hand(source), [12 * (hand // 12) for hand in range(72)] + [72, 73])
    untracked = same_hand(Seen(tracked=False))
    np.testing.assert_array_equal(untracked, [4 * (hand // 4) for hand in range(72)] + [72, 73])
    for pairing in ("same_image", "across_cameras", NearbyFrames(0.2)):
        module = PairedViewDataModule(
            sources=source, pairing=pairing, view_size=16, batch_size=4, val_fraction=0.0, unique_hands_in_batch=True
        )
        batches = torch.stack([batch["hand"] for batch in module.train_dataloader()])
        assert len(set(batches.flatten().tolist())) == 8, "recordings, and hands alone"
        assert [float(false_negatives(row)) for row in batches].count(0.0) >= 0.9 * len(batches)
    with pytest.raises(ValueError, match=r"32 pairs 32 are from seen, which has 8 hands \(tracks\)"):
        PairedViewDataModule(sources=source, batch_size=32, val_fraction=0.0, unique_hands_in_batch=True)


def test_no_split_separates_what_cameras_saw_at_once() -> None:
    training, held = map(listed, split_source(Seen(), 0.2, 0))
    recordings = np.arange(74) // 12
    assert len(held) == 14 or len(held) == 12
    assert not set(recordings[training].tolist()) & set(recordings[held].tolist()) - {6}


def test_similar_hands_are_never_another_camera_s_view(tmp_path: Path) -> None:
    source = Seen(alone=0)
    neighbors = np.stack([np.arange(72) ^ 1, (np.arange(72) + 12) % 72], axis=1).astype(np.int32)
    pairs = MinedPairs("seen", source.identity(), neighbors, np.ones((72, 2), np.float32))
    write_pairs(tmp_path / "pairs.npz", [pairs], {})
    dataset = PairedViewDataset([source], Similar(tmp_path / "pairs.npz", nearest=2), view_size=16)
    assert all(partners(dataset, item, 20) == {(item + 12) % 72} for item in range(0, 72, 7))


def test_sources_are_mixed_each_with_its_own_pairing() -> None:
    class Alone(HandSource):
        name, num_hands = "alone", 4

        def __getitem__(self, index: int) -> HandSample:
            image = np.zeros((16, 16, 3), np.uint8)
            return hand_sample(image, np.array([0.0, 0.0, 16.0, 16.0]), str(index))

    mixed = PairedViewDataset([Seen(), Alone()], ["across_cameras", "same_image"], view_size=16)
    assert len(mixed) == 74 + 4
    assert mixed.images_of(76)[1] == (2, 2)
    assert [mixed[item]["hand"] for item in (1, 13, 72, 77)] == [0, 12, 72, 77]
    with pytest.raises(ValueError, match="alone does not know which images are of one moment"):
        PairedViewDataset([Seen(), Alone()], "across_cameras")
    with pytest.raises(ValueError, match="pairing lists 1; expected one for all sources, or one for each of 2"):
        PairedViewDataset([Seen(), Alone()], ["across_cameras"])
    joined = JoinedHands([Alone(), Seen(alone=0), Seen(alone=0)])
    cameras = cameras_of(joined)
    assert cameras is not None
    assert cameras.frame[:4].tolist() == [-1] * 4
    assert len(set(cameras.frame.tolist())) == 1 + 18 + 18
    assert cameras_of(JoinedHands([Alone()])) is None
    assert partners(PairedViewDataset([joined], "across_cameras", view_size=16), 4 + 72) == {77 + n for n in range(3)}


def test_pairs_are_a_function_of_seed_epoch_and_item() -> None:
    def drawn(seed: int) -> list[tuple[int, int]]:
        dataset = PairedViewDataset([Seen()], AcrossCameras(share=0.7), view_size=16, seed=seed)
        return [dataset.images_of((2, item))[1] for item in range(30)]

    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)


def test_views_are_the_same_whatever_loads_them() -> None:
    def batches(workers: int) -> list[torch.Tensor]:
        data = PairedViewDataModule(
            sources=Seen(), pairing=AcrossCameras(share=0.5), view_size=16, batch_size=8, num_workers=workers, seed=4
        )
        return [batch["views"] for batch in data.train_dataloader()]

    alone, shared = batches(0), batches(2)
    assert len(alone) == len(shared) > 4
    assert all(map(torch.equal, alone, shared))


@pytest.mark.parametrize(
    ("neighbors", "reason"),
    [
        ({0: [1], 1: [0], 2: [9], 3: [0]}, r"neighbors: seen has no camera 9; it has 0, 1, 2, 3"),
        ({0: [1], 1: [0], 2: [3]}, r"neighbors: there are none of camera 3 of seen"),
        ({-1: [0]}, r"seen has no camera -1"),
    ],
)
def test_neighbors_are_cameras_of_the_source(neighbors: dict[int, list[int]], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        PairedViewDataset([Seen()], AcrossCameras(neighbors))


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5, float("nan")])
def test_a_share_is_a_part(share: float) -> None:
    with pytest.raises(ValueError, match=f"share {share}: expected how many of the pairs are across cameras"):
        AcrossCameras(share=share)

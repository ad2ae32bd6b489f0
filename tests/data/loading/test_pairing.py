"""Pairs of similar hands: who is paired with whom, on which file, with which sources."""

from argparse import ArgumentError
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import pytorch_lightning as pl
from jsonargparse import ArgumentParser

from peclr.data.datamodules import PairedViewDataModule
from peclr.data.datasets import PairedViewDataset
from peclr.data.loading.pairing import AcrossVersions, Pairing, SameImage, Similar
from peclr.data.loading.pairs_file import NOBODY, MinedPairs, read_pairs, write_pairs
from peclr.data.samples import HandSource
from peclr.data.sources.composed import SelectedHands
from peclr.data.sources.freihand import FreiHAND

if TYPE_CHECKING:
    from tests.data.conftest import Layout

# of six hands, two for each
NEIGHBORS = np.array([[1, 2], [0, 3], [5, 4], [4, 5], [3, 2], [2, NOBODY]], np.int32)


def mined(source: HandSource, neighbors: Any = NEIGHBORS) -> MinedPairs:
    distances = np.where(np.asarray(neighbors) == NOBODY, np.nan, 0.5).astype(np.float32)
    return MinedPairs(source.name, source.identity(), neighbors, distances)


@pytest.fixture
def hands(layout: "Layout") -> FreiHAND:
    return FreiHAND(layout.root)


@pytest.fixture
def pairs(hands: FreiHAND, tmp_path: Path) -> Path:
    write_pairs(tmp_path / "pairs.npz", [mined(hands)], {"method": "by hand"})
    return tmp_path / "pairs.npz"


def drawn(dataset: PairedViewDataset, epochs: int = 24) -> dict[int, set[int]]:
    """The second hands that each hand was paired with."""
    partners: dict[int, set[int]] = {}
    for epoch in range(epochs):
        for index in range(len(dataset)):
            source, (first, second) = dataset.images_of((epoch, index))
            partners.setdefault(source.hand_of(first), set()).add(source.hand_of(second))
    return partners


def test_the_nearest_hand_is_the_partner(hands: FreiHAND, pairs: Path) -> None:
    dataset = PairedViewDataset([hands], Similar(pairs), view_size=16)
    assert len(dataset) == 6
    assert drawn(dataset) == {hand: {int(NEIGHBORS[hand, 0])} for hand in range(6)}
    images = {dataset.images_of((epoch, 0))[1] for epoch in range(60)}
    assert images == {(first, second) for first in (0, 6, 12) for second in (1, 7, 13)}  # all versions of both


def test_the_partner_is_any_of_the_nearest(hands: FreiHAND, pairs: Path) -> None:
    dataset = PairedViewDataset([hands], Similar(pairs, nearest=2), view_size=16)
    assert drawn(dataset) == {hand: {*NEIGHBORS[hand].tolist()} - {NOBODY} for hand in range(6)}


def test_partners_that_are_held_out_give_way_to_the_next(hands: FreiHAND, pairs: Path) -> None:
    selected = SelectedHands(hands, [4, 0, 3, 1])
    # 4 → 3; 0 → 1; 3 → 4; 1 → 0, in the numbers of the selection
    assert drawn(PairedViewDataset([selected], Similar(pairs), view_size=16)) == {0: {2}, 1: {3}, 2: {0}, 3: {1}}
    selected = SelectedHands(hands, [5, 1, 3])
    # 5 lost both; 1 lost the first and keeps 3; 3 has 5
    assert drawn(PairedViewDataset([selected], Similar(pairs), view_size=16)) == {0: {0}, 1: {2}, 2: {0}}


def test_a_hand_without_partner_is_paired_across_its_versions(hands: FreiHAND, pairs: Path) -> None:
    dataset = PairedViewDataset([SelectedHands(hands, [5, 1, 3])], Similar(pairs), view_size=16)
    for epoch in range(12):
        _, (first, second) = dataset.images_of((epoch, 0))
        assert first != second


def test_pairs_depend_on_seed_epoch_and_index_alone(hands: FreiHAND, pairs: Path) -> None:
    one, two = (PairedViewDataset([hands], Similar(pairs, 2), view_size=16) for _ in (0, 1))
    two[5, 1]
    for epoch in range(8):
        assert one.images_of((epoch, 2))[1] == two.images_of((epoch, 2))[1]
    other = PairedViewDataset([hands], Similar(pairs, 2), view_size=16, seed=1)
    assert [one.images_of((e, 2))[1] for e in range(8)] != [other.images_of((e, 2))[1] for e in range(8)]


def test_each_source_is_paired_within_itself(layout: "Layout", hands: FreiHAND, tmp_path: Path) -> None:
    evaluation = FreiHAND(layout.root, "evaluation")
    file = tmp_path / "both.npz"
    write_pairs(file, [mined(evaluation, np.array([[1], [0]], np.int32)), mined(hands)], {})
    dataset = PairedViewDataset([hands, evaluation], Similar(file), view_size=16)
    assert dataset.sizes == [6, 2]
    for index in range(8):
        source, images = dataset.images_of(index)
        assert source is (hands if index < 6 else evaluation)
        assert max(images) < len(source)
        assert source.hand_of(images[0]) != source.hand_of(images[1])


def test_pairs_of_other_hands_are_refused(layout: "Layout", pairs: Path) -> None:
    with pytest.raises(ValueError, match=r"pairs\.npz lists similar hands of others .*6 hands of freihand"):
        PairedViewDataset([FreiHAND(layout.root, "evaluation")], Similar(pairs))
    layout.edit("training_K.json", lambda cameras: cameras.reverse())
    with pytest.raises(ValueError, match="mine this source as it is now"):
        PairedViewDataset([FreiHAND(layout.root)], Similar(pairs))


def test_identities_do_not_depend_on_the_crop(layout: "Layout", hands: FreiHAND) -> None:
    assert FreiHAND(layout.root, crop="image", crop_margin=2).identity() == hands.identity()
    assert FreiHAND(layout.root, "evaluation").identity() != hands.identity()


def test_more_neighbors_than_there_are_are_refused(pairs: Path) -> None:
    with pytest.raises(ValueError, match=r"nearest 3: .* lists 2"):
        Similar(pairs, nearest=3)
    with pytest.raises(ValueError, match="nearest 0"):
        Similar(pairs, nearest=0)


def test_pairs_survive_the_file(hands: FreiHAND, pairs: Path) -> None:
    [read], facts = read_pairs(pairs)
    expected = mined(hands)
    assert (read.source, read.identity, facts) == ("freihand", expected.identity, {"method": "by hand"})
    np.testing.assert_array_equal(read.neighbors, expected.neighbors)
    np.testing.assert_array_equal(read.distances, expected.distances)
    with pytest.raises(FileExistsError, match=r"pairs\.npz"):
        write_pairs(pairs, [expected], {})


def test_files_that_are_not_pairs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere\.npz cannot be read"):
        Similar(tmp_path / "nowhere.npz")
    text, pickled, future = tmp_path / "text.npz", tmp_path / "pickled.npz", tmp_path / "future.npz"
    text.write_text("pairs")
    np.savez(pickled, header=np.array([{"a": 1}], object))
    np.savez(future, header=np.frombuffer(b'{"format": 99}', np.uint8))
    for path in (text, pickled):
        with pytest.raises(ValueError, match=f"{path.name} is not a pairs file"):
            Similar(path)
    with pytest.raises(ValueError, match=r"future\.npz: format 99"):
        Similar(future)


@pytest.mark.parametrize(
    ("neighbors", "named"), [([[1], [1]], "hand 1 .* neighbor 1"), ([[1], [2]], "neighbor 2"), ([[-3], [0]], "-3")]
)
def test_neighbors_that_cannot_be_are_named(hands: FreiHAND, tmp_path: Path, neighbors: Any, named: str) -> None:
    path = tmp_path / "wrong.npz"
    write_pairs(path, [mined(hands, np.array(neighbors, np.int32))], {})
    with pytest.raises(ValueError, match=rf"wrong\.npz: .*{named}"):
        read_pairs(path)


@pytest.mark.parametrize(
    ("choice", "kind"),
    [("same_image", SameImage), ("across_versions", AcrossVersions), ({"class_path": "Similar"}, Similar)],
)
def test_configs_name_pairings(hands: FreiHAND, pairs: Path, choice: Any, kind: type[Pairing]) -> None:
    if kind is Similar:
        choice = {**choice, "init_args": {"pairs": str(pairs), "nearest": 2}}
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(pl.LightningDataModule, "data")
    source = {"class_path": "FreiHAND", "init_args": {"root": str(hands.root)}}
    config: dict[str, Any] = {
        "class_path": "PairedViewDataModule",
        "init_args": {"sources": source, "pairing": choice, "batch_size": 2, "val_fraction": 0.34},
    }
    module = parser.instantiate_classes(parser.parse_object({"data": config})).data
    assert isinstance(module, PairedViewDataModule)
    assert len(module.train_set) == (12 if kind is SameImage else 4)
    config["init_args"]["pairing"] = "across_hands"
    with pytest.raises(ArgumentError, match="across_hands"):
        parser.parse_object({"data": config})

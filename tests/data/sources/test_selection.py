from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from peclr.data.samples import HandSample, HandSource, HasJoints2D, HasMasks, HasVideos, require_masks
from peclr.data.sources.composed import JoinedHands, SelectedHands
from peclr.data.sources.freihand import FreiHAND
from peclr.data.sources.selection import groups_of, hand_count, split_hands, tracks_of
from peclr.data.sources.youtube3d import YouTube3DHands

if TYPE_CHECKING:
    from tests.data.conftest import Layout, YouTube


def test_splits_are_disjoint_complete_and_reproducible() -> None:
    train, val = (list(part) for part in split_hands(100, 0.2, seed=0))
    assert (len(train), len(val)) == (80, 20)
    assert sorted(train + val) == list(range(100))
    assert [list(part) for part in split_hands(100, 0.2, seed=0)] == [train, val]
    assert list(split_hands(100, 0.2, seed=1)[1]) != val
    assert train != sorted(train)


def test_nothing_need_be_held_out() -> None:
    train, val = split_hands(7, 0, seed=0)
    assert sorted(train) == list(range(7))
    assert len(val) == 0


@pytest.mark.parametrize(("amount", "count"), [(1.0, 40), (0.25, 10), (0.001, 1), (1, 1), (40, 40)])
def test_fractions_and_counts(amount: float, count: int) -> None:
    assert hand_count(amount, 40, "labels") == count


@pytest.mark.parametrize("amount", [0.0, -0.5, 1.5, 0, 41, -3])
def test_amounts_beyond_what_there_is_are_refused(amount: float) -> None:
    with pytest.raises(ValueError, match=rf"labels {amount}"):
        hand_count(amount, 40, "labels")


def test_holding_out_everything_is_refused() -> None:
    with pytest.raises(ValueError, match="holds out all 3 hands"):
        split_hands(3, 0.99, seed=0)


def test_selected_hands_keep_all_of_their_versions(layout: Layout) -> None:
    source = FreiHAND(layout.root)
    selected = SelectedHands(source, [4, 1])
    assert (len(selected), selected.num_hands, selected.name) == (6, 2, "freihand")
    ids = [[selected[index]["id"] for index in selected.versions_of(hand)] for hand in range(2)]
    assert ids == [[source[index]["id"] for index in source.versions_of(hand)] for hand in (4, 1)]
    assert [selected.hand_of(index) for index in range(6)] == selected.hand_of_images().tolist() == [0, 0, 0, 1, 1, 1]


def test_selecting_nothing_is_refused(layout: Layout) -> None:
    with pytest.raises(ValueError, match="of the 6 in freihand"):
        SelectedHands(FreiHAND(layout.root), [])


def test_what_only_some_sources_have_is_asked_of_them(layout: Layout, youtube: YouTube) -> None:
    hands, of_videos = FreiHAND(layout.root), YouTube3DHands(youtube.root)
    have = {kind: [isinstance(s, kind) for s in (hands, of_videos)] for kind in (HasMasks, HasJoints2D, HasVideos)}
    assert have == {HasMasks: [True, False], HasJoints2D: [True, False], HasVideos: [False, True]}
    assert of_videos.video_of_hands().tolist() == [0, 0, 0, 0]
    joints = hands.joints_2d_of_hands()
    assert joints is not None
    np.testing.assert_array_equal(joints[2], hands[8]["joints_2d"])
    for source in (of_videos, SelectedHands(of_videos, [1])):
        with pytest.raises(ValueError, match="youtube3d has no masks of its hands"):
            require_masks(source).check_masks()


def test_joined_hands_are_those_of_their_sources_in_turn(layout: Layout) -> None:
    parts = [FreiHAND(layout.root), FreiHAND(layout.root, "evaluation")]
    joined = JoinedHands(parts)
    assert (len(joined), joined.num_hands) == (20, 8)
    assert [joined[index]["id"] for index in (0, 17, 18, 19)] == [
        *("training/00000000", "training/00000017"),
        *("evaluation/00000000", "evaluation/00000001"),
    ]
    assert joined.read(18, 8)["id"] == "evaluation/00000000"
    for hand in range(joined.num_hands):
        assert {joined.hand_of(image) for image in joined.versions_of(hand)} == {hand}
    assert sorted(image for hand in range(8) for image in joined.versions_of(hand)) == list(range(20))
    with pytest.raises(IndexError):
        joined[20]
    assert joined.identity() not in {JoinedHands(parts[::-1]).identity(), parts[0].identity()}


class Followed(HandSource):
    """Hands that may have been followed, and may belong together."""

    name = "followed"

    def __init__(self, tracks: list[int], groups: list[int] | None) -> None:
        self.num_hands, self._tracks, self._groups = len(tracks), np.array(tracks), groups

    def __getitem__(self, index: int) -> HandSample:
        pytest.fail(f"hand {index} was read: tracks and groups are known without images")

    def track_of_hands(self) -> NDArray[np.int64]:
        return self._tracks

    def time_of_hands(self) -> NDArray[np.float64]:
        return np.where(self._tracks < 0, np.nan, np.arange(self.num_hands))

    def video_of_hands(self) -> NDArray[np.int64]:
        return np.zeros(self.num_hands, np.int64)

    def group_of_hands(self) -> NDArray[np.int64] | None:
        return None if self._groups is None else np.array(self._groups)


def test_tracks_and_groups_of_joined_hands_stay_apart(layout: Layout) -> None:
    joined = JoinedHands([Followed([0, 0, -1], [4, 4, 4]), FreiHAND(layout.root), Followed([1, 1], None)])
    tracks, groups = tracks_of(joined), groups_of(joined)
    assert tracks is not None
    assert tracks.track.tolist() == [0, 0, -1, *[-1] * 6, 2, 2]
    assert np.isnan(tracks.time).tolist() == [False, False, True, *[True] * 6, False, False]
    assert groups is not None
    assert groups[:3].tolist() == [4, 4, 4]
    assert len(set(groups.tolist())) == 1 + 6 + 2, "who is of no group is alone"
    assert tracks_of(JoinedHands([FreiHAND(layout.root)])) is None


def test_images_of_joined_hands_are_those_of_each(layout: Layout) -> None:
    """All at once as one by one, in any order, of sources with several versions and with one."""
    joined = JoinedHands([FreiHAND(layout.root), FreiHAND(layout.root, "evaluation"), FreiHAND(layout.root)])
    assert joined.hand_of_images().tolist() == [joined.hand_of(image) for image in range(len(joined))]
    order = np.random.default_rng(0).permutation(joined.num_hands)
    for hands in (order, order[:3], np.array([13, 0, 13, 6]), order[:0]):
        images, versions = joined.images_of_hands(hands)
        assert [list(part) for part in np.split(images, np.cumsum(versions)[:-1]) if len(hands)] == [
            list(joined.versions_of(hand)) for hand in hands.tolist()
        ]
    assert joined.source_of_hands().tolist() == [0] * 6 + [1] * 2 + [2] * 6

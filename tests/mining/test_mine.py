"""Mining: descriptors, neighbors against brute force, and the command."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from peclr.__main__ import main
from peclr.data.datasets import PairedViewDataset
from peclr.data.loading.pairing import Similar
from peclr.data.loading.pairs_file import NOBODY, read_pairs
from peclr.data.sources.freihand import FreiHAND
from peclr.mining import descriptors, neighbors
from peclr.mining.descriptors import describe, normalize_joints, principal_axes
from peclr.mining.neighbors import nearest


def cloud(count: int, width: int = 10, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


def brute_force(points: NDArray[np.float32], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """Distances (N, N) with those within a group infinite."""
    exact = points.astype(np.float64)
    distance: NDArray[np.float64] = np.linalg.norm(exact[:, None] - exact[None], axis=-1)
    distance[groups[:, None] == groups[None]] = np.inf
    return distance


@pytest.mark.parametrize("videos", [False, True])
def test_neighbors_are_those_of_brute_force(*, videos: bool) -> None:
    points = cloud(400)
    groups = np.sort(np.random.default_rng(1).integers(0, 6, 400)) if videos else np.arange(400)
    points[:, 0] += 8 * groups if videos else 0  # the nearest are of the same video
    found, distances = nearest(points, 3, groups if videos else None)
    expected = brute_force(points, groups)
    np.testing.assert_array_equal(found, np.argsort(expected, axis=1)[:, :3])
    np.testing.assert_allclose(distances, np.sort(expected, axis=1)[:, :3], rtol=1e-3)


def test_fewer_hands_than_neighbors_leave_places_empty() -> None:
    found, distances = nearest(cloud(4), 6, np.array([0, 0, 0, 1]))
    assert (found[:3, 0] == 3).all()
    assert (found[:3, 1:] == NOBODY).all()
    assert np.isnan(distances[:3, 1:]).all()
    assert sorted(found[3, :3]) == [0, 1, 2]


def test_the_approximate_search_recalls_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    points = cloud(6000)
    exact, _ = nearest(points, 1)
    monkeypatch.setattr(neighbors, "EXACT_UP_TO", 1000)
    # as many lists for each probe as 100,000 hands would have
    monkeypatch.setattr(neighbors, "_LISTS_PER_ROOT", 2)
    approximate, _ = nearest(points, 1)
    assert (exact == approximate).mean() >= 0.99


def test_blocks_do_not_change_what_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    points, videos = cloud(100), np.arange(100) // 20
    whole = nearest(points, 3, videos)
    monkeypatch.setattr(neighbors, "_BLOCK", 7)
    monkeypatch.setattr(neighbors, "_ANSWERS", 60)  # for 12 hands and more, fewer than 7 at a time
    blocked = nearest(points, 3, videos, progress=True)
    for expected, found in zip(whole, blocked, strict=True):
        np.testing.assert_allclose(expected, found, rtol=1e-4)
    assert "100/100" in capsys.readouterr().err


def test_the_approximate_search_looks_beyond_a_video(monkeypatch: pytest.MonkeyPatch) -> None:
    videos = np.arange(1500) // 500
    points = cloud(1500)
    points[:, 0] += 100 * videos  # the lists near a hand are all of its video
    monkeypatch.setattr(neighbors, "EXACT_UP_TO", 100)
    monkeypatch.setattr(neighbors, "_LISTS_PER_ROOT", 0.5)  # FAISS wants 39 points to train each list
    monkeypatch.setattr(neighbors, "_PROBED", 1)
    found, _ = nearest(points, 2, videos)
    assert (found != NOBODY).all()
    assert (videos[found] != videos[:, None]).all()


@pytest.fixture
def coded(monkeypatch: pytest.MonkeyPatch) -> float:
    """Memory, GB, in which lists of 2,000 hands hold codes only."""
    monkeypatch.setattr(neighbors, "EXACT_UP_TO", 100)
    monkeypatch.setattr(neighbors, "_LISTS_PER_ROOT", 0.2)
    monkeypatch.setattr(neighbors, "_PROBED", 4)
    return 0.999 * neighbors.bytes_of_lists(2000, 11) / 1e9


def test_codes_find_candidates_and_descriptors_say_which_are_nearest(coded: float, tmp_path: Path) -> None:
    points = cloud(2000, 3) @ cloud(3, 11, seed=1)  # an odd number of components, of few dimensions, as poses
    np.save(tmp_path / "points.npy", points)
    mapped = np.load(tmp_path / "points.npy", mmap_mode="r")
    found = nearest(mapped, 2, memory_gb=coded, folder=tmp_path)
    expected = brute_force(points, np.arange(2000))
    assert (found.numbers == np.argsort(expected, axis=1)[:, :2]).mean() >= 0.95
    exact = np.linalg.norm(points[found.numbers] - points[:, None], axis=2)
    np.testing.assert_allclose(found.distances, exact, rtol=1e-4)
    assert (np.diff(found.distances) >= 0).all()
    np.testing.assert_array_equal(np.load(tmp_path / "neighbors.npy"), found.numbers)


@pytest.mark.parametrize("widest", [256, 2])
def test_codes_never_find_hands_of_ones_own_track(coded: float, monkeypatch: pytest.MonkeyPatch, widest: int) -> None:
    tracks = np.random.default_rng(2).permutation(np.arange(2000) // 400)
    points = cloud(2000, 11)
    points[:, 0] += 100 * tracks  # the lists near a hand are all of its track
    monkeypatch.setattr(neighbors, "_PROBED", 1)
    monkeypatch.setattr(neighbors, "_WIDEST", widest)
    found, distances = nearest(points, 2, tracks, memory_gb=coded)
    assert (found != NOBODY).all()
    assert (tracks[found] != tracks[:, None]).all()
    assert (distances > 90).all()


def test_all_others_are_found_where_those_of_a_track_are_very_many(monkeypatch: pytest.MonkeyPatch) -> None:
    points = cloud(600)
    tracks = np.r_[np.zeros(595, np.int64), 1, 1, 2, 3, 4]
    monkeypatch.setattr(neighbors, "_WIDEST", 16)
    found, distances = nearest(points, 7, tracks)
    expected = brute_force(points, tracks)
    order = np.argsort(expected, axis=1)[:, :7]
    np.testing.assert_array_equal(found, np.where(np.isinf(np.take_along_axis(expected, order, 1)), NOBODY, order))
    assert (np.isnan(distances) == (found == NOBODY)).all()
    assert (found[:595, 5:] == NOBODY).all()


def test_a_budget_that_not_even_codes_keep_is_refused(coded: float) -> None:
    with pytest.raises(ValueError, match=r"--memory-gb 1e-06: lists of 2,000 hands take at least 0\.0001 GB"):
        nearest(cloud(2000, 11), 2, memory_gb=1e-6)


def test_descriptors_do_not_depend_on_place_and_size() -> None:
    joints = np.random.default_rng(0).normal(size=(5, 21, 2))
    moved = joints * np.array([2, 0.5, 9, 1, 3])[:, None, None] + np.arange(10).reshape(5, 1, 2)
    np.testing.assert_allclose(normalize_joints(joints), normalize_joints(moved), atol=1e-5)
    turned = joints[..., ::-1] * [1, -1]
    assert np.abs(normalize_joints(joints) - normalize_joints(turned)).max() > 0.5
    partly = joints.copy()
    partly[:, 6:] = np.nan
    assert normalize_joints(partly).shape == (5, 12)


def test_joints_that_cannot_be_compared_are_refused() -> None:
    joints = np.random.default_rng(0).normal(size=(4, 21, 2))
    joints[2] = 7
    with pytest.raises(ValueError, match="hand 2 has all of its joints at one place"):
        normalize_joints(joints)
    joints[1, 2:] = np.nan
    with pytest.raises(ValueError, match="all hands know 2"):
        normalize_joints(joints)


def test_components_keep_distances_as_far_as_they_explain_the_variance() -> None:
    flat = cloud(50, 3) @ cloud(3, 42, seed=1)  # a plane of three dimensions
    axes = principal_axes(lambda: [flat], 3)
    components, share = axes.project(flat), axes.share
    assert share == pytest.approx(1)
    expected = np.linalg.norm(flat[:25] - flat[25:], axis=1)
    np.testing.assert_allclose(np.linalg.norm(components[:25] - components[25:], axis=1), expected, rtol=1e-3)
    assert principal_axes(lambda: [flat], 2).share < 1


def test_many_hands_are_described_in_blocks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    joints = np.random.default_rng(0).normal(size=(50, 21, 2)).astype(np.float32)
    joints[31, 4] = np.nan  # of no hand is this joint used, then
    whole, share = describe(joints, 5)
    monkeypatch.setattr(descriptors, "_BLOCK", 7)
    blocks, same_share = describe(joints, 5, tmp_path / "described.npy")
    np.testing.assert_allclose(blocks, whole, atol=1e-5)
    assert share == pytest.approx(same_share)
    np.testing.assert_array_equal(np.load(tmp_path / "described.npy"), blocks)
    joints[33] = 1
    with pytest.raises(ValueError, match="hand 33 has all"):
        describe(joints, 5)


def test_the_command_writes_pairs_that_training_reads(
    rendered_hands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pairs.npz"
    assert main(["mine", str(rendered_hands), "--out", str(out), "--neighbors", "3"]) == 0
    assert "24 hands" in capsys.readouterr().out
    [mined], facts = read_pairs(out)
    assert mined.neighbors.shape == (24, 3)
    assert facts["neighbors"] == 3
    image = cv2.imread(str(tmp_path / "pairs.png"))
    assert image is not None
    assert image.std() > 20
    source = FreiHAND(rendered_hands)
    dataset = PairedViewDataset([source], Similar(out), view_size=16)
    _, (first, second) = dataset.images_of((0, 5))
    assert (first % 24, second % 24) == (5, mined.neighbors[5, 0])
    assert main(["mine", str(rendered_hands), "--out", str(out)]) == 2
    assert "nothing is overwritten" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--neighbors", "0"], "--neighbors 0"),
        (["--memory-gb", "0"], "--memory-gb 0.0: expected more than 0"),
        (["--other-video"], "which video a hand of freihand is from is not known"),
        (["--split", "val"], "has no split val"),
    ],
)
def test_what_cannot_be_mined_is_said(
    rendered_hands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["mine", str(rendered_hands), "--out", str(tmp_path / "pairs.npz"), *options]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []

"""From a source's hands to mined pairs: joints of labels or of a network, neighbors, and a drawing of some."""

import time
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from peclr.data.loading.pairs_file import NOBODY, MinedPairs
from peclr.data.samples import HandSample, HandSource, HasJoints2D, HasVideos
from peclr.data.sources.selection import ByTrack, same_hand
from peclr.data.views.geometric import ViewGeometry, render_view
from peclr.drawing.skeleton import draw_skeleton
from peclr.drawing.tiles import sheet
from peclr.geometry.planar import move
from peclr.inference.hands import predict_source
from peclr.inference.network import TrainedNetwork
from peclr.mining.descriptors import normalize_joints, principal_components
from peclr.mining.neighbors import nearest

_BATCH: Final = 32  # views that the network looks at together
_TILE: Final = 144  # px
_COLUMNS: Final = 5  # neighbors drawn of each hand


def has_labels(source: HandSource) -> bool:
    """Whether a source has 2-D joints, by its first hand."""
    return _first_version(source, 0)["joints_2d"] is not None


def joints_of(source: HandSource, detector: TrainedNetwork | None) -> NDArray[np.float32]:
    """(hands, 21, 2), pixels of each hand's first version; NaN for joints that labels do not know.

    The detector finds them in the source's crop boxes; None takes the labels. Where the source knows no camera, one is
    assumed: only the wrist depends on it, as the network regresses the palm in its place. ValueError if a hand has no
    label, an image cannot be read, or the network predicts what is not finite.
    """
    if detector is not None:
        print(f"{source.name}: joints of {detector.checkpoint}, views of {detector.view_size} px")
        return np.stack([hand.keypoints_2d for hand in predict_source(detector, source, _BATCH)]).astype(np.float32)
    print(f"{source.name}: joints of the labels")
    if isinstance(source, HasJoints2D) and (known := source.joints_2d_of_hands()) is not None:
        return known
    joints = []
    for hand in tqdm(range(source.num_hands), desc=f"labels of {source.name}", unit=" hands", mininterval=0.5):
        sample = _first_version(source, hand)
        if sample["joints_2d"] is None:
            raise ValueError(f"{source.name}, {sample['id']}: no 2-D joints to compare hands by, others have some")
        joints.append(sample["joints_2d"])
    return np.stack(joints)


def video_of_hands(source: HandSource) -> NDArray[np.int64]:
    """(hands,), the number of the video that each hand is from; ValueError where it is not known."""
    if not isinstance(source, HasVideos):
        raise ValueError(f"--other-video: which video a hand of {source.name} is from is not known")
    return source.video_of_hands()


def hands_apart(source: HandSource) -> NDArray[np.int64] | None:
    """(hands,), a number that those share that are one hand, of a track or seen by several cameras; None if unknown."""
    same = same_hand(source)
    return same[np.arange(source.num_hands)] if isinstance(same, ByTrack) else same


def mine(
    source: HandSource,
    joints: NDArray[np.float32],
    groups: NDArray[np.int64] | None,
    neighbors: int,
    components: int,
    memory_gb: float,
) -> MinedPairs:
    """Find the nearest hands of each hand by its joints (21, 2), px, and print how well that went.

    Where groups (hands,) are given, only hands of other ones. ValueError if these joints cannot be compared.
    """
    started = time.perf_counter()
    try:
        poses = normalize_joints(joints)
    except ValueError as error:
        raise ValueError(f"{source.name}: {error}") from error
    descriptors, share = principal_components(poses, components)
    found, distances = nearest(descriptors, neighbors, groups, memory_gb=memory_gb, progress=True)
    seconds = time.perf_counter() - started
    alone = int((found[:, 0] == NOBODY).sum())
    print(
        f"{source.name}: {source.num_hands:,} hands in {seconds:.1f} s; {descriptors.shape[1]} components explain "
        f"{share:.1%}; median distance {np.nanmedian(distances[:, 0]) if alone < len(found) else np.nan:.3f}"
        + (f"; {alone:,} hands without a neighbor" if alone else "")
    )
    return MinedPairs(source.name, source.identity(), found, distances)


def draw_pairs(source: HandSource, joints: NDArray[np.floating], mined: MinedPairs, rows: int = 8) -> NDArray[np.uint8]:
    """Draw some hands, evenly chosen, each before its nearest neighbors with their distances; (H, W, 3), RGB."""

    def tile(hand: int) -> NDArray[np.uint8]:
        crop = render_view(_first_version(source, hand), ViewGeometry(), _TILE)
        return draw_skeleton(crop.image, move(crop.view_from_image, joints[hand]))

    tiles, titles = [], []
    for hand in np.unique(np.linspace(0, source.num_hands - 1, rows).astype(int)).tolist():
        row = zip(mined.neighbors[hand, :_COLUMNS].tolist(), mined.distances[hand, :_COLUMNS].tolist(), strict=True)
        near = {other: f"{other}: {distance:.2f}" for other, distance in row if other != NOBODY}
        tiles.append([tile(number) for number in (hand, *near)])
        titles.append([f"hand {hand}", *near.values()])
    return sheet(tiles, titles)


def _first_version(source: HandSource, hand: int) -> HandSample:
    return source[source.versions_of(hand)[0]]

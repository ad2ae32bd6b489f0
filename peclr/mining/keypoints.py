"""2-D joints to compare hands by: those of the labels, or those that a fine-tuned network finds."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from peclr.data.samples import HandSample, HandSource
from peclr.data.views.geometric import Matrix, pixels_to_keep, view_from_image, warp
from peclr.geometry.joints import NUM_JOINTS
from peclr.geometry.planar import DEFAULT_FOCAL_RATIO, centred_camera
from peclr.inference.network import TrainedNetwork
from peclr.inference.read_ahead import ReadAhead
from peclr.inference.two_pass import run_network

_BATCH: Final = 32  # views that the network looks at together
_THREADS: Final = 2  # that read pictures meanwhile


class _Look(NamedTuple):
    """What the network gets to see of a hand: pixels (S, S, 3), their camera K (3, 3), and the way back (3, 3)."""

    view: NDArray[np.uint8]
    K: Matrix
    photo_from_view: Matrix


def has_labels(source: HandSource) -> bool:
    """Whether a source tells 2-D joints, by its first hand."""
    return source.joints_2d_of_hands() is not None or source[source.versions_of(0)[0]]["joints_2d"] is not None


def labelled_joints(source: HandSource) -> NDArray[np.float32]:
    """(hands, 21, 2), pixels of each hand's first version, from the labels; NaN for joints that they do not know.

    Raises:
        ValueError: If a hand has none.
    """
    known = source.joints_2d_of_hands()
    if known is not None:
        return known
    joints = []
    for hand in tqdm(range(source.num_hands), desc=f"labels of {source.name}", unit=" hands", mininterval=0.5):
        sample = source[source.versions_of(hand)[0]]
        if sample["joints_2d"] is None:
            raise ValueError(f"{source.name}, {sample['id']}: no 2-D joints to compare hands by, others have some")
        joints.append(sample["joints_2d"])
    return np.stack(joints)


def detected_joints(trained: TrainedNetwork, source: HandSource) -> NDArray[np.float32]:
    """(hands, 21, 2), pixels of each hand's first version, as a network sees them in the source's crop boxes.

    Where the source knows no camera, the one that `peclr predict` takes is assumed. Only the wrist depends on it, as
    the network regresses the palm in its place.

    Args:
        trained: The network.
        source: Of right hands; where the side is not known, they are taken for such.

    Raises:
        ValueError: If an image cannot be read, or the network predicts what is not finite.
    """
    joints = np.empty((source.num_hands, NUM_JOINTS, 2), np.float32)
    look = partial(_look_at, source, trained.view_size)
    done = 0
    with (
        ThreadPoolExecutor(_THREADS, "peclr-crops") as pool,
        ReadAhead(range(source.num_hands), pool, look, 2 * _BATCH) as reading,
        tqdm(total=source.num_hands, desc=f"joints of {source.name}", unit=" hands", mininterval=0.5) as bar,
    ):
        looks = (future.result() for _, future in reading)
        while batch := list(islice(looks, _BATCH)):
            try:
                output = run_network(trained.network, [seen.view for seen in batch], [seen.K for seen in batch])
            except ValueError as error:
                raise ValueError(f"{trained.checkpoint}: {error}") from error
            back = np.stack([seen.photo_from_view for seen in batch])
            points = output["keypoints_2d"].numpy().astype(np.float64)
            joints[done : done + len(batch)] = points @ back[:, :2, :2].mT + back[:, None, :2, 2]
            done += len(batch)
            bar.update(len(batch))
    return joints


def _look_at(source: HandSource, size: int, hand: int) -> _Look:
    """The view of a hand's first version that fine-tuning shows without augmentation."""
    sample = source.read(source.versions_of(hand)[0], pixels_to_keep(size, 1.0))
    view_from_photo = view_from_image(np.eye(3), sample["crop_box"], size)
    photo_from_pixels = sample.get("photo_from_image", np.eye(3))
    view = warp(sample["image"], view_from_photo @ photo_from_pixels, size)
    photo_from_view = np.asarray(np.linalg.inv(view_from_photo), np.float64)
    return _Look(view, view_from_photo @ _camera(sample, photo_from_pixels), photo_from_view)


def _camera(sample: HandSample, photo_from_pixels: Matrix) -> Matrix:
    """K (3, 3) of the photograph, px: the source's, or an assumed one."""
    if sample["K"] is not None:
        return np.asarray(sample["K"], np.float64)
    height, width = sample["image"].shape[:2]
    full_width, full_height = width * photo_from_pixels[0, 0], height * photo_from_pixels[1, 1]
    return centred_camera(DEFAULT_FOCAL_RATIO * max(full_width, full_height), full_width, full_height)

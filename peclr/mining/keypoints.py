"""2-D joints to compare hands by: those of the labels, or those that a fine-tuned network finds."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from peclr.data.samples import HandSource, HasJoints2D
from peclr.data.views.geometric import pixels_to_keep
from peclr.geometry.joints import NUM_JOINTS
from peclr.inference.hands import HandQuery, Scene, predict_hands
from peclr.inference.network import TrainedNetwork

_BATCH: Final = 32  # views that the network looks at together


def has_labels(source: HandSource) -> bool:
    """Whether a source has 2-D joints, by its first hand."""
    return _known_joints(source) is not None or source[source.versions_of(0)[0]]["joints_2d"] is not None


def labeled_joints(source: HandSource) -> NDArray[np.float32]:
    """(hands, 21, 2), pixels of each hand's first version, from the labels; NaN for joints that they do not know.

    Raises:
        ValueError: If a hand has none.
    """
    known = _known_joints(source)
    if known is not None:
        return known
    joints = []
    for hand in tqdm(range(source.num_hands), desc=f"labels of {source.name}", unit=" hands", mininterval=0.5):
        sample = source[source.versions_of(hand)[0]]
        if sample["joints_2d"] is None:
            raise ValueError(f"{source.name}, {sample['id']}: no 2-D joints to compare hands by, others have some")
        joints.append(sample["joints_2d"])
    return np.stack(joints)


def _known_joints(source: HandSource) -> NDArray[np.float32] | None:
    return source.joints_2d_of_hands() if isinstance(source, HasJoints2D) else None


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

    def read(hand: int) -> Scene:
        """The view of a hand's first version that fine-tuning shows without augmentation."""
        sample = source.read(source.versions_of(hand)[0], pixels_to_keep(trained.view_size, 1.0))
        query = HandQuery(box=sample["crop_box"], whole=True)
        return Scene(sample["image"], (query,), sample["K"], None, sample.get("photo_from_image", np.eye(3)))

    joints = np.empty((source.num_hands, NUM_JOINTS, 2), np.float32)
    results = predict_hands(trained, range(source.num_hands), read, _BATCH)
    name = f"joints of {source.name}"
    for hand, scene, hands in tqdm(results, name, source.num_hands, unit=" hands", mininterval=0.5):
        if isinstance(scene, ValueError):
            raise scene
        joints[hand] = hands[0].keypoints_2d
    return joints

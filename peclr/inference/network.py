"""A trained network from a run's folder or a bare checkpoint, and the side of the views that it has learned on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from peclr.checkpoints.loading import load_weights
from peclr.data.views.geometric import Border
from peclr.geometry.planar import PUBLISHED_CROP_MARGIN
from peclr.models.pose_net import PoseNet25D, flat_keypoints


class Seen(NamedTuple):
    """The network's predictions in V views."""

    regressed_2d: NDArray[np.float32]  # (V, 21, 2), pixels of the views, with the palm in the wrist's place
    keypoints_2d: NDArray[np.float32]  # (V, 21, 2), the same with the wrist
    joints_3d: NDArray[np.float32]  # (V, 21, 3), bone lengths, frame of the camera


@dataclass(frozen=True)
class TrainedNetwork:
    """A pose network, ready to predict."""

    network: PoseNet25D  # in evaluation mode, channels_last, on its device
    view_size: int  # side of its views, px
    checkpoint: Path  # where its weights come from
    border: Border = "black"  # what its views show beyond an image, as in training
    crop_margin: float = PUBLISHED_CROP_MARGIN  # of its views around keypoints, as in training
    flat_wrist: bool = False  # in pixels the wrist follows the palm, see `flat_keypoints`, in place of depth and camera

    def see(self, views: Sequence[NDArray[np.uint8]], K: Sequence[NDArray[np.floating]]) -> Seen:
        """Look at V views (S, S, 3), RGB, of right hands with cameras K (3, 3), px; ValueError if it predicts NaN."""
        device = next(self.network.parameters()).device
        with torch.inference_mode():
            # (V, S, S, 3) seen as (V, 3, S, S) is what PyTorch calls channels_last: convolutions are faster
            images = torch.from_numpy(np.stack(views)).to(device).permute(0, 3, 1, 2)
            cameras = torch.from_numpy(np.stack(K)).to(device, torch.float32)
            output = self.network(self.network.backend_model.normalize(images), cameras)
            raw = output["raw"]
            keypoints_2d = flat_keypoints(raw) if self.flat_wrist else output["keypoints_2d"]
            parts = (raw["keypoints_2d"], keypoints_2d, output["joints_3d"])
            seen = Seen(*(part.cpu().numpy() for part in parts))
        if not all(np.isfinite(part).all() for part in seen):
            raise ValueError(f"{self.checkpoint}: predicts joints that are not finite; have its weights diverged?")
        return seen


def load_network(
    run: Path | str, view_size: int | None = None, device: str | torch.device | None = None
) -> TrainedNetwork:
    """Load the network of a fine-tuning run, or of any fine-tuned checkpoint; errors as `load_weights`.

    Of a run's folder, the last checkpoint is taken. Without a `view_size`, pixels, views are as large as those that it
    was trained on, ValueError if unknown; without a `device`, CUDA is taken where there is one.
    """
    loaded = load_weights(run, "pose_net")
    size = loaded.check_view_size(view_size)
    assert loaded.pose_net is not None
    network = loaded.pose_net.to(_usable(device)).eval()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stub lacks it
    return TrainedNetwork(network, size, loaded.report.path, loaded.border, loaded.crop_margin)


def _usable(device: str | torch.device | None) -> torch.device:
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: a torch without CUDA
        raise ValueError(f"--device {device}: there is no such device here: {str(error).splitlines()[0]}") from error
    return torch.device(device)

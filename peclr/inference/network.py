"""A trained network from a run's folder or a bare checkpoint, and the side of the views that it has learnt on."""

from dataclasses import dataclass
from pathlib import Path

import torch

from peclr.checkpoints.loading import load_pose_net_weights
from peclr.models.pose_net import PoseNet25D


@dataclass(frozen=True)
class TrainedNetwork:
    """A pose network, ready to predict.

    Attributes:
        network: in evaluation mode, channels_last, on its device.
        view_size: side of its views, pixels.
        checkpoint: where its weights come from.
    """

    network: PoseNet25D
    view_size: int
    checkpoint: Path


def load_network(
    run: Path | str, view_size: int | None = None, device: str | torch.device | None = None
) -> TrainedNetwork:
    """Load the network of a fine-tuning run, or of any fine-tuned checkpoint.

    Args:
        run: a run's folder, of which the last checkpoint is taken, or a checkpoint.
        view_size: side of the views, pixels. None takes that of those it was trained on, which the file says; older
            files by their run's config beside them, published networks are known.
        device: None takes CUDA where there is one.

    Raises:
        FileNotFoundError: there is no such run or checkpoint.
        ValueError: the checkpoint holds no pose network, or nothing says a view's size.
    """
    loaded = load_pose_net_weights(run)
    size = loaded.check_view_size(view_size)
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    network = loaded.network.to(device).eval()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stub lacks it
    return TrainedNetwork(network, size, loaded.report.path)

"""The folder of a run that tests make, without a training."""

from pathlib import Path

import torch

from peclr.models.pose_net import PoseNet25D


def save_run(folder: Path, network: PoseNet25D, view_size: int) -> Path:
    """Write a fine-tuning run's folder with a network; returns the folder."""
    (folder / "checkpoints").mkdir(parents=True)
    state = {f"pose_net.{key}": value for key, value in network.state_dict().items()}
    torch.save({"state_dict": state}, folder / "checkpoints" / "last.ckpt")
    (folder / "config.yaml").write_text(f"model:\n  init_args:\n    view_size: {view_size}\n")
    return folder

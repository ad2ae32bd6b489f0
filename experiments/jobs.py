"""What several experiments do: `peclr` commands in this process, hands for probes, fine-tuning with its scores."""

import json
import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, as_completed
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.data import DataLoader

from peclr.__main__ import main as peclr
from peclr.data.datamodules import LabelledHandDataModule
from peclr.data.samples import LabelledBatch
from peclr.geometry.joints import WRIST
from peclr.metrics.probe import EncodedHands
from peclr.models.encoders import normalise_images

LAST = Path("checkpoints", "last.ckpt")
# Half of what experiments do is small matrices: more threads per process would only wait for one another.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def run_peclr(arguments: Sequence[str]) -> None:
    """Run one `peclr` command quietly in this process, on one thread; failure raises."""
    torch.set_num_threads(1)
    for name in ("pytorch_lightning", "lightning_fabric"):  # what they tell of each run would bury the comparison
        logging.getLogger(name).setLevel(logging.ERROR)
    status = peclr(arguments)
    if status:
        raise RuntimeError(f"peclr {' '.join(arguments)} ended with status {status}")


def fine_tune(
    shared: Sequence[str],
    run: Path,
    fit: Sequence[str] = (),
    score: Literal["validate", "test"] = "test",
    score_options: Sequence[str] = (),
) -> dict[str, float]:
    """Fine-tune into `run` and score its last checkpoint.

    Args:
        shared: options of both commands, the config among them.
        run: a new folder.
        fit: options of fine-tuning alone.
        score: on validation hands or on the evaluation split.
        score_options: options of scoring alone.

    Returns:
        Metrics by name, without the split's.
    """
    run_peclr(["fit", *shared, *fit, f"--run_dir={run}"])
    out = run / score
    checkpoint = f"--ckpt_path={run / LAST}"
    run_peclr([score, *shared, *score_options, "--verbose=false", checkpoint, f"--run_dir={out}"])
    metrics: dict[str, float] = json.loads((out / "results.json").read_text())["metrics"]
    split = {"validate": "val/", "test": "test/"}[score]
    return {name.removeprefix(split): value for name, value in metrics.items() if name.startswith(split)}


def encode_hands(
    encoder: nn.Module, root: Path, view_size: int, seed: int, num_labels: int | None = None
) -> tuple[EncodedHands, EncodedHands, EncodedHands]:
    """Encode labelled hands for a probe, training hands seen un-augmented as those of the evaluation are.

    Args:
        encoder: normalised images to features; evaluated where it is.
        root: folder in FreiHAND's layout.
        view_size: side of the views, pixels.
        seed: of what is held out and which hands are labelled.
        num_labels: of training hands; by default all that are not held out.

    Returns:
        Hands to fit on, pictures of a hand after each other; to choose by; and the evaluation split.
    """
    data = LabelledHandDataModule(
        root, view_size, geometry=None, photometric=None, num_labels=num_labels, seed=seed, border="reflect"
    )
    data.setup("fit")
    data.setup("test")
    assert data.val_set is not None  # some hands are held out by default
    encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stub lacks it
    splits = (data.train_set, data.val_set, data.test_set)
    loaders = [DataLoader(split, batch_size=250) for split in splits]
    train, val, test = (encode(encoder, loader) for loader in loaders)
    return train, val, test


@torch.no_grad()
def encode(encoder: nn.Module, loader: Iterable[LabelledBatch]) -> EncodedHands:
    """Run the encoder over labelled hands in evaluation mode.

    Args:
        encoder: normalised images (B, 3, S, S) -> features (B, F); its mode is restored afterwards.
        loader: batches of LabelledBatch, in a fixed order.
    """
    was_training = encoder.training
    device = next(encoder.parameters()).device
    encoder.eval()
    features, joints_2d, joints_3d = [], [], []
    for batch in loader:
        images = normalise_images(batch["image"].to(device)).contiguous(memory_format=torch.channels_last)
        features.append(encoder(images).float().cpu())
        joints_2d.append(batch["joints_25d"][..., :2])
        joints_3d.append(batch["joints_3d"] - batch["joints_3d"][:, WRIST : WRIST + 1])
    encoder.train(was_training)
    return EncodedHands(torch.cat(features), torch.cat(joints_2d), torch.cat(joints_3d))


def gather(jobs: Iterable[Future[Any]]) -> list[Any]:
    """Results in the order of the jobs; after the first failure, none is begun any more."""
    jobs = list(jobs)
    try:
        for job in as_completed(jobs):
            job.result()
    except BaseException:
        for job in jobs:
            job.cancel()
        raise
    return [job.result() for job in jobs]

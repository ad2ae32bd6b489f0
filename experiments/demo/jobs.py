"""The demo's work, one function per job, each of which runs in a process of its own on one core."""

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from peclr.__main__ import main as peclr
from peclr.checkpoints import load_encoder
from peclr.data.datamodules import LabelledHandDataModule
from peclr.data.datasets import LabelledHandDataset
from peclr.data.samples import LabelledBatch
from peclr.evaluate.probe import encode, ridge_probe
from peclr.models.encoders import ResNetEncoder

HERE = Path(__file__).parent
LAST = Path("checkpoints", "last.ckpt")


@dataclass(frozen=True)
class DemoSize:
    """How much work the demo does. The default is what `make demo` runs in at most 10 minutes on 2 cores.

    Attributes:
        train: unique hands to pre-train on, each in two pictures with different backgrounds.
        evaluation: hands, in scenes of their own, that the table is computed from.
        picture_size: side of the rendered pictures, pixels.
        view_size: side of the views that the networks see, pixels.
        pretrain_batch: pairs per optimiser step of pre-training.
        pretrain_epochs: passes over the training hands.
        probe_labels: numbers of labelled hands for the ridge probe.
        finetune_labels: numbers of labelled hands for fine-tuning.
        finetune_steps: optimiser steps of each fine-tuning.
    """

    train: int = 6000
    evaluation: int = 1000
    picture_size: int = 112
    view_size: int = 48
    pretrain_batch: int = 128
    pretrain_epochs: int = 18
    probe_labels: tuple[int, ...] = (100, 300, 1000)
    finetune_labels: tuple[int, ...] = (100, 300)
    finetune_steps: int = 300


@dataclass(frozen=True)
class Arm:
    """One way to start: what the table compares.

    Attributes:
        name: "random", "SimCLR" or "PeCLR".
        run: the pre-training run's folder; None for random weights.
    """

    name: str
    run: Path | None


def run_peclr(arguments: list[str]) -> None:
    """Run one `peclr` command quietly in this process, on one thread; failure raises."""
    torch.set_num_threads(1)
    for name in ("pytorch_lightning", "lightning_fabric"):  # what they tell of each run would bury the comparison
        logging.getLogger(name).setLevel(logging.ERROR)
    status = peclr(arguments)
    if status:
        raise RuntimeError(f"peclr {' '.join(arguments)} ended with status {status}")


def pretrain(arm: Arm, hands: Path, size: DemoSize, seed: int) -> None:
    """Pre-train one encoder into `arm.run`."""
    run_peclr(
        [
            "fit",
            f"--config={HERE / 'pretrain.yaml'}",
            f"--run_dir={arm.run}",
            f"--seed_everything={seed}",
            f"--data.seed={seed}",
            f"--data.sources.init_args.root={hands}",
            f"--data.view_size={size.view_size}",
            f"--data.batch_size={size.pretrain_batch}",
            f"--model.objective.class_path={arm.name}",
            f"--trainer.max_epochs={size.pretrain_epochs}",
            f"--trainer.callbacks.label={arm.name}",
        ]
    )


def _encoder(arm: Arm, seed: int) -> ResNetEncoder:
    if arm.run is not None:
        return load_encoder(arm.run / LAST)
    torch.manual_seed(seed)
    return ResNetEncoder("resnet18", width=0.5)


def batches(dataset: LabelledHandDataset | None) -> DataLoader[LabelledBatch]:
    """The hands in order, un-augmented as the data module made them."""
    assert dataset is not None  # the data module has been set up
    return DataLoader(dataset, batch_size=250)  # type: ignore[arg-type]  # collating makes batches of items


def probe(arm: Arm, hands: Path, size: DemoSize, seed: int) -> list[dict[str, Any]]:
    """Ridge probes on the frozen encoder, one per label count."""
    torch.set_num_threads(1)
    data = LabelledHandDataModule(
        root=hands,
        view_size=size.view_size,
        num_labels=max(size.probe_labels),
        seed=seed,
        border="reflect",
        geometry=None,
        photometric=None,  # the probe's hands are seen as the evaluation's are
    )
    data.setup("fit")
    data.setup("test")
    encoder = _encoder(arm, seed).to(memory_format=torch.channels_last)
    train, val, test = (encode(encoder, batches(split)) for split in (data.train_set, data.val_set, data.test_set))
    print(f"{arm.name:<10} probed", flush=True)
    pictures = len(train.features) // max(size.probe_labels)  # of each hand, one after the other
    rows = []
    for count in size.probe_labels:
        scores = ridge_probe(train.first(count * pictures), val, test)
        rows.append({"protocol": "frozen probe", "weights": arm.name, "labels": count, **asdict(scores)})
    return rows


def finetune(arm: Arm, labels: int, run: Path, hands: Path, size: DemoSize, seed: int) -> dict[str, Any]:
    """Fine-tune end to end on `labels` hands and score on the evaluation hands."""
    shared = [
        f"--config={HERE / 'finetune.yaml'}",
        f"--seed_everything={seed}",
        f"--data.seed={seed}",
        f"--data.root={hands}",
        f"--data.num_labels={labels}",
        f"--data.view_size={size.view_size}",
        f"--model.view_size={size.view_size}",
        f"--trainer.max_steps={size.finetune_steps}",
    ]
    weights = [] if arm.run is None else [f"--model.weights={arm.run / LAST}"]
    run_peclr(["fit", *shared, *weights, f"--run_dir={run}"])
    run_peclr(["test", *shared, "--verbose=false", f"--ckpt_path={run / LAST}", f"--run_dir={run / 'test'}"])
    metrics = json.loads((run / "test" / "results.json").read_text())["metrics"]
    name = "scratch" if arm.run is None else arm.name
    print(f"{name:<10} fine-tuned on {labels} labels", flush=True)
    return {
        "protocol": "fine-tuned",
        "weights": name,
        "labels": labels,
        **{key.removeprefix("test/"): value for key, value in metrics.items()},
    }

"""The demo's work, one function per job, each of which runs in a process of its own on one core."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from experiments.jobs import LAST, encode_hands, fine_tune, run_peclr
from peclr.checkpoints import load_encoder
from peclr.metrics.probe import ridge_probe
from peclr.models.encoders import ResNetEncoder

HERE = Path(__file__).parent


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


def probe(arm: Arm, hands: Path, size: DemoSize, seed: int) -> list[dict[str, Any]]:
    """Ridge probes on the frozen encoder, one per label count."""
    torch.set_num_threads(1)
    train, val, test = encode_hands(_encoder(arm, seed), hands, size.view_size, seed, max(size.probe_labels))
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
    metrics = fine_tune(shared, run, weights)
    name = "scratch" if arm.run is None else arm.name
    print(f"{name:<10} fine-tuned on {labels} labels", flush=True)
    return {
        "protocol": "fine-tuned",
        "weights": name,
        "labels": labels,
        **metrics,
    }

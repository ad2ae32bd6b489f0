"""The work of an embedded experiment, one function per job; a job that is done already is not done again."""

import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from experiments.jobs import LAST, encode_hands, fine_tune, run_peclr
from experiments.rendered.plan import FINETUNE, HEAD_FIRST, PRETRAIN, SCRATCH, Arm, Size
from peclr.checkpoints import load_encoder
from peclr.metrics.probe import ridge_probe
from peclr.models.encoders import ResNetEncoder

Row = dict[str, Any]

_PAIRS = "{pairs}"  # in an arm's overrides: the file of similar hands


@dataclass(frozen=True)
class Job:
    """One arm with one seed.

    Attributes:
        arm: what is compared.
        seed: of weights, views and the choice of labels.
        size: how much work.
        hands: the rendered hands.
        out: the experiment's folder.
    """

    arm: Arm
    seed: int
    size: Size
    hands: Path
    out: Path

    @property
    def folder(self) -> Path:
        """Where all of it is."""
        return self.out / f"seed{self.seed}" / self.arm.folder

    @property
    def weights(self) -> Path | None:
        """The pre-trained checkpoint."""
        return None if self.arm.name == SCRATCH else self.folder / "pretrain" / LAST

    @property
    def overrides(self) -> list[str]:
        """What the arm changes in `pretrain.yaml`."""
        return [override.replace(_PAIRS, str(pairs_of(self.hands))) for override in self.arm.overrides]

    def say(self, text: str) -> None:
        """Tell what is done."""
        print(f"seed {self.seed}  {self.arm.name:<36}  {text}", flush=True)

    def row(self, protocol: str, labels: int, scores: dict[str, float]) -> Row:
        """A row of the results."""
        return {"protocol": protocol, "weights": self.arm.name, "labels": labels, "seed": self.seed, **scores}


def pairs_of(hands: Path) -> Path:
    """Where the similar hands are noted."""
    return hands.with_suffix(".pairs.npz")


def mine(arms: Iterable[Arm], hands: Path) -> None:
    """Find similar hands by their true 2-D joints, if an arm needs them and they are not found yet."""
    needed = any(_PAIRS in override for arm in arms for override in arm.overrides)
    if needed and not pairs_of(hands).exists():
        run_peclr(["mine", str(hands), f"--out={pairs_of(hands)}"])


def _trainer(size: Size) -> list[str]:
    return [f"--trainer.{key}={value}" for key, value in size.trainer.items()]


def _encoder_options(size: Size) -> list[str]:
    options = "--model.init_args.encoder.init_args"
    return [f"{options}.name={size.encoder}", f"{options}.width={size.width}"]


def pretrain(job: Job) -> None:
    """Pre-train, or go on where it was interrupted, or see that it is done."""
    if job.weights is None:
        return
    run = job.folder / "pretrain"
    results = run / "results.json"
    if results.exists() and json.loads(results.read_text())["step"] == pretrain_steps(job):
        return
    resume = [f"--ckpt_path={run / LAST}"] if (run / LAST).exists() else []
    if run.exists() and not resume:
        shutil.rmtree(run)  # interrupted before there was anything to go on from
    run_peclr(["fit", *pretraining(job), f"--run_dir={run}", *resume])
    job.say("pre-trained")


def pretrain_steps(job: Job) -> int:
    """How many optimiser steps: as of the size, unless the arm says otherwise."""
    option = "--trainer.max_steps="
    return int(next(given for given in reversed(pretraining(job)) if given.startswith(option)).removeprefix(option))


def pretraining(job: Job) -> list[str]:
    """Options of `peclr fit`: what all arms share, and what this one changes."""
    size = job.size
    pictures = size.versions if "--data.pairing=same_image" in job.arm.overrides else 1
    steps_per_epoch = size.train * pictures // size.pretrain_batch
    return [
        f"--config={PRETRAIN}",
        f"--seed_everything={job.seed}",
        f"--data.seed={job.seed}",
        f"--data.sources.init_args.root={job.hands}",
        f"--data.view_size={size.view_px}",
        f"--data.batch_size={size.pretrain_batch}",
        f"--data.num_workers={size.workers}",
        f"--model.init_args.warmup_epochs={size.warmup_steps / steps_per_epoch}",
        f"--trainer.max_steps={size.pretrain_steps}",
        *_encoder_options(size),
        *_trainer(size),
        *job.overrides,
    ]


def probe(job: Job, label_counts: tuple[int | None, ...]) -> list[Row]:
    """Ridge probes on the frozen encoder, one for each label count that there are hands for."""
    done = job.folder / "probe.json"
    if done.exists():
        rows: list[Row] = json.loads(done.read_text())
        return rows
    torch.set_num_threads(1)
    encoder = _encoder(job)
    if torch.cuda.is_available():
        encoder.cuda()
    most = max(labels or job.size.train for labels in label_counts)
    # some hands are held out: of the others, all that there are, unless a half is enough
    limit = most if most <= job.size.train // 2 else None
    train, val, test = encode_hands(encoder, job.hands, job.size.view_px, job.seed, limit)
    hands = len(train.features) // job.size.versions  # the pictures of a hand are one after the other
    rows = []
    for labels in label_counts:
        count = hands if labels is None else labels
        if count > hands:
            continue
        scores = asdict(ridge_probe(train.first(count * job.size.versions), val, test))
        rows.append(job.row("frozen probe", count, scores))
    _write(done, rows)
    job.say("probed")
    return rows


def _encoder(job: Job) -> ResNetEncoder:
    if job.weights is not None:
        return load_encoder(job.weights)
    torch.manual_seed(job.seed)
    return ResNetEncoder(job.size.encoder, width=job.size.width)


def finetune(job: Job, labels: int, schedule: str) -> list[Row]:
    """Fine-tune end to end on `labels` hands and score on the evaluation hands."""
    run, size = job.folder / f"finetune-{schedule}-{labels}", job.size
    done = run.with_suffix(".json")
    if done.exists():
        rows: list[Row] = json.loads(done.read_text())
        return rows
    if run.exists():
        shutil.rmtree(run)  # cheaper to repeat than to resume
    shared = [
        f"--config={FINETUNE}",
        f"--seed_everything={job.seed}",
        f"--data.seed={job.seed}",
        f"--data.root={job.hands}",
        f"--data.num_labels={labels}",
        f"--data.view_size={size.view_px}",
        f"--data.batch_size={size.finetune_batch}",
        f"--data.num_workers={size.workers}",
        f"--model.view_size={size.view_px}",
        f"--trainer.max_steps={size.finetune_steps[schedule]}",
        *_encoder_options(size),
        *_trainer(size),
    ]
    weights = [] if job.weights is None else [f"--model.weights={job.weights}", f"--model.head_first={HEAD_FIRST}"]
    scores = fine_tune(shared, run, weights)
    rows = [job.row(f"fine-tuned, {schedule}", labels, scores)]
    _write(done, rows)
    job.say(f"fine-tuned on {labels} labels, {schedule}")
    return rows


def _write(path: Path, rows: list[Row]) -> None:
    """Whole or not at all: what is there counts as done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(rows, indent=2) + "\n")
    partial.replace(path)

"""The work of an experiment on rendered hands: pre-training, probes and fine-tuning of each arm."""

import contextlib
import io
import json
import logging
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import parent_process
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch.utils.data import DataLoader

from experiments.rendered.plan import FINETUNE, PRETRAIN, Arm, Size, Suite
from experiments.rendered.progress import COUNTED, Row, Task, steps_of
from peclr.__main__ import main as peclr
from peclr.checkpoints import load_encoder
from peclr.data.datamodules import LabeledHandDataModule
from peclr.data.datasets import LabeledHandDataset
from peclr.data.samples import LabeledBatch
from peclr.data.sources.composed import SelectedHands
from peclr.data.sources.freihand import FreiHAND
from peclr.geometry.joints import WRIST
from peclr.metrics.probe import EncodedHands, class_probe, ridge_probe
from peclr.models.encoders import Encoder, ResNetEncoder
from peclr.runs import layout
from peclr.runs.layout import RESULTS, newest_checkpoint

LAST: Final = Path(layout.CHECKPOINTS, layout.LAST)
_PAIRS: Final = "{pairs}"  # in an arm's overrides: the file of similar hands
_TIMED: Final = 8  # steps


@dataclass(frozen=True)
class Job:
    """One arm with one seed, which is that of weights, views and the choice of labels."""

    arm: Arm
    seed: int
    size: Size  # the arm's own
    hands: Path
    out: Path  # the experiment's folder

    @property
    def folder(self) -> Path:
        """Where all of it is."""
        return self.out / f"seed{self.seed}" / self.arm.folder

    @property
    def pretrain_run(self) -> Path:
        """The run of pre-training, which arms share that differ in fine-tuning alone."""
        return (self.folder if self.arm.stage == "pretrain" else self.folder.with_name("shared")) / "pretrain"

    @property
    def weights(self) -> Path | None:
        """The pre-trained checkpoint."""
        return self.pretrain_run / LAST if self.arm.pretrains else None

    def finetune_run(self, labels: int | None, schedule: str) -> Path:
        """The run of fine-tuning on that many labels; None is all."""
        return self.folder / f"finetune-{schedule}-{_said(labels)}"

    def overrides(self, stage: str) -> list[str]:
        """What the arm changes in a stage's config."""
        pairs = str(pairs_of(self.hands))
        return [word.replace(_PAIRS, pairs) for word in self.arm.overrides if self.arm.stage == stage]

    def _options(self, config: Path) -> list[str]:
        """Options of `peclr fit` that pre-training and fine-tuning share."""
        size, encoder = self.size, "--model.init_args.encoder.init_args"
        return [
            f"--config={config}",
            f"--seed_everything={self.seed}",
            f"--data.seed={self.seed}",
            f"--data.view_size={size.view_px}",
            f"--data.num_workers={size.workers}",
            f"{encoder}.name={size.encoder}",
            f"{encoder}.width={size.width}",
            *(f"--trainer.{key}={value}" for key, value in size.trainer.items()),
        ]

    def pretraining(self) -> list[str]:
        """Options of pre-training: what all arms share, and what this one changes."""
        size = self.size
        images = size.versions if "--data.pairing=same_image" in self.overrides("pretrain") else 1
        return [
            *self._options(PRETRAIN),
            f"--data.root={self.hands}",
            f"--data.batch_size={size.pretrain_batch}",
            f"--model.init_args.warmup_epochs={size.warmup_steps / (size.train * images // size.pretrain_batch)}",
            f"--trainer.max_steps={size.pretrain_steps}",
            *self.overrides("pretrain"),
        ]

    def finetuning(self, labels: int | None, schedule: str) -> list[str]:
        """Options of fine-tuning and of scoring it, but for the weights."""
        number = "null" if labels is None else labels
        return [
            *self._options(FINETUNE),
            f"--data.root={self.hands}",
            f"--data.batch_size={self.size.finetune_batch}",
            f"--data.num_labels={number}",
            f"--trainer.max_steps={self.size.finetune_steps[schedule]}",
        ]

    def row(self, protocol: str, labels: int, scores: dict[str, float]) -> Row:
        """A row of the results."""
        return {"protocol": protocol, "weights": self.arm.name, "labels": labels, "seed": self.seed, **scores}


def jobs_of(suite: Suite, seed: int, size: Size, hands: Path, out: Path) -> list[Job]:
    """The arms of a suite with one seed."""
    return [Job(arm, seed, arm.sized(size), hands, out) for arm in suite.arms]


def _said(labels: int | None) -> str:
    return "all" if labels is None else str(labels)


def stages_of(suite: Suite, jobs: Sequence[Job]) -> list[list[Task]]:
    """What the arms of a suite have to do with one seed: pre-training first."""
    pretraining: dict[Path, Task] = {}
    then = []
    for job in jobs:
        title, run, cost = f"{job.arm.name} (seed {job.seed})", job.pretrain_run, job.arm.step_cost
        if job.weights is not None and run not in pretraining:
            work = partial(pretrain, job)
            done = run.with_suffix(".json")
            pretraining[run] = Task(title, "pretrain", job.size.pretrain_steps, run, done, work, cost)
        if suite.probe_labels:
            # a forward pass is a third of a step
            images = job.size.versions * max(labels or job.size.train for labels in suite.probe_labels)
            steps = (images + job.size.evaluation) // (6 * job.size.pretrain_batch)
            done, work = job.folder / "probe.json", partial(probe, job, suite.probe_labels, suite.score)
            then.append(Task(f"{title} probed", "pretrain", steps, done, done, work, cost))
    for schedule, steps in jobs[0].size.finetune_steps.items():
        for labels in suite.schedules.get(schedule, suite.finetune_labels):
            for job in jobs:
                if not suite.finetune_arms or job.arm.name in suite.finetune_arms:
                    title = f"{job.arm.name} (seed {job.seed}) fine-tuned on {_said(labels)} labels, {schedule}"
                    run, cost = job.finetune_run(labels, schedule), job.arm.step_cost
                    work = partial(finetune, job, labels, schedule, suite.score)
                    then.append(Task(title, "finetune", steps, run, run.with_suffix(".json"), work, cost))
    return [list(pretraining.values()), then]


def timed(pool: Executor, jobs: Sequence[Job], suite: Suite, todo: Sequence[Task]) -> dict[str, float]:
    """Seconds of a step by kind, of kinds that are much of the work, and of a run's start: timed as they will run."""
    long = {kind for kind in ("pretrain", "finetune") if sum(t.steps for t in todo if t.kind == kind) > 20 * _TIMED}
    job = next((job for job in jobs if job.weights is not None and not job.arm.times), jobs[0])
    options = {"pretrain": job.pretraining()}
    if suite.finetune_labels:
        options["finetune"] = job.finetuning(suite.finetune_labels[0], next(iter(job.size.finetune_steps)))
    running = {kind: pool.submit(_seconds, options[kind]) for kind in sorted(long)}
    pace = {}
    for kind, future in running.items():
        pace["start"], pace[kind] = future.result()
    return pace


def _seconds(options: Sequence[str]) -> tuple[float, float]:
    """Of all that is no step, and of a step, in a short run."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "run")
        run_peclr(["fit", *options, f"--trainer.max_steps={_TIMED}", f"--run_dir={run}", COUNTED])
        step = steps_of(run)[1] or 0.0
    return time.perf_counter() - started - _TIMED * step, step


def run_peclr(arguments: Sequence[str]) -> None:
    """Run one `peclr` command quietly in this process, on one thread; failure raises."""
    torch.set_num_threads(1)
    for name in ("pytorch_lightning", "lightning_fabric"):  # what they say of each run would bury the comparison
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            status = peclr(arguments)
    except SystemExit as stop:  # in training
        status = int(stop.code or 0)
    if status == 128 + signal.SIGTERM and parent_process() is not None:
        os._exit(status)  # a pool's process would go on with what it has taken in advance
    if status:
        raise RuntimeError(f"peclr {' '.join(arguments)} ended with status {status}")


def pairs_of(hands: Path) -> Path:
    """Where the similar hands are noted."""
    return hands.with_suffix(".pairs.npz")


def mine(arms: Iterable[Arm], hands: Path) -> None:
    """Find similar hands by their true 2-D joints, if an arm needs them and they are not found yet."""
    needed = any(_PAIRS in override for arm in arms for override in arm.overrides)
    if needed and not pairs_of(hands).exists():
        run_peclr(["mine", str(hands), f"--out={pairs_of(hands)}"])


def pretrain(job: Job) -> list[Row]:
    """Pre-train, or go on where it was interrupted; there are no rows."""
    run = job.pretrain_run
    last = newest_checkpoint(run)
    if run.exists() and last is None:
        shutil.rmtree(run)  # interrupted before there was anything to go on from
    resume = [] if last is None else [f"--ckpt_path={last}"]
    run_peclr(["fit", *job.pretraining(), f"--run_dir={run}", COUNTED, *resume])
    return []


def probe(job: Job, label_counts: tuple[int | None, ...], score: Literal["test", "validate"] = "test") -> list[Row]:
    """Ridge probes on the frozen encoder, one for each label count that there are hands for.

    The strength of the ridge is chosen on validation hands: of scores on these, on one half, which is not scored.
    """
    torch.set_num_threads(1)
    torch.manual_seed(job.seed)
    scratch = ResNetEncoder(job.size.encoder, width=job.size.width)
    encoder = scratch if job.weights is None else load_encoder(job.weights)
    most = max(labels or job.size.train for labels in label_counts)
    # some hands are held out: of the others, all that there are, unless a half is enough; seen as evaluation hands are
    still: dict[str, Any] = {"geometry": None, "photometric": None, "border": "reflect", "seed": job.seed}
    num_labels = most if most <= job.size.train // 2 else None
    data = LabeledHandDataModule(job.hands, job.size.view_px, num_labels=num_labels, **still)
    data.setup("fit")
    assert data.val_set is not None  # some hands are held out by default
    splits = [data.train_set, data.val_set]
    if score == "test":
        data.setup("test")
        splits.append(data.test_set)
    encoder.to("cuda" if torch.cuda.is_available() else "cpu")
    train, val, *tests = (encode(encoder, DataLoader(split, batch_size=250)) for split in splits)
    hands = len(train.features) // job.size.versions  # the images of a hand are one after the other
    counts = [hands if labels is None else labels for labels in label_counts]
    classes = [_classes(split) for split in splits]
    if score == "validate":
        half = len(val.features) // job.size.versions // 2 * job.size.versions
        val, *tests = val.first(half), val.after(half)
        classes[1:] = classes[1][:half], classes[1][half:]
    (test,) = tests
    rows = []
    for count in counts:
        if count <= hands:
            labeled = train.first(count * job.size.versions)
            scores = asdict(ridge_probe(labeled, val, test))
            if all(classes):
                known = (labeled.features, val.features, test.features)
                scores["class_accuracy_percent"] = 100 * class_probe(known, classes)
            rows.append(job.row("frozen probe", count, scores))
    return rows


def _classes(split: LabeledHandDataset) -> list[str]:
    """What each image of a data set shows; empty where nobody said."""
    source = split.source
    of_hands = source.source if isinstance(source, SelectedHands) else source
    names = of_hands.names_of_hands("class") if isinstance(of_hands, FreiHAND) else None
    hands = (source.hand_of(image) for image in range(len(source)))
    selected = (source.hands[hand] if isinstance(source, SelectedHands) else hand for hand in hands)
    return [names[hand] for hand in selected] if names else []


@torch.no_grad()
def encode(encoder: Encoder, loader: Iterable[LabeledBatch]) -> EncodedHands:
    """Run an encoder, images to features (B, F), over labeled hands in a fixed order."""
    device, was_training = next(encoder.parameters()).device, encoder.training
    encoder.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stub lacks it
    features, joints_2d, joints_3d = [], [], []
    for batch in loader:
        images = encoder.normalize(batch["image"].to(device)).contiguous(memory_format=torch.channels_last)
        features.append(encoder(images).float().cpu())
        joints_2d.append(batch["joints_25d"][..., :2])
        joints_3d.append(batch["joints_3d"] - batch["joints_3d"][:, WRIST : WRIST + 1])
    encoder.train(was_training)
    return EncodedHands(torch.cat(features), torch.cat(joints_2d), torch.cat(joints_3d))


def finetune(job: Job, labels: int | None, schedule: str, score: Literal["test", "validate"]) -> list[Row]:
    """Fine-tune end to end on `labels` hands and score on the evaluation hands, or on validation hands."""
    run, options = job.finetune_run(labels, schedule), job.finetuning(labels, schedule)
    if run.exists():
        shutil.rmtree(run)  # cheaper to repeat than to resume
    # features of random weights, whose BatchNorm has counted nothing, are no longer these after the first steps
    weights = ["--model.solve_head=false"] if job.weights is None else [f"--model.weights={job.weights}"]
    run_peclr(["fit", *options, *weights, COUNTED, *job.overrides("finetune"), f"--run_dir={run}"])
    scored = [f"--ckpt_path={run / LAST}", f"--run_dir={run / score}", "--trainer.limit_val_batches=1.0"]
    run_peclr([score, *options, "--verbose=false", *scored])
    metrics: dict[str, float] = json.loads((run / score / RESULTS).read_text())["metrics"]
    split = {"validate": "val/", "test": "test/"}[score]
    scores = {name.removeprefix(split): value for name, value in metrics.items() if name.startswith(split)}
    if labels is None:
        data = LabeledHandDataModule(job.hands, seed=job.seed)
        data.setup("fit")
        labels = len(data.train_set) // job.size.versions
    return [job.row(f"fine-tuned, {schedule}", labels, scores)]

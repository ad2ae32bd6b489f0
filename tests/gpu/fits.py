"""`peclr fit` as users run it, with a clock, from files or from images on the device."""

import gc
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.profilers import Profiler

from peclr.__main__ import main
from tests.gpu.parts import Row

CONFIG = Path(__file__).parents[2] / "experiments" / "pretrain_peclr.yaml"
CHUNKS = 4  # of the measured time: how far their rates differ says how much a rate can be trusted
BATCHES = 4  # that take turns on the device


class Waits(Profiler):
    """Seconds that Lightning waits for its next batch."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds, self._begun = defaultdict[str, float](float), dict[str, float]()

    def start(self, action_name: str) -> None:
        """Begin."""
        self._begun[action_name] = time.perf_counter()

    def stop(self, action_name: str) -> None:
        """Add up."""
        self.seconds[action_name] += time.perf_counter() - self._begun[action_name]

    @property
    def data(self) -> float:
        """Of these, for data."""
        return sum(spent for name, spent in self.seconds.items() if name.endswith("train_dataloader_next"))


class Clock(Callback):
    """Measures some seconds of training after a warm-up, then ends the run.

    Args:
        out: JSON file to write.
        warm_up: Batches before, in which libraries choose and compile, and workers start.
        seconds: To measure.
    """

    def __init__(self, out: str, warm_up: int, seconds: float) -> None:
        self.out, self.warm_up, self.chunk = Path(out), warm_up, seconds / CHUNKS
        self.done, self.marks, self.waits = 0, list[tuple[float, int, float]](), Waits()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Listen to what Lightning waits for."""
        trainer.profiler = self.waits  # type: ignore[attr-defined]  # set at run time

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the clock; the device is waited for at the ends of chunks alone."""
        self.done += 1
        if self.done < self.warm_up or (self.marks and time.perf_counter() - self.marks[-1][0] < self.chunk):
            return
        device = pl_module.device
        if device.type == "cuda":
            torch.cuda.synchronize(device)
            if not self.marks:
                torch.cuda.reset_peak_memory_stats(device)
        self.marks.append((time.perf_counter(), self.done, self.waits.data))
        if len(self.marks) > CHUNKS:
            trainer.should_stop = True
            peak = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None
            self.out.write_text(json.dumps({**rates(self.marks, batch["views"].shape[:2].numel()), "peak_gib": peak}))


def rates(marks: list[tuple[float, int, float]], views: int) -> Row:
    """Views per second, how far chunks differ, and which share of the time went by waiting for data.

    Args:
        marks: At the ends of chunks: time, batches done, seconds waited.
        views: Of a batch.
    """
    chunks = [views * (b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(marks)]
    taken, first, last = marks[-1][0] - marks[0][0], marks[0], marks[-1]
    return {
        "views_per_s": views * (last[1] - first[1]) / taken,
        "spread": (max(chunks) - min(chunks)) / statistics.median(chunks),
        "data_wait": (last[2] - first[2]) / taken,
    }


class OnDevice:
    """Batches of noise on a device, in turns: images that nothing has to load."""

    def __init__(self, device: torch.device, pairs: int, size: int) -> None:
        self.sampler = SimpleNamespace(total=10**9)
        self.batches = [make_batch(device, pairs, size) for _ in range(BATCHES)]

    def __len__(self) -> int:
        return 10**6

    def __iter__(self) -> Iterator[Row]:
        for number in range(len(self)):
            yield self.batches[number % BATCHES]


def make_batch(device: torch.device, pairs: int, size: int) -> Row:
    """Pairs of views of noise, slightly turned."""
    angle = torch.rand(pairs, 2, device=device)
    turn = torch.stack((angle.cos(), -angle.sin(), 0 * angle, angle.sin(), angle.cos(), 0 * angle), -1)
    last = torch.tensor([0.0, 0.0, 1.0], device=device).expand(pairs, 2, 3)
    return {
        "views": torch.randint(256, (pairs, 2, 3, size, size), dtype=torch.uint8, device=device),
        "view_from_crop": torch.cat((turn, last), -1).view(pairs, 2, 3, 3),
        "hand": torch.arange(pairs, device=device),
    }


class ViewsOnDevice(pl.LightningDataModule):
    """A data module of `OnDevice`."""

    def __init__(self, view_size: int, batch_size: int, seed: int = 0) -> None:
        super().__init__()
        self.view_size, self.batch_size = view_size, batch_size

    def train_dataloader(self) -> OnDevice:
        """The batches."""
        device = torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
        return OnDevice(device, self.batch_size, self.view_size)


def fit(
    network: str,
    size: int,
    precision: str,
    *,
    pairs: int,
    seconds: float,
    compiled: bool = False,
    hands: Path | None = None,
    dry: bool = False,
    options: tuple[str, ...] = (),
) -> Row:
    """Run the shipped pre-training with a clock.

    Args:
        network: A ResNet's name.
        size: Side of views, px.
        precision: Of Lightning's trainer.
        pairs: Per batch.
        seconds: To measure.
        compiled: Whether the encoder is compiled.
        hands: Files to load from; without, images are on the device.
        dry: Whether everything is tiny, on the CPU.
        options: More of `peclr fit`.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "clock.json")
        clock = {"out": str(out), "warm_up": 3 if dry else 30, "seconds": seconds}
        callbacks: list[Row] = [{"class_path": "tests.gpu.fits.Clock", "init_args": clock}]
        if compiled:
            backend = {"backend": "aot_eager"} if dry else {}
            callbacks.append({"class_path": "peclr.training.throughput.CompileEncoder", "init_args": backend})
        trainer = {"accelerator": "cpu" if dry else "gpu", "devices": 1, "precision": precision, "limit_val_batches": 0}
        quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
        encoder = "--model.init_args.encoder.init_args"
        arguments = [
            *(f"--trainer.{key}={value}" for key, value in {**trainer, **quiet}.items()),
            f"--trainer.callbacks={json.dumps(callbacks)}",
            *(f"{encoder}.{key}={value}" for key, value in {"name": network, "weights": "null"}.items()),
            *([f"{encoder}.width=0.125"] if dry else []),
            *data_options(hands, size, pairs),
            *options,
        ]
        try:
            status = main(["fit", f"--config={CONFIG}", f"--run_dir={folder}/run", *arguments])
        finally:
            torch._dynamo.reset()
            gc.collect()
            torch.cuda.empty_cache()
        if status or not out.exists():
            raise RuntimeError(f"peclr fit ended with status {status}")
        return json.loads(out.read_text())  # type: ignore[no-any-return]  # JSON


def data_options(hands: Path | None, size: int, pairs: int) -> list[str]:
    """Options of `peclr fit` for a data module: from files, in an epoch that does not end, or on the device."""
    if hands is None:
        data = {"class_path": "tests.gpu.fits.ViewsOnDevice", "init_args": {"view_size": size, "batch_size": pairs}}
        return [f"--data={json.dumps(data)}"]
    given = {"view_size": size, "batch_size": pairs, "epoch_length": 10**6 * pairs, "sources.init_args.root": hands}
    return [f"--data.{key}={value}" for key, value in given.items()]

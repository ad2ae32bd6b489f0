"""`peclr fit` as users run it, with a clock, from files or from images on the device."""

import gc
import json
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from peclr.__main__ import main
from peclr.geometry.affine import rotation
from peclr.models.encoders import ResNetName
from tests.benchmarks.bench_training import QuietProfiler
from tests.gpu.parts import Row

ENCODER, QUIET = "model.init_args.encoder.init_args", ("checkpointing", "progress_bar", "model_summary")
CONFIG = Path(__file__).parents[2] / "experiments" / "pretrain_peclr.yaml"
CHUNKS = 4  # of the measured time: how far their rates differ says how much a rate can be trusted
BATCHES = 4  # that take turns on the device

Mark = tuple[float, int, float]  # the time, batches done, seconds that Lightning waited for data


class Clock(Callback):
    """Measures some seconds of training after a warm-up of so many batches, writes them to a file and ends the run."""

    def __init__(self, out: str, warm_up: int, seconds: float) -> None:
        self.out, self.warm_up, self.chunk = Path(out), warm_up, seconds / CHUNKS
        self.done, self.marks, self.profiler = 0, list[Mark](), QuietProfiler()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        trainer.profiler = self.profiler  # type: ignore[attr-defined]  # set at run time

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the clock; the device is waited for at the ends of chunks alone."""
        self.done += 1
        if self.done < self.warm_up or (self.marks and time.perf_counter() - self.marks[-1][0] < self.chunk):
            return
        device, peak = pl_module.device, None
        if device.type == "cuda":
            torch.cuda.synchronize(device)
            peak = torch.cuda.max_memory_allocated(device) / 2**30
        waits = self.profiler.recorded_durations["[_TrainingEpochLoop].train_dataloader_next"]
        self.marks.append((time.perf_counter(), self.done, sum(waits)))
        if len(self.marks) > CHUNKS:
            trainer.should_stop = True
            self.out.write_text(json.dumps({**rates(self.marks, batch["views"].shape[:2].numel()), "peak_gib": peak}))


def rates(marks: list[Mark], views: int) -> Row:
    """Views per second, how far chunks differ, the share of the time that went by waiting; `views` are of a batch."""
    chunks = [views * (b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(marks)]
    seconds, batches, waited = (last - first for first, last in zip(marks[0], marks[-1], strict=True))
    spread = (max(chunks) - min(chunks)) / statistics.median(chunks)
    return {"views_per_s": views * batches / seconds, "spread": spread, "data_wait": waited / seconds}


def make_batch(device: torch.device, pairs: int, size: int) -> Row:
    """Pairs of turned views of noise."""
    return {
        "views": torch.randint(256, (pairs, 2, 3, size, size), dtype=torch.uint8, device=device),
        "view_from_crop": rotation(torch.rand(pairs, 2, device=device)),
        "hand": torch.arange(pairs, device=device),
    }


class OnDevice:
    """A loader of batches that are on a device, in turns."""

    def __init__(self, *shape: Any) -> None:
        self.sampler = SimpleNamespace(total=10**9)
        self.batches = [make_batch(*shape) for _ in range(BATCHES)]

    def __len__(self) -> int:
        return 10**6

    def __iter__(self) -> Iterator[Row]:
        return (self.batches[number % BATCHES] for number in range(len(self)))


class ViewsOnDevice(pl.LightningDataModule):
    """Views that nothing has to load."""

    def __init__(self, view_size: int, batch_size: int, seed: int = 0) -> None:
        super().__init__()
        self.view_size, self.batch_size = view_size, batch_size

    def train_dataloader(self) -> OnDevice:
        assert self.trainer is not None
        return OnDevice(self.trainer.strategy.root_device, self.batch_size, self.view_size)


@dataclass(frozen=True)
class Fit:
    """A run of `peclr fit` with a clock: from files as shipped, or of images on the device, each batch a step."""

    network: ResNetName
    size: int
    precision: str = "bf16-mixed"
    compiled: bool = False
    files: bool = False

    @property
    def name(self) -> str:
        fp16 = " fp16" if self.precision == "16-mixed" and not self.files else ""
        return f"{'files' if self.files else 'device'} {self.network} {self.size}{fp16}{' compiled' * self.compiled}"

    @property
    def about(self) -> float:
        """Seconds that all of it takes, about."""
        return 75 if self.compiled else 25 if self.files else 15

    def run(self, pairs: int, hands: Path | None, seconds: float, *, dry: bool) -> Row:
        """Train on batches of so many pairs, of these hands if it is from files; tiny and on the CPU if it is dry."""
        free()
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder, "clock.json")
            warm_up = 3 if dry else 100 if hands else 30  # until what loaders had ready is used up
            clock = {"out": str(out), "warm_up": warm_up, "seconds": seconds}
            callbacks: list[Row] = [{"class_path": "tests.gpu.fits.Clock", "init_args": clock}]
            if self.compiled:
                backend = {"backend": "aot_eager"} if dry else {}
                callbacks.append({"class_path": "peclr.training.callbacks.CompileEncoder", "init_args": backend})
            chosen: Row = {
                "trainer.accelerator": "cpu" if dry else "gpu",
                "trainer.devices": 1,
                "trainer.precision": self.precision,
                "trainer.limit_val_batches": 0,
                "trainer.callbacks": json.dumps(callbacks),
                **dict.fromkeys((f"trainer.enable_{what}" for what in QUIET), False),
                f"{ENCODER}.name": self.network,
                f"{ENCODER}.weights": "null",
                **({f"{ENCODER}.width": 0.125} if dry else {}),
            }
            if hands is None:
                chosen |= {"trainer.accumulate_grad_batches": 1, "data.class_path": "tests.gpu.fits.ViewsOnDevice"}
                chosen["data.init_args"] = json.dumps({"view_size": self.size, "batch_size": pairs})
            else:
                # an epoch longer than the run, as workers run dry at the end of one; not by much: its order is a list
                chosen |= {"data.view_size": self.size, "data.batch_size": pairs, "data.epoch_length": 20_000 * pairs}
                chosen |= {"data.root": hands} | ({"data.num_workers": 1} if dry else {})
            words = [f"--{key}={value}" for key, value in chosen.items()]
            try:
                status: Any = main(["fit", f"--config={CONFIG}", f"--run_dir={folder}/run", *words])
            except SystemExit as stop:  # of a parser; what SIGTERM ends shall end
                if stop.code == 128 + signal.SIGTERM:
                    raise
                status = stop.code
            finally:
                torch._dynamo.reset()
            if status or not out.exists():
                raise RuntimeError(f"peclr fit ended with status {status}")
            return json.loads(out.read_text())  # type: ignore[no-any-return]  # JSON


def free() -> None:
    """Give memory back before the next measurement, and begin its peak."""
    gc.collect()
    torch.cuda.empty_cache()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()

"""Which precision pays on this CPU: measured, since flags mislead (bf16 instructions may be slow, or emulated)."""

import sys
import time
from functools import cache
from typing import Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.accelerators import CPUAccelerator

Precision = Literal["32-true", "bf16-mixed"]

_SECONDS = 0.15  # of timing, but for a last repetition
_WORTH_SAYING = 1.2  # timings of equally fast precisions differ by less


@cache
def bf16_cost() -> float:
    """Time of a convolution's forward and backward pass in bf16 autocast, as a multiple of that in float32.

    CPU time of one thread: what else the machine does hardly matters.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode(mode=False), torch.enable_grad():
            layer = torch.nn.Conv2d(64, 64, 3, padding=1)
            images = torch.rand(8, 64, 12, 12, requires_grad=True).contiguous(memory_format=torch.channels_last)
            _seconds(layer, images, bf16=False), _seconds(layer, images, bf16=True)  # the first chooses kernels
            deadline = time.thread_time() + _SECONDS
            timed: list[tuple[float, float]] = []
            while not timed or time.thread_time() < deadline:
                timed.append((_seconds(layer, images, bf16=True), _seconds(layer, images, bf16=False)))
    finally:
        torch.set_num_threads(threads)
    return min(bf16 for bf16, _ in timed) / min(float32 for _, float32 in timed)


def _seconds(layer: torch.nn.Module, images: torch.Tensor, *, bf16: bool) -> float:
    started = time.thread_time()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        output = layer(images)
    output.sum().backward()
    return time.thread_time() - started


def precision_that_pays() -> Precision:
    """The faster of float32 and bf16 on this machine's CPU."""
    return "bf16-mixed" if bf16_cost() < 1 else "32-true"


def say_if_bf16_is_slow(trainer: pl.Trainer) -> None:
    """Print one line if a run is in bf16 on a CPU on which float32 is faster."""
    if not isinstance(trainer.accelerator, CPUAccelerator) or not str(trainer.precision).startswith("bf16"):
        return
    if trainer.is_global_zero and bf16_cost() > _WORTH_SAYING:
        slow = f"{trainer.precision} takes about {bf16_cost():.1f} times as long as float32 on this CPU"
        print(f"peclr fit: {slow}; --trainer.precision=32-true is faster", file=sys.stderr)

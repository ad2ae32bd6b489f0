"""How fast a step of pre-training is on a GPU, ours against the published style, and how many cores feed it.

    python -m tests.benchmarks.gpu [--out experiments/results/throughput.json]

Not one of `make bench`: it needs a CUDA device. Without one it runs all the same, to be tested, and says so. Both
styles train a ResNet with PeCLR's loss and Adam on views that are in (pinned) host memory. Ours copies uint8,
normalizes on the device, and runs channels_last, compiled, in bf16; the published style copies normalized floats,
and runs NCHW, eager, in fp16 with a scaled loss. Styles take turns and medians count.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from peclr.data.sources.freihand import FreiHAND
from peclr.losses.objectives import PeCLR
from peclr.models.encoders import ResNetEncoder, ResNetName, normalize_images
from peclr.models.heads import ProjectionHead
from peclr.training.precision import precision_that_pays
from tests.benchmarks.bench_views import HANDS, augmented, freihand_files, medians, write_freihand
from tests.benchmarks.run import machine

# Dense bf16 and fp16, FLOP/s, of NVIDIA's data sheets: SXM versions.
PEAK_FLOPS: Final = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "V100": 125e12}
Step = Callable[[], object]


def networks(name: ResNetName, width: float, device: torch.device, *, channels_last: bool) -> nn.Sequential:
    """An encoder and its head, random."""
    torch.manual_seed(0)
    encoder = ResNetEncoder(name, width)
    both = nn.Sequential(encoder, ProjectionHead(encoder.feature_dim, 512, 128)).to(device)
    return both.to(memory_format=torch.channels_last) if channels_last else both  # type: ignore[call-overload]


def views_on_host(pairs: int, size: int, device: torch.device) -> Tensor:
    """(2 · pairs, 3, size, size), uint8, pinned where that means something."""
    views = torch.randint(256, (2 * pairs, 3, size, size), dtype=torch.uint8)
    return views.pin_memory() if device.type == "cuda" else views


def half(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Mixed precision on a GPU, and on a CPU that gains by it."""
    return torch.autocast(device.type, dtype, enabled=device.type == "cuda" or precision_that_pays() == "bf16-mixed")


def our_step(name: ResNetName, width: float, pairs: int, size: int, device: torch.device, *, compiled: bool) -> Step:
    """A step as `peclr fit` takes it with CompileEncoder, bf16-mixed and a fused optimizer."""
    model, objective, views = (
        networks(name, width, device, channels_last=True),
        PeCLR(),
        views_on_host(pairs, size, device),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=device.type == "cuda")
    matrices = torch.eye(3, device=device).expand(pairs, 2, 3, 3)
    if compiled:
        model[0].compile()

    def step() -> None:
        images = normalize_images(views.to(device, non_blocking=True)).contiguous(memory_format=torch.channels_last)
        with half(device, torch.bfloat16):
            loss = objective(model(images).view(pairs, 2, -1), matrices)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def published_step(name: ResNetName, width: float, pairs: int, size: int, device: torch.device) -> Step:
    """A step in the published style. fp16 is CUDA's; elsewhere, what pays stands in for it."""
    model, objective = networks(name, width, device, channels_last=False), PeCLR()
    floats = normalize_images(views_on_host(pairs, size, torch.device("cpu")))
    views = floats.pin_memory() if device.type == "cuda" else floats
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, foreach=False)
    scaler = torch.amp.grad_scaler.GradScaler(device.type, enabled=device.type == "cuda")
    matrices = torch.eye(3, device=device).expand(pairs, 2, 3, 3)
    dtype = torch.float16 if device.type == "cuda" else torch.bfloat16

    def step() -> None:
        with half(device, dtype):
            loss = objective(model(views.to(device)).view(pairs, 2, -1), matrices)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    return step


def flops_per_view(name: ResNetName, width: float, size: int) -> float:
    """FLOPs of one view, forward and backward, counted by torch: a multiplication and an addition are two."""
    model = networks(name, width, torch.device("cpu"), channels_last=False)
    with FlopCounterMode(display=False) as counter:
        model(torch.rand(2, 3, size, size)).sum().backward()
    return float(counter.get_total_flops()) / 2


def rates(steps: dict[str, Step], views: int, device: torch.device, per_round: int, rounds: int) -> dict[str, float]:
    """Views per second of each style: medians over rounds of several steps, in turns, after a warm-up."""

    def several(step: Step) -> None:
        for _ in range(per_round):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    for step in steps.values():
        several(step)
    taken: dict[str, list[float]] = {style: [] for style in steps}
    for _ in range(rounds):
        for style, step in steps.items():
            start = time.perf_counter()
            several(step)
            taken[style].append(time.perf_counter() - start)
    return {style: views * per_round / statistics.median(seconds) for style, seconds in taken.items()}


def views_per_core(rounds: int) -> float:
    """Views per second that one core makes of FreiHAND-like files."""
    with tempfile.TemporaryDirectory() as folder:
        write_freihand(Path(folder, "hands"), HANDS, 1, freihand_files())
        dataset = augmented(FreiHAND(Path(folder, "hands")))
        return 2 / medians({"pair": lambda number: dataset[number, number % HANDS]}, rounds)["pair"]


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All numbers, and on which machine."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    shape = (options.network, options.width, options.pairs, options.size, device)
    steps = {"ours": our_step(*shape, compiled=not options.eager), "published style": published_step(*shape)}
    measured = rates(steps, 2 * options.pairs, device, options.steps, options.rounds)
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    peak = next((flops for name, flops in PEAK_FLOPS.items() if gpu and name in gpu), None)
    flops, one_core = flops_per_view(options.network, options.width, options.size), views_per_core(options.rounds * 20)
    rows = [
        {
            "style": style,
            "views_per_s": round(rate, 1),
            "share_of_peak": None if peak is None else round(rate * flops / peak, 3),
            "loader_cores": round(rate / one_core, 2),
        }
        for style, rate in measured.items()
    ]
    return {
        "machine": machine() + (f", {gpu}" if gpu else ", no GPU: these numbers test the script and nothing else"),
        "torch": torch.__version__,
        "network": f"{options.network}, width {options.width:g}, {options.size} px, {options.pairs} pairs",
        "gflop_per_view": round(flops / 1e9, 3),
        "views_per_s_and_core": round(one_core, 1),
        "ours_over_published_style": round(measured["ours"] / measured["published style"], 3),
        "rows": rows,
    }


def main(arguments: list[str]) -> int:
    """Measures, prints a table, and writes JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--network", default="resnet50")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--size", type=int, default=128, help="side of a view, px (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=256, help="per step (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="per round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--eager", action="store_true", help="do not compile")
    parser.add_argument("--out", type=Path, help="JSON file, which must not exist")
    options = parser.parse_args(arguments)
    if options.out is not None and options.out.exists():
        parser.error(f"{options.out} exists")
    found = measure(options)
    rows = found["rows"]
    print("\n".join(f"{key}: {value}" for key, value in found.items() if key != "rows"))
    print(f"\n{'':16}  {'views/s':>10}  {'of peak':>8}  {'loader cores':>12}")
    for row in rows:
        share = "–" if row["share_of_peak"] is None else f"{row['share_of_peak']:.1%}"
        print(f"{row['style']:16}  {row['views_per_s']:10,.1f}  {share:>8}  {row['loader_cores']:12.1f}")
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

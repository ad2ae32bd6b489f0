"""Training steps without Lightning, ours and others', and what they are measured against."""

import gc
import importlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.utils.flop_counter import FlopCounterMode

from peclr.losses.nt_xent import nt_xent_loss
from peclr.losses.objectives import PeCLR
from peclr.models.encoders import ResNetEncoder, normalize_images
from peclr.models.heads import ProjectionHead
from peclr.training.optim import LARS, split_weight_decay
from peclr.training.pretrain import PretrainModule
from tests.gpu.fits import BATCHES, make_batch
from tests.gpu.parts import Row

Step = Callable[[], object]


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(works: dict[str, Step], device: torch.device, seconds: float, rounds: int = 5) -> dict[str, float]:
    """Median seconds of each piece of work over rounds in turns, after a warm-up; each has `seconds` in all."""
    many = {}
    for name, work in works.items():
        for _ in range(2):  # the first chooses kernels
            start = time.perf_counter()
            work()
            synchronize(device)
        many[name] = max(1, round(seconds / rounds / (time.perf_counter() - start)))
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            start = time.perf_counter()
            for _ in range(many[name]):
                work()
            synchronize(device)
            taken[name].append((time.perf_counter() - start) / many[name])
    return {name: statistics.median(times) for name, times in taken.items()}


def free() -> None:
    """Give memory back before the next measurement."""
    gc.collect()
    torch.cuda.empty_cache()


def our_step(
    network: str,
    width: float,
    size: int,
    pairs: int,
    device: torch.device,
    micro_batch: int | None = None,
    accumulate: int = 1,
) -> Step:
    """What `peclr fit` does with the shipped config in bf16-mixed, images on the device, in a loop of five lines."""
    torch.manual_seed(0)
    encoder = ResNetEncoder(network, width)  # type: ignore[arg-type]  # names are checked
    module = PretrainModule(encoder, PeCLR(), micro_batch=micro_batch).to(device)
    module.log = lambda *arguments, **options: None  # type: ignore[method-assign]  # there is no trainer
    optimizer = LARS(torch.optim.Adam(split_weight_decay(module.parameters(), 1e-6), lr=1e-4))
    batches: list[Any] = [make_batch(device, pairs, size) for _ in range(BATCHES)]

    def step() -> None:
        for _ in range(accumulate):
            batches.append(batches.pop(0))
            with torch.autocast(device.type, torch.bfloat16):
                loss = module.training_step(batches[0])
            torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()

    return step


def scaled(model: nn.Module, loss_of: Callable[[], Tensor], device: torch.device) -> Step:
    """A step in fp16 with a scaled loss, as in the published code; on a CPU, bf16 stands in."""
    cuda = device.type == "cuda"
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, foreach=False)
    scaler = torch.amp.grad_scaler.GradScaler(device.type, enabled=cuda)

    def step() -> None:
        with torch.autocast(device.type, torch.float16 if cuda else torch.bfloat16):
            loss = loss_of()
        torch.autograd.backward(scaler.scale(loss))
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    return step


def float_views(pairs: int, size: int, device: torch.device) -> Tensor:
    """(2, pairs, 3, size, size) normalized images on the host, pinned where that means something."""
    views = normalize_images(torch.randint(256, (2, pairs, 3, size, size), dtype=torch.uint8))
    return views.pin_memory() if device.type == "cuda" else views


def published_step(network: str, width: float, size: int, pairs: int, device: torch.device) -> Step:
    """The published style: eager, NCHW, fp16, float images from the host."""
    torch.manual_seed(0)
    encoder = ResNetEncoder(network, width)  # type: ignore[arg-type]  # the same
    model = nn.Sequential(encoder, ProjectionHead(encoder.feature_dim)).to(device)
    views, matrices, objective = float_views(pairs, size, device), torch.eye(3, device=device), PeCLR()

    def loss() -> Tensor:
        first, second = model(views.to(device).flatten(0, 1)).chunk(2)
        return objective(torch.stack((first, second), 1), matrices.expand(pairs, 2, 3, 3))  # type: ignore[no-any-return]

    return scaled(model, loss, device)


def lightly_step(network: str, width: float, size: int, pairs: int, device: torch.device) -> Step:
    """A step of SimCLR with lightly's head and loss, as its example takes it; ImportError without lightly."""
    ntx_ent = importlib.import_module("lightly.loss.ntx_ent_loss")
    heads = importlib.import_module("lightly.models.modules.heads")
    torch.manual_seed(0)
    encoder = ResNetEncoder(network, width)  # type: ignore[arg-type]  # the same
    head = heads.SimCLRProjectionHead(encoder.feature_dim, 512, 128)
    model, criterion = nn.Sequential(encoder, head).to(device), ntx_ent.NTXentLoss(temperature=0.5)
    views = float_views(pairs, size, device)

    def loss() -> Tensor:
        return criterion(model(views[0].to(device)), model(views[1].to(device)))  # type: ignore[no-any-return]

    return scaled(model, loss, device)


def nt_xent_and_floor(views: int, features: int, device: torch.device) -> dict[str, Step]:
    """NT-Xent with its gradient, and the three float32 products that any such loss has to compute."""
    torch.manual_seed(0)
    z = normalize(torch.randn(views, features, device=device), dim=1)
    scores = torch.empty(views, views, device=device)
    out = torch.empty_like(z)

    def loss() -> None:
        leaf = z.detach().requires_grad_()
        first, second = leaf.chunk(2)
        torch.autograd.backward(nt_xent_loss(first, second))

    def floor() -> None:
        torch.mm(z, z.mT, out=scores)
        torch.mm(scores, z, out=out)
        torch.mm(scores.mT, z, out=out)

    return {"loss": loss, "floor": floor}


def flops_per_view(network: str, width: float, size: int) -> float:
    """FLOPs of one view, forward and backward, counted by torch: a multiplication and an addition are two."""
    with torch.device("meta"):
        encoder = ResNetEncoder(network, width)  # type: ignore[arg-type]  # the same
        model = nn.Sequential(encoder, ProjectionHead(encoder.feature_dim))
        with FlopCounterMode(display=False) as counter:
            model(torch.empty(2, 3, size, size)).sum().backward()
    return float(counter.get_total_flops()) / 2


def profile(step: Step, device: torch.device, steps: int = 5) -> Row:
    """The ten kernels that take longest, as shares of the time, and the share in which none runs."""
    cuda = device.type == "cuda"
    activity = torch.profiler.ProfilerActivity
    step()
    synchronize(device)
    with torch.profiler.profile(activities=[activity.CUDA] if cuda else [activity.CPU]) as profiler:
        start = time.perf_counter()
        for _ in range(steps):
            step()
        synchronize(device)
        taken = 1e6 * (time.perf_counter() - start)
    spent = {
        event.key: event.self_device_time_total if cuda else event.self_cpu_time_total
        for event in profiler.key_averages()
    }
    top = sorted(spent.items(), key=lambda item: -item[1])[:10]
    return {"top": {name[:120]: round(time / taken, 4) for name, time in top}, "gaps": 1 - sum(spent.values()) / taken}

"""Training steps without Lightning, ours and others', and what they are measured against."""

import importlib
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.utils.flop_counter import FlopCounterMode

from peclr.losses.nt_xent import full_precision_matmul, nt_xent_loss
from peclr.losses.objectives import PeCLR
from peclr.models.encoders import ResNetEncoder, ResNetName, normalize_images
from peclr.models.heads import ProjectionHead
from peclr.training.optim import LARS, split_weight_decay
from peclr.training.pretrain import PretrainModule
from tests.gpu.fits import BATCHES, free, make_batch
from tests.gpu.parts import Row

Step = Callable[[], object]


@dataclass(frozen=True)
class Shape:
    """A network, and the batches that it sees."""

    network: ResNetName
    width: float
    size: int
    pairs: int
    device: torch.device

    def encoder(self) -> ResNetEncoder:
        torch.manual_seed(0)
        return ResNetEncoder(self.network, self.width)

    def float_views(self) -> Tensor:
        """(2, pairs, 3, size, size) normalized images on the host, pinned where that means something."""
        views = torch.randint(256, (2, self.pairs, 3, self.size, self.size), dtype=torch.uint8)
        return normalize_images(views).pin_memory() if self.device.type == "cuda" else normalize_images(views)


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(works: dict[str, Step], device: torch.device, seconds: float, rounds: int = 5) -> dict[str, float]:
    """Median seconds of each piece of work over rounds in turns, after a warm-up; each has `seconds` in all."""

    def timed(work: Step, times: int) -> float:
        start = time.perf_counter()
        for _ in range(times):
            work()
        synchronize(device)
        return (time.perf_counter() - start) / times

    free()
    once = {name: min(timed(work, 1) for _ in range(2)) for name, work in works.items()}  # the first chooses kernels
    many = {name: max(1, round(seconds / rounds / taken)) for name, taken in once.items()}
    taken = [{name: timed(work, many[name]) for name, work in works.items()} for _ in range(rounds)]
    return {name: statistics.median(one[name] for one in taken) for name in works}


def our_step(shape: Shape, micro_batch: int | None = None, accumulate: int = 1) -> Step:
    """What `peclr fit` does with the shipped config in bf16-mixed, images on the device, in a loop of five lines."""
    module = PretrainModule(shape.encoder(), PeCLR(), micro_batch=micro_batch).to(shape.device)
    module.log = lambda *arguments, **options: None  # type: ignore[method-assign]  # there is no trainer
    optimizer = LARS(torch.optim.Adam(split_weight_decay(module.parameters(), 1e-6), lr=1e-4))
    batches: list[Any] = [make_batch(shape.device, shape.pairs, shape.size) for _ in range(BATCHES)]

    def step() -> None:
        for _ in range(accumulate):
            batches.append(batches.pop(0))
            with torch.autocast(shape.device.type, torch.bfloat16):
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


def published_step(shape: Shape) -> Step:
    """The published style: eager, NCHW, fp16, float images from the host."""
    encoder, views = shape.encoder(), shape.float_views()
    model = nn.Sequential(encoder, ProjectionHead(encoder.feature_dim)).to(shape.device)
    matrices, objective = torch.eye(3, device=shape.device).expand(shape.pairs, 2, 3, 3), PeCLR()

    def loss() -> Tensor:
        projections = model(views.to(shape.device).flatten(0, 1)).unflatten(0, (2, -1)).transpose(0, 1)
        return objective(projections, matrices)  # type: ignore[no-any-return]  # nn.Module's call is untyped

    return scaled(model, loss, shape.device)


def lightly_step(shape: Shape) -> Step:
    """A step of SimCLR with lightly's head and loss, as its example takes it; ImportError without lightly."""
    loss_file = importlib.import_module("lightly.loss.ntx_ent_loss")
    heads = importlib.import_module("lightly.models.modules.heads")
    encoder, views = shape.encoder(), shape.float_views()
    model = nn.Sequential(encoder, heads.SimCLRProjectionHead(encoder.feature_dim, 512, 128)).to(shape.device)
    criterion = loss_file.NTXentLoss(temperature=0.5)

    def loss() -> Tensor:
        return criterion(*(model(one.to(shape.device)) for one in views))  # type: ignore[no-any-return]  # untyped

    return scaled(model, loss, shape.device)


def nt_xent_and_floor(views: int, device: torch.device, features: int = 128) -> dict[str, Step]:
    """NT-Xent with its gradient, and the three float32 products that any such loss has to compute."""
    torch.manual_seed(0)
    z = normalize(torch.randn(views, features, device=device), dim=1)
    scores, out = torch.empty(views, views, device=device), torch.empty_like(z)

    def loss() -> None:
        leaf = z.detach().requires_grad_()
        first, second = leaf.chunk(2)
        torch.autograd.backward(nt_xent_loss(first, second))

    def floor() -> None:
        with full_precision_matmul():
            torch.mm(z, z.mT, out=scores)
            torch.mm(scores, z, out=out)
            torch.mm(scores.mT, z, out=out)

    return {"loss": loss, "floor": floor}


def flops_per_view(network: ResNetName, width: float, size: int) -> float:
    """FLOPs of one view, forward and backward: a multiplication and an addition are two, and backward is twice forward.

    Forward alone is run: autograd's threads for other devices would forbid the process to fork from then on.
    """
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        encoder = ResNetEncoder(network, width)
        model = nn.Sequential(encoder, ProjectionHead(encoder.feature_dim))
        model(torch.empty(2, 3, size, size))
    return 3 * float(counter.get_total_flops()) / 2


def profile(step: Step, device: torch.device, steps: int = 5) -> Row:
    """The ten kernels that take longest, as shares of the time, and the share in which none runs."""
    cuda, activity = device.type == "cuda", torch.profiler.ProfilerActivity
    step()
    synchronize(device)
    with torch.profiler.profile(activities=[activity.CUDA if cuda else activity.CPU]) as profiler:
        start = time.perf_counter()
        for _ in range(steps):
            step()
        synchronize(device)
        taken = 1e6 * (time.perf_counter() - start)
    events = [event for event in profiler.key_averages() if not event.is_user_annotation]  # which has kernels inside
    spent = {event.key: event.self_device_time_total if cuda else event.self_cpu_time_total for event in events}
    top = sorted(spent, key=spent.__getitem__, reverse=True)[:10]
    return {"top": {name[:120]: round(spent[name] / taken, 4) for name in top}, "gaps": 1 - sum(spent.values()) / taken}

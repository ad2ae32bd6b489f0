"""One of several processes that share a batch: `python worker.py RANK WORLD_SIZE FOLDER [cuda]` writes gradients.

The tests compare what two of them compute with what `run` does alone.
"""

import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from peclr.collectives import gather, max_over_hosts, pairs_per_process, sum_over_hosts
from peclr.geometry.affine import compose, rotation, scaling, translation
from peclr.losses.objectives import (
    AffinePeCLR,
    GeometryHead,
    Objective,
    PeCLR,
    SimCLR,
    SiMHand,
    SoftPeCLR,
    SplitObjective,
    VICReg,
)
from peclr.models.encoders import ResNetEncoder
from peclr.training.pretrain import PretrainModule, false_negatives

OBJECTIVES: dict[str, Callable[[], Objective]] = {
    "SimCLR": SimCLR,
    "PeCLR": PeCLR,
    "AffinePeCLR": AffinePeCLR,
    "SiMHand": SiMHand,
    "SiMHand positive": lambda: SiMHand(negative=False),
    "SiMHand negative": lambda: SiMHand(positive=False),
    "SoftPeCLR": lambda: SoftPeCLR(radius=1.5),  # joints of noise are far apart
    "SplitObjective": lambda: SplitObjective(equivariant=SiMHand()),
    "VICReg": VICReg,
    "GeometryHead": lambda: GeometryHead(SiMHand()),
}
# pairs of the first process and of the second one
SPLITS = {"even": (3, 3), "uneven": (5, 2)}
Result = dict[str, Tensor]


def batch_of(pairs: int) -> dict[str, Tensor]:
    """A batch of `pairs` pairs; one joint of one view is not known."""
    generator = torch.Generator().manual_seed(pairs)
    angle, offset, factor = (torch.rand(pairs, 2, *shape, generator=generator) for shape in ((), (2,), ()))
    joints = 128 * torch.rand(pairs, 2, 21, 2, generator=generator)
    joints[1, 0, 4] = torch.nan
    joints[0, 0], joints[2, 1] = -64, 192  # the farthest two are both of the first process
    return {
        "features": torch.randn(pairs, 2, 12, generator=generator),
        "views": torch.randint(256, (pairs, 2, 3, 32, 32), generator=generator, dtype=torch.uint8),
        "view_from_crop": compose(translation(offset - 0.5), rotation(angle), scaling(0.8 + factor / 2)),
        "joints_2d": joints,
        "hand": torch.arange(pairs) // 2,
    }


class OnFeatures(nn.Module):
    """The objective of a linear projection: the smallest model with parameters."""

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.projection = nn.Linear(12, 16)
        self.objective = objective
        objective.build(12)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """The loss."""
        known = {name: batch[name] for name in self.objective.needs}
        loss: Tensor = self.objective(self.projection(batch["features"]), batch["view_from_crop"], **known)
        return loss


class OnViews(nn.Module):
    """A training step of the real module, without a trainer to log to; BatchNorm in evaluation."""

    def __init__(self, objective: Objective, micro_batch: int | None) -> None:
        super().__init__()
        torch.manual_seed(0)
        encoder = ResNetEncoder("resnet18", width=0.125)
        self.module = PretrainModule(encoder, objective, projection_features=16, micro_batch=micro_batch).eval()
        self.module.log = lambda *args, **options: None  # type: ignore[method-assign]

    def forward(self, batch: Any) -> Tensor:
        """The loss."""
        return self.module.training_step(batch)


def models(device: str) -> Iterator[tuple[str, nn.Module]]:
    """Names and models of all cases; all processes have the same weights."""
    for name, objective in OBJECTIVES.items():
        yield name, OnFeatures(objective())
    yield "PretrainModule", OnViews(PeCLR(), micro_batch=None)
    yield "PretrainModule in micro-batches", OnViews(PeCLR(), micro_batch=2)
    yield "SiMHand in micro-batches", OnViews(SiMHand(), micro_batch=2)
    yield "GeometryHead in micro-batches", OnViews(GeometryHead(), micro_batch=2)
    if device == "cuda":  # torch has no SyncBatchNorm for CPUs
        model = OnViews(PeCLR(), micro_batch=None).train()
        yield "SyncBatchNorm", nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]


def run(rank: int, world_size: int, device: str = "cpu") -> dict[str, Result]:
    """The loss and all gradients of every case."""
    results: dict[str, Result] = {}
    for split, sizes in SPLITS.items():
        batch = {key: value.to(device) for key, value in batch_of(sum(sizes)).items()}
        if world_size > 1:
            start = sum(sizes[:rank])
            batch = {key: value[start : start + sizes[rank]] for key, value in batch.items()}
        for name, model in models(device):
            model.to(device)
            step = DistributedDataParallel(model) if world_size > 1 else model
            loss = step(batch)
            loss.backward()
            gradients = {key: p.grad for key, p in model.named_parameters() if p.grad is not None}
            results[f"{name}, {split}"] = {"loss": loss.detach(), **gradients}
        counts = pairs_per_process(len(batch["hand"]))
        shared = {"false_negatives": false_negatives(gather(batch["hand"], counts)), "counts": torch.tensor(counts)}
        results[f"hands, {split}"] = {
            **shared,
            "largest": torch.tensor(max_over_hosts(10 - rank)),
            "sum": sum_over_hosts(batch["joints_2d"][..., 5, :].sum(0).cpu().double()),
        }
    return results


def work(rank: int, world_size: int, folder: Path, device: str = "cpu") -> None:
    """Write what one of several processes computes."""
    store = (folder / "store").as_uri()
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=world_size, timeout=timedelta(minutes=5))
    torch.save(run(rank, world_size, device), folder / f"{world_size}-{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.backends.cudnn.allow_tf32 = False
    work(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), *sys.argv[4:])

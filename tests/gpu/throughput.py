"""The part `throughput`: how fast `peclr fit` is, what it waits for, and what it is measured against."""

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch

from peclr.data.datamodules import PairedViewDataModule
from peclr.data.sources.freihand import FreiHAND
from tests.gpu import steps
from tests.gpu.fits import fit
from tests.gpu.hands import hands_for
from tests.gpu.parts import Goal, Results, Row, Work, cores, do, judge, share_of_peak

GOALS: Final = [
    Goal(
        "views/s, ResNet-50 at 128 px, images on the device", "device resnet50 128 compiled", "views_per_s", "≥ 15000"
    ),
    Goal("the same over the published style", "device resnet50 128 compiled", "over_published", "≥ 2"),
    Goal("share of a step that waits for data, from files", "files resnet50 128", "data_wait", "≤ 0.02"),
    Goal("Lightning's time over a bare loop's", "lightning over bare", "ratio", "≤ 1.03"),
    Goal("NT-Xent over its products, 2N = 8192", "nt-xent 8192", "ratio", "≤ 1.5"),
    Goal("NT-Xent over its products, 2N = 65,536", "nt-xent 65536", "ratio", "≤ 1.5"),
]


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        seconds: Of each measurement.
        width: Of networks.
        size: Of views, by their nominal side, px.
        pairs: Of a batch on the device, where no config says otherwise.
        micro_batch: Of gradient caching.
    """

    dry: bool
    seconds: float = 5.0
    width: float = 1.0
    pairs: int = 256
    micro_batch: int = 128

    def size(self, nominal: int) -> int:
        """Side of a view."""
        return 32 if self.dry else nominal

    def network(self, nominal: str) -> str:
        """Name of a ResNet."""
        return "resnet18" if self.dry else nominal

    def count(self, nominal: int) -> int:
        """Of views or pairs."""
        return nominal // 512 if self.dry else nominal


TOY: Final = Scale(dry=True, seconds=0.2, width=0.125, pairs=4, micro_batch=2)


def run(results: Results, deadline: float, *, dry: bool) -> None:
    """Measure what fits, then say which goals are met, and profile what missed one."""
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    scale = TOY if dry else Scale(dry=False)
    do(works(scale, results), results, deadline)
    results.content["goals"] = judge(GOALS, results.rows, measured=not dry)
    results.write()
    missed = {goal.row for goal, row in zip(GOALS, results.content["goals"], strict=True) if row["met"] is False or dry}
    do(profiles(scale, missed), results, deadline)


def works(scale: Scale, results: Results) -> Iterator[Work]:
    """What to measure, the most telling first; seconds are guesses for an H100."""
    device = torch.device("cpu" if scale.dry else "cuda")
    half, fp16 = "bf16-mixed", "16-mixed"
    yield Work("bare steps resnet50 128", 30, partial(bare_steps, scale, device))
    yield Work("device resnet50 128", 15, fitting(scale, results, "resnet50", 128, half))
    yield Work("device resnet50 128 compiled", 75, fitting(scale, results, "resnet50", 128, half, compiled=True))
    if results.done("bare steps resnet50 128") and results.done("device resnet50 128"):
        yield Work("lightning over bare", 0, partial(lightning_over_bare, results))
    yield Work("files resnet50 128", 25, fitting(scale, results, "resnet50", 128, fp16, files=True))
    yield Work("loader", 25, partial(loader, scale, results))
    for views in (8192, 65536):
        yield Work(f"nt-xent {views}", 5, partial(nt_xent, scale, device, views))
    for contrast in (2048, 8192):
        yield Work(f"gradient caching {contrast}", 15, partial(caching, scale, device, contrast))
    if scale.dry:
        return  # the rest is the same with other numbers
    for network, size, precision in (("resnet50", 128, fp16), ("resnet50", 224, half), ("resnet152", 128, half)):
        name = f"device {network} {size}" + (" fp16" if precision == fp16 else "")
        yield Work(name, 15, fitting(scale, results, network, size, precision))
    yield Work("files resnet50 224", 20, fitting(scale, results, "resnet50", 224, fp16, files=True))
    yield Work("device resnet152 224", 20, fitting(scale, results, "resnet152", 224, half))
    yield Work("device resnet50 224 compiled", 75, fitting(scale, results, "resnet50", 224, half, compiled=True))


def fitting(
    scale: Scale,
    results: Results,
    network: str,
    size: int,
    precision: str,
    *,
    compiled: bool = False,
    files: bool = False,
) -> Callable[[], Row]:
    """`peclr fit` of the shipped config, which from files stays as it is."""

    def measure() -> Row:
        on_cpu = scale.dry and precision == "16-mixed"  # which is for GPUs
        hands = hands_for(dry=scale.dry) if files else None
        # every batch a step, unless the run is to be as shipped: 16 batches of 128 pairs
        given: dict[str, Any] = {"pairs": scale.pairs, "options": ("--trainer.accumulate_grad_batches=1",)}
        if files:
            given = {
                "pairs": scale.pairs if scale.dry else 128,
                "options": ("--data.num_workers=1",) if scale.dry else (),
            }
        name, side = scale.network(network), scale.size(size)
        given |= {"seconds": scale.seconds, "compiled": compiled, "hands": hands, "dry": scale.dry}
        row = fit(name, side, "bf16-mixed" if on_cpu else precision, **given)
        flops = steps.flops_per_view(name, scale.width, side)
        row |= {"precision": precision, "pairs": given["pairs"], "gflop_per_view": flops / 1e9}
        row["share_of_peak"] = share_of_peak(row["views_per_s"], flops, results.content["machine"]["card"])
        styles = results.rows.get("bare steps resnet50 128", {})
        if (network, size) == ("resnet50", 128) and "published" in styles:
            row["over_published"] = row["views_per_s"] / styles["published"]
        return row

    return measure


def bare_steps(scale: Scale, device: torch.device) -> Row:
    """Views per second of steps without Lightning, in turns: ours, eager; the published style; lightly's."""
    shape = (scale.network("resnet50"), scale.width, scale.size(128), scale.pairs, device)
    works = {"ours": steps.our_step(*shape), "published": steps.published_step(*shape)}
    row: Row = {"pairs": scale.pairs}
    try:
        works["lightly"] = steps.lightly_step(*shape)
    except ImportError as error:
        row["lightly"] = f"not here: {error}"
    taken = steps.seconds_of(works, device, scale.seconds)
    del works
    steps.free()
    return row | {name: 2 * scale.pairs / seconds for name, seconds in taken.items()}


def lightning_over_bare(results: Results) -> Row:
    """Time of a step of `peclr fit` over that of a bare loop, both eager with images on the device."""
    bare, lightning = results.rows["bare steps resnet50 128"]["ours"], results.rows["device resnet50 128"]
    return {"ratio": bare / lightning["views_per_s"], "spread": lightning["spread"]}


def loader(scale: Scale, results: Results) -> Row:
    """Views per second that numbers of worker processes make of files, 128 px, and how many would feed what trains."""
    source, row = FreiHAND(hands_for(dry=scale.dry)), dict[str, Any]()
    for workers in (1,) if scale.dry else sorted({1, cores() // 2, cores()}):
        data = PairedViewDataModule(
            source,
            view_size=scale.size(128),
            batch_size=scale.pairs,
            num_workers=workers,
            val_fraction=0.0,
            epoch_length=10**6,
        )
        batches = iter(data.train_dataloader())
        for _ in range(2 * workers + 1):  # what workers have made by now is not counted
            next(batches)
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < scale.seconds:
            count += 2 * len(next(batches)["index"])
        row[f"{workers} workers"] = count / (time.perf_counter() - start)
        del batches
    files = list(Path(source.image_file(0)).parent.glob("*.jpg"))
    one_core = row[f"{workers} workers"] / workers
    rates = {name: row["views_per_s"] for name, row in results.rows.items() if name.startswith("device resnet50 128")}
    row["workers_to_feed"] = {name: rate / one_core for name, rate in rates.items()}
    row["bytes_per_file"] = sum(file.stat().st_size for file in files) / len(files)
    return row


def nt_xent(scale: Scale, device: torch.device, views: int) -> Row:
    """The loss and its gradient over the products that it cannot do without, both in float32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        works = steps.nt_xent_and_floor(scale.count(views), 128, device)
        taken = steps.seconds_of(works, device, scale.seconds / 2)
    finally:
        torch.set_float32_matmul_precision(before)
    del works
    steps.free()
    return {"ratio": taken["loss"] / taken["floor"], "ms": 1e3 * taken["loss"], "floor_ms": 1e3 * taken["floor"]}


def caching(scale: Scale, device: torch.device, contrast: int) -> Row:
    """A step with gradient caching over as many views in steps without: 4/3 is what is computed."""
    pairs, micro_batch = scale.count(contrast), scale.micro_batch
    shape = (scale.network("resnet50"), scale.width, scale.size(128))
    works = {
        "cached": steps.our_step(*shape, pairs, device, micro_batch),
        "plain": steps.our_step(*shape, micro_batch, device, accumulate=pairs // micro_batch),
    }
    taken = steps.seconds_of(works, device, scale.seconds, rounds=2)
    del works
    steps.free()
    return {"ratio": taken["cached"] / taken["plain"], "views_per_s": 2 * pairs / taken["cached"]}


def profiles(scale: Scale, missed: set[str]) -> Iterator[Work]:
    """What takes the time where a goal is missed."""
    device = torch.device("cpu" if scale.dry else "cuda")

    def of_loss(views: int) -> Row:
        return steps.profile(steps.nt_xent_and_floor(scale.count(views), 128, device)["loss"], device)

    shape = (scale.network("resnet50"), scale.width, scale.size(128), scale.pairs, device)
    if missed - {"nt-xent 8192", "nt-xent 65536"}:
        yield Work("profile of a step", 10, lambda: steps.profile(steps.our_step(*shape), device))
    for views in (8192, 65536):
        if f"nt-xent {views}" in missed:
            yield Work(f"profile of nt-xent {views}", 5, partial(of_loss, views))

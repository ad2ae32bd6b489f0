"""The part `throughput`: how fast `peclr fit` is, what it waits for, and what it is measured against."""

import logging
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch

from peclr.data.datamodules import PairedViewDataModule
from peclr.data.loading.loaders import workers_of
from peclr.data.sources.freihand import FreiHAND
from peclr.models.encoders import ResNetName
from tests.gpu import steps
from tests.gpu.fits import Fit
from tests.gpu.parts import BARE, COMPILED, DEVICE, GOALS, Results, Row, Work, do, judge, share_of_peak
from tests.gpu.science import hands_for

LOSSES, CONTRASTS = (8192, 65536), (2048, 8192)  # views, pairs
SHIPPED_PAIRS: Final = 128  # of a batch, in the shipped config


FITS: Final = [Fit("resnet50", 128), Fit("resnet50", 128, compiled=True), Fit("resnet50", 128, "16-mixed", files=True)]
MORE_FITS: Final = [  # the most telling first
    *(Fit("resnet50", 128, "16-mixed"), Fit("resnet50", 224), Fit("resnet152", 128)),
    *(Fit("resnet50", 224, "16-mixed", files=True), Fit("resnet152", 224), Fit("resnet50", 224, compiled=True)),
]


@dataclass(frozen=True)
class Measure:
    """What a row of the results is made by, at full or at toy size."""

    results: Results
    dry: bool

    @property
    def device(self) -> torch.device:
        return torch.device("cpu" if self.dry else "cuda")

    @property
    def seconds(self) -> float:
        return 0.2 if self.dry else 5.0

    def count(self, nominal: int) -> int:
        """Of views or pairs."""
        return max(4, nominal // 512) if self.dry else nominal

    def shape(self, pairs: int = 256, network: ResNetName = "resnet50", size: int = 128) -> steps.Shape:
        toy = steps.Shape("resnet18", 0.125, 32, self.count(pairs), self.device)
        return toy if self.dry else steps.Shape(network, 1.0, size, pairs, self.device)

    def fit(self, run: Fit) -> Row:
        """`peclr fit` of the shipped config."""
        shape = self.shape(SHIPPED_PAIRS if run.files else 256, run.network, run.size)
        if self.dry:  # 16-mixed is for GPUs
            run = replace(run, network=shape.network, size=shape.size, precision="bf16-mixed")
        row = run.run(shape.pairs, hands_for(dry=self.dry) if run.files else None, self.seconds, dry=self.dry)
        flops = steps.flops_per_view(shape.network, shape.width, shape.size)
        row |= {"precision": run.precision, "pairs": shape.pairs, "gflop_per_view": flops / 1e9}
        row["share_of_peak"] = share_of_peak(row["views_per_s"], flops, self.results.content["machine"]["card"])
        if self.results.done(BARE) and (self.dry or (run.network, run.size) == ("resnet50", 128)):
            row["over_published"] = row["views_per_s"] / self.results.rows[BARE]["published"]
        return row

    def bare(self) -> Row:
        """Views per second of steps without Lightning, in turns: ours, eager; the published style; lightly's."""
        shape = self.shape()
        works = {"ours": steps.our_step(shape), "published": steps.published_step(shape)}
        row: Row = {"pairs": shape.pairs}
        try:
            works["lightly"] = steps.lightly_step(shape)
        except ImportError as error:
            row["lightly"] = f"not here: {error}"
        taken = steps.seconds_of(works, self.device, self.seconds)
        return row | {name: 2 * shape.pairs / seconds for name, seconds in taken.items()}

    def lightning_over_bare(self) -> Row:
        """Time of a step of `peclr fit` over that of a bare loop, both eager with images on the device."""
        fitted = self.results.rows[DEVICE]
        return {"ratio": self.results.rows[BARE]["ours"] / fitted["views_per_s"], "spread": fitted["spread"]}

    def loader(self) -> Row:
        """Views per second that workers make of files, without training, and how many would feed what trains."""
        shape, source, row = self.shape(), FreiHAND(hands_for(dry=self.dry)), dict[str, Any]()
        for workers in (1,) if self.dry else sorted({1, workers_of("auto", None) // 2, workers_of("auto", None)}):
            options: Row = {"view_size": shape.size, "batch_size": shape.pairs, "num_workers": workers}
            data = PairedViewDataModule(sources=source, val_fraction=0.0, epoch_length=10**6, **options)
            batches = iter(data.train_dataloader())
            for _ in range(2 * workers + 1):  # what workers have made by now is not counted
                next(batches)
            count, start = 0, time.perf_counter()
            while time.perf_counter() - start < self.seconds:
                count += 2 * len(next(batches)["index"])
            row[f"{workers} workers"] = count / (time.perf_counter() - start)
            del batches
        one_core, rows = row[f"{workers} workers"] / workers, self.results.rows
        trained = {name: rows[name]["views_per_s"] for name in (DEVICE, COMPILED) if self.results.done(name)}
        row["workers_to_feed"] = {name: rate / one_core for name, rate in trained.items()}
        files = list(Path(source.image_file(0)).parent.glob("*.jpg"))
        return row | {"bytes_per_file": sum(file.stat().st_size for file in files) / len(files)}

    def nt_xent(self, views: int) -> Row:
        """The loss and its gradient over the products that it cannot do without, both in float32."""
        works = steps.nt_xent_and_floor(self.count(views), self.device)
        taken = steps.seconds_of(works, self.device, self.seconds / 2)
        return {"ratio": taken["loss"] / taken["floor"], "ms": 1e3 * taken["loss"], "floor_ms": 1e3 * taken["floor"]}

    def caching(self, contrast: int) -> Row:
        """A step with gradient caching over one that accumulates as many pairs: 4/3 is what is computed."""
        whole, part = self.shape(contrast), self.shape(SHIPPED_PAIRS)
        cached = steps.our_step(whole, micro_batch=part.pairs)
        plain = steps.our_step(part, accumulate=whole.pairs // part.pairs)
        taken = steps.seconds_of({"cached": cached, "plain": plain}, self.device, self.seconds, rounds=2)
        return {"ratio": taken["cached"] / taken["plain"], "views_per_s": 2 * whole.pairs / taken["cached"]}

    def profile(self, what: str) -> Row:
        """What takes the time of a step, or of the loss of so many views."""
        if what == "step":
            return steps.profile(steps.our_step(self.shape()), self.device)
        return steps.profile(steps.nt_xent_and_floor(self.count(int(what)), self.device)["loss"], self.device)


def run(results: Results, deadline: float, *, dry: bool) -> None:
    """Measure what goals are for, profile what misses one, and then measure the rest."""
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")  # NT-Xent sees to its own
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    measure = Measure(results, dry)
    do(works(measure), results, deadline)
    missed = {goal["row"] for goal in judge(GOALS, results.rows) if goal["met"] is False or dry}
    losses = {f"nt-xent {views}": str(views) for views in LOSSES}
    profiled = [*(["step"] if missed - losses.keys() else []), *(losses[name] for name in losses if name in missed)]
    rest = [Work(f"profile {what}", 10, partial(measure.profile, what)) for what in profiled]
    rest += [Work(f"gradient caching {pairs}", 15, partial(measure.caching, pairs)) for pairs in CONTRASTS]
    more = MORE_FITS if not dry else []  # which dry are the same once more
    rest += [Work(one.name, one.about, partial(measure.fit, one)) for one in more]
    do(rest, results, deadline)


def works(measure: Measure) -> Iterator[Work]:
    """What has a goal and what explains it, the most telling first."""
    device, compiled, files = (Work(one.name, one.about, partial(measure.fit, one)) for one in FITS)
    yield from (Work(BARE, 30, measure.bare), device)
    if measure.results.done(BARE) and measure.results.done(DEVICE):
        yield Work("lightning over bare", 0, measure.lightning_over_bare)
    yield from (Work(f"nt-xent {views}", 6, partial(measure.nt_xent, views)) for views in LOSSES)
    yield from (files, compiled, Work("loader", 30, measure.loader))  # compiling may take longer than it should

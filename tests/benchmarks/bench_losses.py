"""What contrast costs: NT-Xent against its bare arithmetic, and memory in micro-batches against one of them.

Memory is the peak of the tensors that torch's operations return, each counted from the operation that makes it until
it is freed: unlike the process' resident size, the same every time, and without what an allocator keeps.
"""

import gc
import statistics
import time
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from peclr.losses.nt_xent import nt_xent_loss
from peclr.losses.objectives import PeCLR
from peclr.models.encoders import ResNetEncoder
from peclr.training.pretrain import PretrainModule
from tests.benchmarks.run import Row

PAIRS, FEATURES, TEMPERATURE = 4096, 128, 0.5
MICRO_BATCH, MICRO_BATCHES, VIEW_SIZE = 16, 8, 64


def run() -> list[Row]:
    """NT-Xent at 8192 views, and a training step of 128 pairs in micro-batches of 16."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    z = normalize(torch.randn(2 * PAIRS, FEATURES, generator=generator), dim=1)
    logits_bytes = (2 * PAIRS) ** 2 * z.element_size()
    return [
        ("nt_xent_over_floor", time_ratio(lambda: nt_xent(z), lambda: floor(z)), "× time", "≤ 1.5"),
        ("nt_xent_peak_over_logits", peak_bytes(lambda: nt_xent(z)) / logits_bytes, "× memory", "≤ 2"),
        ("contrast_batch_peak_over_micro_batch", micro_batch_ratio(), "× memory", "≤ 1.5"),
    ]


def nt_xent(z: Tensor) -> None:
    """The loss and its gradient."""
    leaf = z.detach().requires_grad_()
    torch.autograd.backward(nt_xent_loss(leaf[:PAIRS], leaf[PAIRS:], TEMPERATURE))


def floor(z: Tensor) -> None:
    """What any plain implementation does at least: all similarities, their logsumexp, and the gradient."""
    leaf = z.detach().requires_grad_()
    torch.autograd.backward((leaf @ leaf.mT / TEMPERATURE).logsumexp(dim=1).mean())


def time_ratio(work: Callable[[], None], reference: Callable[[], None], repeats: int = 3) -> float:
    """Ratio of median times, taken in turns."""
    times: dict[Callable[[], None], list[float]] = {work: [], reference: []}
    for _ in range(repeats):
        for function, taken in times.items():
            start = time.perf_counter()
            function()
            taken.append(time.perf_counter() - start)
    return statistics.median(times[work]) / statistics.median(times[reference])


def micro_batch_ratio() -> float:
    """Peak memory of a step beyond weights and gradients: many micro-batches contrasted as one, over one alone.

    Besides the activations of one, many hold the gradient that they sum up, the size of the weights.
    """
    many, one = (peak_bytes(training_step(pairs)) for pairs in (MICRO_BATCHES * MICRO_BATCH, MICRO_BATCH))
    return many / one


def training_step(pairs: int) -> Callable[[], None]:
    """A step of pre-training on `pairs` pairs, MICRO_BATCH at a time; gradients have been allocated."""
    module = PretrainModule(ResNetEncoder("resnet18", width=0.25), PeCLR(), micro_batch=MICRO_BATCH)
    module.log = lambda *args, **options: None  # type: ignore[method-assign]  # there is no trainer
    batch: Any = {
        "views": torch.zeros(pairs, 2, 3, VIEW_SIZE, VIEW_SIZE, dtype=torch.uint8).random_(),
        "view_from_crop": torch.eye(3).expand(pairs, 2, 3, 3),
    }

    def step() -> None:
        torch.autograd.backward(module.training_step(batch))

    step()
    return step


class CountedMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's, without types
    """Adds up the storages that come into being, and takes off those that vanish."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # the same
        self.in_use = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = {tensor.untyped_storage()._cdata for tensor in tensors_in((args, kwargs))}
        result = func(*args, **kwargs)
        for tensor in tensors_in(result):
            storage = tensor.untyped_storage()
            if storage._cdata in given | self.known:
                continue  # a view, or an operation in place
            self.known.add(storage._cdata)
            self.in_use += storage.nbytes()
            weakref.finalize(storage, self.forget, storage._cdata, storage.nbytes())
        self.peak = max(self.peak, self.in_use)
        return result

    def forget(self, storage: int, size: int) -> None:
        """Take off a storage that is gone."""
        self.known.discard(storage)
        self.in_use -= size


def tensors_in(tree: Any) -> list[Tensor]:
    """The tensors of arguments or results."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def peak_bytes(work: Callable[[], None]) -> int:
    """The most memory that `work` has of torch at a time, beyond what there was before."""
    gc.collect()
    with CountedMemory() as memory:
        work()
    return int(memory.peak)

"""A context in which the host must not wait for the device, and what stands in for it on a CPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# what copies from the host (tensors of numbers and lists, the indices of a list), and what copies to it
_COPIES = ("aten.lift_fresh", "aten._local_scalar_dense", "aten.nonzero", "aten.masked_select", "aten.equal")


@contextmanager
def no_waiting(device: str) -> Iterator[None]:
    """Raise RuntimeError where the host waits for a CUDA device, or would if the CPU were one."""
    if device == "cpu":
        with _NoCopies():  # type: ignore[no-untyped-call]  # the same
            yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


class _NoCopies(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's, without types
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        indices = args[1] if str(func).startswith("aten.index") and isinstance(args[1], list) else []
        masks = [index for index in indices if index is not None and index.dtype in (torch.bool, torch.uint8)]
        if masks or str(func).startswith(_COPIES):
            raise RuntimeError(f"the host waits: {func}")
        return func(*args, **(kwargs or {}))

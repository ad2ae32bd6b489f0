"""`torch.compile` as a callback, for any run whose module has a ResNet encoder.

The rest of what makes a step fast needs no code here: the modules keep convolutions channels_last, loaders pin uint8
batches, which Lightning copies without waiting, `trainer.benchmark: true` lets cuDNN choose, and an optimizer takes
`fused: true` in its `init_args`.
"""

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from peclr.models.encoders import ResNetEncoder


class CompileEncoder(Callback):
    """Compiles the encoder before training: by far the most of a step, and what torch.compile does best.

    It is compiled in place: parameters keep their names, so checkpoints of compiled and other runs fit each other.

    Args:
        mode: Of torch.compile: "default", "max-autotune-no-cudagraphs" and so on. Those that use CUDA graphs do not
            go with gradient caching.
        backend: Of torch.compile.
    """

    def __init__(self, mode: str = "default", backend: str = "inductor") -> None:
        self.mode = mode
        self.backend = backend

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compile; the kernels themselves are made at the first step."""
        encoders = [module for module in pl_module.modules() if isinstance(module, ResNetEncoder)]
        if not encoders:
            raise ValueError(f"CompileEncoder: {type(pl_module).__name__} has no ResNetEncoder to compile")
        for encoder in encoders:
            options = {} if self.backend != "inductor" else {"mode": self.mode}  # only inductor has modes
            encoder.compile(backend=self.backend, **options)

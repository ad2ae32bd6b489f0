"""Ideas that the ablations try and that peclr itself does not have."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from peclr.data.datamodules import PairedViewDataModule
from peclr.data.samples import PairedViewBatch
from peclr.training import PretrainModule

Image = NDArray[np.uint8]


class EmaTarget(PretrainModule):
    """Contrasts with the projections of a copy that follows slowly (He et al., "Momentum Contrast", CVPR 2020).

    A pair is compared twice, each view once as the copy sees it. On one device, and a resumed run starts with a new
    copy: this is for short trials.

    Args:
        momentum: what is left of the copy after a step.
        options: of `PretrainModule`.
    """

    def __init__(self, momentum: float = 0.99, **options: Any) -> None:
        super().__init__(**options)
        self.momentum = momentum
        self._followers: list[nn.Module] = []  # in a list: no part of the checkpoint

    def on_fit_start(self) -> None:
        """Copy the network as it is at the start."""
        self._followers = [deepcopy(part).requires_grad_(False) for part in (self.encoder, self.projection_head)]

    def training_step(self, batch: PairedViewBatch) -> Tensor:
        """One contrastive step."""
        projections, (encoder, head) = self(batch["views"]), self._followers
        own = self.encoder, self.projection_head
        try:
            self.encoder, self.projection_head = encoder, head  # type: ignore[assignment]  # copies of the same
            with torch.no_grad():
                targets = self(batch["views"])
        finally:
            self.encoder, self.projection_head = own
        mixed = (torch.stack(pair, dim=1) for pair in zip(projections.unbind(1), targets.unbind(1)[::-1], strict=True))
        (first, second), geometry = mixed, batch["view_from_crop"]
        loss: Tensor = (self.objective(first, geometry) + self.objective(second.flip(1), geometry)) / 2
        self.log("train/loss", loss, batch_size=len(projections))
        return loss

    @torch.no_grad()
    def on_train_batch_end(self, *_: Any) -> None:
        """Follow, once the optimiser has stepped."""
        for part, follower in zip((self.encoder, self.projection_head), self._followers, strict=True):
            for value, followed in zip(part.parameters(), follower.parameters(), strict=True):
                followed.lerp_(value, 1 - self.momentum)


class OneViewRecoloured(PairedViewDataModule):
    """Only the first view of a pair gets other colours.

    Args:
        options: of `PairedViewDataModule`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        recolour = self.train_set._recolour
        if recolour is not None:
            self.train_set._recolour = _EverySecond(recolour)  # type: ignore[assignment]  # it is called, no more


class _EverySecond:
    """Views are recoloured in turns; each process makes both of a pair, one after the other."""

    def __init__(self, recolour: Callable[[Image, np.random.Generator], Image]) -> None:
        self.recolour, self.first = recolour, False

    def __call__(self, image: Image, stream: np.random.Generator) -> Image:
        self.first = not self.first
        return self.recolour(image, stream) if self.first else image

"""Optimization as published for PeCLR: LARS around any optimizer, warm-up and cosine, which weights decay."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

_EPS = 1e-8  # keeps the ratio of LARS finite


class LARS(Optimizer):
    """Scales each tensor's gradient by its trust ratio, then lets another optimizer step.

    You et al., "Large Batch Training of Convolutional Networks", 2017 (arXiv 1708.03888), eq. 6, in the form
    PeCLR was published with: around Adam, weight decay folded into the gradient before scaling. Parameter groups and
    state are the wrapped optimizer's own: schedulers, checkpoints and gradient scalers see one optimizer.

    Args:
        optimizer: takes the step, with its own learning rate; its weight decay is applied here instead.
        trust_coefficient: η of eq. 6.
        clip: cap ratio / lr at 1, so that no step is longer than the wrapped optimizer's own.
    """

    def __init__(self, optimizer: Optimizer, trust_coefficient: float = 0.001, *, clip: bool = True) -> None:
        if trust_coefficient <= 0:
            raise ValueError(f"expected trust_coefficient > 0, got {trust_coefficient}")
        self.optimizer = optimizer
        self.trust_coefficient = trust_coefficient
        self.clip = clip
        super().__init__(optimizer.param_groups, optimizer.defaults)
        self._share()

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Run `closure`, which computes gradients, if there is one; scale gradients; step."""
        loss = None
        if closure is not None:  # before scaling: the gradients are its result
            with torch.enable_grad():
                loss = closure()
        decays = [group.get("weight_decay", 0.0) for group in self.param_groups]
        for group in self.param_groups:
            self._scale_gradients(group)
        try:
            for group in self.param_groups:
                if "weight_decay" in group:
                    group["weight_decay"] = 0.0
            self.optimizer.step()
        finally:
            for group, decay in zip(self.param_groups, decays, strict=True):
                if "weight_decay" in group:
                    group["weight_decay"] = decay
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the wrapped optimizer's state; the two have the same format."""
        self.optimizer.load_state_dict(state_dict)
        self._share()

    def _share(self) -> None:
        self.param_groups = self.optimizer.param_groups
        self.state = self.optimizer.state

    @torch.no_grad()
    def _scale_gradients(self, group: dict[str, Any]) -> None:
        """Replace g by min(η‖w‖ / (‖g‖ + λ‖w‖ + ε) / lr, 1) · (g + λw), all tensors at once: launches cost time."""
        weights = [weight for weight in group["params"] if weight.grad is not None]
        if not weights:
            return
        gradients, decay = [weight.grad for weight in weights], group.get("weight_decay", 0.0)
        weight_norms, gradient_norms = (torch.stack(torch._foreach_norm(part)) for part in (weights, gradients))
        ratios = self.trust_coefficient * weight_norms / (gradient_norms + decay * weight_norms + _EPS)
        if self.clip:
            ratios = (ratios / group["lr"]).clamp_max(1.0)
        ratios = torch.where(weight_norms > 0, ratios, 1.0)
        ratios = torch.where(gradient_norms == 0, 0.0, ratios)  # so that what decay adds goes away again
        if decay:
            torch._foreach_add_(gradients, weights, alpha=decay)
        torch._foreach_mul_(gradients, ratios.unbind())


def split_weight_decay(
    parameters: Iterable[nn.Parameter], weight_decay: float, exempt: Iterable[nn.Parameter] = ()
) -> list[dict[str, Any]]:
    """Parameter groups in which what has less than two dimensions, biases and norms, does not decay, nor the exempt."""
    spared = set(map(id, exempt))
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    decayed = [parameter for parameter in trained if parameter.ndim > 1 and id(parameter) not in spared]
    others = [parameter for parameter in trained if parameter.ndim <= 1 or id(parameter) in spared]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def linear_warmup_cosine(step: int, warmup_steps: int, total_steps: int) -> float:
    """The learning rate's factor: linear to 1 over `warmup_steps`, then a cosine to 0 at `total_steps`.

    SimCLR, App. B.1; Loshchilov & Hutter, "SGDR", 2017, eq. 5, without restarts. Step 0 has 1 / warmup_steps already.
    """
    if not 0 <= warmup_steps <= total_steps:
        raise ValueError(f"expected 0 ≤ warmup_steps ≤ total_steps, got {warmup_steps} and {total_steps}")
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if step >= total_steps:
        return 0.0
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return (1 + math.cos(math.pi * progress)) / 2


def warmup_cosine(
    optimizer: Optimizer, warmup_steps: int, total_steps: int, waiting_steps: Sequence[int] = ()
) -> LambdaLR:
    """`linear_warmup_cosine` as a scheduler; each parameter group may wait for some steps first, at rate 0."""
    linear_warmup_cosine(0, warmup_steps, total_steps)  # a wrong length shows now, not at the end of warm-up

    def after(waiting: int) -> Callable[[int], float]:
        return lambda step: linear_warmup_cosine(step, warmup_steps, total_steps) if step >= waiting else 0.0

    return LambdaLR(optimizer, [after(waiting) for waiting in waiting_steps or [0] * len(optimizer.param_groups)])

"""NT-Xent, the normalised temperature-scaled cross-entropy of contrastive learning.

Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020 (arXiv
2002.05709), eq. 1 and Algorithm 1.
"""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from peclr.geometry.affine import at_least_float32


def nt_xent_loss(z1: Tensor, z2: Tensor, temperature: float = 0.5) -> Tensor:
    """Tell each embedding's other view from the 2N − 2 embeddings of other samples.

    Args:
        z1: (N, D), first views, L2-normalised.
        z2: (N, D), second views of the same samples in the same order, L2-normalised.
        temperature: Divides the cosines. 0.5 in PeCLR.

    Returns:
        Scalar, the mean over both directions of all N pairs; in float32 or better even under autocast.

    Raises:
        ValueError: If shapes differ, there are no negatives (N < 2), or the temperature is not above 0.
    """
    if z1.ndim != 2 or z1.shape != z2.shape:
        raise ValueError(f"expected two (N, D) embeddings, got {tuple(z1.shape)} and {tuple(z2.shape)}")
    n = z1.shape[0]
    if n < 2:
        raise ValueError(f"contrast needs at least 2 samples in a batch, got {n}")
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")

    with torch.autocast(device_type=z1.device.type, enabled=False):
        z = at_least_float32(torch.cat((z1, z2)))
        logits = z @ z.mT / temperature
        itself = torch.eye(2 * n, dtype=torch.bool, device=z.device)
        other_view = torch.arange(2 * n, device=z.device).roll(n)
        return cross_entropy(logits.masked_fill(itself, -torch.inf), other_view)

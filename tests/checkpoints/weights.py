"""Weights for tests: networks without the time that a random initialization takes."""

import torch

from peclr.models.encoders import ResNetEncoder, ResNetName


def encoder_of(name: ResNetName = "resnet18", width: float = 0.125) -> ResNetEncoder:
    """An encoder with numbers that no fresh one has."""
    with torch.device("meta"):
        encoder = ResNetEncoder(name, width)
    encoder.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    for key, value in encoder.state_dict().items():
        value.fill_(7) if key.endswith("num_batches_tracked") else value.uniform_(0.5, 1.5, generator=generator)
    return encoder

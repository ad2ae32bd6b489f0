"""The projection head of contrastive pre-training, thrown away afterward."""

from torch import Tensor, nn


class ProjectionHead(nn.Sequential):
    """Linear, BatchNorm, ReLU, Linear without bias: SimCLR (Chen et al., 2020), §4.2, as published for PeCLR.

    The keys of its state dict are the published training checkpoints' `projection_head.{0,1,3}.*`.

    Args:
        in_features: numbers per image that the encoder gives.
        hidden: width of the hidden layer.
        out_features: numbers per projection; PeCLR reads them as half as many points in 2-D.
    """

    def __init__(self, in_features: int, hidden: int = 512, out_features: int = 128) -> None:
        super().__init__(
            nn.Linear(in_features, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, out_features, bias=False),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Project features (B, in_features) to (B, out_features), not normalized."""
        for layer in self:
            features = layer(features)
        return features

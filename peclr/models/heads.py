"""The projection head of contrastive pre-training, thrown away afterward."""

from torch import nn


class ProjectionHead(nn.Sequential):
    """Linear, BatchNorm, ReLU, Linear without bias: SimCLR (Chen et al., 2020), §4.2, as published for PeCLR.

    Features (B, in_features) become projections (B, out_features), not normalized, which PeCLR reads as half as many
    points in 2-D. The state dict's keys are the published training checkpoints' `projection_head.{0,1,3}.*`.
    """

    def __init__(self, in_features: int, hidden: int = 512, out_features: int = 128) -> None:
        if min(hidden, out_features) < 1:
            raise ValueError(f"layers of a projection head are at least 1 wide, got {hidden} and {out_features}")
        super().__init__(
            nn.Linear(in_features, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, out_features, bias=False),
        )

"""The projection head, as published."""

import pytest
import torch

from peclr.models.heads import ProjectionHead


def test_keys_and_shapes_are_the_published_ones() -> None:
    shapes = {key: tuple(value.shape) for key, value in ProjectionHead(2048).state_dict().items()}
    assert shapes == {
        "0.weight": (512, 2048),
        "0.bias": (512,),
        "1.weight": (512,),
        "1.bias": (512,),
        "1.running_mean": (512,),
        "1.running_var": (512,),
        "1.num_batches_tracked": (),
        "3.weight": (128, 512),
    }


@pytest.mark.parametrize(("hidden", "out_features"), [(0, 8), (8, 0), (-1, 8)])
def test_layers_without_features_are_refused(hidden: int, out_features: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1 wide, got {hidden} and {out_features}"):
        ProjectionHead(6, hidden, out_features)


def test_projection_is_linear_after_the_activation() -> None:
    torch.manual_seed(0)
    head = ProjectionHead(6, hidden=8, out_features=4).eval()
    weights = head.state_dict()
    features = torch.randn(5, 6)
    # a fresh BatchNorm in evaluation divides by √(1 + ε)
    hidden = (features @ weights["0.weight"].T + weights["0.bias"]) / (1 + 1e-5) ** 0.5
    torch.testing.assert_close(head(features).detach(), hidden.clamp_min(0) @ weights["3.weight"].T)

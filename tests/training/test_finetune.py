"""Fine-tuning's own choices: what its loss weighs when nothing is said."""

import pytest

from peclr.losses.pose import PoseLoss
from peclr.models.encoders import ResNetEncoder
from peclr.training import FinetuneModule


@pytest.mark.parametrize(("view_size", "weight"), [(224, 1.0), (56, 4.0)])
def test_the_published_loss_is_for_views_of_224_px(view_size: int, weight: float) -> None:
    loss = FinetuneModule(ResNetEncoder("resnet18", 0.125), view_size=view_size).loss
    assert (loss.keypoints_2d_weight, loss.depth_weight, loss.root_weight) == (weight, 5.0, 1.0)


def test_a_given_loss_stays_as_it_is() -> None:
    given = PoseLoss(2.0, 3.0, 0.0)
    assert FinetuneModule(ResNetEncoder("resnet18", 0.125), view_size=56, loss=given).loss is given
